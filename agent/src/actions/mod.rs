//! The actions, a file per verb or family (`docs/spec/agent-protocol.md` §3). Each takes a
//! [`Call`](crate::dispatch::Call) and gives the value of its reply.

pub mod apply;
pub mod basic;
pub mod compile_package;
pub mod disks;
pub mod drain;
pub mod get_state;
pub mod logs;
pub mod run_errand;
pub mod run_script;
pub mod scripts;
pub mod ssh;
pub mod start;
pub mod stop;
pub mod sync_dns;
pub mod update_settings;
pub mod upload_blob;
