//! Questions (spec cli §4.3). With `-n` confirmations are accepted silently and everything else fails.

use super::{Kind, Mode, Ui, put};
use crate::error::{Error, Result};
use std::io::{BufRead, IsTerminal};

impl Ui {
    /// Asks `Continue?`; a no is the error `Stopped`.
    pub fn confirm(&self) -> Result<()> {
        self.confirm_labeled("Continue?")
    }

    /// Asks any yes/no question; a no is the error `Stopped`.
    pub fn confirm_labeled(&self, label: &str) -> Result<()> {
        if !self.is_interactive() {
            return Ok(());
        }
        self.may_ask("confirmation")?;
        self.state().space(Kind::Spaced);
        loop {
            put(&format!("{label} [yN]: "));
            match self.answer("confirmation")?.as_str() {
                "y" | "Y" | "yes" => return Ok(()),
                "" | "n" | "N" | "no" => return Err(Error::message("Stopped")),
                _ => put("invalid input (not y, n, yes, or no)\n"),
            }
        }
    }

    /// Asks for a text; an empty answer is the default.
    pub fn ask_text(&self, label: &str, default: &str) -> Result<String> {
        self.must_ask("input")?;
        self.state().space(Kind::Question);
        put(&format!("{label} ({default}): "));
        let answer = self.answer("text")?;
        Ok(if answer.is_empty() {
            default.to_owned()
        } else {
            answer
        })
    }

    /// Asks for a secret; nothing typed is shown.
    pub fn ask_password(&self, label: &str) -> Result<String> {
        self.must_ask("password")?;
        self.state().space(Kind::Question);
        put(&format!("{label} (): "));
        let silence = Silence::begin();
        let line = read_line("password");
        drop(silence);
        put("\n");
        line
    }

    /// Asks for one of several; the index of the answer.
    pub fn ask_choice(&self, label: &str, options: &[String], default: usize) -> Result<usize> {
        self.must_ask("a choice")?;
        self.state().space(Kind::Spaced);
        for (number, option) in options.iter().enumerate() {
            put(&format!("{}: {option}\n", number + 1));
        }
        loop {
            put(&format!("{label} ({}): ", default + 1));
            let answer = self.answer("choice")?;
            if answer.is_empty() {
                return Ok(default);
            }
            match answer.parse::<usize>() {
                Ok(number) if (1..=options.len()).contains(&number) => return Ok(number - 1),
                _ => put(&format!(
                    "invalid selection (must be 1-{})\n",
                    options.len()
                )),
            }
        }
    }

    fn must_ask(&self, what: &str) -> Result<()> {
        if !self.is_interactive() {
            return Err(Error::message(format!(
                "Cannot ask for {what} in non-interactive UI; give the answer with flags, or leave out -n/--non-interactive"
            )));
        }
        self.may_ask(what)
    }

    fn may_ask(&self, what: &str) -> Result<()> {
        if self.state().options.mode == Mode::Json {
            return Err(Error::message(format!(
                "Cannot ask for {what} in JSON UI; add -n/--non-interactive to accept"
            )));
        }
        Ok(())
    }

    /// Reads an answer, and shows it when no terminal did.
    fn answer(&self, what: &str) -> Result<String> {
        let line = read_line(what)?;
        if !std::io::stdin().is_terminal() {
            put(&format!("{line}\n"));
        }
        Ok(line)
    }
}

fn read_line(what: &str) -> Result<String> {
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    let cause = match read {
        Ok(0) => "EOF".to_owned(),
        Ok(_) => return Ok(line.trim_end_matches(['\n', '\r']).to_owned()),
        Err(error) => error.to_string(),
    };
    Err(Error::message(cause).within(format!("Asking for {what}")))
}

/// Switches the terminal's echo off while it lives.
struct Silence(Option<nix::sys::termios::Termios>);

impl Silence {
    fn begin() -> Self {
        use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};
        let stdin = std::io::stdin();
        let Ok(before) = tcgetattr(&stdin) else {
            return Silence(None);
        };
        let mut silent = before.clone();
        silent.local_flags.remove(LocalFlags::ECHO);
        match tcsetattr(&stdin, SetArg::TCSANOW, &silent) {
            Ok(()) => Silence(Some(before)),
            Err(_) => Silence(None),
        }
    }
}

impl Drop for Silence {
    fn drop(&mut self) {
        use nix::sys::termios::{SetArg, tcsetattr};
        if let Some(before) = &self.0 {
            // If this fails the terminal is gone, and with it the person.
            let _ = tcsetattr(std::io::stdin(), SetArg::TCSANOW, before);
        }
    }
}
