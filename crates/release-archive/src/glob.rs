//! The glob patterns of package specs: `docs/spec/releases-and-templates.md` §5.

use regex::Regex;

use crate::problem::Problem;

/// A compiled pattern, matched against a whole relative path.
#[derive(Debug, Clone)]
pub struct Glob {
    text: String,
    regex: Regex,
}

impl Glob {
    /// Compiles `*` (no slash), `**` (as a whole segment, any depth), `?`, `[…]`, `{a,b}`.
    pub fn new(text: &str) -> Result<Self, Problem> {
        let bad = || Problem::new(format!("Malformed pattern '{text}'"));
        let regex = Regex::new(&translate(text).ok_or_else(bad)?).map_err(|_| bad())?;
        Ok(Self {
            text: text.to_owned(),
            regex,
        })
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the whole path fits.
    pub fn matches(&self, path: &str) -> bool {
        self.regex.is_match(path)
    }
}

fn translate(text: &str) -> Option<String> {
    let mut out = String::from("^(?s:");
    let text = text.strip_prefix("./").unwrap_or(text);
    let segments: Vec<&str> = text.split('/').collect();
    for (i, segment) in segments.iter().enumerate() {
        let last = i + 1 == segments.len();
        match (*segment, last) {
            ("**", false) => out.push_str("(?:[^/]+/)*"),
            ("**", true) => out.push_str("(?:[^/]+/)*[^/]+"),
            (segment, _) => {
                translate_segment(segment, &mut out)?;
                if !last {
                    out.push('/');
                }
            }
        }
    }
    out.push_str(")$");
    // Braces may span slashes (`{a/b,c}`), which the split above leaves as unclosed halves: they are balanced over
    // the whole text or the regex does not compile.
    Some(out)
}

fn translate_segment(segment: &str, out: &mut String) -> Option<()> {
    let mut chars = segment.chars().peekable();
    let mut braces = 0_u32;
    while let Some(c) = chars.next() {
        match c {
            '*' => {
                while chars.next_if_eq(&'*').is_some() {}
                out.push_str("[^/]*");
            }
            '?' => out.push_str("[^/]"),
            '{' => {
                braces += 1;
                out.push_str("(?:");
            }
            '}' => {
                braces = braces.saturating_sub(1);
                out.push(')');
            }
            ',' if braces > 0 => out.push('|'),
            '\\' => out.push_str(&regex::escape(&chars.next()?.to_string())),
            '[' => {
                out.push('[');
                if chars.next_if(|c| *c == '!' || *c == '^').is_some() {
                    out.push('^');
                }
                loop {
                    match chars.next()? {
                        ']' => break out.push(']'),
                        '-' => out.push('-'),
                        '\\' => out.push_str(&regex::escape(&chars.next()?.to_string())),
                        c => out.push_str(&regex::escape(&c.to_string())),
                    }
                }
            }
            c => out.push_str(&regex::escape(&c.to_string())),
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_double_star_is_any_depth_and_a_single_one_stays_in_its_segment() {
        let matches = |pattern: &str, path: &str| Glob::new(pattern).unwrap().matches(path);
        assert!(matches("app/**/*", "app/main.rb"));
        assert!(matches("app/**/*", "app/lib/deep/a.rb"));
        assert!(!matches("app/**/*", "apps/a.rb"));
        assert!(matches("**/*.rb", "a.rb"));
        assert!(matches("app/**", "app/lib/a.rb"));
        assert!(!matches("app/*", "app/lib/a.rb"));
        assert!(matches("libs/{one,two}.txt", "libs/two.txt"));
        assert!(matches("libs/*.txt", "libs/.hidden.txt"));
        assert!(matches("a?[b-d].x", "azc.x"));
        assert!(!matches("a.c", "abc"));
        assert!(Glob::new("a[").is_err());
    }
}
