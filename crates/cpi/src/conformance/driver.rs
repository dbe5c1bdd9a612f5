//! Runs the executable as a caller would and keeps account of what it made.

use serde_json::{Map, Value, json};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::Profile;
use crate::wire::Response;
use crate::{Fault, FaultKind};

/// A resource to remove again.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Made {
    Vm(String),
    Disk(String),
    Snapshot(String),
    Stemcell(String),
}

/// The CPI under test.
pub(super) struct World {
    executable: PathBuf,
    pub profile: Profile,
    made: Vec<Made>,
    /// Imported once for all checks that only need one.
    stemcell: Option<String>,
    agents: u32,
}

/// What one process did.
pub(super) struct Ran {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub exit_code: Option<i32>,
    pub took: Duration,
}

impl World {
    pub fn new(executable: &Path, profile: &Profile) -> World {
        World {
            executable: executable.to_path_buf(),
            profile: profile.clone(),
            made: Vec::new(),
            stemcell: None,
            agents: 0,
        }
    }

    /// One process with this on stdin. An error when it or something that holds its pipes does not end.
    pub fn run(&self, stdin: &[u8]) -> Result<Ran, String> {
        let started = Instant::now();
        let mut child = Command::new(&self.executable)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(&self.profile.env)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| format!("could not start: {e}"))?;
        let mut input = child.stdin.take().expect("piped");
        // A CPI may answer without reading all of it.
        let _ = input.write_all(stdin);
        drop(input);
        let stdout = read_all(child.stdout.take().expect("piped"));
        let stderr = read_all(child.stderr.take().expect("piped"));
        let deadline = started + Duration::from_secs(self.profile.timeout);
        let mut receive = |stream: mpsc::Receiver<Vec<u8>>, name: &str| {
            let left = deadline.saturating_duration_since(Instant::now());
            stream.recv_timeout(left).map_err(|_| {
                let _ = child.kill();
                let _ = child.wait();
                format!(
                    "{name} was not closed within {} seconds",
                    self.profile.timeout
                )
            })
        };
        let stdout = receive(stdout, "stdout")?;
        let stderr = receive(stderr, "stderr")?;
        let status = child.wait().map_err(|e| e.to_string())?;
        Ok(Ran {
            stdout,
            stderr,
            exit_code: status.code(),
            took: started.elapsed(),
        })
    }

    /// The context of an ordinary call.
    pub fn context(&self) -> Map<String, Value> {
        let mut context = Map::new();
        context.insert("director_uuid".into(), "conformance".into());
        context.insert("request_id".into(), "cpi-100000".into());
        let version = self.profile.stemcell.api_version;
        context.insert("vm".into(), json!({"stemcell": {"api_version": version}}));
        context.extend(self.profile.properties.clone());
        context
    }

    /// A call whose answer must keep the form of the contract. The outer error is a breach.
    pub fn call_with(
        &self,
        method: &str,
        arguments: Value,
        context: Map<String, Value>,
        api_version: Option<u32>,
    ) -> Result<Result<Value, Fault>, String> {
        let mut request = json!({"method": method, "arguments": arguments, "context": context});
        if let Some(version) = api_version {
            request["api_version"] = version.into();
        }
        let ran = self.run(request.to_string().as_bytes())?;
        self.judge(method, &ran)
    }

    /// Checks 2, 3 and 8 on any answer.
    pub fn judge(&self, method: &str, ran: &Ran) -> Result<Result<Value, Fault>, String> {
        let shown = String::from_utf8_lossy(&ran.stdout).into_owned()
            + &String::from_utf8_lossy(&ran.stderr);
        for secret in self
            .profile
            .secrets
            .iter()
            .filter(|secret| !secret.is_empty())
        {
            if shown.contains(secret.as_str()) {
                return Err(format!("'{method}' shows a secret"));
            }
        }
        let response = Response::parse(&ran.stdout)
            .map_err(|e| format!("'{method}' answered wrongly: {e}"))?;
        if ran.exit_code != Some(0) {
            return Err(format!(
                "'{method}' gave an answer, but exit status {:?}",
                ran.exit_code
            ));
        }
        Ok(match response.error {
            Some(fault) => Err(fault.into()),
            None => Ok(response.result),
        })
    }

    pub fn call(&self, method: &str, arguments: Value) -> Result<Result<Value, Fault>, String> {
        self.call_with(method, arguments, self.context(), Some(2))
    }

    /// A call that must succeed.
    pub fn must(&self, method: &str, arguments: Value) -> Result<Value, String> {
        self.call(method, arguments)?.map_err(|fault| {
            format!(
                "'{method}' failed: {} {}",
                fault.kind.wire_name(),
                fault.message
            )
        })
    }

    /// A call that must fail.
    pub fn must_fail(&self, method: &str, arguments: Value) -> Result<Fault, String> {
        match self.call(method, arguments)? {
            Ok(_) => Err(format!("'{method}' succeeded, where an error was due")),
            Err(fault) => Ok(fault),
        }
    }

    /// A call of something the profile may be without. `None`: rightly refused.
    pub fn may(&self, method: &str, arguments: Value) -> Result<Option<Value>, String> {
        if !self.profile.without.iter().any(|name| name == method) {
            return self.must(method, arguments).map(Some);
        }
        let fault = self.must_fail(method, arguments)?;
        match fault.kind {
            FaultKind::NotImplemented | FaultKind::NotSupported => Ok(None),
            kind => Err(format!(
                "'{method}' is refused with {} instead of NotImplemented",
                kind.wire_name()
            )),
        }
    }

    pub fn note(&mut self, made: Made) {
        self.made.push(made);
    }

    pub fn forget(&mut self, made: &Made) {
        self.made.retain(|other| other != made);
    }

    /// The stemcell, imported at its first use.
    pub fn stemcell(&mut self) -> Result<String, String> {
        if self.stemcell.is_none() {
            self.stemcell = Some(self.import()?);
        }
        Ok(self.stemcell.clone().expect("just set"))
    }

    pub fn import(&self) -> Result<String, String> {
        let profile = &self.profile.stemcell;
        let cid = self.must(
            "create_stemcell",
            json!([profile.image, profile.cloud_properties]),
        )?;
        text("create_stemcell", &cid)
    }

    /// Arguments of a `create_vm` in the n-th set of networks, with an agent id that no other has.
    pub fn vm_arguments(&mut self, networks: usize) -> Result<Vec<Value>, String> {
        let stemcell = self.stemcell()?;
        self.agents += 1;
        let agent = format!("conformance-{}-{}", std::process::id(), self.agents);
        let networks = self
            .profile
            .networks
            .get(networks)
            .ok_or("the profile needs more sets of networks")?;
        Ok(vec![
            agent.into(),
            stemcell.into(),
            Value::Object(self.profile.vm_cloud_properties.clone()),
            Value::Object(networks.clone()),
            json!([]),
            json!({"bosh": {"group": "conformance", "tags": {"suite": "conformance"}}}),
        ])
    }

    pub fn create_vm(&mut self, networks: usize) -> Result<String, String> {
        let arguments = self.vm_arguments(networks)?;
        self.create_vm_with(arguments).map(|(cid, _)| cid)
    }

    pub fn create_vm_with(&mut self, arguments: Vec<Value>) -> Result<(String, Value), String> {
        let result = self.must("create_vm", arguments.into())?;
        let cid = text("create_vm", &result[0])?;
        self.note(Made::Vm(cid.clone()));
        Ok((cid, result[1].clone()))
    }

    pub fn delete_vm(&mut self, cid: &str) -> Result<(), String> {
        self.must("delete_vm", json!([cid]))?;
        self.forget(&Made::Vm(cid.to_string()));
        Ok(())
    }

    pub fn create_disk(&mut self, vm: Option<&str>) -> Result<String, String> {
        let properties = self.profile.disk_cloud_properties.clone();
        let result = self.must(
            "create_disk",
            json!([self.profile.disk_size, properties, vm]),
        )?;
        let cid = text("create_disk", &result)?;
        self.note(Made::Disk(cid.clone()));
        Ok(cid)
    }

    /// Removes what a check left, newest first; what can't be removed.
    pub fn clean_up(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        // VMs first: disks may still be attached to them.
        let made = std::mem::take(&mut self.made);
        let (vms, rest): (Vec<Made>, Vec<Made>) = made
            .into_iter()
            .partition(|made| matches!(made, Made::Vm(_)));
        for made in vms.into_iter().chain(rest.into_iter().rev()) {
            let (method, cid, gone) = match &made {
                Made::Vm(cid) => ("delete_vm", cid, FaultKind::VmNotFound),
                Made::Disk(cid) => ("delete_disk", cid, FaultKind::DiskNotFound),
                Made::Snapshot(cid) => ("delete_snapshot", cid, FaultKind::DiskNotFound),
                Made::Stemcell(cid) => ("delete_stemcell", cid, FaultKind::CloudError),
            };
            match self.call(method, json!([cid])) {
                Ok(Ok(_)) => {}
                Ok(Err(fault)) if fault.kind == gone => {}
                Ok(Err(fault)) => left.push(format!("{made:?}: {}", fault.message)),
                Err(breach) => left.push(format!("{made:?}: {breach}")),
            }
        }
        left
    }

    pub fn forget_stemcell(&mut self) -> Vec<String> {
        self.made.extend(self.stemcell.take().map(Made::Stemcell));
        self.clean_up()
    }
}

fn read_all(mut stream: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        let _ = sender.send(all);
    });
    receiver
}

/// A CID.
pub(super) fn text(method: &str, value: &Value) -> Result<String, String> {
    match value.as_str() {
        Some(text) if !text.is_empty() => Ok(text.to_string()),
        _ => Err(format!("'{method}' gave no non-empty string as CID")),
    }
}

/// `Err` with the sentence unless it holds.
pub(super) fn ensure(holds: bool, otherwise: impl Into<String>) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

/// The fault must be of this kind.
pub(super) fn ensure_kind(fault: &Fault, kind: FaultKind) -> Result<(), String> {
    ensure(
        fault.kind == kind,
        format!(
            "{} came where {} was due: {}",
            fault.kind.wire_name(),
            kind.wire_name(),
            fault.message
        ),
    )
}
