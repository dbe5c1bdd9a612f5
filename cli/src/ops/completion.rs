//! `completion SHELL`: the script that a shell loads to complete commands and flags. It serves the name of the
//! original too, for those who have `alias bosh=bosun`.

use super::Context;
use crate::commands::{Cli, CompletionArgs};
use crate::error::{Error, Result};
use clap::CommandFactory;
use clap_complete::Shell;

pub fn print(context: &Context, args: CompletionArgs) -> Result<()> {
    let (shell, alias) = match args.shell.as_str() {
        "bash" => (
            Shell::Bash,
            "\ncomplete -F _bosun -o bashdefault -o default bosh\n",
        ),
        "zsh" => (Shell::Zsh, "\ncompdef _bosun bosh\n"),
        "fish" => (Shell::Fish, "\ncomplete --command bosh --wraps bosun\n"),
        other => {
            return Err(Error::message(format!(
                "Expected shell '{other}' to be one of 'bash', 'zsh', 'fish'"
            )));
        }
    };
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "bosun", &mut script);
    context
        .ui
        .block(format!("{}{alias}", String::from_utf8_lossy(&script)));
    Ok(())
}
