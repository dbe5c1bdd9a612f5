//! Tokens of monit files: free-form, `#` comments, quoted strings, punctuation that may or may not have spaces around.

use crate::error::{Error, Result};

/// One token and the line it stands in.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Lines count from 1.
    pub line: usize,
    /// What it is.
    pub kind: TokenKind,
}

/// Kinds of tokens.
#[derive(Debug, Clone, PartialEq)]
pub enum TokenKind {
    /// Unquoted: keyword, name, number or path.
    Word(String),
    /// In double or single quotes.
    Quoted(String),
    /// One of `{ } ( ) , > < = !`, or two of the comparison characters.
    Symbol(&'static str),
}

impl Token {
    /// The text of a word or quoted string.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            TokenKind::Word(text) | TokenKind::Quoted(text) => Some(text),
            TokenKind::Symbol(_) => None,
        }
    }

    /// Whether this is the keyword, which is given in lower case.
    pub fn is(&self, keyword: &str) -> bool {
        matches!(&self.kind, TokenKind::Word(word) if word.eq_ignore_ascii_case(keyword))
    }
}

const SYMBOLS: [&str; 12] = [
    ">=", "<=", "==", "!=", "{", "}", "(", ")", ",", ">", "<", "=",
];

/// Splits a file into tokens.
pub fn tokens(text: &str) -> Result<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if c == '\n' {
            line += 1;
            rest = &rest[1..];
        } else if c.is_whitespace() {
            rest = &rest[c.len_utf8()..];
        } else if c == '#' {
            rest = &rest[rest.find('\n').unwrap_or(rest.len())..];
        } else if c == '"' || c == '\'' {
            let end = rest[1..].find(c).ok_or_else(|| {
                Error::new(format!("line {line}: the string starting here has no end"))
            })?;
            let quoted = &rest[1..=end];
            tokens.push(Token {
                line,
                kind: TokenKind::Quoted(quoted.to_owned()),
            });
            line += quoted.matches('\n').count();
            rest = &rest[end + 2..];
        } else if let Some(symbol) = SYMBOLS.iter().find(|s| rest.starts_with(**s)) {
            tokens.push(Token {
                line,
                kind: TokenKind::Symbol(symbol),
            });
            rest = &rest[symbol.len()..];
        } else {
            let end = rest
                .find(|c: char| c.is_whitespace() || "\"'{}(),><=#".contains(c))
                .filter(|&end| end > 0)
                .unwrap_or(rest.len());
            tokens.push(Token {
                line,
                kind: TokenKind::Word(rest[..end].to_owned()),
            });
            rest = &rest[end..];
        }
    }
    Ok(tokens)
}

/// Splits a command line into arguments; quotes keep spaces, nothing is expanded.
pub fn arguments(command: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    let mut current: Option<String> = None;
    let mut quote = None;
    for c in command.chars() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => current.get_or_insert_default().push(c),
            None if c == '\'' || c == '"' => {
                quote = Some(c);
                current.get_or_insert_default();
            }
            None if c.is_whitespace() => arguments.extend(current.take()),
            None => current.get_or_insert_default().push(c),
        }
    }
    arguments.extend(current);
    arguments
}
