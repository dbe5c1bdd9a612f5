//! Configs (spec cli §16).

use super::Session;
use super::deploy::{print_diff, upload_releases};
use super::template::evaluate;
use crate::commands::{
    ConfigArgs, ConfigsArgs, DiffConfigArgs, NamedConfigArgs, UpdateCloudConfigArgs,
    UpdateConfigArgs, UpdateCpiConfigArgs, UpdateRuntimeConfigArgs,
};
use crate::error::{Error, Result};
use crate::ui::{Table, Value};
use director_client::{Config, ConfigListFilter, DiffSource, TypedConfigKind};

pub async fn list(session: &Session, args: ConfigsArgs) -> Result<()> {
    let filter = ConfigListFilter {
        kind: args.kind.filter(|text| !text.is_empty()),
        name: args.name.filter(|text| !text.is_empty()),
    };
    let configs = session
        .client
        .configs(u32::try_from(args.recent).unwrap_or_default(), &filter)
        .await?;
    let mut table = Table::new("configs", &["ID", "Type", "Name", "Team", "Created At"]);
    table.notes.push("(*) Currently active".to_owned());
    if args.recent <= 1 {
        table.notes.push(
            "Only showing active configs. To see older versions use the --recent=10 option."
                .to_owned(),
        );
    }
    table.rows = configs
        .into_iter()
        .map(|config| {
            let active = if config.current { "*" } else { "" };
            vec![
                Value::text(config.id).suffix(active),
                config.kind.into(),
                config.name.into(),
                Value::some(config.team),
                config.created_at.into(),
            ]
        })
        .collect();
    session.ui.table(table);
    Ok(())
}

/// What a command names a config by.
enum Reference {
    Id(String),
    TypeAndName(String, String),
}

fn reference(args: ConfigArgs) -> Result<Reference> {
    match (args.id, args.kind, args.name) {
        (Some(_), Some(_), _) | (Some(_), _, Some(_)) => Err(Error::message(
            "Can only specify one of ID or parameters '--type' and '--name'",
        )),
        (Some(id), None, None) => Ok(Reference::Id(id)),
        (None, Some(kind), Some(name)) => Ok(Reference::TypeAndName(kind, name)),
        (None, None, None) => Err(Error::message(
            "Either <ID> or parameters --type and --name must be provided",
        )),
        _ => Err(Error::message(
            "Need to specify both parameters '--type' and '--name'",
        )),
    }
}

pub async fn show(session: &Session, args: ConfigArgs) -> Result<()> {
    let config = match reference(args)? {
        Reference::Id(id) => session.client.config_by_id(&id).await?,
        Reference::TypeAndName(kind, name) => session.client.config(&kind, &name).await?,
    };
    print_config(session, config);
    Ok(())
}

fn print_config(session: &Session, config: Config) {
    let mut table = Table::record("config");
    table.cell("ID", config.id);
    table.cell("Type", config.kind);
    table.cell("Name", config.name);
    table.cell("Created At", config.created_at);
    table.cell("Content", config.content);
    session.ui.table(table);
}

pub async fn update(session: &Session, args: UpdateConfigArgs) -> Result<()> {
    let content = evaluate(&args.path, &args.vars_ops, "config")?;
    let (kind, name) = (&args.kind, &args.name);
    let diff = session
        .client
        .diff_config_with_current(kind, name, &content)
        .await?;
    print_diff(&session.ui, &diff.diff);
    session.ui.confirm()?;
    let expected = args
        .expected_latest_id
        .or_else(|| diff.from.map(|from| from.id));
    let config = session
        .client
        .update_config(kind, name, &content, expected.as_deref())
        .await?;
    print_config(session, config);
    Ok(())
}

pub async fn delete(session: &Session, args: ConfigArgs) -> Result<()> {
    session.ui.confirm()?;
    let (deleted, which) = match reference(args)? {
        Reference::Id(id) => (
            session.client.delete_config_by_id(&id).await?,
            format!("id '{id}'"),
        ),
        Reference::TypeAndName(kind, name) => (
            session.client.delete_config(&kind, &name).await?,
            format!("type '{kind}' and name '{name}'"),
        ),
    };
    if !deleted {
        session.ui.line(format!(
            "No configs to delete: no matches for {which} found."
        ));
    }
    Ok(())
}

