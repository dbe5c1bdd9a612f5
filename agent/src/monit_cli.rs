//! The `monit` command: `bosun-agent monit summary|status|reload|start|stop|restart|monitor|unmonitor [-g group]
//! [name|all]`. Jobs and people call it; it asks the running agent.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;

use crate::error::{Context, Error, Result};
use crate::layout::Layout;
use crate::supervisor::socket::{Request, Response};

/// Runs the command; returns what to print and whether it worked.
pub fn run(arguments: &[String]) -> Result<(bool, String)> {
    let mut base = crate::DEFAULT_BASE.to_owned();
    let mut group = None;
    let mut words = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let mut value = || {
            let missing = || Error::new(format!("monit: {argument} needs a value"));
            rest.next().cloned().ok_or_else(missing)
        };
        match argument.as_str() {
            "-b" => base = value()?,
            "-g" => group = Some(value()?),
            "-c" | "-p" | "-d" | "-l" => drop(value()?), // monit's own files and timing
            "-V" | "--version" => return Ok((true, "This is Monit version 5.2.5\n".into())),
            flag if flag.starts_with('-') => {}
            word => words.push(word.to_owned()),
        }
    }
    let mut words = words.into_iter();
    let Some(command) = words.next() else {
        return Err(Error::new(
            "monit: say what to do: summary, status, reload, start, stop, restart, monitor or unmonitor",
        ));
    };
    let request = Request {
        command,
        name: words.next(),
        group,
    };
    let socket = Layout::new(base).monit_socket();
    let mut stream = UnixStream::connect(&socket).with_context(|| {
        format!(
            "monit: error connecting to the agent at {} (is it running, and are you root?)",
            socket.display()
        )
    })?;
    let mut line = serde_json::to_vec(&request).context("monit")?;
    line.push(b'\n');
    stream.write_all(&line).context("monit")?;
    let mut answer = String::new();
    BufReader::new(stream)
        .read_line(&mut answer)
        .context("monit")?;
    let response: Response = serde_json::from_str(&answer).context("monit")?;
    Ok((response.ok, response.text))
}
