//! Small working models for tests: a real PostgreSQL and a real nats-server on free loopback ports, a cloud
//! whose VMs are simulated agents speaking the real protocol. Nothing here is a list of expected calls.

mod cloud;
mod nats;
mod postgres;
mod process;
mod uaa;

pub use cloud::{AgentState, Call, Crash, FakeCloud, FakeDisk, FakeVm, Fault, PutBlob, World};
pub use nats::TestNats;
pub use postgres::TestDatabase;
pub use uaa::TestUaa;
