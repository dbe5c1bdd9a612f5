//! Tasks (spec cli §5.2).

use super::Session;
use crate::commands::{CancelTaskArgs, CancelTasksArgs, TaskArgs, TasksArgs};
use crate::error::{Error, Result};
use crate::ui::{Sort, Table, TaskReporter, Value};
use director_client::{OutputKind, Task, Wrap};
use domain::TaskId;

pub async fn follow(session: &Session, args: TaskArgs) -> Result<()> {
    let kind = if args.debug {
        OutputKind::Debug
    } else if args.cpi {
        OutputKind::Cpi
    } else if args.result {
        OutputKind::Result
    } else {
        OutputKind::Event
    };
    let reporter = if kind == OutputKind::Event && !args.event {
        TaskReporter::events(&session.ui)
    } else {
        TaskReporter::raw(&session.ui)
    };
    let id = match args.id {
        Some(id) => session.client.task(TaskId(id)).await?.id,
        None => {
            let filter = session.deployment_filter();
            let tasks = session.client.current_tasks(filter, args.all).await?;
            tasks
                .first()
                .map(|task| task.id)
                .ok_or_else(|| Error::message("No task found"))?
        }
    };
    session
        .client
        .follow_task(id, kind, &reporter)
        .await
        .wrap(|| format!("Capturing task '{id}' output"))?;
    Ok(())
}

pub async fn list(session: &Session, args: TasksArgs) -> Result<()> {
    let filter = session.deployment_filter();
    let tasks = match args.recent {
        Some(limit) => {
            let limit = u32::try_from(limit).unwrap_or_default();
            session.client.recent_tasks(limit, filter, args.all).await?
        }
        None => session.client.current_tasks(filter, true).await?,
    };
    let header = [
        "ID",
        "State",
        "Started At",
        "Finished At",
        "User",
        "Deployment",
        "Description",
        "Result",
    ];
    let mut table = Table::new("tasks", &header).sorted(&[Sort::Down(0)]);
    table.rows = tasks.iter().map(row).collect();
    session.ui.table(table);
    Ok(())
}

fn row(task: &Task) -> Vec<Value> {
    let finished = if task.is_running() {
        // compat: a running task's end is the text `-`, also in JSON.
        Value::text("-")
    } else {
        Value::time(task.timestamp)
    };
    vec![
        Value::int(task.id.get()),
        Value::text(&task.state).state(!matches!(task.state.as_str(), "error" | "timeout")),
        Value::time(task.started_at),
        finished,
        Value::some(task.user.as_deref()),
        Value::some(task.deployment.as_deref()),
        Value::text(&task.description),
        Value::some(task.result.as_deref()),
    ]
}

pub async fn cancel(session: &Session, args: CancelTaskArgs) -> Result<()> {
    let task = session.client.task(TaskId(args.id)).await?;
    Ok(session.client.cancel_task(task.id).await?)
}

pub async fn cancel_all(session: &Session, args: CancelTasksArgs) -> Result<()> {
    let filter = session.deployment_filter();
    let filled = |list: Vec<String>| -> Vec<String> {
        list.into_iter().filter(|text| !text.is_empty()).collect()
    };
    Ok(session
        .client
        .cancel_tasks(&filled(args.types), &filled(args.states), filter)
        .await?)
}
