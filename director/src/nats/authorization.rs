//! The file of users and permissions that the NATS server includes (operations.md §11.3).
//!
//! One background writer: calls that come together share one write and one reload. Without an
//! `authorization_file` in the settings the server authorises by other means and nothing is written.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use agent_protocol::MbusCert;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::certificates::Signer;
use super::{Error, read};
use crate::config::Nats;
use crate::store::Store;

/// Issues agents' certificates and keeps their permissions. Cheap to clone.
#[derive(Clone)]
pub struct Authority {
    signer: Arc<Signer>,
    shared: Arc<Shared>,
    requests: mpsc::UnboundedSender<Done>,
}

type Done = oneshot::Sender<Result<(), Arc<Error>>>;

/// How often, and how far apart, a server that can't be signalled is tried again: 3 seconds.
const RELOAD_TRIES: usize = 20;
const RELOAD_PAUSE: std::time::Duration = std::time::Duration::from_millis(150);

struct Shared {
    file: Option<PathBuf>,
    pid_file: Option<PathBuf>,
    /// Subject of the director's own certificate.
    director: String,
    /// Allowed by this process before their rows may be there.
    extra: Mutex<BTreeSet<String>>,
    /// `<hash of the file>` as last written and reloaded.
    written: tokio::sync::Mutex<Option<Vec<u8>>>,
}

impl Authority {
    /// Reads keys and certificates; the permissions of all agents that have rows are written soon after.
    pub async fn start(settings: &Nats, store: Store) -> Result<Authority, Error> {
        let signer = Arc::new(Signer::load(settings)?);
        let director = subject(&read(&settings.client.certificate)?)?;
        let shared = Arc::new(Shared {
            file: settings.authorization_file.clone(),
            pid_file: settings
                .reload
                .as_ref()
                .map(|reload| reload.pid_file.clone()),
            director,
            extra: Mutex::default(),
            written: tokio::sync::Mutex::new(None),
        });
        let (requests, receiver) = mpsc::unbounded_channel();
        tokio::spawn(serve(shared.clone(), store, receiver));
        // In the background: a server that is down must not hold up the start.
        let (first, _) = oneshot::channel();
        let _ = requests.send(first);
        Ok(Authority {
            signer,
            shared,
            requests,
        })
    }

    /// A certificate for an agent's first connection, and for its life unless it gets a permanent one.
    pub fn issue(&self, agent: &str) -> Result<MbusCert, Error> {
        self.signer.issue(agent, &bootstrap_name(agent))
    }

    /// A certificate for an agent that is up (sent by `update_settings`).
    pub fn issue_permanent(&self, agent: &str) -> Result<MbusCert, Error> {
        self.signer.issue(agent, &permanent_name(agent))
    }

    /// Lets an agent connect: call it before `create_vm`, when its row is there. Returns when the server has been
    /// told.
    pub async fn allow(&self, agent: &str) -> Result<(), crate::error::Error> {
        self.lock_extra().insert(agent.to_owned());
        self.sync().await
    }

    /// Takes an agent's rights: call it when its row is gone.
    pub async fn deny(&self, agent: &str) -> Result<(), crate::error::Error> {
        self.lock_extra().remove(agent);
        self.sync().await
    }

    /// Writes what the rows say, if it differs from what is in force.
    pub async fn sync(&self) -> Result<(), crate::error::Error> {
        let (done, wait) = oneshot::channel();
        let gone = || Error::Reload("the director is going down".into());
        self.requests.send(done).map_err(|_| gone())?;
        wait.await.map_err(|_| gone())??;
        Ok(())
    }

