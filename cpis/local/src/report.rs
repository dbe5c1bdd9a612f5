//! Messages for people: lines on stderr, which the director copies to the task's CPI output.

use std::sync::OnceLock;

static REQUEST: OnceLock<String> = OnceLock::new();

/// Names the call that all following lines belong to.
pub fn for_request(id: &str) {
    let _ = REQUEST.set(format!("[req_id {id}] "));
}

/// One line. Never a value of settings, `env` or properties: the director shows it unredacted.
pub fn say(line: impl AsRef<str>) {
    let prefix = REQUEST.get().map_or("", String::as_str);
    eprintln!("{prefix}{}", line.as_ref());
}
