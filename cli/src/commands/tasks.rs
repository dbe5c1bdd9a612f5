//! Arguments of the task commands.

use super::types::int;
use clap::Args;

#[derive(Args)]
pub struct TaskArgs {
    /// Task ID; the newest running one when absent
    #[arg(value_name = "ID", value_parser = int)]
    pub id: Option<i64>,
    /// Show the event log raw
    #[arg(long)]
    pub event: bool,
    /// Show the CPI log
    #[arg(long)]
    pub cpi: bool,
    /// Show the debug log
    #[arg(long)]
    pub debug: bool,
    /// Show the result log
    #[arg(long)]
    pub result: bool,
    /// Look among all kinds of tasks
    #[arg(short, long)]
    pub all: bool,
}

#[derive(Args)]
pub struct TasksArgs {
    /// Number of recent tasks to show
    #[arg(short, long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "30", value_parser = int)]
    pub recent: Option<i64>,
    /// Show all kinds of tasks
    #[arg(short, long)]
    pub all: bool,
}

#[derive(Args)]
pub struct CancelTaskArgs {
    /// Task ID
    #[arg(value_name = "ID", value_parser = int)]
    pub id: i64,
}

#[derive(Args)]
pub struct CancelTasksArgs {
    /// Task types to cancel; all when absent
    #[arg(short, long = "type", value_name = "TYPE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub types: Vec<String>,
    /// Task states to cancel; queued when absent
    #[arg(short, long = "state", value_name = "STATE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub states: Vec<String>,
}
