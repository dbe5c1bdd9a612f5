//! The message bus: one NATS connection with the agent's certificate (`docs/spec/agent-protocol.md` §1), or, where the
//! settings name an `https` URL, a server for `create-env` ([`https`]).
//!
//! [`serve`] keeps a connection for ever. When `update_settings` brings another certificate the new connection is made
//! and subscribed before the old one is given up, so no request is lost, and requests that arrive on both are handled
//! once.

mod https;
mod tls;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent_protocol::{MAX_REPLY_BYTES, Request, Response, subjects};
use async_nats::{Client, ConnectOptions, Subscriber};
use futures_util::StreamExt;
use serde::Serialize;
use tokio::sync::{Notify, oneshot, watch};

use crate::agent::Agent;
use crate::dispatch;
use crate::error::{Context, Error, Result, plain};

/// A request that came twice comes within the overlap of two connections; so many are remembered.
const REMEMBERED_REQUESTS: usize = 256;

/// How long a new connection may take before the old one goes on.
const RECONNECT_LIMIT: Duration = Duration::from_secs(10);

/// The connection as the rest of the agent sees it.
pub struct Handle {
    client: Mutex<Option<Client>>,
    connections: watch::Sender<u64>,
    renew: Notify,
    renewed: Mutex<Vec<oneshot::Sender<()>>>,
    seen: Mutex<VecDeque<String>>,
}

