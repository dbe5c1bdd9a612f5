//! Text output of YAML: columns, indents, quoting and folding, as the common C emitter lays them out.
//!
//! Both originals print through ports of that emitter, so one layout serves both dialects. What style a string is
//! asked for is the writer's decision; what style it can have is decided here.

/// Lines are folded at the first space behind this column.
const WIDTH: usize = 80;
const INDENT: usize = 2;
/// Longer keys are written with a `?`.
const SIMPLE_KEY_LIMIT: usize = 128;

/// The style that a scalar is asked to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    Plain,
    SingleQuoted,
    DoubleQuoted,
    Literal,
}

/// Collects the text and knows where in the line it is.
#[derive(Debug, Default)]
pub(super) struct Emitter {
    text: String,
    column: usize,
    /// The last character was white space (or nothing was written).
    whitespace: bool,
    /// The line has only indentation so far.
    indention: bool,
}

impl Emitter {
    pub(super) fn new() -> Self {
        Self {
            whitespace: true,
            indention: true,
            ..Self::default()
        }
    }

    /// Ends the document with a line break.
    pub(super) fn finish(mut self) -> String {
        self.write_indent(0);
        self.text
    }

    pub(super) fn write_raw(&mut self, text: &str) {
        for c in text.chars() {
            self.put(c);
        }
    }

    /// Whether the last thing written leaves the line empty but for its indentation.
    pub(super) fn at_indention(&self) -> bool {
        self.indention
    }

    /// Starts the next line at `indent`, unless the line is still empty there.
    pub(super) fn write_indent(&mut self, indent: usize) {
        if !self.indention || self.column > indent || (self.column == indent && !self.whitespace) {
            self.put('\n');
        }
        while self.column < indent {
            self.put(' ');
        }
        self.whitespace = true;
        self.indention = true;
    }

    pub(super) fn write_indicator(
        &mut self,
        indicator: &str,
        need_whitespace: bool,
        is_whitespace: bool,
        is_indention: bool,
    ) {
        if need_whitespace && !self.whitespace {
            self.put(' ');
        }
        self.write_raw(indicator);
        self.whitespace = is_whitespace;
        self.indention = self.indention && is_indention;
    }

    /// Whether a key with this text stands before its colon on one line.
    pub(super) fn is_simple_key(text: &str) -> bool {
        text.len() <= SIMPLE_KEY_LIMIT && !text.contains(is_break)
    }

    /// Writes a scalar in the nearest possible style; `indent` is that of continuation lines.
    pub(super) fn write_scalar(&mut self, text: &str, style: Style, indent: usize, key: bool) {
        let can = Possible::of(text);
        let mut style = style;
        if key && can.multiline {
            style = Style::DoubleQuoted;
        }
        if style == Style::Plain && (!can.plain || (text.is_empty() && key)) {
            style = Style::SingleQuoted;
        }
        if (style == Style::SingleQuoted && !can.single_quoted)
            || (style == Style::Literal && (!can.block || key))
        {
            style = Style::DoubleQuoted;
        }
        match style {
            Style::Plain => self.write_plain(text, indent, !key),
            Style::SingleQuoted => self.write_single_quoted(text, indent, !key),
            Style::DoubleQuoted => self.write_double_quoted(text, indent, !key),
            Style::Literal => self.write_literal(text, indent),
        }
    }

    fn put(&mut self, c: char) {
        self.text.push(c);
        self.column = if is_break(c) { 0 } else { self.column + 1 };
    }

    /// Whether the space between `before` and `after` is where the line is to be folded.
    fn folds(&self, allowed: bool, before: Option<char>, after: Option<char>) -> bool {
        allowed && self.column > WIDTH && before != Some(' ') && after != Some(' ')
    }

    fn write_plain(&mut self, text: &str, indent: usize, fold: bool) {
        if !self.whitespace {
            self.put(' ');
        }
        self.whitespace = false;
        self.indention = false;
        let mut chars = text.chars().peekable();
        let mut before = None;
        while let Some(c) = chars.next() {
            if c == ' ' && self.folds(fold, before, chars.peek().copied()) {
                self.write_indent(indent);
            } else {
                self.put(c);
                self.indention = false;
            }
            before = Some(c);
        }
        self.whitespace = false;
        self.indention = false;
    }

