//! `up`, `down`, `status`: the environment on this machine (`crate::environment`), told to a person.

use super::Context;
use crate::commands::{DownArgs, HomeArgs, UpArgs};
use crate::config::Config;
use crate::environment::{self, Home, home::Isolation, up};
use crate::error::{Error, Result};
use crate::ui::{Table, Tone, Value};
use domain::Secret;

pub async fn up(context: &Context, args: UpArgs) -> Result<()> {
    let home = Home::find(args.home.home);
    let options = up::Options {
        name: args.name,
        network_prefix: args.network_prefix,
    };
    let ui = &context.ui;
    let environment = up::up(&home, &options, &mut |what| ui.line(what)).await?;
    let state = &environment.state;

    let mut config = Config::load(&context.settings.config_path)?;
    let (url, alias) = (state.director_url(), state.name.clone());
    config.update(&url, Some(&alias), |entry| {
        entry.url = url.clone();
        entry.alias = Some(alias.clone());
        entry.ca_cert = Some(environment.ca.clone());
        entry.username = Some(up::USER.to_owned());
        entry.password = Some(Secret::new(environment.credentials.admin_password.clone()));
    });
    config.save()?;

    if let Some(notice) = &environment.notice {
        ui.block(format!("{notice}\n"));
    }
    let verb = if environment.was_running {
        "runs already"
    } else {
        "is up"
    };
    ui.block(format!(
        "The environment '{alias}' {verb}: {url} (folder {})\nManifests' variables: {}\n",
        home.path().display(),
        home.variables().display(),
    ));
    Ok(())
}

pub async fn down(context: &Context, args: DownArgs) -> Result<()> {
    let home = Home::find(args.home.home);
    if args.delete_data {
        context.ui.confirm()?;
    }
    let ui = &context.ui;
    let down = environment::down::down(&home, args.delete_data, &mut |what| ui.line(what)).await?;
    let mut config = Config::load(&context.settings.config_path)?;
    if config.remove_alias(&down.state.name) {
        config.save_or_remove()?;
    }
    let name = &down.state.name;
    ui.block(match (args.delete_data, down.was_running) {
        (true, _) => format!("The environment '{name}' and its data are gone\n"),
        (false, true) => format!("The environment '{name}' is down; bosun up brings it back\n"),
        (false, false) => format!("The environment '{name}' was not running\n"),
    });
    Ok(())
}

pub fn status(context: &Context, args: HomeArgs) -> Result<()> {
    let home = Home::find(args.home);
    let status = environment::status::status(&home)?;
    let state = &status.state;
    let mut table = Table::record("environment");
    table.cell("Name", state.name.as_str());
    table.cell("Home", home.path().display().to_string());
    table.cell("URL", state.director_url());
    table.cell(
        "Isolation",
        match state.isolation {
            Isolation::Namespaces => "namespaces",
            Isolation::Plain => "plain",
        },
    );
    table.cell("Addresses", format!("{}.0.0/16", state.network_prefix));
    context.ui.table(table);
    let mut table = Table::new("processes", &["Process", "State", "PID"]);
    table.rows = status
        .processes
        .iter()
        .map(|process| {
            let (state, tone) = match process.pid {
                Some(_) => ("running", Tone::Good),
                None => ("stopped", Tone::Bad),
            };
            let pid = process
                .pid
                .map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            vec![
                process.name.into(),
                Value::from(state).toned(tone),
                pid.into(),
            ]
        })
        .collect();
    context.ui.table(table);
    if status.running() {
        return Ok(());
    }
    Err(Error::message(format!(
        "The environment '{}' does not run completely. Start it: bosun up",
        state.name
    )))
}

/// What `bosun up` starts in the background; not for people.
pub async fn supervise(args: HomeArgs) -> Result<()> {
    Ok(environment::supervisor::run(&Home::find(args.home)).await?)
}

impl From<environment::Error> for Error {
    fn from(error: environment::Error) -> Self {
        Error::from_chain(&error)
    }
}