    fn lock_extra(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        self.shared
            .extra
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

async fn serve(shared: Arc<Shared>, store: Store, mut receiver: mpsc::UnboundedReceiver<Done>) {
    let mut waiting = Vec::new();
    // Whatever has come in while the last write was under way shares the next one.
    while receiver.recv_many(&mut waiting, 4096).await > 0 {
        let result = shared.write(&store).await.map_err(Arc::new);
        if let Err(error) = &result {
            tracing::error!(%error, "the permissions of agents are not written");
        }
        for done in waiting.drain(..) {
            let _ = done.send(result.clone());
        }
    }
}

impl Shared {
    async fn write(&self, store: &Store) -> Result<(), Error> {
        let Some(file) = &self.file else {
            return Ok(());
        };
        let mut written = self.written.lock().await;
        let rows = store.agents_on_the_bus().await.map_err(Error::Rows)?;
        let extra = self
            .extra
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .clone();
        let text = authorization(&self.director, &rows, &extra)
            .to_string()
            .into_bytes();
        if written.as_ref() == Some(&text) {
            return Ok(());
        }
        // The server may run as another user, and keeps reading what it could read before.
        durable::replace(file, &text, durable::Mode::KeepOr(0o644)).map_err(Error::Write)?;
        // A server that is just restarting has no process to signal yet; it may have read the old file already.
        let mut told = self.reload();
        for _ in 0..RELOAD_TRIES {
            if told.is_ok() {
                break;
            }
            tokio::time::sleep(RELOAD_PAUSE).await;
            told = self.reload();
        }
        if let Err(error) = told {
            // One that is down reads the file when it starts.
            tracing::warn!(%error, "the permissions of agents are written, but no server was told");
        }
        *written = Some(text);
        Ok(())
    }

    fn reload(&self) -> Result<(), Error> {
        let Some(pid_file) = &self.pid_file else {
            return Ok(());
        };
        let failed = |what: String| Error::Reload(what);
        let text = fs_err::read_to_string(pid_file).map_err(|error| failed(error.to_string()))?;
        let pid: i32 = text
            .trim()
            .parse()
            .map_err(|_| failed(format!("{} holds no process id", pid_file.display())))?;
        if pid <= 1 {
            return Err(failed(format!(
                "{} holds no process id",
                pid_file.display()
            )));
        }
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(pid),
            nix::sys::signal::Signal::SIGHUP,
        )
        .map_err(|error| failed(format!("process {pid}: {error}")))
    }
}

fn bootstrap_name(agent: &str) -> String {
    format!("{agent}.bootstrap.agent.bosh-internal")
}

fn permanent_name(agent: &str) -> String {
    format!("{agent}.agent.bosh-internal")
}

fn user(common_name: &str) -> String {
    format!("C=USA, O=Cloud Foundry, CN={common_name}")
}

/// The whole file. The director's own user also listens to what agents tell the health monitor, which is part
/// of this director; a monitor of the original's may connect beside it.
fn authorization(director: &str, rows: &[(String, bool)], extra: &BTreeSet<String>) -> Value {
    let monitored = [
        "hm.agent.heartbeat.*",
        "hm.agent.alert.*",
        "hm.agent.shutdown.*",
        "hm.director.alert",
    ];
    let mut subscribe = vec!["director.>"];
    subscribe.extend(monitored);
    let mut users = vec![
        json!({"user": director,
               "permissions": {"publish": ["agent.*", "hm.director.alert"], "subscribe": subscribe}}),
        json!({"user": user("default.hm.bosh-internal"),
               "permissions": {"publish": [], "subscribe": monitored}}),
    ];
    let mut agents: Vec<(&str, bool)> = rows
        .iter()
        .map(|(agent, permanent)| (agent.as_str(), *permanent))
        .collect();
    agents.extend(
        extra
            .iter()
            .filter(|agent| !rows.iter().any(|(row, _)| row == *agent))
            .map(|agent| (agent.as_str(), false)),
    );
    agents.sort_unstable();
    for (agent, permanent) in agents {
        let permissions = json!({
            "publish": [
                format!("hm.agent.heartbeat.{agent}"), format!("hm.agent.alert.{agent}"),
                format!("hm.agent.shutdown.{agent}"), format!("director.*.{agent}.*"),
            ],
            "subscribe": [format!("agent.{agent}")],
        });
        if !permanent {
            users.push(json!({"user": user(&bootstrap_name(agent)), "permissions": permissions}));
        }
        users.push(json!({"user": user(&permanent_name(agent)), "permissions": permissions}));
    }
    json!({"authorization": {"users": users}})
}

/// A certificate's subject as the server writes it.
fn subject(pem: &str) -> Result<String, Error> {
    let (_, block) = x509_parser::pem::parse_x509_pem(pem.as_bytes())
        .map_err(|error| Error::Client(format!("the certificate is not PEM: {error}")))?;
    let certificate = block
        .parse_x509()
        .map_err(|error| Error::Client(format!("the certificate can't be read: {error}")))?;
    Ok(certificate.subject().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_agent_gets_its_own_subjects_and_no_other() {
        let rows = [("a1".to_owned(), true), ("a2".to_owned(), false)];
        let extra = BTreeSet::from(["a2".to_owned(), "a3".to_owned()]);
        let file = authorization("CN=d", &rows, &extra);
        let users: Vec<&str> = file["authorization"]["users"]
            .as_array()
            .unwrap()
            .iter()
            .map(|user| user["user"].as_str().unwrap())
            .collect();
        assert_eq!(
            users,
            [
                "CN=d",
                "C=USA, O=Cloud Foundry, CN=default.hm.bosh-internal",
                "C=USA, O=Cloud Foundry, CN=a1.agent.bosh-internal",
                "C=USA, O=Cloud Foundry, CN=a2.bootstrap.agent.bosh-internal",
                "C=USA, O=Cloud Foundry, CN=a2.agent.bosh-internal",
                "C=USA, O=Cloud Foundry, CN=a3.bootstrap.agent.bosh-internal",
                "C=USA, O=Cloud Foundry, CN=a3.agent.bosh-internal",
            ]
        );
        assert_eq!(
            file["authorization"]["users"][2]["permissions"],
            json!({"publish": ["hm.agent.heartbeat.a1", "hm.agent.alert.a1", "hm.agent.shutdown.a1", "director.*.a1.*"],
                   "subscribe": ["agent.a1"]})
        );
    }
}
