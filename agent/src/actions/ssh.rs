//! `ssh(command, parameters)` (`docs/spec/agent-protocol.md` §3.9).

use agent_protocol::SshResult;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::agent::Agent;
use crate::dispatch::Call;
use crate::error::{Context, Error, Result};

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Parameters {
    user: String,
    public_key: String,
    user_regex: String,
}

/// Lets somebody in, or removes who was let in.
pub async fn ssh(call: Call) -> Result<Value> {
    let command: String = call.argument(0, 2)?;
    let parameters: Parameters = call.argument(1, 2)?;
    let result = match command.as_str() {
        "setup" => setup(&call.agent, &parameters).await?,
        "cleanup" => {
            call.agent
                .platform
                .delete_users(&parameters.user_regex)
                .await
                .context("SSH Cleanup: Deleting Ephemeral Users")?;
            SshResult {
                command,
                status: "success".into(),
                ..SshResult::default()
            }
        }
        _ => return Err(Error::new("Unknown command for SSH method")),
    };
    Ok(json!(result))
}

async fn setup(agent: &Agent, parameters: &Parameters) -> Result<SshResult> {
    let user = &parameters.user;
    // The name becomes a path and an argument of useradd.
    let harmless = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if user.is_empty() || user.starts_with('-') || !user.chars().all(harmless) {
        return Err(Error::new(format!("'{user}' can't be the name of a user")));
    }
    let key = agent
        .platform
        .host_public_key()
        .context("Getting host public key")?;
    agent
        .platform
        .create_user(user, &agent.layout.ssh_homes(), &parameters.public_key)
        .await?;
    let ip = agent.settings().current().default_ip();
    Ok(SshResult {
        command: "setup".into(),
        status: "success".into(),
        ip: Some(ip.ok_or_else(|| Error::new("No default ip could be found"))?),
        host_public_key: Some(key),
    })
}
