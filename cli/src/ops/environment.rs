//! The director itself: info, aliases, locks (spec cli §2).

use super::{Context, Session};
use crate::commands::{AliasArgs, EnvironmentArgs};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::ui::{Sort, Table, Tone, Ui, Value};
use director_client::Info;

/// Certificates with fewer days left are shown in red.
const DAYS_LEFT_WARNING: i64 = 30;

pub async fn show(context: &Context, args: EnvironmentArgs) -> Result<()> {
    let session = context.connect().await?;
    print_info(&session.ui, &session.client.info().await?);
    if !args.details {
        return Ok(());
    }
    let Some(rows) = session.client.certificate_expiry().await? else {
        return Ok(());
    };
    let mut table = Table::new("", &["Certificate", "Expiry Date (UTC)", "Days Left"]);
    table.title = Some("CERTIFICATE EXPIRY DATE INFORMATION".to_owned());
    table.rows = rows
        .into_iter()
        .map(|row| {
            let days = Value::int(row.days_left);
            let days = if row.days_left <= DAYS_LEFT_WARNING {
                days.toned(Tone::Bad)
            } else {
                days
            };
            vec![row.certificate_path.into(), row.expiry.into(), days]
        })
        .collect();
    session.ui.table(table);
    Ok(())
}

fn print_info(ui: &Ui, info: &Info) {
    let mut table = Table::record("");
    table.cell("Name", info.name.as_str());
    table.cell("UUID", info.uuid.as_str());
    table.cell("Version", info.version.as_str());
    if let (Some(os), Some(version)) = (&info.stemcell_os, &info.stemcell_version) {
        table.cell("Director Stemcell", format!("{os}/{version}"));
    }
    if let Some(cpi) = info.cpi.as_deref().filter(|cpi| !cpi.is_empty()) {
        table.cell("CPI", cpi);
    }
    if !info.features.is_empty() {
        let features = info.features.iter().map(|(name, feature)| {
            let state = if feature.status == Some(true) {
                "enabled"
            } else {
                "disabled"
            };
            format!("{name}: {state}")
        });
        table.cell("Features", Value::list(features));
    }
    let user = info.user.as_deref().filter(|user| !user.is_empty());
    table.cell("User", user.unwrap_or("(not logged in)"));
    ui.table(table);
}

pub fn list(context: &Context) -> Result<()> {
    let config = Config::load(&context.settings.config_path)?;
    let mut table = Table::new("environments", &["URL", "Alias"]).sorted(&[Sort::Up(0)]);
    table.rows = config
        .environments()
        .iter()
        .map(|environment| {
            vec![
                environment.url.as_str().into(),
                Value::some(environment.alias.as_deref()),
            ]
        })
        .collect();
    context.ui.table(table);
    Ok(())
}

pub async fn alias(context: &Context, args: AliasArgs) -> Result<()> {
    let target = context.target()?;
    if target.url.is_empty() {
        return Err(Error::message("Expected non-empty environment URL"));
    }
    let session = context.connect_to(&target).await?;
    let info = session.client.info().await?;
    let mut config = Config::load(&context.settings.config_path)?;
    config.update(&target.url, Some(&args.alias), |environment| {
        environment.url = target.url.clone();
        environment.alias = Some(args.alias.clone());
        environment.ca_cert = target.ca_cert.clone();
    });
    config.save()?;
    print_info(&session.ui, &info);
    Ok(())
}

pub fn unalias(context: &Context, args: AliasArgs) -> Result<()> {
    let mut config = Config::load(&context.settings.config_path)?;
    if !config.remove_alias(&args.alias) {
        return Err(Error::message(format!("alias {} not found", args.alias)));
    }
    config.save()
}

pub async fn locks(session: &Session) -> Result<()> {
    let mut table =
        Table::new("locks", &["Type", "Resource", "Task ID", "Expires at"]).sorted(&[Sort::Up(2)]);
    table.rows = session
        .client
        .locks()
        .await?
        .into_iter()
        .map(|lock| {
            let seconds = lock.timeout.split('.').next().and_then(|s| s.parse().ok());
            let task = lock.task_id.unwrap_or_default();
            vec![
                lock.kind.into(),
                lock.resource.join(":").into(),
                task.parse().map_or_else(|_| Value::text(task), Value::int),
                Value::time(seconds),
            ]
        })
        .collect();
    session.ui.table(table);
    Ok(())
}
