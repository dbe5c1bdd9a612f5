//! An agent client that outlives a message lost with the message bus.
//!
//! When the bus dies between a request and its reply, both sides connect again within seconds and nobody knows of
//! the other's words. The original then fails the deploy after 45 seconds. Here the agent is pinged first: one that
//! answers is asked once more, if doing the action twice ends where doing it once ends (the same judgement as for
//! steps that a dead director left, `journal::StepKind::interrupted`).

use std::time::Duration;

use agent_protocol::{AgentClient, Error, Patience, Reply, Target, timeouts};
use async_trait::async_trait;
use serde_json::Value;

/// Pings before an agent counts as silent.
const PINGS: u32 = 3;

/// Wraps another client.
pub struct Persistent<C>(pub C);

/// Actions that may be asked for again. Not: an errand (somebody else's program), a migration (its end can't be
/// told from its beginning), and questions, which have retries of their own.
fn repeatable(method: &str) -> bool {
    matches!(
        method,
        "prepare"
            | "apply"
            | "start"
            | "stop"
            | "drain"
            | "run_script"
            | "compile_package"
            | "compile_package_with_signed_url"
            | "update_settings"
            | "mount_disk"
            | "unmount_disk"
            | "add_persistent_disk"
            | "remove_persistent_disk"
            | "list_disk"
            | "fetch_logs"
            | "fetch_logs_with_signed_url"
            | "ssh"
            | "info"
    )
}

impl<C: AgentClient> Persistent<C> {
    async fn answers(&self, to: &Target) -> bool {
        for _ in 0..PINGS {
            if self.0.ping(to, Duration::from_secs(1)).await.is_ok() {
                return true;
            }
        }
        false
    }
}

#[async_trait]
impl<C: AgentClient> AgentClient for Persistent<C> {
    async fn exchange(
        &self,
        to: &Target,
        method: &str,
        arguments: Vec<Value>,
        patience: Patience,
    ) -> Result<Reply, Error> {
        let first = self
            .0
            .exchange(to, method, arguments.clone(), patience)
            .await;
        // Who asks with less patience than usual wants an answer now or none.
        let patient = patience.reply >= timeouts::REPLY;
        match first {
            Err(Error::Timeout { .. })
                if patient && repeatable(method) && self.answers(to).await =>
            {
                tracing::warn!(agent = %to.agent, instance = %to.instance, method, "a message was lost, asking again");
                self.0.exchange(to, method, arguments, patience).await
            }
            other => other,
        }
    }

    async fn send(&self, to: &Target, method: &str, arguments: Vec<Value>) -> Result<(), Error> {
        self.0.send(to, method, arguments).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use serde_json::json;

    use super::*;

    /// Loses the first request of a method, answers everything else.
    struct Losing(Mutex<Vec<String>>);

    #[async_trait]
    impl AgentClient for Losing {
        async fn exchange(
            &self,
            to: &Target,
            method: &str,
            _: Vec<Value>,
            _: Patience,
        ) -> Result<Reply, Error> {
            let mut asked = self.0.lock().unwrap();
            let first = !asked.iter().any(|known| known == method);
            asked.push(method.to_owned());
            match method {
                "ping" => Ok(Reply::Done(json!("pong"))),
                _ if first => Err(Error::Timeout {
                    method: method.into(),
                    instance: to.instance.clone(),
                    agent: to.agent.to_string(),
                    seconds: 45,
                }),
                _ => Ok(Reply::Done(json!({}))),
            }
        }

        async fn send(&self, _: &Target, _: &str, _: Vec<Value>) -> Result<(), Error> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_lost_message_is_sent_again_unless_doing_it_twice_may_harm() {
        let client = Persistent(Losing(Mutex::default()));
        let to = Target {
            agent: "a".into(),
            instance: "web/1".into(),
        };
        client
            .run_script(&to, "pre-start", json!({}))
            .await
            .unwrap();
        assert_eq!(
            *client.0.0.lock().unwrap(),
            ["run_script", "ping", "run_script"]
        );
        assert!(
            client
                .run_errand(&to, None, None)
                .await
                .unwrap_err()
                .is_timeout()
        );
        let quick = Patience::once(Duration::from_secs(5));
        let answer = client.get_state_within(&to, true, quick).await;
        assert!(answer.err().is_some_and(|error| error.is_timeout()));
    }
}
