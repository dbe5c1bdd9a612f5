//! The director against real neighbours: PostgreSQL, nats-server, its own binary over HTTP.

mod api;
mod engine;
mod nats;
mod store;
mod support;
mod uploads;
mod vectors;
