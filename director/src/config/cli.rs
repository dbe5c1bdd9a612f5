//! Command line of the binary: `bosun-director --config FILE` and `bosun-director hash-password`.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::{Context as _, bail};

use super::Settings;

const USAGE: &str = "\
usage: bosun-director --config FILE     run the director
       bosun-director --config FILE --check   read the settings and stop
       bosun-director hash-password     read a password from stdin, print its hash for `users`
       bosun-director --version";

/// Parses the arguments and runs what they ask for.
pub fn main() -> anyhow::Result<()> {
    let mut config: Option<PathBuf> = None;
    let mut check = false;
    let mut arguments = std::env::args_os().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.to_str() {
            Some("--config" | "-c") => {
                config = Some(
                    arguments
                        .next()
                        .context("--config wants the path of the settings file")?
                        .into(),
                );
            }
            Some("--check") => check = true,
            Some("hash-password") => return hash_password(),
            Some("--version" | "-v") => {
                return print(&format!("bosun-director {}", crate::VERSION));
            }
            Some("--help" | "-h") => return print(USAGE),
            _ => bail!("'{}' is not known\n{USAGE}", argument.to_string_lossy()),
        }
    }
    let Some(config) = config else {
        bail!("no settings file given\n{USAGE}")
    };
    let settings = Settings::load(&config)?;
    if check {
        return print("the settings are fine");
    }
    crate::run::run(settings)
}

fn hash_password() -> anyhow::Result<()> {
    let mut password = String::new();
    std::io::stdin()
        .read_to_string(&mut password)
        .context("the password can't be read from stdin")?;
    let password = password.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        bail!("the password on stdin is empty");
    }
    print(&crate::auth::hash_password(password)?)
}

fn print(line: &str) -> anyhow::Result<()> {
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{line}").context("stdout can't be written")
}
