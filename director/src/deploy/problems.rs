//! Faults of documents and plans as one error: the first gives the code, all are shown.

use planner::{Problem, Problems};

use crate::error::Error;

/// All faults in one error, each with its place and what to do next behind the original's text.
pub fn error(problems: Problems) -> Error {
    let code = problems.code();
    if let [problem] = problems.0.as_slice() {
        return told(code, problem);
    }
    let lines: Vec<String> = problems
        .0
        .iter()
        .map(|problem| told(code, problem).message_with_hint())
        .collect();
    Error::new(code, lines.join("\n"))
}

/// One fault as an error.
pub fn one(problem: Problem) -> Error {
    error(Problems(vec![problem]))
}

fn told(code: u32, problem: &Problem) -> Error {
    let error = Error::new(code, &problem.message);
    let hints: Vec<String> = problem
        .hint
        .iter()
        .map(|hint| format!("{}.", hint.trim_end_matches('.')))
        .chain(place(problem))
        .collect();
    if hints.is_empty() {
        return error;
    }
    error.hint(hints.join(" "))
}

/// `Look at /instance_groups/0/azs in the manifest.`: positions count from 0, as in ops files.
fn place(problem: &Problem) -> Option<String> {
    let (document, path) = match problem.path.split_once(':') {
        Some((document, path)) => (document.replace('-', " "), path),
        None => ("manifest".to_owned(), problem.path.as_str()),
    };
    (path.len() > 1).then(|| format!("Look at {path} in the {document}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_the_originals_text_and_then_what_to_do_and_where() {
        let fault = Problem::new(40001, "It is wrong")
            .hint("Correct it")
            .at("/instance_groups/0/azs");
        assert_eq!(
            one(fault).message_with_hint(),
            "It is wrong. Correct it. Look at /instance_groups/0/azs in the manifest."
        );
        let both = Problems(vec![
            Problem::new(1, "One").at("cloud-config:/networks/0"),
            Problem::new(2, "Two"),
        ]);
        assert_eq!(
            error(both).message_with_hint(),
            "One. Look at /networks/0 in the cloud config.\nTwo"
        );
    }
}
