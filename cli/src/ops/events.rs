//! Events (spec cli §11).

use super::Session;
use crate::commands::{EventArgs, EventsArgs};
use crate::error::Result;
use crate::ui::{Table, Value};
use director_client::{Event, EventFilter};

pub async fn list(session: &Session, args: EventsArgs) -> Result<()> {
    let filter = EventFilter {
        before_id: args.before_id,
        before: args.before,
        after: args.after,
        deployment: session.deployment_filter().map(str::to_owned),
        task: args.task,
        instance: args.instance,
        user: args.event_user,
        action: args.action,
        object_type: args.object_type,
        object_name: args.object_name,
    };
    let header = [
        "ID",
        "Time",
        "User",
        "Action",
        "Object Type",
        "Object Name",
        "Task ID",
        "Deployment",
        "Instance",
        "Context",
        "Error",
    ];
    let mut table = Table::new("events", &header);
    table.rows = session
        .client
        .events(&filter)
        .await?
        .into_iter()
        .map(|event| {
            vec![
                id(&event).into(),
                Value::time(Some(event.timestamp)),
                Value::some(event.user),
                Value::some(event.action),
                Value::some(event.object_type),
                Value::some(event.object_name),
                Value::some(event.task),
                Value::some(event.deployment),
                Value::some(event.instance),
                match event.context {
                    Some(context) if !context.is_empty() => {
                        Value::text(crate::yaml::from_json(&context.into()))
                    }
                    _ => Value::default(),
                },
                Value::some(event.error),
            ]
        })
        .collect();
    session.ui.table(table);
    Ok(())
}

/// `4 <- 3` for an event that ends what another one began.
fn id(event: &Event) -> String {
    match event.parent_id.as_deref().filter(|id| !id.is_empty()) {
        Some(parent) => format!("{} <- {parent}", event.id),
        None => event.id.clone(),
    }
}

pub async fn show(session: &Session, args: EventArgs) -> Result<()> {
    let event = session.client.event(&args.id).await?;
    let mut table = Table::record("");
    table.cell("ID", id(&event));
    table.cell("Time", Value::time(Some(event.timestamp)));
    let fields = [
        ("User", event.user),
        ("Action", event.action),
        ("Object Type", event.object_type),
        ("Object Name", event.object_name),
        ("Task ID", event.task),
        ("Deployment", event.deployment),
        ("Instance", event.instance),
    ];
    for (title, value) in fields {
        if let Some(value) = value.filter(|text| !text.is_empty()) {
            table.cell(title, value);
        }
    }
    let context = event.context.unwrap_or_default();
    if !context.is_empty() {
        let lines = context.iter().map(|(key, value)| match value {
            serde_json::Value::String(text) => format!("{key}: {text}"),
            other => format!("{key}: {other}"),
        });
        table.cell("Context", Value::list(lines));
    }
    if let Some(error) = event.error.filter(|text| !text.is_empty()) {
        table.cell("Error", error);
    }
    session.ui.table(table);
    Ok(())
}
