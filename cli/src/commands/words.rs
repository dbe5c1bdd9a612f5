//! Reads the words of a command line by the original parser's rules, before clap sees them (spec cli §1): where a flag's
//! value may stand, which mistake is told first, when help and version win. [`super::parse`] calls it; clap then gets
//! words that leave nothing to interpretation (`--flag=value`), and only converts values.
//!
//! The rules: words are read from the left, the first mistake ends the reading; `-h` and `-v` end it too, whatever
//! follows. A flag with an optional value takes it only when attached. A separate value may not look like a flag,
//! except for a negative number of a number flag. `--` ends flags. What no positional argument takes is "extra".

use clap::{Arg, ArgAction, Command};

/// What was read.
pub(super) struct Reading<'a> {
    /// The command named, under its own name and not an alias.
    pub command: Option<&'a Command>,
    /// Long names of the flags that were given.
    pub flags: Vec<String>,
    /// Words for clap, the program's name first.
    pub words: Vec<String>,
    /// How many words went to positional arguments.
    pub positionals: usize,
    /// Words that nothing takes; without a command the first of them should have been one.
    pub extra: Vec<String>,
    /// Why reading ended early.
    pub stop: Option<Stop>,
}

/// Why reading ended before the last word.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Stop {
    Help,
    Version,
    /// A flag that nobody knows, without dashes.
    UnknownFlag(String),
    /// Any other mistake, in the original's words.
    Mistake(String),
}

/// Reads the words after the program's name.
pub(super) fn read<'a>(root: &'a Command, words: &[String]) -> Reading<'a> {
    let mut reader = Reader {
        root,
        rest: words,
        taken: 0,
        hyphened: Vec::new(),
        reading: Reading {
            command: None,
            flags: Vec::new(),
            words: vec![root.get_name().to_owned()],
            positionals: 0,
            extra: Vec::new(),
            stop: None,
        },
    };
    reader.reading.stop = reader.run().err();
    let Reader {
        mut reading,
        hyphened,
        ..
    } = reader;
    if !hyphened.is_empty() {
        reading.words.push("--".to_owned());
        reading.words.extend(hyphened);
    }
    reading
}

struct Reader<'a, 'w> {
    root: &'a Command,
    rest: &'w [String],
    /// Positional arguments that have their word.
    taken: usize,
    /// Positional words that clap would take for flags, and those after them.
    hyphened: Vec<String>,
    reading: Reading<'a>,
}

