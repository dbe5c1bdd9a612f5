//! `logs`: a tarball from the director, or `tail` over ssh (spec cli §14.3).

use super::Context;
use super::releases::download;
use super::ssh::{Access, Connection, Program, interrupted, label, run_all};
use crate::commands::LogsArgs;
use crate::commands::slugs::PoolOrInstanceSlug;
use crate::error::{Error, Result, Within};
use director_client::{InstanceTarget, LogsRequest};

pub async fn logs(context: &Context, args: LogsArgs) -> Result<()> {
    if args.follow || args.num.is_some() {
        follow(context, args).await
    } else {
        fetch(context, args).await
    }
}

async fn fetch(context: &Context, args: LogsArgs) -> Result<()> {
    let session = context.connect_deployment().await?;
    let kind = if args.all_logs {
        "agent,job,system".to_owned()
    } else {
        let mut kinds = Vec::new();
        if args.agent {
            kinds.push("agent");
        }
        if args.system {
            kinds.push("system");
        }
        if kinds.is_empty() {
            kinds.push("job");
        }
        kinds.join(",")
    };
    let deployment = session.deployment()?;
    for slug in PoolOrInstanceSlug::or_all(args.slugs) {
        let mut name = deployment.to_owned();
        for part in [&slug.group, &slug.id].into_iter().flatten() {
            name = format!("{name}.{part}");
        }
        let request = LogsRequest {
            target: InstanceTarget {
                group: slug.group,
                id: slug.id,
            },
            kind: kind.clone(),
            filters: args.filters.clone(),
        };
        let blob = session
            .client
            .fetch_logs(deployment, &request, &session.reporter)
            .await?;
        download(&session, &blob, None, &name, &args.dir)
            .await
            .within(|| "Downloading logs")?;
    }
    Ok(())
}

async fn follow(context: &Context, args: LogsArgs) -> Result<()> {
    let session = context.connect_deployment().await?;
    let connection = Connection::new(&session, &args.gateway, Vec::new()).await?;
    let words = tail(&args);
    let access = Access::open(&session, PoolOrInstanceSlug::or_all(args.slugs.clone())).await?;
    let programs = access
        .hosts()
        .iter()
        .map(|host| {
            let arguments = connection.ssh(&access, host, &words, false);
            (label(host), Program::new("ssh", arguments))
        })
        .collect();
    let outcome = tokio::select! {
        outcomes = run_all(&session.ui, programs, true) => {
            let failed = outcomes.iter().filter_map(|outcome| outcome.error.clone());
            failed.reduce(|a, b| format!("{a}\n{b}"))
        }
        // Ctrl-C is how one stops following: no failure.
        _ = interrupted(true) => None,
    };
    access.close(&session).await;
    match outcome {
        Some(text) => Err(Error::message(text).within("Running follow over non-interactive SSH")),
        None => Ok(()),
    }
}

/// The remote command: one quoted script for a root shell, which expands the globs.
fn tail(args: &LogsArgs) -> Vec<String> {
    const LOGS: &str = "/var/vcap/sys/log";
    let mut command = "exec tail".to_owned();
    if args.follow {
        command.push_str(" -F");
    }
    if let Some(lines) = args.num {
        command.push_str(&format!(" -n {lines}"));
    }
    if args.quiet {
        command.push_str(" -q");
    }
    let mut files = Vec::new();
    if args.agent || args.all_logs {
        files.push("/var/vcap/bosh/log/current".to_owned());
    }
    if args.system || args.all_logs {
        files.push(
            "$(find /var/log -type f -iname '*.log' -not -iname '*.gz' -not -iname '*.[0-9]*')"
                .replace('\'', "\""),
        );
    }
    files.extend(args.jobs.iter().map(|job| format!("{LOGS}/{job}/*.log")));
    files.extend(
        args.filters
            .iter()
            .flat_map(|filters| filters.split(','))
            .map(|filter| format!("{LOGS}/{filter}")),
    );
    let job_logs = args.all_logs && args.jobs.is_empty() && args.filters.is_empty();
    if files.is_empty() || job_logs {
        files.push(format!(
            "{LOGS}/**/*.log $(if [ -f {LOGS}/*.log ]; then echo {LOGS}/*.log ; fi)"
        ));
    }
    let script = format!("'{command} {}'", files.join(" "));
    ["sudo", "bash", "-c", &script].map(str::to_owned).to_vec()
}
