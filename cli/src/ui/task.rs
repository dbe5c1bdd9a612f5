//! Renders a task as the original does (spec cli §5.1): event lines with stages, durations and errors in
//! a frame, other outputs raw.
//!
//! An event line stays open (no newline) until the next event, because a `finished` right after its
//! `started` only appends the duration. On a watched terminal the time waited so far stands behind
//! the open line and is wiped before anything else is printed.

use super::{Ui, duration, put, time};
use director_client::{Reporter, Task};
use domain::TaskId;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How long nothing may happen before the wait is shown.
const QUIET: Duration = Duration::from_secs(3);

/// Prints tasks that are followed; several at once take turns line by line.
pub struct TaskReporter {
    ui: Ui,
    events: bool,
    heartbeat: Option<Duration>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    tasks: HashMap<TaskId, View>,
    /// The last event shown, of whatever task.
    last: Option<(TaskId, Event)>,
    wait: Wait,
}

#[derive(Default)]
struct View {
    /// The start of a line whose end has not come yet.
    rest: Vec<u8>,
    events: Vec<Event>,
    has_output: bool,
    last_heartbeat: Option<Instant>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Event {
    time: i64,
    stage: String,
    task: String,
    tags: Option<Vec<String>>,
    state: String,
    data: Option<Data>,
    #[serde(rename = "type")]
    kind: String,
    message: String,
    error: Option<Failure>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Data {
    status: Option<String>,
    error: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Failure {
    message: String,
    code: u32,
    /// What to do next, from a bosun director.
    hint: Option<String>,
}

impl Event {
    fn tags(&self) -> &[String] {
        self.tags.as_deref().unwrap_or_default()
    }

    fn is_same(&self, other: &Event) -> bool {
        !self.stage.is_empty()
            && self.stage == other.stage
            && self.tags() == other.tags()
            && self.task == other.task
    }

    /// Stage, tags and task.
    fn subject(&self) -> String {
        if self.tags().is_empty() {
            format!("{}: {}", self.stage, self.task)
        } else {
            format!("{} {}: {}", self.stage, self.tags().join(", "), self.task)
        }
    }
}

impl TaskReporter {
    /// For the event output.
    pub fn events(ui: &Ui) -> Self {
        Self::new(ui, true)
    }

    /// For debug, cpi, result or raw event output.
    pub fn raw(ui: &Ui) -> Self {
        Self::new(ui, false)
    }

    fn new(ui: &Ui, events: bool) -> Self {
        TaskReporter {
            ui: ui.clone(),
            events,
            heartbeat: None,
            state: Mutex::default(),
        }
    }

    /// Tells every so often that the task still runs (`--with-heartbeat`).
    #[must_use]
    pub fn with_heartbeat(mut self, every: Option<Duration>) -> Self {
        self.heartbeat = every;
        self
    }

    /// The error with which a task ended, and what the director says to do next, when its events were followed.
    pub fn error_of(&self, id: TaskId) -> Option<String> {
        let state = self.lock();
        let events = &state.tasks.get(&id)?.events;
        events
            .iter()
            .rev()
            .find_map(|event| event.error.as_ref())
            .map(|error| match &error.hint {
                Some(hint) => format!("{}. {hint}", error.message),
                None => error.message.clone(),
            })
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|lock| lock.into_inner())
    }

    fn prefix(&self, id: TaskId, event: &Event) {
        let clock = event.time.rem_euclid(24 * 3600);
        self.ui
            .block(format!("\nTask {id} | {} | ", duration(clock)));
    }

    /// Below the time of a task's lines.
    fn indent(&self, id: TaskId) -> String {
        " ".repeat(5 + id.to_string().len() + 12)
    }

    fn show(&self, state: &mut State, id: TaskId, event: Event) {
        let same = state
            .last
            .as_ref()
            .is_some_and(|(task, last)| *task == id && last.is_same(&event));
        let other_task = state.last.as_ref().is_some_and(|(task, _)| *task != id);
        let view = state.tasks.entry(id).or_default();
        let since = view
            .events
            .iter()
            .find(|earlier| earlier.is_same(&event))
            .map_or(event.time, |first| first.time);
        let took = format!(" ({})", duration(event.time - since));
        let mut shown = true;
        if let Some(error) = &event.error {
            if other_task {
                self.ui.block("\n");
            }
            self.prefix(id, &event);
            self.ui.error_block(format!("Error: {}", error.message));
            self.ui.state().task_error = Some(error.code);
            for line in error.hint.iter().flat_map(|hint| hint.lines()) {
                let indent = self.indent(id);
                self.ui.error_block(format!("\n{indent}  {line}"));
            }
        } else if event.kind == "deprecation" {
            if other_task {
                self.ui.block("\n");
            }
            self.prefix(id, &event);
            self.ui
                .error_block(format!("Deprecation: {}", event.message));
        } else if event.kind == "warning" {
            self.prefix(id, &event);
            self.ui.error_block(format!("Warning: {}", event.message));
        } else {
            shown = self.show_stage(id, &event, same, &took);
        }
        view.events.push(event.clone());
        if shown {
            state.last = Some((id, event));
        }
    }

    fn show_stage(&self, id: TaskId, event: &Event, same: bool, took: &str) -> bool {
        match event.state.as_str() {
            "started" if same => {}
            "started" => {
                self.prefix(id, event);
                self.ui.block(event.subject());
            }
            "finished" | "failed" => {
                if same {
                    self.ui.block(took);
                } else {
                    self.prefix(id, event);
                    self.ui.block(format!("{}{took}", event.subject()));
                }
                let error = event.data.as_ref().and_then(|data| data.error.as_ref());
                if let (true, Some(error)) = (event.state == "failed", error) {
                    let indent = self.indent(id);
                    self.ui.error_block(format!("\n{indent}L Error: {error}"));
                }
            }
            "in_progress" => {
                if !same {
                    self.prefix(id, event);
                    self.ui.block(event.subject());
                }
                let status = event.data.as_ref().and_then(|data| data.status.as_ref());
                if let Some(status) = status {
                    self.prefix(id, event);
                    self.ui.block(format!("L {status}: {}", event.task));
                }
            }
            _ => return false,
        }
        true
    }
}

impl Reporter for TaskReporter {
    fn started(&self, id: TaskId) {
        let mut state = self.lock();
        if !state.tasks.is_empty() {
            self.ui.begin_line("\n");
        }
        crate::interrupt::follow(id);
        state.tasks.insert(id, View::default());
        state.wait.restart();
        self.ui.begin_line(format!("Task {id}"));
    }

    fn output(&self, id: TaskId, chunk: &[u8]) {
        let mut state = self.lock();
        state.wait.wipe();
        let view = state.tasks.entry(id).or_default();
        let first = !view.has_output;
        view.has_output = true;
        if !self.events {
            if first {
                self.ui.begin_line("\n\n");
            }
            self.ui.block(String::from_utf8_lossy(chunk));
            return;
        }
        if first {
            self.ui.begin_line("\n");
        }
        view.rest.extend_from_slice(chunk);
        let whole = view.rest.iter().rposition(|byte| *byte == b'\n');
        let lines: Vec<u8> = match whole {
            Some(end) => view.rest.drain(..=end).collect(),
            None => return,
        };
        for line in lines.split(|byte| *byte == b'\n') {
            // A line that is not an event is nothing a person can use.
            if let Ok(event) = serde_json::from_slice::<Event>(line) {
                self.show(&mut state, id, event);
            }
        }
        state.wait.restart();
    }

    fn finished(&self, id: TaskId, task_state: &str) {
        crate::interrupt::unfollow();
        let mut state = self.lock();
        state.wait.wipe();
        let view = state.tasks.entry(id).or_default();
        if !view.has_output {
            self.ui.end_line(format!(". {}", capitalized(task_state)));
            return;
        }
        if let (Some(first), Some(last)) = (view.events.first(), view.events.last()) {
            self.ui.begin_line(format!(
                "\n\nTask {id} Started  {}\nTask {id} Finished {}\nTask {id} Duration {}",
                time(first.time),
                time(last.time),
                duration(last.time - first.time)
            ));
        }
        self.ui.begin_line(format!("\nTask {id} {task_state}\n"));
    }

    fn polled(&self, task: &Task) {
        let mut state = self.lock();
        if let Some(every) = self.heartbeat {
            let view = state.tasks.entry(task.id).or_default();
            let now = Instant::now();
            let last = *view.last_heartbeat.get_or_insert(now);
            if now.duration_since(last) >= every {
                view.last_heartbeat = Some(now);
                self.ui.block(heartbeat(task));
            }
        } else if self.ui.is_watched() {
            state.wait.show();
        }
    }
}

fn heartbeat(task: &Task) -> String {
    let now = chrono::Utc::now().timestamp();
    let clock = duration(now.rem_euclid(24 * 3600));
    let elapsed = match task.started_at {
        Some(start) if task.state != "queued" && start > 0 => {
            format!(" ({} elapsed)", compact(now - start))
        }
        _ => String::new(),
    };
    format!(
        "\nTask {} | {clock} | Task state: {}{elapsed}",
        task.id, task.state
    )
}

/// `1m30s`.
fn compact(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}s"),
        (0, m, s) => format!("{m}m{s}s"),
        (h, m, s) => format!("{h}h{m}m{s}s"),
    }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

/// The waiting mark behind an open line.
#[derive(Default)]
struct Wait {
    since: Option<Instant>,
    shown: bool,
}

impl Wait {
    fn restart(&mut self) {
        self.since = Some(Instant::now());
    }

    fn show(&mut self) {
        let Some(quiet) = self.since.map(|since| since.elapsed()) else {
            return;
        };
        if quiet < QUIET {
            return;
        }
        // Save the cursor, write dimly, go back: the line goes on where it was. Without wrapping, because a
        // screen that scrolled would put the cursor back on the wrong line.
        put(&format!(
            "\u{1b}7\u{1b}[K\u{1b}[?7l\u{1b}[2m ... {}\u{1b}[0m\u{1b}[?7h\u{1b}8",
            compact(quiet.as_secs() as i64)
        ));
        self.shown = true;
    }

    fn wipe(&mut self) {
        if std::mem::take(&mut self.shown) {
            put("\u{1b}[K");
        }
    }
}
