//! `run_script(name, {"env"})` (`docs/spec/agent-protocol.md` §3.5).

use std::collections::BTreeMap;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Stdio;

use serde::Deserialize;
use serde_json::{Value, json};

use super::scripts::{self, Script};
use crate::agent::Agent;
use crate::dispatch::Call;
use crate::error::{Context, Error, Result};
use crate::files;
use crate::spec::StoredSpec;

/// Scripts yield to the jobs that run already.
const NICENESS: i32 = 5;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Options {
    env: Option<BTreeMap<String, String>>,
}

/// Runs the script of every job that has one.
pub async fn run_script(call: Call) -> Result<Value> {
    let name: String = call.argument(0, 2)?;
    let options: Options = call.argument::<Option<Options>>(1, 2)?.unwrap_or_default();
    let env = options.env.unwrap_or_default();
    let agent = &call.agent;
    if name.contains('/') {
        return Err(Error::new(format!(
            "'{name}' can't be the name of a script"
        )));
    }
    let spec = StoredSpec::load(&agent.layout)?;
    let scripts = find(agent, &spec.jobs(), &name);
    scripts::run_all(&name, &scripts, |script| {
        let (env, name) = (&env, &name);
        async move { run_one(agent, &script, name, env).await }
    })
    .await?;
    Ok(json!({}))
}

/// The scripts of this name that there are.
pub fn find(agent: &Agent, jobs: &[String], name: &str) -> Vec<Script> {
    jobs.iter()
        .map(|job| Script {
            job: job.clone(),
            path: agent.layout.job_bin(job, name),
        })
        .filter(|script| script.path.exists())
        .collect()
}

async fn run_one(
    agent: &Agent,
    script: &Script,
    name: &str,
    env: &BTreeMap<String, String>,
) -> Result<()> {
    let logs = agent.layout.job_log(&script.job);
    files::make_dir(&logs, 0o750)?;
    let mut command = scripts::command(&script.path, env, NICENESS);
    command
        .stdout(open_log(&logs.join(format!("{name}.stdout.log")))?)
        .stderr(open_log(&logs.join(format!("{name}.stderr.log")))?);
    let mut child = scripts::spawn(&mut command, &script.path)?;
    let status = child.wait().await.context("Waiting for the script")?;
    if status.success() {
        return Ok(());
    }
    Err(Error::new(format!(
        "{} ended with {status}; see {}",
        script.path.display(),
        logs.display()
    )))
}

fn open_log(path: &Path) -> Result<Stdio> {
    let file = std::fs::OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .open(path)
        .with_context(|| format!("Opening {}", path.display()))?;
    Ok(Stdio::from(file))
}
