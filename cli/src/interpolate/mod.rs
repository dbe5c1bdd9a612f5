//! Documents with operations and variables: the `interpolate` command and the flags that `deploy` and the config
//! updates share with it.
//!
//! [`VarsOpsArgs`] is the group of flags; [`VarsOpsArgs::load`] reads what they name, [`Loaded::evaluate`] turns a template's text into a document in the
//! order of `docs/spec/cli.md` §7. Values come from the flags, the environment and the vars store, which is the only
//! thing written.

mod error;
mod files;
mod generate;
mod sources;
mod store;

use std::io::Read as _;

use clap::Args;
use manifest::ops::{self, Operation};
use manifest::pointer::Pointer;
use manifest::template;
use manifest::yaml::{self, Value};

pub use error::Error;
use sources::Sources;

/// Where variables and operations come from.
#[derive(Args, Debug, Clone, Default)]
pub struct VarsOpsArgs {
    /// Set variable
    #[arg(short = 'v', long = "var", value_name = "VAR=VALUE")]
    pub vars: Vec<String>,
    /// Set variable to file contents
    #[arg(long = "var-file", value_name = "VAR=PATH")]
    pub var_files: Vec<String>,
    /// Load variables from a YAML file
    #[arg(short = 'l', long = "vars-file", value_name = "PATH")]
    pub vars_files: Vec<String>,
    /// Load variables from environment variables (e.g.: 'MY' to load MY_var=value)
    #[arg(long = "vars-env", value_name = "PREFIX")]
    pub vars_env: Vec<String>,
    /// Load/save variables from/to a YAML file
    #[arg(long = "vars-store", value_name = "PATH")]
    pub vars_store: Option<String>,
    /// Load manifest operations from a YAML file
    #[arg(short = 'o', long = "ops-file", value_name = "PATH")]
    pub ops_files: Vec<String>,
}

impl VarsOpsArgs {
    /// Reads and checks everything that the flags name.
    pub fn load(&self) -> Result<Loaded, Error> {
        let sources = Sources::load(self)?;
        let mut operations = Vec::new();
        for file in &self.ops_files {
            operations.extend(
                read_operations(file).map_err(|problem| {
                    Error::flag("-o, --ops-file", "[]opts.OpsFileArg", problem)
                })?,
            );
        }
        Ok(Loaded {
            sources,
            operations,
        })
    }
}

/// Flags whose files were read.
pub struct Loaded {
    sources: Sources,
    operations: Vec<Operation>,
}

impl Loaded {
    /// Evaluates a template. Missing variables keep their placeholders unless `options` says otherwise: the director
    /// resolves the rest.
    pub fn evaluate(mut self, text: &str, options: &template::Options) -> Result<Value, Error> {
        Ok(template::evaluate(
            text,
            &self.operations,
            &mut self.sources,
            options,
        )?)
    }
}

fn read_operations(file: &str) -> Result<Vec<Operation>, String> {
    if file.is_empty() {
        return Err(files::EMPTY_PATH.to_owned());
    }
    let text = files::read(file)
        .map_err(|error| format!("Reading ops file '{file}': {}", error::flat(&error)))?;
    ops::parse(&text, file).map_err(|error| error::flat(&error))
}

/// `interpolate PATH`
#[derive(Args, Debug, Clone, Default)]
pub struct InterpolateArgs {
    /// Path to a template that will be interpolated
    #[arg(value_name = "PATH", value_parser = crate::commands::types::input_file)]
    pub template: String,
    #[command(flatten)]
    pub vars_ops: VarsOpsArgs,
    /// Extract value out of template (e.g.: /private_key)
    #[arg(long = "path", value_name = "OP-PATH")]
    pub pointer: Option<String>,
    /// Expect all variables to be found, otherwise error
    #[arg(long)]
    pub var_errs: bool,
    /// Expect all variables to be used, otherwise error
    #[arg(long)]
    pub var_errs_unused: bool,
}

/// What the command prints, with its final newline.
pub fn run(args: &InterpolateArgs) -> Result<String, Error> {
    let loaded = args.vars_ops.load()?;
    let path = args.pointer.as_deref().map(Pointer::parse).transpose();
    let path = path.map_err(|error| Error::flag("--path", "patch.Pointer", error.to_string()))?;
    let text = read_template(&args.template)?;
    let picked = path.is_some();
    let options = template::Options {
        expect_all_found: args.var_errs,
        expect_all_used: args.var_errs_unused,
        path,
    };
    let value = loaded.evaluate(&text, &options)?;
    Ok(match value {
        Value::String(text) if picked => format!("{text}\n"),
        value => yaml::to_cli_string(&value),
    })
}

/// The text of a template file; `-` is standard input.
pub fn read_template(path: &str) -> Result<String, Error> {
    if path != "-" {
        return Ok(files::read(&files::expand(path)?)?);
    }
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|source| Error::Stdin { source })?;
    Ok(text)
}
