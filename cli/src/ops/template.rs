//! Manifests and configs put together from files, operations and variables; the engine is `interpolate`.

use super::Context;
use crate::error::{Error, Result, Within};
use crate::interpolate::{self, InterpolateArgs, VarsOpsArgs};

impl From<interpolate::Error> for Error {
    fn from(error: interpolate::Error) -> Self {
        Error::from_chain(&error)
    }
}

/// The text that a file and the flags make. Missing variables stay for the director to find. Errors of the
/// flags stand for themselves; those of the evaluation are told as `Evaluating <what>`.
pub fn evaluate(path: &str, flags: &VarsOpsArgs, what: &str) -> Result<String> {
    let loaded = flags.load()?;
    let text = interpolate::read_template(path)?;
    let value = loaded
        .evaluate(&text, &manifest::template::Options::default())
        .within(|| format!("Evaluating {what}"))?;
    Ok(manifest::yaml::to_cli_string(&value))
}

/// `interpolate`.
pub fn interpolate(context: &Context, args: InterpolateArgs) -> Result<()> {
    context.ui.block(interpolate::run(&args)?);
    Ok(())
}
