//! Everything the CLI prints and asks (spec cli §4). All commands write through one [`Ui`]: it knows
//! whether a person, a pipe or a JSON reader is listening, and keeps the blank-line rule.
//!
//! ```text
//!              terminal     pipe             --json
//! line         stdout       hidden           Lines
//! error line   stderr       stderr           Lines
//! block        stdout       stdout           Blocks
//! table        with header  data only, tabs  Tables
//! ```

mod format;
mod json;
mod progress;
mod prompt;
mod table;
mod task;
mod value;

pub use format::{decimal_bytes, duration, kib_bytes, time};
pub use progress::TransferBar;
pub use table::{Sort, Table};
pub use task::TaskReporter;
pub use value::Value;

use std::io::{IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard};

/// How the output is to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For a person: notices, headers, footers.
    Terminal,
    /// For a pipe: data only.
    Plain,
    /// One JSON document at the end.
    Json,
}

/// What an output is for the blank-line rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Raw,
    Spaced,
    Question,
}

/// Emphasis, shown only with colours on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tone {
    #[default]
    Plain,
    Good,
    Bad,
    Bold,
}

impl Tone {
    fn paint(self, text: &str, color: bool) -> String {
        let code = match self {
            _ if !color => return text.to_owned(),
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Bold => "1",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }
}

/// Choices made by the global flags.
#[derive(Debug, Clone)]
pub struct Options {
    pub mode: Mode,
    pub color: bool,
    pub interactive: bool,
    /// `--column`: titles or keys of the columns to show; empty for all.
    pub columns: Vec<String>,
}

impl Options {
    /// What to assume before the flags are known: errors in them are printed plainly.
    pub fn before_flags() -> Self {
        Options {
            mode: if std::io::stdout().is_terminal() {
                Mode::Terminal
            } else {
                Mode::Plain
            },
            color: false,
            interactive: true,
            columns: Vec::new(),
        }
    }
}

/// The one place that writes to standard output and error. Cheap to clone; safe to share.
#[derive(Clone)]
pub struct Ui(Arc<Mutex<State>>);

struct State {
    options: Options,
    previous: Option<Kind>,
    document: json::Document,
    /// The code with which a task failed, the last one shown.
    task_error: Option<u32>,
}

impl Ui {
    pub fn new(options: Options) -> Self {
        Ui(Arc::new(Mutex::new(State {
            options,
            previous: None,
            document: json::Document::default(),
            task_error: None,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic while printing leaves nothing half-done that matters.
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Whether questions may be asked.
    pub fn is_interactive(&self) -> bool {
        self.state().options.interactive
    }

    /// Whether a person watches a real terminal: progress bars and waiting marks make sense.
    pub fn is_watched(&self) -> bool {
        let state = self.state();
        state.options.mode == Mode::Terminal
            && state.options.color
            && std::io::stderr().is_terminal()
    }

    /// The error code of the last task that was shown to fail, if one was.
    pub fn task_error(&self) -> Option<u32> {
        self.state().task_error
    }

    /// A notice on a line of its own.
    pub fn line(&self, text: impl AsRef<str>) {
        let mut state = self.state();
        match state.options.mode {
            Mode::Terminal => {
                state.space(Kind::Spaced);
                put(&format!("{}\n", text.as_ref()));
            }
            Mode::Plain => {}
            Mode::Json => state.document.lines.push(text.as_ref().to_owned()),
        }
    }

    /// An error or warning, on standard error.
    pub fn error_line(&self, text: impl AsRef<str>) {
        let mut state = self.state();
        if state.options.mode == Mode::Json {
            state.document.lines.push(text.as_ref().to_owned());
            return;
        }
        state.space(Kind::Spaced);
        let text = Tone::Bad.paint(text.as_ref(), state.options.color);
        // Nothing is left to tell anybody if standard error is gone.
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// A part of a notice; the text brings its own newlines.
    pub fn begin_line(&self, text: impl AsRef<str>) {
        self.line_part(text.as_ref(), Tone::Plain, "");
    }

    /// [`Ui::begin_line`] in a colour.
    pub fn begin_line_toned(&self, text: impl AsRef<str>, tone: Tone) {
        self.line_part(text.as_ref(), tone, "");
    }

    /// The last part of a notice.
    pub fn end_line(&self, text: impl AsRef<str>) {
        self.line_part(text.as_ref(), Tone::Plain, "\n");
    }

    fn line_part(&self, text: &str, tone: Tone, end: &str) {
        let mut state = self.state();
        match state.options.mode {
            Mode::Terminal => {
                state.space(Kind::Raw);
                put(&format!("{}{end}", tone.paint(text, state.options.color)));
            }
            Mode::Plain => {}
            Mode::Json => state.document.lines.push(text.to_owned()),
        }
    }

    /// Raw data, nothing added.
    pub fn block(&self, text: impl AsRef<str>) {
        self.raw(text.as_ref(), Tone::Plain);
    }

    /// Raw data that tells of a failure.
    pub fn error_block(&self, text: impl AsRef<str>) {
        self.raw(text.as_ref(), Tone::Bad);
    }

    fn raw(&self, text: &str, tone: Tone) {
        let mut state = self.state();
        if state.options.mode == Mode::Json {
            state.document.blocks.push(text.to_owned());
            return;
        }
        state.space(Kind::Raw);
        put(&tone.paint(text, state.options.color));
    }

    /// A list.
    pub fn table(&self, mut table: Table) {
        let mut state = self.state();
        table.sort();
        let missing = table.select(&state.options.columns);
        match state.options.mode {
            Mode::Json => {
                state.document.lines.extend(missing);
                state.document.tables.push(table.to_json());
            }
            mode => {
                state.space(Kind::Spaced);
                let mut text: String = missing.iter().map(|line| format!("{line}\n")).collect();
                match mode {
                    Mode::Plain => table.render_plain(&mut text),
                    _ => table.render(&mut text, state.options.color),
                }
                put(&text);
            }
        }
    }

    /// Prints the document of `--json`.
    pub fn flush(&self) {
        let state = self.state();
        if state.options.mode == Mode::Json {
            put(&state.document.to_text());
        }
        let _ = std::io::stdout().flush();
    }
}

impl State {
    fn space(&mut self, kind: Kind) {
        let close = matches!(
            (self.previous, kind),
            (None, _) | (Some(Kind::Raw), Kind::Raw) | (Some(Kind::Question), Kind::Question)
        );
        if !close {
            put("\n");
        }
        self.previous = Some(kind);
    }
}

/// Writes to standard output. A reader that went away (`| head`) ends the program quietly.
fn put(text: &str) {
    let mut out = std::io::stdout().lock();
    if out
        .write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .is_err()
    {
        std::process::exit(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_changes_nothing_without_colours() {
        assert_eq!(Tone::Bad.paint("x", false), "x");
        assert_eq!(Tone::Good.paint("x", true), "\u{1b}[32mx\u{1b}[0m");
    }
}
