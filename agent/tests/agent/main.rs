//! The agent as a process, driven by the director's client over a real nats-server with mutual TLS. Nothing outside of
//! a temporary directory is touched (`-P dummy -b <dir>`, or a throw-away root file system); jobs, scripts, packages,
//! processes and blobs are real.

mod bus;
mod container;
mod cost;
mod disks;
mod files;
mod harness;
mod https;
mod https_bus;
mod life;
mod packages;
mod restart;
