//! The director against real neighbours: PostgreSQL, nats-server, its own binary over HTTP.

mod access;
mod api;
mod contents;
mod engine;
mod health;
mod nats;
mod recorded_uploads;
mod store;
mod support;
mod uploads;
mod vectors;
