//! [`ExternalCpi`]: the trait [`Cpi`](crate::Cpi) by running an executable, one process a call.
//!
//! Used by the director and by `create-env`. It negotiates the version (`docs/spec/cpi.md` §1.7), gives every call its
//! context (§1.2), stops a call that takes too long with everything it started, shows the CPI's own messages
//! as they come without secrets, and turns answers into results or errors (§3).
//!
//! A call's answer is written to a file by a small wrapper that outlives the caller. So when the director dies during
//! `create_vm`, the same call made by the next director (same agent id) waits for the running one or reads
//! its answer, instead of making a second VM:
//!
//! ```text
//!   director             wrapper (own process group)         CPI
//!      | spawn ------------->| ---- stdin: unlinked file ---->|
//!      |  (dies)             |<--- stdout, stderr: files -----|
//!   director' same key       | status file, then ends
//!      | finds the call's folder: waits for status, reads the answer
//!      | settle(key): the folder goes
//! ```

mod cpi;
mod process;
mod spool;

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::sync::Mutex;

use crate::redact::{self, Secrets};
use crate::wire::{Request, Response};
use crate::{Error, Fault, Info};
use spool::{Entry, Spool};

/// How a CPI executable is run. No `Debug`: `properties` and `env` hold credentials.
#[derive(Clone)]
pub struct ExternalCpiConfig {
    /// The executable.
    pub path: PathBuf,
    /// Added to the fixed environment of §1.1 (`PATH`; `HOME` and `TMPDIR` where set).
    pub env: BTreeMap<String, String>,
    /// Properties of the CPI config's entry: they go flat into every call's context.
    pub properties: Map<String, Value>,
    pub director_uuid: String,
    /// How long one call may take; the contract has no limit, so choose hours, not minutes.
    pub timeout: Duration,
    /// Where calls under way and unread answers are kept. Must outlive the director's process.
    pub spool_dir: PathBuf,
    /// The highest version to use, 2 or 3.
    pub preferred_api_version: u32,
}

impl ExternalCpiConfig {
    /// A configuration with the usual limits: version 3, one hour a call.
    pub fn new(
        path: impl Into<PathBuf>,
        spool_dir: impl Into<PathBuf>,
        director_uuid: impl Into<String>,
    ) -> Self {
        ExternalCpiConfig {
            path: path.into(),
            env: BTreeMap::new(),
            properties: Map::new(),
            director_uuid: director_uuid.into(),
            timeout: Duration::from_secs(3600),
            spool_dir: spool_dir.into(),
            preferred_api_version: 3,
        }
    }
}

/// Where what a call says goes. Texts are free of known secrets.
pub trait CallLog: Send + Sync {
    /// A line the CPI wrote, live: for the task's CPI output.
    fn cpi(&self, line: &str);
    /// The request (redacted) and the outcome: for the task's debug output.
    fn debug(&self, text: &str);
}

/// Keeps nothing.
pub struct NoLog;

impl CallLog for NoLog {
    fn cpi(&self, _line: &str) {}
    fn debug(&self, _text: &str) {}
}

/// A CPI behind an executable. Cheap to clone; clones share what was negotiated.
#[derive(Clone)]
pub struct ExternalCpi {
    config: Arc<ExternalCpiConfig>,
    spool: Spool,
    log: Arc<dyn CallLog>,
    /// What the executable said of itself, and its modification time then: a new one is asked again.
    negotiated: Arc<Mutex<Option<(SystemTime, Info)>>>,
}

/// What differs between calls besides method and arguments.
#[derive(Default)]
struct CallOptions {
    stemcell_api_version: Option<u32>,
    /// Set for creations: what makes a repeated call the same call.
    key: Option<String>,
}

impl ExternalCpi {
    /// Does not run the executable yet.
    pub fn new(config: ExternalCpiConfig) -> Self {
        ExternalCpi {
            spool: Spool::new(config.spool_dir.clone()),
            config: Arc::new(config),
            log: Arc::new(NoLog),
            negotiated: Arc::default(),
        }
    }

    /// The same CPI with its messages going to `log`: one handle a task.
    pub fn with_log(&self, log: Arc<dyn CallLog>) -> Self {
        ExternalCpi {
            log,
            ..self.clone()
        }
    }

    /// The modification time of the executable; an error if it can't be run.
    fn executable(&self) -> Result<SystemTime, Error> {
        let path = &self.config.path;
        match fs_err::metadata(path) {
            Ok(found) if found.is_file() && found.permissions().mode() & 0o111 != 0 => {
                Ok(found.modified().unwrap_or(SystemTime::UNIX_EPOCH))
            }
            _ => Err(Error::NotExecutable { path: path.clone() }),
        }
    }

    /// `info`, asked once for a given executable, and checked.
    async fn negotiate(&self) -> Result<Info, Error> {
        let modified = self.executable()?;
        let mut negotiated = self.negotiated.lock().await;
        if let Some((when, info)) = negotiated.as_ref()
            && *when == modified
        {
            return Ok(info.clone());
        }
        self.spool.sweep();
        let answer = match self
            .exchange("info", vec![], None, CallOptions::default())
            .await
        {
            Err(error) if error.is_not_implemented() => return Err(Error::NoApiVersion),
            answer => answer?,
        };
        let reported = answer["api_version"].as_u64().ok_or(Error::NoApiVersion)?;
        let effective = reported.min(u64::from(self.config.preferred_api_version));
        if effective < 2 {
            return Err(Error::VersionNotSupported(effective));
        }
        let formats = answer["stemcell_formats"].as_array().map(Vec::as_slice);
        let info = Info {
            stemcell_formats: formats
                .unwrap_or_default()
                .iter()
                .filter_map(|format| format.as_str().map(str::to_string))
                .collect(),
            api_version: effective as u32,
            idempotent_creates: answer["idempotent_creates"] == true,
        };
        *negotiated = Some((modified, info.clone()));
        Ok(info)
    }

