//! Request and response envelopes and how a reply's value is read (`docs/spec/agent-protocol.md` §1.4, §1.5).

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// The message protocol that a director speaks: `stop` waits for services, `list_disk` is asynchronous.
pub const PROTOCOL: u32 = 3;

/// The largest reply that is sent over NATS, in bytes of JSON.
pub const MAX_REPLY_BYTES: usize = 1_048_576;

/// One request. The key order is the original's.
#[derive(Clone, Serialize, Deserialize)]
pub struct Request {
    /// Absent means 0: the HTTPS client of `create-env`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub protocol: u32,
    /// The action's name.
    pub method: String,
    /// Positional arguments.
    #[serde(default, deserialize_with = "null_as_default")]
    pub arguments: Vec<Value>,
    /// The subject that the reply goes to.
    #[serde(default)]
    pub reply_to: String,
}

fn is_zero(protocol: &u32) -> bool {
    *protocol == 0
}

pub(crate) fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// One response as an agent sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Response {
    /// The action failed.
    Exception {
        /// What failed.
        exception: Exception,
    },
    /// The action succeeded; the value may be null.
    Value {
        /// The result.
        value: Value,
    },
}

/// The failure part of a response as this agent sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exception {
    /// The error chain, `outer: inner`.
    pub message: String,
}

const TRUNCATED: &str = "\n...[truncated]...\n";

impl Response {
    /// A success.
    pub fn value(value: impl Into<Value>) -> Self {
        Self::Value {
            value: value.into(),
        }
    }

    /// A failure.
    pub fn exception(message: impl Into<String>) -> Self {
        Self::Exception {
            exception: Exception {
                message: message.into(),
            },
        }
    }

    /// The JSON to send, kept within `limit` bytes: an exception loses the middle of its message, any other reply is
    /// replaced by an exception that says so.
    pub fn to_bytes_within(&self, limit: usize) -> Vec<u8> {
        let bytes = self.to_bytes();
        if bytes.len() <= limit {
            return bytes;
        }
        let Self::Exception { exception } = self else {
            return Self::exception("Response exceeded maximum allowed length").to_bytes();
        };
        // Escapes make JSON longer than the text, so shrink until it fits.
        let mut keep = limit.saturating_sub(TRUNCATED.len() + 64) / 2;
        loop {
            let bytes = Self::exception(cut_middle(&exception.message, keep)).to_bytes();
            if bytes.len() <= limit || keep < 64 {
                return bytes;
            }
            keep = keep * 9 / 10;
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("maps with string keys always serialise")
    }
}

fn cut_middle(text: &str, keep: usize) -> String {
    if text.len() <= keep * 2 {
        return text.to_owned();
    }
    let head = (0..=keep).rev().find(|&i| text.is_char_boundary(i));
    let tail = (text.len() - keep..=text.len()).find(|&i| text.is_char_boundary(i));
    format!(
        "{}{TRUNCATED}{}",
        &text[..head.unwrap_or(0)],
        &text[tail.unwrap_or(text.len())..]
    )
}

/// Where an agent's task stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskState {
    /// The task's id.
    pub agent_task_id: String,
    /// `running` until it ends.
    pub state: String,
}

/// What a response means to the director, after the original's normalisation (§1.5).
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// The action goes on as a task; ask `get_task`.
    Running(TaskState),
    /// The action's result.
    Done(Value),
    /// The action failed.
    Exception(AgentException),
}

/// A failure as newer and older agents report it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AgentException {
    /// The message, with a backtrace appended after a newline.
    pub message: String,
    /// A blob that holds the long error text.
    pub blobstore_id: Option<String>,
}

impl Reply {
    /// Reads a response's bytes; `None` if they are not a JSON object with `value` or `exception`.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut envelope: Map<String, Value> = serde_json::from_slice(payload).ok()?;
        if let Some(exception) = envelope.remove("exception") {
            return Some(Self::Exception(AgentException::from_value(exception)));
        }
        Some(Self::from_value(envelope.remove("value")?))
    }

    fn from_value(value: Value) -> Self {
        let Value::Object(mut object) = value else {
            return Self::Done(value);
        };
        if object.contains_key("value") {
            return match (text(&object, "state"), text(&object, "agent_task_id")) {
                (Some(state), Some(agent_task_id)) if state == "running" => {
                    Self::Running(TaskState {
                        agent_task_id,
                        state,
                    })
                }
                _ => Self::Done(object.remove("value").unwrap_or(Value::Null)),
            };
        }
        match (text(&object, "state"), text(&object, "agent_task_id")) {
            (Some(state), Some(agent_task_id)) if state == "running" => Self::Running(TaskState {
                agent_task_id,
                state,
            }),
            _ => Self::Done(Value::Object(object)),
        }
    }
}

fn text(object: &Map<String, Value>, key: &str) -> Option<String> {
    object.get(key).and_then(Value::as_str).map(str::to_owned)
}

impl AgentException {
    fn from_value(value: Value) -> Self {
        let Value::Object(object) = value else {
            let message = match value {
                Value::String(text) => text,
                other => other.to_string(),
            };
            return Self {
                message,
                blobstore_id: None,
            };
        };
        let mut message = text(&object, "message").unwrap_or_default();
        match object.get("backtrace") {
            Some(Value::String(trace)) => message = format!("{message}\n{trace}"),
            Some(Value::Array(lines)) => {
                let lines: Vec<_> = lines.iter().filter_map(Value::as_str).collect();
                message = format!("{message}\n{}", lines.join("\n"));
            }
            _ => {}
        }
        Self {
            message,
            blobstore_id: text(&object, "blobstore_id"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn reply(value: Value) -> Reply {
        Reply::parse(&serde_json::to_vec(&value).expect("json")).expect("a reply")
    }

    #[test]
    fn replies_are_read_as_results_tasks_or_exceptions() {
        assert_eq!(
            reply(json!({"value": {"agent_task_id": "t", "state": "running"}})),
            Reply::Running(TaskState {
                agent_task_id: "t".into(),
                state: "running".into()
            })
        );
        assert_eq!(reply(json!({"value": null})), Reply::Done(Value::Null));
        assert_eq!(reply(json!({"value": 0})), Reply::Done(json!(0)));
        assert_eq!(
            reply(json!({"value": {"state": "running", "vm": {}}})),
            Reply::Done(json!({"state": "running", "vm": {}}))
        );
        assert_eq!(
            reply(json!({"value": {"value": 7, "state": "done"}})),
            Reply::Done(json!(7))
        );
        let exception = reply(
            json!({"exception": {"message": "m", "backtrace": ["a", "b"], "blobstore_id": "x"}}),
        );
        assert_eq!(
            exception,
            Reply::Exception(AgentException {
                message: "m\na\nb".into(),
                blobstore_id: Some("x".into())
            })
        );
        assert_eq!(
            reply(json!({"exception": "plain"})),
            Reply::Exception(AgentException {
                message: "plain".into(),
                blobstore_id: None
            })
        );
        assert_eq!(Reply::parse(b"not json"), None);
    }

    #[test]
    fn replies_that_are_too_long_are_cut_or_replaced() {
        let long = "é\n".repeat(2000);
        let cut = Response::exception(long).to_bytes_within(1000);
        assert!(cut.len() <= 1000);
        let text = String::from_utf8(cut).expect("cut at a character");
        assert!(text.contains("\\n...[truncated]...\\n"));
        assert_eq!(
            Response::value("x".repeat(2000)).to_bytes_within(1000),
            br#"{"exception":{"message":"Response exceeded maximum allowed length"}}"#
        );
    }
}
