//! `ssh` and `scp` (spec cli §14): the director lets a fresh user in on the wanted instances, the system's own
//! ssh or scp does the work, the user is taken away again.
//!
//! ```text
//! key pair -> POST .../ssh setup -> hosts with keys -> ssh, one process per host -> POST .../ssh cleanup
//! ```

mod access;
mod arguments;
mod runner;

pub use access::Access;
pub use arguments::Connection;
pub use runner::{Outcome, Program, run_all};

use super::{Context, Session};
use crate::commands::slugs::PoolOrInstanceSlug;
use crate::commands::{LoginArgs, ScpArgs, SshArgs};
use crate::error::{Error, Result, Within};
use crate::ui::{Table, Value};
use director_client::SshHost;

pub async fn ssh(context: &Context, args: SshArgs) -> Result<()> {
    // With a command given by flag, what else stands there are more instances.
    let (words, more) = match args.command.is_empty() {
        true => (args.words, Vec::new()),
        false => (args.command, args.words),
    };
    let mut slugs = vec![args.slug];
    for text in more {
        slugs.push(parse_slug(&text)?);
    }
    if words.is_empty() && (args.results || !context.ui.is_interactive()) {
        return Err(Error::message(
            "Non-interactive SSH requires non-empty command",
        ));
    }
    let session = context.connect_deployment().await?;
    let options = args.options.iter().map(|text| text.trim().to_owned());
    let connection = Connection::new(&session, &args.gateway, options.collect()).await?;
    let access = log_in(&session, slugs, &args.login).await?;
    let result = tokio::select! {
        result = drive(&session, &access, &connection, &words, args.results) => result,
        _ = interrupted(!words.is_empty()) => Err(Error::message("Interrupted")),
    };
    access.close(&session).await;
    result.within(|| "Running SSH")
}

fn parse_slug(text: &str) -> Result<PoolOrInstanceSlug> {
    text.parse()
        .map_err(|error| Error::message(format!("{error}")))
}

/// With the user's own key, or with one made for this.
async fn log_in(
    session: &Session,
    slugs: Vec<PoolOrInstanceSlug>,
    login: &LoginArgs,
) -> Result<Access> {
    let slugs = PoolOrInstanceSlug::or_all(slugs);
    match (&login.private_key, &slugs[..]) {
        (None, _) => Access::open(session, slugs).await,
        (Some(key), [slug]) => Access::direct(session, slug, &login.username, key).await,
        (Some(_), _) => Err(Error::message(
            "With --private-key only one instance can be meant; run the command once for each",
        )),
    }
}

async fn drive(
    session: &Session,
    access: &Access,
    connection: &Connection,
    words: &[String],
    results: bool,
) -> Result<()> {
    if words.is_empty() {
        let [host] = access.hosts() else {
            return Err(Error::message(
                "Interactive SSH only works for a single host at a time",
            ));
        };
        let arguments = connection.ssh(access, host, words, true);
        let _own = crate::interrupt::Own::begin();
        return runner::interactive(&Program::new("ssh", arguments)).await;
    }
    let programs = access
        .hosts()
        .iter()
        .map(|host| {
            let arguments = connection.ssh(access, host, words, true);
            (label(host), Program::new("ssh", arguments))
        })
        .collect();
    let outcomes = run_all(&session.ui, programs, !results).await;
    if results {
        print_results(session, &outcomes);
    }
    runner::failures(&outcomes)
}

/// Resolves at Ctrl-C, at the loss of the terminal and when asked to end, if the command is not interactive (there ssh
/// itself gets the key): what was set up on the other side is then cleaned up.
pub async fn interrupted(watch: bool) {
    use tokio::signal::unix::{SignalKind, signal};
    let _own = watch.then(crate::interrupt::Own::begin);
    if watch
        && let Ok(mut interrupt) = signal(SignalKind::interrupt())
        && let Ok(mut hangup) = signal(SignalKind::hangup())
        && let Ok(mut terminate) = signal(SignalKind::terminate())
    {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = hangup.recv() => {}
            _ = terminate.recv() => {}
        }
        return;
    }
    std::future::pending::<()>().await;
}

