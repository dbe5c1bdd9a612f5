//! Somebody who types commands.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A home, and a working folder in it.
pub struct User {
    home: tempfile::TempDir,
    cwd: PathBuf,
}

impl User {
    pub fn new(cwd: &str) -> Self {
        let home = tempfile::tempdir().expect("a folder");
        let cwd = home.path().join(cwd);
        std::fs::create_dir(&cwd).expect("a folder");
        User { home, cwd }
    }

    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A path in the working folder.
    pub fn path(&self, below: &str) -> PathBuf {
        self.cwd.join(below)
    }

    pub fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        std::fs::write(path, content).expect("written");
    }

    pub fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// Runs the program, or the one that `BOSUN_TEST_CLI` names, with more environment variables.
    pub fn run_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
        let program = std::env::var("BOSUN_TEST_CLI")
            .unwrap_or_else(|_| env!("CARGO_BIN_EXE_bosun").to_owned());
        Command::new(program)
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", std::env::var("PATH").unwrap_or_default())
            .env("GIT_CEILING_DIRECTORIES", self.home())
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .envs(variables.iter().copied())
            .args(arguments)
            .current_dir(&self.cwd)
            .output()
            .expect("the program runs")
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[])
    }

    /// Runs a command that has to succeed; what it prints.
    pub fn succeed_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let output = self.run_with(arguments, variables);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    pub fn succeed(&self, arguments: &[&str]) -> String {
        self.succeed_with(arguments, &[])
    }

    /// Runs a command that has to fail; what it says.
    pub fn fail_with(&self, arguments: &[&str], variables: &[(&str, &str)]) -> String {
        let output = self.run_with(arguments, variables);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    pub fn fail(&self, arguments: &[&str]) -> String {
        self.fail_with(arguments, &[])
    }
}
