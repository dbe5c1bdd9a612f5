//! `explain ERROR-CODE`: the page about an error code of a director. The pages are `docs/errors.md`, which is compiled
//! in: one text for readers of the documentation and for this command.

use crate::commands::ExplainArgs;
use crate::error::{Error, Result};
use crate::ops::Context;
use crate::ui::{Table, Value};

const PAGES: &str = include_str!("../../docs/errors.md");

/// One code.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Page {
    code: u32,
    title: &'static str,
    text: &'static str,
}

fn pages() -> Vec<Page> {
    let mut pages = Vec::new();
    for section in PAGES.split("\n## ").skip(1) {
        let (head, text) = section.split_once('\n').unwrap_or((section, ""));
        // Chapters between the pages have no code.
        let Some((code, title)) = head.split_once(' ') else {
            continue;
        };
        if let Ok(code) = code.parse() {
            let text = text.split("\n# ").next().unwrap_or_default().trim();
            pages.push(Page { code, title, text });
        }
    }
    pages
}

/// Prints a page, or the list of all.
pub fn print(context: &Context, args: ExplainArgs) -> Result<()> {
    let pages = pages();
    let Some(asked) = args.code else {
        let mut table = Table::new("errors", &["Code", "Error"]);
        table.rows = pages
            .iter()
            .map(|page| vec![Value::int(page.code.into()), page.title.into()])
            .collect();
        context.ui.table(table);
        return Ok(());
    };
    let page = asked
        .trim()
        .parse()
        .ok()
        .and_then(|code: u32| pages.iter().find(|page| page.code == code));
    let Some(page) = page else {
        return Err(Error::message(format!(
            "Expected error code '{asked}' to be one of a director; 'bosun explain' lists them"
        )));
    };
    context
        .ui
        .block(format!("{} {}\n\n{}\n", page.code, page.title, page.text));
    Ok(())
}

/// The line that offers a page, for an error with a code that has one. `of_task` is the code with which a task failed.
pub fn hint(error: &Error, of_task: Option<u32>) -> Option<String> {
    let code = code_in(&error.render()).or(of_task)?;
    let known = pages().iter().any(|page| page.code == code);
    known.then(|| format!("What error {code} means and what to do: bosun explain {code}"))
}

/// The code in the body of a director's answer.
fn code_in(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("{\"code\":")?;
    let digits = rest
        .trim_start()
        .split(|letter: char| !letter.is_ascii_digit());
    digits.into_iter().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;
    use crate::commands::parse;

    /// The director's table of codes, read as text: it is another program.
    const DIRECTOR: &str = include_str!("../../director/src/error.rs");
    const SPEC: &str = include_str!("../../docs/spec/director-api.md");

    fn missing(codes: impl IntoIterator<Item = u32>) -> Vec<u32> {
        let pages = pages();
        codes
            .into_iter()
            .filter(|code| pages.iter().all(|page| page.code != *code))
            .collect()
    }

    #[test]
    fn every_code_of_the_director_has_a_page() {
        let codes: Vec<u32> = DIRECTOR
            .lines()
            .filter_map(|line| line.trim().strip_prefix("pub const "))
            .filter_map(|line| line.split_once(": u32 = "))
            .filter_map(|(_, number)| number.trim_end_matches(';').replace('_', "").parse().ok())
            .collect();
        assert!(codes.len() > 50);
        assert_eq!(missing(codes), Vec::<u32>::new());
    }

    #[test]
    fn every_code_named_by_the_specification_has_a_page() {
        let table = SPEC
            .split("\n## 20. Errors")
            .nth(1)
            .and_then(|rest| rest.split("\n## 21").next())
            .expect("section 20");
        let mut codes = Vec::new();
        for line in table.lines().filter(|line| line.starts_with("| ")) {
            let cell = line.split('|').nth(1).unwrap_or_default();
            for part in cell.split([',', '/']).map(str::trim) {
                // The ends of a range; not all numbers between exist.
                codes.extend(part.split('–').filter_map(|end| end.parse::<u32>().ok()));
            }
        }
        assert!(codes.len() > 80);
        assert_eq!(missing(codes), Vec::<u32>::new());
    }

    #[test]
    fn every_page_says_what_it_means_and_what_to_do() {
        for page in pages() {
            for part in ["Means:", "Do:"] {
                assert!(page.text.contains(part), "{} lacks '{part}'", page.code);
            }
        }
    }

    #[test]
    fn every_command_that_is_advised_exists() {
        let mut known = 0;
        for page in pages() {
            let text = page.text.replace('\n', " ");
            for advice in text.split('`').filter(|part| part.starts_with("bosun ")) {
                let words = advice.replace(['[', ']'], "");
                let words = words.split_whitespace().map(OsString::from);
                let problem = parse(words).err().map(|error| error.render());
                let problem = problem.unwrap_or_default();
                assert!(
                    !problem.contains("nknown"),
                    "{}: `{advice}`: {problem}",
                    page.code
                );
                known += 1;
            }
        }
        assert!(known > 50, "{known}");
    }

    #[test]
    fn codes_are_found_in_answers() {
        let text = "Director responded with non-successful status code '404' response '{\"code\":70000,\"description\":\"x\"}'";
        assert_eq!(code_in(text), Some(70000));
        assert_eq!(code_in("x"), None);
    }
}
