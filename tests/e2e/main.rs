//! End to end: the processes themselves, real containers, the CLI as a person uses it.
//!
//! `scripts/test` runs this inside a network namespace without a route out.

mod bad_cpi;
mod bad_input;
mod crash;
mod faulty;
mod guestbook;
mod plain;
mod restart;
mod secrets;
mod single_vm;
