//! The servers bosun stands on, as child processes: a private Postgres cluster and a nats-server.
//!
//! `bosun up` keeps them for an environment, `test-support` for a test. Both come from Debian packages; one that is
//! missing is an error with the line that installs it. Nothing here listens beyond what its options say, and
//! nothing is written outside the folders that the options name.

pub mod nats;
pub mod postgres;
mod process;

pub use nats::Nats;
pub use postgres::Postgres;
pub use process::{Error, find_program, free_port, stop_pid};
