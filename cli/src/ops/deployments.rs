//! Deployments: list, show, manifest, variables, delete (spec cli §11).

use super::Session;
use crate::commands::ForceArgs;
use crate::error::{Error, Result};
use crate::ui::{Sort, Table, Value};
use director_client::DeploymentRow;

fn releases(row: &DeploymentRow) -> Value {
    let mut names: Vec<String> = row
        .releases
        .iter()
        .map(|release| format!("{}/{}", release.name, release.version))
        .collect();
    names.sort();
    Value::list(names)
}

fn stemcells(row: &DeploymentRow) -> Value {
    let mut names: Vec<String> = row
        .stemcells
        .iter()
        .map(|stemcell| format!("{}/{}", stemcell.name, stemcell.version))
        .collect();
    names.sort();
    Value::list(names)
}

pub async fn list(session: &Session) -> Result<()> {
    let header = ["Name", "Release(s)", "Stemcell(s)", "Team(s)"];
    let mut table = Table::new("deployments", &header).sorted(&[Sort::Up(0)]);
    table.rows = session
        .client
        .deployments()
        .await?
        .iter()
        .map(|row| {
            vec![
                row.name.as_str().into(),
                releases(row),
                stemcells(row),
                Value::list(&row.teams),
            ]
        })
        .collect();
    session.ui.table(table);
    Ok(())
}

pub async fn show(session: &Session) -> Result<()> {
    let name = session.deployment()?;
    let rows = session.client.deployments_in_full().await?;
    let row = rows
        .iter()
        .find(|row| row.name == name)
        .ok_or_else(|| Error::message(format!("Deployment '{name}' doesn't exist")))?;
    let configs = session
        .client
        .deployment_configs(name)
        .await?
        .into_iter()
        .map(|config| format!("{} {}/{}", config.id, config.kind, config.name));
    let header = ["Name", "Release(s)", "Stemcell(s)", "Config(s)", "Team(s)"];
    let mut table = Table::new("deployments", &header);
    table.rows = vec![vec![
        name.into(),
        releases(row),
        stemcells(row),
        Value::list(configs),
        Value::list(&row.teams),
    ]];
    session.ui.table(table);
    Ok(())
}

pub async fn manifest(session: &Session) -> Result<()> {
    let manifest = session
        .client
        .deployment_manifest(session.deployment()?)
        .await?;
    session.ui.block(manifest.unwrap_or_default());
    Ok(())
}

pub async fn variables(session: &Session) -> Result<()> {
    let mut table = Table::new("variables", &["ID", "Name"]).sorted(&[Sort::Up(1)]);
    table.rows = session
        .client
        .variables(session.deployment()?)
        .await?
        .into_iter()
        .map(|row| vec![row.id.into(), row.name.into()])
        .collect();
    session.ui.table(table);
    Ok(())
}

pub async fn delete(session: &Session, args: ForceArgs) -> Result<()> {
    session.ui.confirm()?;
    session
        .client
        .delete_deployment(session.deployment()?, args.force, &session.reporter)
        .await?;
    Ok(())
}
