//! Errands (spec cli §15).

use super::Session;
use super::releases::download;
use crate::commands::RunErrandArgs;
use crate::error::{Error, Result, Within};
use crate::ui::{Sort, Table, TaskReporter, Value};
use director_client::{ErrandResult, ErrandRun, ErrandTarget};
use std::time::Duration;

/// Exit codes above this mean that a signal ended the errand.
const LAST_ERROR_CODE: i64 = 128;

pub async fn list(session: &Session) -> Result<()> {
    let mut table = Table::new("errands", &["Name"]).sorted(&[Sort::Up(0)]);
    table.rows = session
        .client
        .errands(session.deployment()?)
        .await?
        .into_iter()
        .map(|name| vec![name.into()])
        .collect();
    session.ui.table(table);
    Ok(())
}

pub async fn run(session: &Session, args: RunErrandArgs) -> Result<()> {
    let targets = args
        .instances
        .into_iter()
        .map(|slug| ErrandTarget {
            group: slug.group.unwrap_or_default(),
            id: slug.id,
        })
        .collect();
    let run = ErrandRun {
        name: args.name.clone(),
        keep_alive: args.keep_alive,
        when_changed: args.when_changed,
        targets,
    };
    let heartbeat = args
        .with_heartbeat
        .map(|seconds| Duration::from_secs(u64::try_from(seconds).unwrap_or_default()));
    let reporter = TaskReporter::events(&session.ui).with_heartbeat(heartbeat);
    let results = session
        .client
        .run_errand(session.deployment()?, &run, &reporter)
        .await?;
    print_results(session, &results);
    let mut outcome = Ok(());
    for result in &results {
        if args.download_logs {
            download_logs(session, &args.name, result, &args.logs_dir).await?;
        }
        let code = result.exit_code;
        let how = match code {
            0 => continue,
            code if code > LAST_ERROR_CODE => "was canceled",
            _ => "completed with error",
        };
        outcome = Err(Error::message(format!(
            "Errand '{}' {how} (exit code {code})",
            args.name
        )));
    }
    outcome
}

fn print_results(session: &Session, results: &[ErrandResult]) {
    let header = ["Instance", "Exit Code", "Stdout", "Stderr"];
    let mut table = Table::new("errand(s)", &header)
        .sorted(&[Sort::Up(0)])
        .transposed();
    table.rows = results
        .iter()
        .map(|result| {
            let instance = result
                .instance
                .as_ref()
                .map(|instance| format!("{}/{}", instance.group, instance.id));
            vec![
                Value::some(instance),
                Value::int(result.exit_code).state(result.exit_code == 0),
                result.stdout.as_str().into(),
                result.stderr.as_str().into(),
            ]
        })
        .collect();
    session.ui.table(table);
}

async fn download_logs(
    session: &Session,
    name: &str,
    result: &ErrandResult,
    dir: &str,
) -> Result<()> {
    let Some(logs) = &result.logs else {
        return Ok(());
    };
    let Some(id) = logs.blobstore_id.as_deref().filter(|id| !id.is_empty()) else {
        return Ok(());
    };
    download(session, id, logs.sha1.as_deref(), name, dir)
        .await
        .within(|| "Downloading errand logs")?;
    Ok(())
}
