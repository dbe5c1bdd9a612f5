//! Faults of documents and plans as one error: the first gives code and text, as in the original, which stops at
//! it; the others follow in the hint.

use planner::{Problem, Problems};

use crate::error::Error;

/// All faults in one error.
pub fn error(problems: Problems) -> Error {
    let code = problems.code();
    let Some((first, others)) = problems.0.split_first() else {
        return Error::new(code, "");
    };
    let error = Error::new(code, &first.message);
    let mut hint = what_to_do(first);
    if !others.is_empty() {
        hint.push_str("\nMore is wrong:");
    }
    for other in others {
        hint.push_str(&format!("\n- {}", other.message));
        let next = what_to_do(other);
        if !next.is_empty() {
            hint.push_str(&format!(" ({next})"));
        }
    }
    match hint.is_empty() {
        true => error,
        false => error.hint(hint),
    }
}

/// One fault as an error.
pub fn one(problem: Problem) -> Error {
    error(Problems(vec![problem]))
}

fn what_to_do(problem: &Problem) -> String {
    let hint = problem.hint.iter();
    let hints: Vec<String> = hint
        .map(|hint| format!("{}.", hint.trim_end_matches('.')))
        .chain(place(problem))
        .collect();
    hints.join(" ")
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
    fn a_fault_is_the_originals_text_and_a_hint_says_what_to_do_and_where() {
        let fault = Problem::new(40001, "It is wrong")
            .hint("Correct it")
            .at("/instance_groups/0/azs");
        assert_eq!(
            one(fault).to_json("message"),
            serde_json::json!({
                "code": 40001,
                "message": "It is wrong",
                "hint": "Correct it. Look at /instance_groups/0/azs in the manifest.",
            })
        );
        let both = Problems(vec![
            Problem::new(2, "Two"),
            Problem::new(1, "One").at("cloud-config:/networks/0"),
        ]);
        assert_eq!(
            error(both).to_json("message"),
            serde_json::json!({
                "code": 2,
                "message": "Two",
                "hint": "More is wrong:\n- One (Look at /networks/0 in the cloud config.)",
            })
        );
    }
}