    /// One call with the negotiated version.
    async fn call(
        &self,
        method: &'static str,
        arguments: Vec<Value>,
        options: CallOptions,
    ) -> Result<Value, Error> {
        let info = self.negotiate().await?;
        self.exchange(method, arguments, Some(info), options).await
    }

    /// One process, or the answer that an earlier one left for the same key.
    async fn exchange(
        &self,
        method: &'static str,
        arguments: Vec<Value>,
        info: Option<Info>,
        options: CallOptions,
    ) -> Result<Value, Error> {
        self.executable()?;
        let request_id = new_request_id();
        let context = self.context(&request_id, &options);
        let shown = redact::request(method, &arguments, &context, &self.config.properties);
        self.log.debug(&format!(
            "[external-cpi] [{request_id}] request: {shown} with command: {}",
            self.config.path.display()
        ));
        let secrets = Secrets::of(arguments.iter().chain(self.config.properties.values()))
            .and(self.config.properties.iter());
        let request = Request {
            method: method.to_string(),
            arguments,
            context,
            api_version: info.as_ref().map(|info| info.api_version),
        };
        let may_repeat = info.is_none_or(|info| info.idempotent_creates);
        let call = process::Call {
            config: &self.config,
            method,
            request_id: &request_id,
            log: self.log.as_ref(),
            secrets: &secrets,
        };
        let (entry, finished) = match &options.key {
            None => {
                call.start_and_wait(self.spool.anonymous(method)?, &request)
                    .await?
            }
            Some(key) => self.keyed(&call, &request, key, may_repeat).await?,
        };
        let outcome = self.read_answer(&call, finished);
        if outcome.is_err() || options.key.is_none() {
            entry.remove();
        }
        match &outcome {
            Ok(_) => self.log.debug(&format!(
                "[external-cpi] [{request_id}] '{method}' succeeded"
            )),
            Err(error) => self
                .log
                .debug(&format!("[external-cpi] [{request_id}] {error}")),
        }
        outcome
    }

    /// A creation: at most one process for a key, whoever started it.
    async fn keyed(
        &self,
        call: &process::Call<'_>,
        request: &Request,
        key: &str,
        may_repeat: bool,
    ) -> Result<(Entry, process::Finished), Error> {
        loop {
            let Some(earlier) = self.spool.claim(call.method, key)? else {
                let entry = self.spool.entry(call.method, key);
                return call.start_and_wait(entry, request).await;
            };
            self.log.debug(&format!(
                "[external-cpi] [{}] '{}' for {key} was started before: waiting for its answer",
                call.request_id, call.method
            ));
            match call.wait_for_other(&earlier).await? {
                // An error means that nothing was made: ask again.
                Some(finished) if finished.result().is_some() => {
                    return Ok((earlier, finished));
                }
                None if !may_repeat => {
                    earlier.remove();
                    return Err(Error::ReplyLost {
                        method: call.method.to_string(),
                        key: key.to_string(),
                    });
                }
                Some(_) | None => earlier.remove(),
            }
        }
    }

    /// What creations of this method made whose outcome was never settled, as their caller died: key and result each.
    /// Waits for those that still run; starts nothing. Settle each when it is recorded.
    pub async fn unsettled(&self, method: &'static str) -> Result<Vec<(String, Value)>, Error> {
        let secrets = Secrets::of(self.config.properties.values());
        let mut made = Vec::new();
        for (key, entry) in self.spool.keyed(method) {
            let call = process::Call {
                config: &self.config,
                method,
                request_id: "unknown",
                log: self.log.as_ref(),
                secrets: &secrets,
            };
            let finished = call.wait_for_other(&entry).await?;
            match finished.and_then(|finished| finished.result()) {
                Some(result) => made.push((key, result)),
                // Nothing was made, or nobody can tell.
                None => entry.remove(),
            }
        }
        Ok(made)
    }

    fn context(&self, request_id: &str, options: &CallOptions) -> Map<String, Value> {
        let mut context = Map::new();
        context.insert(
            "director_uuid".into(),
            self.config.director_uuid.clone().into(),
        );
        context.insert("request_id".into(), request_id.into());
        if let Some(version) = options.stemcell_api_version {
            let vm = serde_json::json!({"stemcell": {"api_version": version}});
            context.insert("vm".into(), vm);
        }
        if let Some(key) = &options.key {
            context.insert("idempotency_key".into(), key.clone().into());
        }
        // compat: properties come last and win, whatever they are called.
        context.extend(self.config.properties.clone());
        context
    }

    fn read_answer(
        &self,
        call: &process::Call<'_>,
        finished: process::Finished,
    ) -> Result<Value, Error> {
        let response = Response::parse(&finished.stdout).map_err(|detail| Error::Garbage {
            detail: call.secrets.scrub(&detail),
            method: call.method.to_string(),
            request_id: call.request_id.to_string(),
            exit_status: finished.exit_status,
        })?;
        for line in response.log.lines() {
            self.log.cpi(&call.secrets.scrub(line));
        }
        match response.error {
            None => Ok(response.result),
            Some(wire) => {
                let mut fault = Fault::from(wire);
                fault.message = call.secrets.scrub(&fault.message);
                Err(Error::Fault {
                    fault,
                    method: call.method.to_string(),
                    request_id: call.request_id.to_string(),
                })
            }
        }
    }
}

/// `cpi-` and six digits, as the original's.
fn new_request_id() -> String {
    let number = uuid::Uuid::new_v4().as_u128() % 900_000 + 100_000;
    format!("cpi-{number}")
}
