//! Reads monit files as releases write them. What is not understood inside of a check is passed over with a note, as
//! releases rely on corners of monit; a check that can't be read at all is an error with its line.

use std::path::PathBuf;
use std::time::Duration;

use super::config::{
    Action, Condition, Kind, Limit, Operator, PROGRAM_TIMEOUT, Program, Rule, ServiceConfig,
};
use super::lexer::{self, Token, TokenKind};
use crate::error::{Error, Result};

/// Words without meaning.
const NOISE: [&str; 24] = [
    "is", "as", "are", "on", "only", "of", "to", "with", "within", "and", "has", "using", "use",
    "the", "set", "than", "usage", "was", "but", "program", "for", "if", "then", "a",
];

/// Words that begin a statement of a check.
const STATEMENTS: [&str; 12] = [
    "check", "start", "stop", "restart", "group", "depends", "depend", "mode", "every", "if",
    "alert", "noalert",
];

/// Parses one file's text.
pub fn parse(text: &str) -> Result<Vec<ServiceConfig>> {
    let tokens = lexer::tokens(text)?;
    let mut parser = Parser {
        tokens: &tokens,
        position: 0,
    };
    let mut services = Vec::new();
    while let Some(token) = parser.next() {
        if token.is("check") {
            services.push(parser.check(token.line)?);
        } else {
            // `set …` and `include …` configure monit itself.
            parser.skip_to(&["check", "set", "include"]);
        }
    }
    Ok(services)
}