pub fn label(host: &SshHost) -> String {
    if host.job.is_empty() {
        format!("?/{}", host.id)
    } else {
        format!("{}/{}", host.job, host.id)
    }
}

fn print_results(session: &Session, outcomes: &[Outcome]) {
    let header = ["Instance", "Stdout", "Stderr", "Exit Code", "Error"];
    let mut table = Table::new("results", &header).transposed();
    let mut sorted: Vec<&Outcome> = outcomes.iter().collect();
    sorted.sort_by(|a, b| a.label.cmp(&b.label));
    table.rows = sorted
        .into_iter()
        .map(|outcome| {
            vec![
                outcome.label.as_str().into(),
                outcome.stdout.as_str().into(),
                outcome.stderr.as_str().into(),
                outcome
                    .exit_code
                    .map(|code| Value::int(code.into()).state(code == 0))
                    .unwrap_or_default(),
                Value::some(outcome.error.as_deref()),
            ]
        })
        .collect();
    session.ui.table(table);
}

pub async fn scp(context: &Context, args: ScpArgs) -> Result<()> {
    let slug = scp_target(&args.paths)?;
    let session = context.connect_deployment().await?;
    let connection = Connection::new(&session, &args.gateway, Vec::new()).await?;
    let access = log_in(&session, vec![slug], &args.login).await?;
    let programs = access
        .hosts()
        .iter()
        .map(|host| {
            let paths: Vec<String> = args
                .paths
                .iter()
                .map(|path| scp_path(path, access.user(), host))
                .collect();
            let arguments = connection.scp(&access, host, args.recursive, &paths);
            (label(host), Program::new("scp", arguments))
        })
        .collect();
    let result = tokio::select! {
        outcomes = run_all(&session.ui, programs, true) => runner::failures(&outcomes),
        _ = interrupted(true) => Err(Error::message("Interrupted")),
    };
    access.close(&session).await;
    result.within(|| "Running SCP")
}

/// The instances named by the first path with a colon.
fn scp_target(paths: &[String]) -> Result<PoolOrInstanceSlug> {
    let target = paths
        .iter()
        .find_map(|path| remote_part(path))
        .ok_or_else(|| {
            Error::message("Missing remote host information in source/destination arguments")
        })?;
    parse_slug(target)
}

/// What stands before the colon; nothing for local paths, `C:\...` included.
fn remote_part(path: &str) -> Option<&str> {
    let (before, after) = path.split_once(':')?;
    let is_drive = before.len() == 1
        && before.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && after.starts_with(['\\', '/']);
    (!is_drive || after.starts_with('/')).then_some(before)
}

fn scp_path(path: &str, user: &str, host: &SshHost) -> String {
    let path = path.replace("((instance_id))", &host.id);
    match remote_part(&path) {
        Some(before) => {
            let address = if host.ip.contains(':') {
                format!("[{}]", host.ip)
            } else {
                host.ip.clone()
            };
            format!("{user}@{address}:{}", &path[before.len() + 1..])
        }
        None => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_remote_side_of_a_copy_is_found_and_rewritten() {
        let host = SshHost {
            id: "uuid-1".to_owned(),
            ip: "fd00::1".to_owned(),
            ..SshHost::default()
        };
        let paths = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| (*text).to_owned())
                .collect::<Vec<_>>()
        };
        let slug = scp_target(&paths(&["C:\\x", "web/0:/tmp"])).unwrap();
        assert_eq!(slug.group.as_deref(), Some("web"));
        assert!(scp_target(&paths(&[":/a", "b"])).unwrap().group.is_none());
        assert!(scp_target(&paths(&["a", "b"])).is_err());
        assert_eq!(scp_path("web:/a", "u", &host), "u@[fd00::1]:/a");
        assert_eq!(scp_path("out-((instance_id))", "u", &host), "out-uuid-1");
    }
}
