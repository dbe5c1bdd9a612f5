//! The CPIs that this director knows. Tasks get a handle of their own ([`Cpis::for_task`]) whose calls are
//! shown in the task's `cpi` and `debug` outputs; what the CPI says of an object goes to the user with the
//! original's texts (docs/spec/cpi.md §3).

use std::sync::Arc;

use cpi::{CallLog, Cpi, ExternalCpi};

use crate::error::Error;
use crate::tasks::Context;

/// The director's own CPI; named ones of a cpi-config come beside it.
pub struct Cpis {
    default: Provider,
}

enum Provider {
    /// An executable, run once a call.
    External(ExternalCpi),
    /// Anything else that keeps the contract (a model in tests).
    Shared(Arc<dyn Cpi>),
}

impl Cpis {
    /// The CPI executable of the settings.
    pub fn external(cpi: ExternalCpi) -> Cpis {
        Cpis {
            default: Provider::External(cpi),
        }
    }

    /// A CPI in this process.
    pub fn shared(cpi: Arc<dyn Cpi>) -> Cpis {
        Cpis {
            default: Provider::Shared(cpi),
        }
    }

    /// The CPIs with their messages going to a task's outputs.
    pub fn for_task(&self, context: &Context) -> TaskCpis {
        let default: Arc<dyn Cpi> = match &self.default {
            Provider::External(cpi) => Arc::new(cpi.with_log(Arc::new(TaskLog(context.clone())))),
            Provider::Shared(cpi) => cpi.clone(),
        };
        TaskCpis { default }
    }

    /// The CPI by name without a task's log; empty means the director's own.
    pub fn get(&self, name: &str) -> Result<Arc<dyn Cpi>, Error> {
        known(name)?;
        Ok(match &self.default {
            Provider::External(cpi) => Arc::new(cpi.clone()),
            Provider::Shared(cpi) => cpi.clone(),
        })
    }
}

/// The CPIs as one task sees them. Cheap to clone.
#[derive(Clone)]
pub struct TaskCpis {
    default: Arc<dyn Cpi>,
}

impl TaskCpis {
    /// The CPI by name; empty means the director's own.
    ///
    /// # Errors
    /// When no CPI has this name.
    pub fn get(&self, name: &str) -> Result<Arc<dyn Cpi>, Error> {
        known(name)?;
        Ok(self.default.clone())
    }
}

fn known(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Ok(());
    }
    Err(Error::unclassified(format!("CPI '{name}' not found in cpi-config (because cpi-config is not set)"))
        .hint("Remove `cpi` from the AZ in the cloud config, or upload the stemcell for the director's own CPI."))
}

/// A failed call in the words of the original, with what to do next.
pub fn failed(error: cpi::Error) -> Error {
    let shown = Error::unclassified(error.to_string());
    let shown = match error.hint() {
        Some(hint) => shown.hint(hint),
        None => shown,
    };
    shown.caused_by(error)
}

struct TaskLog(Context);

impl CallLog for TaskLog {
    fn cpi(&self, line: &str) {
        self.0.cpi_log(line);
    }

    fn debug(&self, text: &str) {
        self.0.debug(text);
    }
}