struct Parser<'a> {
    tokens: &'a [Token],
    position: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token> {
        self.tokens.get(self.position)
    }

    fn next(&mut self) -> Option<&'a Token> {
        let token = self.peek()?;
        self.position += 1;
        Some(token)
    }

    fn accept(&mut self, keyword: &str) -> bool {
        let found = self.peek().is_some_and(|token| token.is(keyword));
        if found {
            self.position += 1;
        }
        found
    }

    fn skip_noise(&mut self, noise: &[&str]) {
        while let Some(token) = self.peek() {
            let noisy =
                token.kind == TokenKind::Symbol("=") || noise.iter().any(|word| token.is(word));
            if !noisy {
                return;
            }
            self.position += 1;
        }
    }

    fn skip_to(&mut self, words: &[&str]) {
        while let Some(token) = self.peek() {
            if words.iter().any(|word| token.is(word)) {
                return;
            }
            self.position += 1;
        }
    }

    fn text(&mut self, line: usize, what: &str) -> Result<String> {
        match self.next().and_then(Token::text) {
            Some(text) => Ok(text.to_owned()),
            None => Err(Error::new(format!("line {line}: {what} is missing"))),
        }
    }

    fn check(&mut self, line: usize) -> Result<ServiceConfig> {
        let what = self.text(line, "what to check")?.to_lowercase();
        let name = self.text(line, "the name of the service")?;
        self.skip_noise(&["with", "is", "the"]);
        let kind = match what.as_str() {
            "process" if self.accept("pidfile") || self.accept("pid") => {
                self.skip_noise(&["is"]);
                Kind::Process {
                    pidfile: PathBuf::from(self.text(line, "the pid file's path")?),
                }
            }
            "file" | "directory" | "fifo" | "filesystem" | "device" => {
                self.skip_noise(&["with", "path", "is"]);
                Kind::Path {
                    what,
                    path: PathBuf::from(self.text(line, "the path")?),
                }
            }
            "process" | "system" | "host" | "program" | "network" => {
                self.skip_to(&STATEMENTS);
                Kind::Other { what }
            }
            _ => {
                return Err(Error::new(format!(
                    "line {line}: 'check {what}' is not known; use process, file, directory, filesystem, host or system"
                )));
            }
        };
        let mut service = ServiceConfig {
            name,
            kind,
            start: None,
            stop: None,
            groups: Vec::new(),
            depends: Vec::new(),
            active: true,
            rules: Vec::new(),
        };
        while let Some(token) = self.peek() {
            if token.is("check") || token.is("set") || token.is("include") {
                break;
            }
            self.position += 1;
            self.statement(token, &mut service)?;
        }
        Ok(service)
    }

    fn statement(&mut self, token: &Token, service: &mut ServiceConfig) -> Result<()> {
        let line = token.line;
        if token.is("start") {
            service.start = Some(self.program(line)?);
        } else if token.is("stop") {
            service.stop = Some(self.program(line)?);
        } else if token.is("restart") {
            self.program(line)?; // a restart is a stop and a start
        } else if token.is("group") {
            service.groups.push(self.text(line, "the group's name")?);
        } else if token.is("depends") || token.is("depend") {
            self.skip_noise(&["on"]);
            service.depends.push(self.text(line, "a service's name")?);
            while self.peek().map(|t| &t.kind) == Some(&TokenKind::Symbol(",")) {
                self.position += 1;
                service.depends.push(self.text(line, "a service's name")?);
            }
        } else if token.is("mode") {
            service.active = self.text(line, "the mode")?.eq_ignore_ascii_case("active");
        } else if token.is("if") {
            service.rules.extend(self.rule(line)?);
        } else {
            self.skip_to(&STATEMENTS);
        }
        Ok(())
    }

    /// `start program = "…" as uid u and gid g with timeout 60 seconds`
    fn program(&mut self, line: usize) -> Result<Program> {
        self.skip_noise(&["program", "="]);
        let argv = match self.next().map(|token| &token.kind) {
            Some(TokenKind::Quoted(command)) => lexer::arguments(command),
            Some(TokenKind::Word(word)) => vec![word.clone()],
            Some(TokenKind::Symbol("{")) => {
                let mut argv = Vec::new();
                while let Some(text) = self.next().and_then(Token::text) {
                    argv.push(text.to_owned());
                }
                argv
            }
            _ => Vec::new(),
        };
        if argv.is_empty() {
            return Err(Error::new(format!("line {line}: the program is missing")));
        }
        let mut program = Program {
            argv,
            uid: None,
            gid: None,
            timeout: PROGRAM_TIMEOUT,
        };
        loop {
            let before = self.position;
            self.skip_noise(&["as", "and", "with", "using"]);
            if self.accept("uid") {
                self.skip_noise(&["is"]);
                program.uid = Some(self.text(line, "the user")?);
            } else if self.accept("gid") {
                self.skip_noise(&["is"]);
                program.gid = Some(self.text(line, "the group")?);
            } else if self.accept("timeout") {
                self.skip_noise(&["is"]);
                program.timeout = self.seconds(line)?;
            } else {
                // What was passed over may belong to the next statement.
                self.position = before;
                return Ok(program);
            }
        }
    }

    fn seconds(&mut self, line: usize) -> Result<Duration> {
        let number = self.text(line, "a number of seconds")?;
        let (number, unit) = split_number(&number);
        let number = number
            .ok_or_else(|| Error::new(format!("line {line}: a number of seconds is missing")))?;
        let minutes = unit.starts_with('m') || self.accept("minutes") || self.accept("minute");
        let _ = self.accept("seconds") || self.accept("second") || self.accept("s");
        let factor = if minutes { 60.0 } else { 1.0 };
        Ok(Duration::from_secs_f64(
            (number * factor).clamp(0.0, 86_400.0),
        ))
    }

    /// `if … then … [else …]`; `None` if it can't be told where it ends.
    fn rule(&mut self, line: usize) -> Result<Option<Rule>> {
        let start = self.position;
        self.skip_to(&["then", "check"]);
        let condition = &self.tokens[start..self.position];
        if !self.accept("then") {
            return Ok(None);
        }
        let action = self.action(line)?;
        if self.accept("else") {
            self.skip_noise(&["if", "succeeded", "recovered", "passed", "then"]);
            self.skip_times();
            self.skip_noise(&["then"]);
            self.action(line)?;
        }
        let (condition, times, within) = split_times(condition);
        Ok(Some(Rule {
            condition: parse_condition(condition),
            times,
            within,
            action,
        }))
    }

    /// `for 2 cycles`, `2 times within 3 cycles`
    fn skip_times(&mut self) {
        let save = self.position;
        while self.peek().is_some_and(|token| {
            token.is("for")
                || token.is("times")
                || token.is("within")
                || token.text().is_some_and(|t| t.parse::<u32>().is_ok())
        }) {
            self.position += 1;
        }
        if !(self.accept("cycles") || self.accept("cycle")) {
            self.position = save;
        }
    }

    fn action(&mut self, line: usize) -> Result<Action> {
        let word = self.text(line, "what to do")?.to_lowercase();
        Ok(match word.as_str() {
            "restart" => Action::Restart,
            "start" => Action::Start,
            "stop" => Action::Stop,
            "unmonitor" | "timeout" => Action::Unmonitor,
            "exec" => Action::Exec(self.program(line)?),
            _ => Action::Alert,
        })
    }
}