pub async fn diff(session: &Session, args: DiffConfigArgs) -> Result<()> {
    let from = side(args.from_id.clone(), args.from_content, "from")?;
    let to = side(args.to_id.clone(), args.to_content, "to")?;
    let diff = session.client.diff_configs(&from, &to).await?;
    let mut text = String::new();
    for line in &diff.diff {
        let (mark, _) = super::deploy::mark(line);
        text.push_str(&format!("{mark}{}\n", line.0));
    }
    let mut table = Table::record("");
    table.cell("From ID", Value::some(args.from_id));
    table.cell("To ID", Value::some(args.to_id));
    table.cell("Diff", text);
    session.ui.table(table);
    Ok(())
}

fn side(id: Option<String>, path: Option<String>, which: &str) -> Result<DiffSource> {
    match (id, path) {
        (Some(id), None) => Ok(DiffSource::Id(id)),
        (None, Some(path)) => Ok(DiffSource::Content(fs_err::read_to_string(path)?)),
        (None, None) => Err(Error::message(format!(
            "Either --{which}-id or --{which}-content must be provided"
        ))),
        _ => Err(Error::message(format!(
            "Can only specify one of --{which}-id and --{which}-content"
        ))),
    }
}

pub async fn show_cloud(session: &Session, args: NamedConfigArgs) -> Result<()> {
    let missing = if args.name.is_empty() {
        "No cloud config".to_owned()
    } else {
        format!("No '{}' cloud config", args.name)
    };
    print_typed(session, TypedConfigKind::Cloud, &args.name, missing).await
}

pub async fn show_runtime(session: &Session, args: NamedConfigArgs) -> Result<()> {
    let missing = if args.name.is_empty() {
        "No default runtime config".to_owned()
    } else {
        format!("No '{}' runtime config", args.name)
    };
    print_typed(session, TypedConfigKind::Runtime, &args.name, missing).await
}

pub async fn show_cpi(session: &Session) -> Result<()> {
    print_typed(
        session,
        TypedConfigKind::Cpi,
        "",
        "No CPI config".to_owned(),
    )
    .await
}

async fn print_typed(
    session: &Session,
    kind: TypedConfigKind,
    name: &str,
    missing: String,
) -> Result<()> {
    match session.client.typed_config(kind, name).await? {
        Some(config) => {
            session.ui.block(config.properties);
            Ok(())
        }
        None => Err(Error::Message(missing)),
    }
}

pub async fn update_cloud(session: &Session, args: UpdateCloudConfigArgs) -> Result<()> {
    let content = evaluate(&args.path, &args.vars_ops, "cloud config")?;
    store(session, TypedConfigKind::Cloud, &args.name, &content, false).await
}

pub async fn update_runtime(session: &Session, args: UpdateRuntimeConfigArgs) -> Result<()> {
    let content = evaluate(&args.path, &args.vars_ops, "runtime config")?;
    let content = upload_releases(session, content, args.fix_releases).await?;
    store(
        session,
        TypedConfigKind::Runtime,
        &args.name,
        &content,
        args.no_redact,
    )
    .await
}

pub async fn update_cpi(session: &Session, args: UpdateCpiConfigArgs) -> Result<()> {
    let content = evaluate(&args.path, &args.vars_ops, "cpi config")?;
    store(session, TypedConfigKind::Cpi, "", &content, args.no_redact).await
}

async fn store(
    session: &Session,
    kind: TypedConfigKind,
    name: &str,
    content: &str,
    no_redact: bool,
) -> Result<()> {
    let diff = session
        .client
        .diff_typed_config(kind, name, content, no_redact)
        .await?;
    print_diff(&session.ui, &diff);
    session.ui.confirm()?;
    session
        .client
        .update_typed_config(kind, name, content)
        .await?;
    Ok(())
}
