//! The `monit` command's way to the supervisor: a unix socket that only root can open, one JSON line there and one
//! back. The texts are monit's.

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::report::Monitor;
use super::{Handle, Selection, ServiceReport, Verb};
use crate::error::{Context, Error, Result};
use crate::files;

/// A request is a few words.
const MAX_REQUEST: u64 = 64 * 1024;

/// One command.
#[derive(Debug, Serialize, Deserialize)]
pub struct Request {
    /// `summary`, `status`, `reload`, `start`, `stop`, `restart`, `monitor`, `unmonitor`.
    pub command: String,
    /// A service, or `all`.
    #[serde(default)]
    pub name: Option<String>,
    /// Instead of a name: all services of a group.
    #[serde(default)]
    pub group: Option<String>,
}

/// Its outcome.
#[derive(Debug, Serialize, Deserialize)]
pub struct Response {
    /// Whether it worked.
    pub ok: bool,
    /// What to print.
    pub text: String,
}

/// Answers for ever.
pub async fn serve(path: &Path, supervisor: Handle) -> Result<()> {
    files::remove(path)?;
    let listener = UnixListener::bind(path).context("Opening the monit socket")?;
    files::set_mode(path, 0o600)?;
    let started = tokio::time::Instant::now();
    loop {
        let (stream, _) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "the monit socket doesn't accept");
                tokio::time::sleep(Duration::from_secs(1)).await;
                continue;
            }
        };
        let supervisor = supervisor.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(stream, &supervisor, started.elapsed()).await {
                tracing::debug!(%error, "a monit command went away");
            }
        });
    }
}

async fn answer(stream: UnixStream, supervisor: &Handle, uptime: Duration) -> Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader.take(MAX_REQUEST))
        .read_line(&mut line)
        .await
        .context("Reading a monit command")?;
    let outcome = match serde_json::from_str::<Request>(&line) {
        Ok(request) => run(&request, supervisor, uptime).await,
        Err(error) => Err(error).context("Reading a monit command"),
    };
    let response = match outcome {
        Ok(text) => Response { ok: true, text },
        Err(error) => Response {
            ok: false,
            text: format!("monit: {error}\n"),
        },
    };
    let mut bytes = serde_json::to_vec(&response).context("Answering a monit command")?;
    bytes.push(b'\n');
    writer
        .write_all(&bytes)
        .await
        .context("Answering a monit command")
}

async fn run(request: &Request, supervisor: &Handle, uptime: Duration) -> Result<String> {
    let verb = match request.command.as_str() {
        "summary" => return Ok(summary(&chosen(request, supervisor).await?, uptime)),
        "status" => return Ok(status(&chosen(request, supervisor).await?, uptime)),
        "reload" => {
            supervisor.reload().await?;
            return Ok("Reinitializing monit daemon\n".into());
        }
        "start" => Verb::Start,
        "stop" => Verb::Stop,
        "restart" => Verb::Restart,
        "monitor" => Verb::Monitor,
        "unmonitor" => Verb::Unmonitor,
        other => return Err(Error::new(format!("invalid argument -- {other}"))),
    };
    let selection = selection(request)?.ok_or_else(|| {
        Error::new(format!(
            "please specify the configured service name or 'all' after {}",
            request.command
        ))
    })?;
    supervisor.act(verb, selection).await?;
    Ok(String::new())
}

fn selection(request: &Request) -> Result<Option<Selection>> {
    let group = request.group.clone().map(Selection::Group);
    Ok(match request.name.as_deref() {
        None => group,
        Some("all") => Some(group.unwrap_or(Selection::All)),
        Some(name) => Some(Selection::Named(name.to_owned())),
    })
}

async fn chosen(request: &Request, supervisor: &Handle) -> Result<Vec<ServiceReport>> {
    let selection = selection(request)?.unwrap_or(Selection::All);
    let mut services = supervisor.report(true).await?;
    services.retain(|service| match &selection {
        Selection::All => true,
        Selection::Group(group) => service.groups.contains(group),
        Selection::Named(name) => &service.name == name,
    });
    Ok(services)
}

fn header(uptime: Duration) -> String {
    format!("The Monit daemon 5.2.5 uptime: {} \n\n", text_of(uptime))
}

fn summary(services: &[ServiceReport], uptime: Duration) -> String {
    let mut text = header(uptime);
    for service in services {
        let name = format!("{} '{}'", service.kind, service.name);
        text.push_str(&format!("{name:<35} {}\n", service.text()));
    }
    text
}

fn status(services: &[ServiceReport], uptime: Duration) -> String {
    let mut text = header(uptime);
    for service in services {
        text.push_str(&format!("{} '{}'\n", service.kind, service.name));
        let mut line = |name: &str, value: String| {
            text.push_str(&format!("  {name:<33} {value}\n"));
        };
        line("status", service.text());
        let monitoring = match service.monitor {
            Monitor::Off => "not monitored",
            Monitor::Initializing => "initializing",
            Monitor::On => "monitored",
        };
        line("monitoring status", monitoring.into());
        if let Some(pid) = service.pid {
            line("pid", pid.to_string());
            line("uptime", text_of(service.uptime));
            line("children", service.usage.children.to_string());
            line("memory kilobytes", service.usage.own_kb.to_string());
            line("memory kilobytes total", service.usage.total_kb.to_string());
            line(
                "memory percent total",
                format!("{:.1}%", service.usage.memory_percent),
            );
            line(
                "cpu percent total",
                format!("{:.1}%", service.usage.cpu_percent),
            );
        }
        text.push('\n');
    }
    text
}

fn text_of(duration: Duration) -> String {
    let minutes = duration.as_secs() / 60;
    match (minutes / 1440, minutes / 60 % 24, minutes % 60) {
        (0, 0, minutes) => format!("{minutes}m"),
        (0, hours, minutes) => format!("{hours}h {minutes}m"),
        (days, hours, minutes) => format!("{days}d {hours}h {minutes}m"),
    }
}