/// Splits `… for 2 cycles` and `… 2 times within 3 cycles` off a condition.
fn split_times(tokens: &[Token]) -> (&[Token], u32, u32) {
    let number = |i: usize| tokens.get(i)?.text()?.parse::<u32>().ok();
    let word = |i: usize, words: &[&str]| {
        tokens
            .get(i)
            .is_some_and(|token| words.iter().any(|w| token.is(w)))
    };
    let end = tokens.len();
    if end >= 3 && word(end - 1, &["cycles", "cycle"]) {
        if word(end - 3, &["for"])
            && let Some(n) = number(end - 2)
        {
            return (&tokens[..end - 3], n, n);
        }
        // "2 times within 3 cycles"; "5 restarts within 5 cycles" is a condition of its own.
        if end >= 5
            && word(end - 3, &["within"])
            && word(end - 4, &["times", "time"])
            && let (Some(n), Some(m)) = (number(end - 5), number(end - 2))
        {
            return (&tokens[..end - 5], n, m.max(n));
        }
    }
    (tokens, 1, 1)
}

fn parse_condition(tokens: &[Token]) -> Condition {
    let words: Vec<String> = tokens
        .iter()
        .map(|token| match &token.kind {
            TokenKind::Word(word) => word.to_lowercase(),
            TokenKind::Quoted(text) => text.clone(),
            TokenKind::Symbol(symbol) => (*symbol).to_owned(),
        })
        .filter(|word| !NOISE.contains(&word.as_str()) || word == "within")
        .collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let other = || Condition::Other(words.join(" "));
    match words.as_slice() {
        [
            subject @ ("mem" | "memory" | "totalmem" | "totalmemory"),
            rest @ ..,
        ] => {
            let total = subject.starts_with("total");
            match limit(rest) {
                Some((limit, "%")) => Condition::MemoryPercent { total, limit },
                Some((limit, unit)) => match kilobytes(unit) {
                    Some(factor) => Condition::MemoryKb {
                        total,
                        limit: Limit {
                            value: limit.value * factor,
                            ..limit
                        },
                    },
                    None => other(),
                },
                None => other(),
            }
        }
        [subject @ ("cpu" | "totalcpu"), rest @ ..] => match limit(rest) {
            Some((limit, _)) => Condition::CpuPercent {
                total: subject.starts_with("total"),
                limit,
            },
            None => other(),
        },
        ["children", rest @ ..] => limit(rest).map_or_else(other, |(l, _)| Condition::Children(l)),
        ["failed", rest @ ..] => connection(rest).unwrap_or_else(other),
        ["does", "not", "exist"] | ["not", "exist"] => Condition::DoesNotExist,
        ["changed", "pid"] => Condition::ChangedPid,
        [
            count,
            "restarts" | "restart",
            "within",
            cycles,
            "cycles" | "cycle",
        ] => match (count.parse(), cycles.parse()) {
            (Ok(count), Ok(cycles)) => Condition::Restarts { count, cycles },
            _ => other(),
        },
        _ => other(),
    }
}

/// A comparison and the unit after it.
fn limit<'a>(words: &[&'a str]) -> Option<(Limit, &'a str)> {
    let (operator, rest) = match words {
        [">" | ">=" | "gt" | "greater" | "more", rest @ ..] => (Operator::Greater, rest),
        ["<" | "<=" | "lt" | "less", rest @ ..] => (Operator::Less, rest),
        ["==" | "=" | "eq" | "equal", rest @ ..] => (Operator::Equal, rest),
        ["!=" | "ne" | "notequal", rest @ ..] => (Operator::NotEqual, rest),
        _ => return None,
    };
    let (first, rest) = rest.split_first()?;
    let (value, unit) = split_number(first);
    let unit = if unit.is_empty() {
        rest.first().copied().unwrap_or_default()
    } else {
        unit
    };
    Some((
        Limit {
            operator,
            value: value?,
        },
        unit,
    ))
}

/// `60s` is 60 and `s`.
fn split_number(text: &str) -> (Option<f64>, &str) {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    (text[..end].parse().ok(), &text[end..])
}

fn kilobytes(unit: &str) -> Option<f64> {
    Some(match unit.chars().next()?.to_ascii_lowercase() {
        'b' => 1.0 / 1024.0,
        'k' => 1.0,
        'm' => 1024.0,
        'g' => 1024.0 * 1024.0,
        _ => return None,
    })
}

fn connection(words: &[&str]) -> Option<Condition> {
    let after = |keyword: &str| {
        let position = words.iter().position(|word| *word == keyword)?;
        words.get(position + 1).copied()
    };
    let timeout = after("timeout")
        .and_then(|text| split_number(text).0)
        .map_or(Duration::from_secs(5), Duration::from_secs_f64);
    if let Some(path) = after("unixsocket").or(after("unix")) {
        return Some(Condition::UnixSocketFailed {
            path: PathBuf::from(path),
            timeout,
        });
    }
    Some(Condition::ConnectionFailed {
        host: after("host").unwrap_or("127.0.0.1").to_owned(),
        port: after("port")?.parse().ok()?,
        timeout,
    })
}
