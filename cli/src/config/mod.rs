//! Where the CLI learns whom to talk to: flags, `BOSH_*` variables and `~/.bosh/config`
//! (spec cli §1, §2). The only module that reads the environment.

mod file;
mod variables;

pub use file::{Config, Environment};
pub use variables::{Paths, boolean, clean, expand, given, home, optional, proxy};

use crate::commands::Globals;
use crate::error::Result;
use crate::ui;
use std::io::IsTerminal;
use std::path::PathBuf;

/// Flags and variables together, flags winning. No `Debug`: it holds a secret.
#[derive(Clone)]
pub struct Settings {
    pub config_path: PathBuf,
    pub environment: Option<String>,
    pub ca_cert: Option<String>,
    pub client: Option<String>,
    pub client_secret: Option<String>,
    pub deployment: Option<String>,
    pub parallel: usize,
    pub ui: ui::Options,
}

impl Settings {
    /// Merges; bad values of variables are errors in the original's words.
    pub fn from_flags(flags: &Globals) -> Result<Self> {
        let tty = flags.tty || boolean("BOSH_TTY", "--tty")?;
        let non_interactive =
            flags.non_interactive || boolean("BOSH_NON_INTERACTIVE", "-n, --non-interactive")?;
        boolean("BOSH_SHA2", "--sha2")?;
        let is_terminal = std::io::stdout().is_terminal();
        let mode = if flags.json {
            ui::Mode::Json
        } else if tty || is_terminal {
            ui::Mode::Terminal
        } else {
            ui::Mode::Plain
        };
        let dumb = optional("NO_COLOR").is_some() || optional("TERM").as_deref() == Some("dumb");
        let config_path = match flags.config.clone().or_else(|| optional("BOSH_CONFIG")) {
            Some(path) => variables::expand(&path)?,
            None => home()?.join(".bosh/config"),
        };
        let ca_cert = flags.ca_cert.clone().or_else(|| given("BOSH_CA_CERT"));
        Ok(Settings {
            config_path,
            environment: flags
                .environment
                .clone()
                .or_else(|| optional("BOSH_ENVIRONMENT")),
            ca_cert: ca_cert.map(|text| read_ca_cert(&text)).transpose()?,
            client: flags.client.clone().or_else(|| optional("BOSH_CLIENT")),
            client_secret: flags
                .client_secret
                .clone()
                .or_else(|| optional("BOSH_CLIENT_SECRET")),
            deployment: flags
                .deployment
                .clone()
                .or_else(|| optional("BOSH_DEPLOYMENT")),
            parallel: usize::try_from(flags.parallel).unwrap_or(1).max(1),
            ui: ui::Options {
                mode,
                color: is_terminal && !flags.no_color && !dumb && mode == ui::Mode::Terminal,
                interactive: !non_interactive,
                columns: flags.column.clone(),
            },
        })
    }
}

/// `--ca-cert` is a path or the certificate itself; it was checked when flags were read.
fn read_ca_cert(text: &str) -> Result<String> {
    if text.contains("BEGIN") {
        return Ok(text.to_owned());
    }
    Ok(fs_err::read_to_string(variables::expand(text)?)?)
}
