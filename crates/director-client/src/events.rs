//! The audit trail (spec director-api §19.2).

use crate::http::Client;
use crate::{Error, Query, Wrap, escape_segment};
use serde::Deserialize;
use serde_json::{Map, Value};

/// One event.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Event {
    pub id: String,
    /// The event that started what this one finished.
    pub parent_id: Option<String>,
    /// Unix seconds.
    pub timestamp: i64,
    pub user: Option<String>,
    pub action: Option<String>,
    pub object_type: Option<String>,
    pub object_name: Option<String>,
    pub task: Option<String>,
    pub deployment: Option<String>,
    pub instance: Option<String>,
    pub context: Option<Map<String, Value>>,
    pub error: Option<String>,
}

/// Filters, all exact; times in any form the director reads.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    pub before_id: Option<String>,
    pub before: Option<String>,
    pub after: Option<String>,
    pub deployment: Option<String>,
    pub task: Option<String>,
    pub instance: Option<String>,
    pub user: Option<String>,
    pub action: Option<String>,
    pub object_type: Option<String>,
    pub object_name: Option<String>,
}

impl Client {
    /// The newest events that match, 200 at most.
    pub async fn events(&self, filter: &EventFilter) -> Result<Vec<Event>, Error> {
        let path = Query::new()
            .with_some("before_id", filter.before_id.as_deref())
            .with_some("before_time", filter.before.as_deref())
            .with_some("after_time", filter.after.as_deref())
            .with_some("deployment", filter.deployment.as_deref())
            .with_some("task", filter.task.as_deref())
            .with_some("instance", filter.instance.as_deref())
            .with_some("user", filter.user.as_deref())
            .with_some("action", filter.action.as_deref())
            .with_some("object_type", filter.object_type.as_deref())
            .with_some("object_name", filter.object_name.as_deref())
            .on("/events");
        self.get_json(&path).await.wrap(|| "Finding events")
    }

    /// One event.
    pub async fn event(&self, id: &str) -> Result<Event, Error> {
        self.get_json(&format!("/events/{}", escape_segment(id)))
            .await
            .wrap(|| format!("Finding event '{id}'"))
    }
}
