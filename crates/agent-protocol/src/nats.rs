//! [`AgentClient`] over NATS (`docs/spec/agent-protocol.md` §1).
//!
//! ```text
//!  director process                                agent
//!  subscribe director.<process>.>   (once)
//!  agent.<id>  {"method", "arguments", "reply_to"} ->
//!                       <- director.<process>.<id>.<request>  {"value"} or {"exception"}
//! ```
//! Permissions of a director's certificate allow no `_INBOX`, hence the own reply subjects. The last token of the
//! subject selects the waiting request, which the first reply ends.
//!
//! The reply subject is told to the server too, which says at once when nobody takes the request: an agent that is
//! connecting again after the server's restart, or not up yet. The request is then sent again until its time is over;
//! as nobody had it, it can't be done twice.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::sync::{OnceCell, oneshot};
use uuid::Uuid;

use crate::client::AgentClient;
use crate::envelope::{PROTOCOL, Reply, Request};
use crate::error::Error;
use crate::patience::{Patience, Target, timeouts};
use crate::subjects;

/// Where agents leave error texts that are too long for a message.
#[async_trait]
pub trait LongTexts: Send + Sync {
    /// Reads the blob and deletes it; `None` if there is none (the exception then stands without it).
    async fn take(&self, blob_id: &str) -> Option<String>;
}

/// What came to a reply subject.
enum Arrival {
    Reply(Vec<u8>),
    /// From the server: nobody took the request.
    NobodyThere,
}

type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Arrival>>>>;

/// Between two attempts to reach an agent that isn't connected.
const NOBODY_THERE_PAUSE: Duration = Duration::from_millis(200);

/// The director's client. Clones share the connection and the reply subscription.
#[derive(Clone)]
pub struct NatsAgentClient {
    client: async_nats::Client,
    process: Uuid,
    waiting: Waiting,
    listening: Arc<OnceCell<()>>,
    long_texts: Option<Arc<dyn LongTexts>>,
}

impl NatsAgentClient {
    /// Uses a connection that is already made. Nothing is subscribed to before the first message.
    pub fn new(client: async_nats::Client) -> Self {
        Self {
            client,
            process: Uuid::new_v4(),
            waiting: Waiting::default(),
            listening: Arc::default(),
            long_texts: None,
        }
    }

    /// Where to look for exceptions' `blobstore_id`.
    pub fn with_long_texts(mut self, long_texts: Arc<dyn LongTexts>) -> Self {
        self.long_texts = Some(long_texts);
        self
    }

    async fn listen(&self) -> Result<(), async_nats::SubscribeError> {
        self.listening
            .get_or_try_init(|| async {
                let mut replies = self
                    .client
                    .subscribe(subjects::replies(&self.process))
                    .await?;
                let waiting = Arc::downgrade(&self.waiting);
                tokio::spawn(async move {
                    while let Some(message) = replies.next().await {
                        let Some(waiting) = waiting.upgrade() else {
                            return; // all clients are gone
                        };
                        let id = message.subject.rsplit('.').next().unwrap_or_default();
                        let sender = lock(&waiting).remove(id);
                        if let Some(sender) = sender {
                            let nobody =
                                message.status == Some(async_nats::StatusCode::NO_RESPONDERS);
                            let _ = sender.send(if nobody {
                                Arrival::NobodyThere
                            } else {
                                Arrival::Reply(message.payload.to_vec())
                            });
                        }
                    }
                });
                Ok(())
            })
            .await
            .copied()
    }

    /// `answered`: the server shall say when nobody takes the request.
    async fn publish(
        &self,
        to: &Target,
        method: &str,
        arguments: &[Value],
        request: &Uuid,
        answered: bool,
    ) -> Result<(), Error> {
        let bus = |source: Box<dyn std::error::Error + Send + Sync>| Error::Bus {
            method: method.to_owned(),
            agent: to.agent.to_string(),
            source,
        };
        self.listen().await.map_err(|error| bus(error.into()))?;
        let reply_to = subjects::reply(&self.process, to.agent.as_str(), request);
        let envelope = Request {
            protocol: PROTOCOL,
            method: method.to_owned(),
            arguments: arguments.to_vec(),
            reply_to: reply_to.clone(),
        };
        let payload = serde_json::to_vec(&envelope).map_err(|source| Error::Arguments {
            method: method.to_owned(),
            source,
        })?;
        let subject = subjects::agent(to.agent.as_str());
        let sent = if answered {
            self.client
                .publish_with_reply(subject, reply_to, payload.into())
                .await
        } else {
            self.client.publish(subject, payload.into()).await
        };
        sent.map_err(|error| bus(error.into()))
    }

