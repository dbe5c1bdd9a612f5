//! Running the host's tools (`ip`, `mkfs.ext4`, `runc` …): no stdin of ours, output kept for the error.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::error::Error;

/// A tool with arguments.
pub fn tool<I, A>(program: &str, arguments: I) -> Command
where
    I: IntoIterator<Item = A>,
    A: AsRef<OsStr>,
{
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    // A caller's minimal PATH may lack the sbin folders.
    command.env(
        "PATH",
        "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    );
    command.env("LC_ALL", "C");
    command
}

/// Runs it to its end; its stdout.
pub fn run(mut command: Command) -> Result<String, Error> {
    let output = command.output();
    finish(&command, output)
}

/// Runs it with `text` on stdin.
pub fn run_with(mut command: Command, text: &str) -> Result<String, Error> {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let output = command.spawn().and_then(|mut child| {
        // The pipe closes at the end of this statement. A tool that ends without reading explains itself on stderr.
        let _ = child
            .stdin
            .take()
            .map(|mut stdin| stdin.write_all(text.as_bytes()));
        child.wait_with_output()
    });
    finish(&command, output)
}

/// Whether a tool is there.
pub fn exists(program: &str) -> bool {
    let folders = [
        "/usr/local/sbin",
        "/usr/local/bin",
        "/usr/sbin",
        "/usr/bin",
        "/sbin",
        "/bin",
    ];
    folders
        .iter()
        .any(|folder| std::path::Path::new(folder).join(program).exists())
}

fn finish(command: &Command, output: std::io::Result<Output>) -> Result<String, Error> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = output.map_err(|source| Error::ToolMissing {
        tool: name.clone(),
        source,
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let mut said = String::from_utf8_lossy(&output.stderr).trim().to_string();
    if said.is_empty() {
        said = String::from_utf8_lossy(&output.stdout).trim().to_string();
    }
    let first = command
        .get_args()
        .next()
        .map(|a| a.to_string_lossy().into_owned());
    Err(Error::Tool {
        tool: format!("{name} {}", first.unwrap_or_default()),
        status: output.status.to_string(),
        said,
    })
}