    fn write_single_quoted(&mut self, text: &str, indent: usize, fold: bool) {
        self.write_indicator("'", true, false, false);
        let mut chars = text.chars().peekable();
        let mut before = None;
        let mut breaks = false;
        while let Some(c) = chars.next() {
            let inner = before.is_some() && chars.peek().is_some();
            if c == ' ' && inner && self.folds(fold, before, chars.peek().copied()) {
                self.write_indent(indent);
            } else if is_break(c) {
                if !breaks && c == '\n' {
                    self.put('\n');
                }
                self.put(c);
                self.indention = true;
            } else {
                if breaks {
                    self.write_indent(indent);
                }
                if c == '\'' {
                    self.put('\'');
                }
                self.put(c);
                self.indention = false;
            }
            breaks = is_break(c);
            before = Some(c);
        }
        self.write_indicator("'", false, false, false);
    }

    fn write_double_quoted(&mut self, text: &str, indent: usize, fold: bool) {
        self.write_indicator("\"", true, false, false);
        let mut chars = text.chars().peekable();
        let mut before = None;
        while let Some(c) = chars.next() {
            let inner = before.is_some() && chars.peek().is_some();
            if c == ' ' && inner && fold && self.column > WIDTH && before != Some(' ') {
                self.write_indent(indent);
                // A space at the start of a line would be lost.
                if chars.peek() == Some(&' ') {
                    self.put('\\');
                }
            } else if !is_printable(c) || is_break(c) || matches!(c, '"' | '\\' | '\u{feff}') {
                self.write_raw(&escape(c));
            } else {
                self.put(c);
            }
            before = Some(c);
        }
        self.write_indicator("\"", false, false, false);
    }

    fn write_literal(&mut self, text: &str, indent: usize) {
        self.write_indicator("|", true, false, false);
        if text.starts_with(|c| c == ' ' || is_break(c)) {
            self.write_indicator(&INDENT.to_string(), false, false, false);
        }
        let mut ends = text.chars().rev();
        match (
            ends.next().is_some_and(is_break),
            ends.next().is_none_or(is_break),
        ) {
            (false, _) => self.write_indicator("-", false, false, false),
            (true, true) => self.write_indicator("+", false, false, false),
            (true, false) => {}
        }
        self.put('\n');
        self.indention = true;
        self.whitespace = true;
        let mut breaks = true;
        for c in text.chars() {
            if is_break(c) {
                self.put(c);
                self.indention = true;
                breaks = true;
            } else {
                if breaks {
                    self.write_indent(indent);
                }
                self.put(c);
                self.indention = false;
                breaks = false;
            }
        }
    }
}

/// In which styles a text can be written so that it reads back.
struct Possible {
    multiline: bool,
    plain: bool,
    single_quoted: bool,
    block: bool,
}

impl Possible {
    fn of(text: &str) -> Self {
        let chars: Vec<char> = text.chars().collect();
        let (Some(first), Some(last)) = (chars.first(), chars.last()) else {
            return Self {
                multiline: false,
                plain: true,
                single_quoted: true,
                block: false,
            };
        };
        let blank_or_end = |at: usize| chars.get(at).is_none_or(|c| matches!(c, ' ' | '\t'));
        let mut indicators = text.starts_with("---") || text.starts_with("...");
        for (at, c) in chars.iter().enumerate() {
            indicators |= match (at, c) {
                (
                    0,
                    '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"'
                    | '%' | '@' | '`',
                ) => true,
                (0, '?' | '-') | (_, ':') => blank_or_end(at + 1),
                (_, '#') => matches!(chars[at - 1], ' ' | '\t') || is_break(chars[at - 1]),
                _ => false,
            };
        }
        let special = chars.iter().any(|c| !is_printable(*c));
        let multiline = chars.iter().any(|c| is_break(*c));
        let pair = |found: fn(char, char) -> bool| chars.windows(2).any(|w| found(w[0], w[1]));
        let break_space = pair(|a, b| is_break(a) && b == ' ');
        let space_break = pair(|a, b| a == ' ' && is_break(b));
        let edge = |c: &char| *c == ' ' || is_break(*c);
        Self {
            multiline,
            plain: !(indicators || special || multiline || edge(first) || edge(last)),
            single_quoted: !(break_space || space_break || special),
            block: !(space_break || special || *last == ' '),
        }
    }
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// Characters that may stand unescaped: no controls, no tab, nothing outside the basic plane.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && c != '\u{feff}'
}

fn escape(c: char) -> String {
    let short = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' => '"',
        '\\' => '\\',
        '\u{85}' => 'N',
        '\u{a0}' => '_',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        c => {
            let code = c as u32;
            return match code {
                0..=0xff => format!("\\x{code:02X}"),
                0x100..=0xffff => format!("\\u{code:04X}"),
                _ => format!("\\U{code:08X}"),
            };
        }
    };
    format!("\\{short}")
}