    /// One attempt; `None` after `limit` without an answer.
    async fn attempt(
        &self,
        to: &Target,
        method: &str,
        arguments: &[Value],
        limit: Duration,
    ) -> Result<Option<Reply>, Error> {
        let request = Uuid::new_v4();
        let _forget = Forget {
            waiting: &self.waiting,
            id: request.to_string(),
        };
        let answer = tokio::time::timeout(limit, async {
            loop {
                let (sender, receiver) = oneshot::channel();
                lock(&self.waiting).insert(request.to_string(), sender);
                self.publish(to, method, arguments, &request, true).await?;
                let arrival = receiver.await.map_err(|error| Error::Bus {
                    method: method.to_owned(),
                    agent: to.agent.to_string(),
                    source: error.into(),
                })?;
                match arrival {
                    Arrival::Reply(payload) => return Ok::<_, Error>(payload),
                    Arrival::NobodyThere => tokio::time::sleep(NOBODY_THERE_PAUSE).await,
                }
            }
        });
        let Ok(payload) = answer.await else {
            return Ok(None);
        };
        let payload = payload?;
        let reply = Reply::parse(&payload).ok_or_else(|| Error::Unexpected {
            agent: to.agent.to_string(),
            method: method.to_owned(),
            problem: "neither a value nor an exception".into(),
        })?;
        Ok(Some(reply))
    }

    /// Appends the long texts that the reply refers to.
    async fn complete(&self, reply: Reply) -> Reply {
        let Some(long_texts) = &self.long_texts else {
            return reply;
        };
        match reply {
            Reply::Exception(mut exception) => {
                if let Some(id) = exception.blobstore_id.take().filter(|id| is_uuid(id))
                    && let Some(text) = long_texts.take(&id).await
                {
                    exception.message = format!("{}\n{text}", exception.message);
                }
                Reply::Exception(exception)
            }
            Reply::Done(mut value) => {
                let id = value
                    .pointer("/result/compile_log_id")
                    .and_then(Value::as_str)
                    .filter(|id| is_uuid(id))
                    .map(str::to_owned);
                if let Some(id) = id
                    && let Some(text) = long_texts.take(&id).await
                {
                    value["result"]["compile_log"] = Value::String(text);
                }
                Reply::Done(value)
            }
            running => running,
        }
    }
}

fn is_uuid(text: &str) -> bool {
    Uuid::parse_str(text).is_ok()
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // A panic while the map was held can't leave it half changed.
    mutex
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Forgets a request whose caller went away or ran out of time.
struct Forget<'a> {
    waiting: &'a Waiting,
    id: String,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(self.waiting).remove(&self.id);
    }
}

#[async_trait]
impl AgentClient for NatsAgentClient {
    async fn exchange(
        &self,
        to: &Target,
        method: &str,
        arguments: Vec<Value>,
        patience: Patience,
    ) -> Result<Reply, Error> {
        for _ in 0..=patience.retries {
            let reply = self.attempt(to, method, &arguments, patience.reply).await?;
            match reply.map(|reply| self.complete(reply)) {
                None => {
                    tracing::debug!(agent = %to.agent, method, "no reply");
                }
                Some(reply) => {
                    return match reply.await {
                        Reply::Exception(exception) => Err(Error::remote(method, exception)),
                        reply => Ok(reply),
                    };
                }
            }
        }
        Err(Error::Timeout {
            method: method.to_owned(),
            instance: to.instance.clone(),
            agent: to.agent.to_string(),
            // compat: the original tells how long it waited for the last reply, not for all of them.
            seconds: (patience.reply * (patience.retries + 1))
                .min(timeouts::REPLY)
                .as_secs(),
        })
    }

    async fn send(&self, to: &Target, method: &str, arguments: Vec<Value>) -> Result<(), Error> {
        self.publish(to, method, &arguments, &Uuid::new_v4(), false)
            .await
    }
}