impl<'w> Reader<'_, 'w> {
    fn run(&mut self) -> Result<(), Stop> {
        while let Some(word) = self.pop() {
            if word == "--" {
                for word in std::mem::take(&mut self.rest) {
                    self.positional(word);
                }
            } else if !is_option(word) {
                if !self.word(word) {
                    break;
                }
            } else if let Some(long) = word.strip_prefix("--") {
                let (name, value) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value)),
                    None => (long, None),
                };
                let flag = self.flag(|arg| arg.get_long() == Some(name));
                let flag = flag.ok_or_else(|| Stop::UnknownFlag(name.to_owned()))?;
                self.set(&flag, true, value)?;
            } else {
                self.shorts(&word[1..])?;
            }
        }
        Ok(())
    }

    /// `-abc`, `-ovalue`, `-o=value`.
    fn shorts(&mut self, text: &str) -> Result<(), Stop> {
        let short = |reader: &Self, letter: char| {
            reader
                .flag(|arg| arg.get_short() == Some(letter))
                .ok_or_else(|| Stop::UnknownFlag(letter.to_string()))
        };
        let mut letters = text.chars();
        let first = letters.next().unwrap_or_default();
        let after = letters.as_str();
        if let Some(value) = after.strip_prefix('=') {
            let flag = short(self, first)?;
            return self.set(&flag, true, Some(value));
        }
        if !after.is_empty()
            && let Ok(flag) = short(self, first)
            && takes_value(&flag)
        {
            return self.set(&flag, false, Some(after));
        }
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            let flag = short(self, letter)?;
            self.set(&flag, letters.as_str().is_empty(), None)?;
        }
        Ok(())
    }

    /// Gives a flag its value, taken from the next word if it may be.
    fn set(&mut self, flag: &Arg, may_take: bool, value: Option<&str>) -> Result<(), Stop> {
        let long = flag.get_long().unwrap_or_default().to_owned();
        let name = flag_name(flag);
        let mistake = |text: String| Err(Stop::Mistake(text));
        self.reading.flags.push(long.clone());
        if !takes_value(flag) {
            if value.is_some() {
                return mistake(format!("bool flag `{name}' cannot have an argument"));
            }
            match long.as_str() {
                "help" => return Err(Stop::Help),
                "version" => return Err(Stop::Version),
                _ => self.reading.words.push(format!("--{long}")),
            }
            return Ok(());
        }
        let optional = flag
            .get_num_args()
            .is_some_and(|range| range.min_values() == 0);
        let value = match value {
            Some(value) => value.to_owned(),
            None if optional => {
                self.reading.words.push(format!("--{long}"));
                return Ok(());
            }
            None => {
                let Some(word) = self.pop().filter(|_| may_take) else {
                    return mistake(format!("expected argument for flag `{name}'"));
                };
                let digits = word.strip_prefix('-').unwrap_or_default();
                let negative = super::types::is_signed(flag)
                    && digits.starts_with(|digit: char| digit.is_ascii_digit());
                if is_option(word) && !negative {
                    return mistake(format!(
                        "expected argument for flag `{name}', but got option `{word}'"
                    ));
                }
                if word == "--" {
                    return mistake(format!(
                        "expected argument for flag `{name}', but got double dash `--'"
                    ));
                }
                word.clone()
            }
        };
        match unquote(&value) {
            Some(value) => self.reading.words.push(format!("--{long}={value}")),
            None => {
                let go_type = super::types::go_type(self.reading.command, flag);
                return mistake(format!(
                    "invalid argument for flag `{name}' (expected {go_type}): invalid syntax"
                ));
            }
        }
        Ok(())
    }

    /// A word that is no flag; whether reading goes on.
    fn word(&mut self, word: &str) -> bool {
        if self.reading.command.is_some() || !self.reading.extra.is_empty() {
            self.positional(word);
            return true;
        }
        match self.root.find_subcommand(word) {
            Some(command) => {
                self.reading.command = Some(command);
                self.reading.words.push(command.get_name().to_owned());
                true
            }
            None => {
                self.reading.extra.push(word.to_owned());
                false
            }
        }
    }

    fn positional(&mut self, word: &str) {
        let argument = self
            .reading
            .command
            .and_then(|command| command.get_positionals().nth(self.taken));
        let Some(argument) = argument else {
            self.reading.extra.push(word.to_owned());
            return;
        };
        let many = argument
            .get_num_args()
            .is_some_and(|range| range.max_values() > 1);
        if !many {
            self.taken += 1;
        }
        self.reading.positionals += 1;
        if self.hyphened.is_empty() && !word.starts_with('-') {
            self.reading.words.push(word.to_owned());
        } else {
            self.hyphened.push(word.to_owned());
        }
    }

    fn pop(&mut self) -> Option<&'w String> {
        let (word, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(word)
    }

    /// The command's own flag before the program's.
    fn flag(&self, is_it: impl Fn(&Arg) -> bool) -> Option<Arg> {
        let own = self.reading.command.into_iter();
        own.flat_map(Command::get_arguments)
            .chain(self.root.get_arguments())
            .find(|arg| is_it(arg))
            .cloned()
            .or_else(|| Some(help_flag()).filter(|arg| is_it(arg)))
    }
}

impl Reading<'_> {
    pub fn has(&self, long: &str) -> bool {
        self.flags.iter().any(|flag| flag == long)
    }
}

fn is_option(word: &str) -> bool {
    match word.strip_prefix("--") {
        Some(rest) => !rest.is_empty() && !rest.starts_with('-'),
        None => word.len() > 1 && word.starts_with('-'),
    }
}

/// clap makes its own only when it parses.
fn help_flag() -> Arg {
    Arg::new("help")
        .short('h')
        .long("help")
        .action(ArgAction::Help)
}

fn takes_value(flag: &Arg) -> bool {
    flag.get_action().takes_values()
}

/// `-o, --ops-file`.
pub(super) fn flag_name(flag: &Arg) -> String {
    let long = flag.get_long().unwrap_or_default();
    match flag.get_short() {
        Some(short) => format!("-{short}, --{long}"),
        None => format!("--{long}"),
    }
}

/// compat: a value that begins with a double quote is read as a quoted string, with the escapes of Go.
fn unquote(text: &str) -> Option<String> {
    let Some(inner) = text.strip_prefix('"') else {
        return Some(text.to_owned());
    };
    let inner = inner.strip_suffix('"')?;
    let mut out = String::new();
    let mut letters = inner.chars();
    let number = |letters: &mut std::str::Chars<'_>, count, radix| {
        let digits: String = letters.by_ref().take(count).collect();
        (digits.len() == count)
            .then(|| u32::from_str_radix(&digits, radix).ok())
            .flatten()
            .and_then(char::from_u32)
    };
    while let Some(letter) = letters.next() {
        out.push(match letter {
            '"' | '\n' => return None,
            '\\' => match letters.next()? {
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                '\\' => '\\',
                '"' => '"',
                'x' => number(&mut letters, 2, 16)?,
                'u' => number(&mut letters, 4, 16)?,
                'U' => number(&mut letters, 8, 16)?,
                _ => return None,
            },
            other => other,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_values_are_unquoted_as_in_go() {
        assert_eq!(unquote("plain \"x\"").as_deref(), Some("plain \"x\""));
        assert_eq!(
            unquote(r#""a\tb\u00e9\"""#).as_deref(),
            Some("a\tb\u{e9}\"")
        );
        assert_eq!(unquote("\"a"), None);
        assert_eq!(unquote("\""), None);
        assert_eq!(unquote(r#""\q""#), None);
    }
}