impl Default for Handle {
    fn default() -> Self {
        Self {
            client: Mutex::new(None),
            connections: watch::Sender::new(0),
            renew: Notify::new(),
            renewed: Mutex::new(Vec::new()),
            seen: Mutex::new(VecDeque::new()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

impl Handle {
    /// Sends JSON; while there is no connection it is dropped, as whoever listens would find it stale later.
    pub async fn publish(&self, subject: String, message: &impl Serialize) {
        match serde_json::to_vec(message) {
            Ok(bytes) => self.publish_bytes(subject, bytes).await,
            Err(error) => tracing::error!(%error, subject, "a message can't be written as JSON"),
        }
    }

    async fn publish_bytes(&self, subject: String, bytes: Vec<u8>) {
        let client = lock(&self.client).clone();
        let Some(client) = client else {
            return;
        };
        if let Err(error) = client.publish(subject.clone(), bytes.into()).await {
            tracing::warn!(%error, subject, "can't publish");
        }
    }

    /// Counts connections.
    pub fn connections(&self) -> watch::Receiver<u64> {
        self.connections.subscribe()
    }

    /// Makes a new connection by the settings in force; returns when it carries messages, or after a while.
    pub async fn renew(&self) {
        let (sender, receiver) = oneshot::channel();
        lock(&self.renewed).push(sender);
        self.renew.notify_one();
        if tokio::time::timeout(RECONNECT_LIMIT, receiver)
            .await
            .is_err()
        {
            tracing::warn!(
                "the connection with the new certificate is not there yet; the agent keeps trying"
            );
        }
    }

    /// Whether this request has not been seen yet.
    fn is_new(&self, reply_to: &str) -> bool {
        let mut seen = lock(&self.seen);
        if seen.iter().any(|other| other == reply_to) {
            return false;
        }
        seen.push_back(reply_to.to_owned());
        if seen.len() > REMEMBERED_REQUESTS {
            seen.pop_front();
        }
        true
    }

    fn use_client(&self, client: Client) {
        *lock(&self.client) = Some(client);
        self.ready();
    }

    /// Requests can arrive now.
    fn ready(&self) {
        self.connections.send_modify(|count| *count += 1);
        for waiting in lock(&self.renewed).drain(..) {
            let _ = waiting.send(());
        }
    }
}

/// Takes requests for ever.
pub async fn serve(agent: Arc<Agent>) -> Result<()> {
    let urls = agent.settings().mbus_urls();
    if scheme(&urls)? == "https" {
        return https::serve(agent, &urls[0]).await;
    }
    let mut failures = 0;
    loop {
        match connect(&agent).await {
            Ok((client, requests)) => {
                failures = 0;
                agent.bus.use_client(client.clone());
                tracing::info!("subscribed");
                listen(&agent, client, requests).await;
                tracing::warn!("the message bus connection has ended");
            }
            Err(error) => {
                tracing::warn!(%error, "can't connect to the message bus");
            }
        }
        tokio::time::sleep(pause_before_attempt(failures)).await;
        failures += 1;
    }
}

/// Quick at first, as a new VM's agent may be a moment ahead of its permissions; then as the original, up to 10 s.
fn pause_before_attempt(failures: u32) -> Duration {
    Duration::from_millis(100 << failures.min(7)).min(Duration::from_secs(10))
}

/// The scheme of the first URL, which selects the kind of bus.
fn scheme(urls: &[String]) -> Result<&str> {
    let Some(first) = urls.first() else {
        return Err(Error::new("The settings name no message bus"));
    };
    match first.split("://").next().unwrap_or_default() {
        scheme @ ("nats" | "tls" | "https") => Ok(scheme),
        other => Err(Error::new(format!(
            "Message Bus Handler with scheme {other} could not be found"
        ))),
    }
}

async fn connect(agent: &Agent) -> Result<(Client, Subscriber)> {
    let (urls, cert, id) = {
        let settings = agent.settings();
        (
            settings.mbus_urls(),
            settings.mbus_cert(),
            settings.current().agent_id.clone(),
        )
    };
    let client = ConnectOptions::new()
        .name(format!("agent {id}"))
        .require_tls(true)
        .tls_client_config(tls::client_config(&cert)?)
        .ping_interval(Duration::from_secs(30))
        .retain_servers_order()
        .reconnect_delay_callback(|attempt| match attempt {
            0 | 1 => Duration::ZERO,
            n => Duration::from_millis(100 << n.min(7)).min(Duration::from_secs(10)),
        })
        .connect(urls)
        .await
        .map_err(plain)?;
    let requests = client
        .subscribe(subjects::agent(&id))
        .await
        .context("Subscribing")?;
    // Only now is the server sure to know of the subscription.
    client.flush().await.context("Flushing")?;
    Ok((client, requests))
}

/// Handles requests until the connection ends for good; swaps it for another when asked to.
async fn listen(agent: &Arc<Agent>, mut client: Client, mut requests: Subscriber) {
    loop {
        tokio::select! {
            message = requests.next() => match message {
                Some(message) => handle(agent, &message.payload).await,
                None => return,
            },
            () = agent.bus.renew.notified() => match connect(agent).await {
                Ok((new_client, new_requests)) => {
                    agent.bus.use_client(new_client.clone());
                    tracing::info!("subscribed with the new settings");
                    let old = std::mem::replace(&mut client, new_client);
                    let rest = std::mem::replace(&mut requests, new_requests);
                    tokio::spawn(finish(agent.clone(), old, rest));
                }
                Err(error) => {
                    tracing::warn!(%error, "can't connect with the new settings, keeping the old connection for now");
                    let agent = agent.clone();
                    tokio::spawn(async move {
                        tokio::time::sleep(Duration::from_secs(1)).await;
                        agent.bus.renew.notify_one();
                    });
                }
            },
        }
    }
}

/// Handles what the old connection still brings.
async fn finish(agent: Arc<Agent>, client: Client, mut requests: Subscriber) {
    if let Err(error) = client.drain().await {
        tracing::debug!(%error, "can't drain the old connection");
    }
    while let Some(message) = requests.next().await {
        handle(&agent, &message.payload).await;
    }
}

async fn handle(agent: &Arc<Agent>, payload: &[u8]) {
    let request: Request = match serde_json::from_slice(payload) {
        Ok(request) => request,
        Err(error) => {
            tracing::warn!(%error, "a request is not JSON, no reply");
            return;
        }
    };
    if !agent.bus.is_new(&request.reply_to) {
        return;
    }
    if dispatch::is_quick(&request.method) {
        answer(agent, request).await;
    } else {
        tokio::spawn({
            let agent = agent.clone();
            async move { answer(&agent, request).await }
        });
    }
}

async fn answer(agent: &Arc<Agent>, request: Request) {
    let reply_to = request.reply_to.clone();
    let response: Response = dispatch::handle(agent, request).await;
    agent
        .bus
        .publish_bytes(reply_to, response.to_bytes_within(MAX_REPLY_BYTES))
        .await;
}
