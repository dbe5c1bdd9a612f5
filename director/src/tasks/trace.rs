//! Copies what is traced while a task runs into its debug output.
//!
//! The engine names a task's work by a span `task{id}` and registers its output here; the subscriber of the process
//! holds [`TaskLayer`]. Everything that this director's crates trace below that span, at `debug` or above, becomes a line.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::{LazyLock, RwLock};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber, span};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::output::{Kind, Output};

static OUTPUTS: LazyLock<RwLock<HashMap<i64, Output>>> = LazyLock::new(RwLock::default);

/// A running task's place in the table; removed when dropped.
pub(super) struct Registered(i64);

pub(super) fn register(task: i64, output: Output) -> Registered {
    OUTPUTS
        .write()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
        .insert(task, output);
    Registered(task)
}

impl Drop for Registered {
    fn drop(&mut self) {
        OUTPUTS
            .write()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
            .remove(&self.0);
    }
}

/// The layer with its filter: our own crates, from `debug` up.
pub fn layer<S>() -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    let ours = Targets::new()
        .with_target("bosun_director", LevelFilter::DEBUG)
        .with_target("cpi", LevelFilter::DEBUG)
        .with_target("agent_protocol", LevelFilter::DEBUG)
        .with_target("templates", LevelFilter::DEBUG)
        .with_target("blobstore", LevelFilter::DEBUG);
    TaskLayer.with_filter(ours)
}

/// Finds the task of an event by its spans.
struct TaskLayer;

struct TaskId(i64);

impl<S> Layer<S> for TaskLayer
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn on_new_span(
        &self,
        attributes: &span::Attributes<'_>,
        id: &span::Id,
        context: Context<'_, S>,
    ) {
        if attributes.metadata().name() != "task" {
            return;
        }
        struct Id(Option<i64>);
        impl Visit for Id {
            fn record_i64(&mut self, field: &Field, value: i64) {
                if field.name() == "id" {
                    self.0 = Some(value);
                }
            }
            fn record_debug(&mut self, _: &Field, _: &dyn std::fmt::Debug) {}
        }
        let mut found = Id(None);
        attributes.record(&mut found);
        if let (Some(task), Some(span)) = (found.0, context.span(id)) {
            span.extensions_mut().insert(TaskId(task));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let task = context.event_scope(event).and_then(|mut scope| {
            scope.find_map(|span| span.extensions().get::<TaskId>().map(|task| task.0))
        });
        let Some(task) = task else { return };
        let outputs = OUTPUTS
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let Some(output) = outputs.get(&task) else {
            return;
        };
        let mut line = chrono::Utc::now()
            .format("[%Y-%m-%dT%H:%M:%S%.6f] ")
            .to_string();
        let _ = write!(
            line,
            "{} {}:",
            event.metadata().level(),
            event.metadata().target()
        );
        event.record(&mut Text(&mut line));
        line.push('\n');
        output.append(Kind::Debug, line);
    }
}

/// Writes the fields of an event: the message as it is, others as `name=value`.
struct Text<'a>(&'a mut String);

impl Visit for Text<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
