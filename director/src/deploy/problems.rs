//! Faults of documents and plans as one error: the first gives the code, all are shown.

use planner::{Problem, Problems};

use crate::error::Error;

/// All faults in one error. A single one keeps the original's text word for word.
pub fn error(problems: Problems) -> Error {
    let code = problems.code();
    let hint = problems.0.iter().find_map(|problem| problem.hint.clone());
    let text = problems.0.iter().map(shown).collect::<Vec<_>>().join("\n");
    let error = Error::new(code, text);
    match hint {
        Some(hint) => error.hint(hint),
        None => error,
    }
}

/// One fault as an error.
pub fn one(problem: Problem) -> Error {
    error(Problems(vec![problem]))
}

fn shown(problem: &Problem) -> String {
    problem.message.clone()
}
