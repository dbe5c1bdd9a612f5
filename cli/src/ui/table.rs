//! Tables (spec cli §4.2): for a person with title, header, notes and footer; for a pipe data with tabs;
//! for `--json` keys and texts. `--column` selects and orders nothing, it only hides the others.

use super::Tone;
use super::value::Value;
use serde_json::{Map, json};
use std::collections::BTreeMap;
use std::fmt::Write;

/// One sort key: a column and its direction.
#[derive(Debug, Clone, Copy)]
pub enum Sort {
    Up(usize),
    Down(usize),
}

/// A list to print.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// Printed above by itself.
    pub title: Option<String>,
    /// What the rows are, for the footer `N <content>`; empty for no footer.
    pub content: String,
    pub header: Vec<String>,
    pub rows: Vec<Vec<Value>>,
    pub sort_by: Vec<Sort>,
    pub notes: Vec<String>,
    /// One `header value` line per cell instead of a grid.
    pub transpose: bool,
    /// Repeat equal first cells instead of showing `~`.
    pub fill_first_column: bool,
    /// What the footer counts, when that is not the rows.
    pub count: Option<usize>,
    /// Columns of another table of the same command: asking for them is no mistake.
    pub sibling_columns: Vec<String>,
}

impl Table {
    pub fn new(content: &str, header: &[&str]) -> Self {
        Table {
            content: content.to_owned(),
            header: header.iter().map(|title| (*title).to_owned()).collect(),
            ..Table::default()
        }
    }

    #[must_use]
    pub fn sorted(mut self, by: &[Sort]) -> Self {
        self.sort_by = by.to_vec();
        self
    }

    #[must_use]
    pub fn transposed(mut self) -> Self {
        self.transpose = true;
        self
    }

    /// A table of one record; cells are added with [`Table::cell`].
    pub fn record(content: &str) -> Self {
        Table {
            content: content.to_owned(),
            transpose: true,
            rows: vec![Vec::new()],
            ..Table::default()
        }
    }

    /// Adds a column with its one cell to a [`Table::record`].
    pub fn cell(&mut self, title: &str, value: impl Into<Value>) {
        self.header.push(title.to_owned());
        if let Some(row) = self.rows.first_mut() {
            row.push(value.into());
        }
    }

    pub(super) fn sort(&mut self) {
        let keys = self.sort_by.clone();
        self.rows.sort_by(|a, b| {
            for key in &keys {
                let order = match *key {
                    Sort::Up(column) => a[column].compare(&b[column]),
                    Sort::Down(column) => b[column].compare(&a[column]),
                };
                if order.is_ne() {
                    return order;
                }
            }
            std::cmp::Ordering::Equal
        });
    }

    /// Hides all but the wanted columns; the notices about unknown ones.
    pub(super) fn select(&mut self, wanted: &[String]) -> Vec<String> {
        if wanted.is_empty() {
            return Vec::new();
        }
        let matches = |title: &str, name: &String| title == name || key_of(title) == *name;
        let keep: Vec<bool> = self
            .header
            .iter()
            .map(|title| wanted.iter().any(|name| matches(&flat(title), name)))
            .collect();
        let missing = wanted
            .iter()
            .filter(|name| {
                !self
                    .header
                    .iter()
                    .chain(&self.sibling_columns)
                    .any(|title| matches(&flat(title), name))
            })
            .map(|name| format!("Failed to find header: {name}"))
            .collect();
        retain(&mut self.header, &keep);
        for row in &mut self.rows {
            retain(row, &keep);
        }
        missing
    }

    /// For a person.
    pub(super) fn render(&self, out: &mut String, color: bool) {
        if let Some(title) = &self.title {
            let _ = write!(out, "{title}\n\n");
        }
        if self.transpose {
            self.render_transposed(out, color);
        } else {
            self.render_grid(out, color);
        }
        if !self.notes.is_empty() {
            out.push('\n');
            for note in &self.notes {
                let _ = writeln!(out, "{note}");
            }
        }
        if !self.content.is_empty() {
            let count = self.count.unwrap_or(self.rows.len());
            let _ = write!(out, "\n{count} {}\n", self.content);
        }
    }

    fn render_grid(&self, out: &mut String, color: bool) {
        let header: Vec<Cell> = self
            .header
            .iter()
            .map(|title| Cell {
                lines: title.split('\n').collect(),
                tone: Tone::Bold,
            })
            .collect();
        let mut grid = vec![header];
        let mut above: Option<&str> = None;
        for row in &self.rows {
            let mut cells: Vec<Cell> = row.iter().map(Cell::of).collect();
            if let Some(first) = row.first() {
                if !self.fill_first_column && above == Some(first.as_str()) {
                    cells[0].lines = vec!["~"];
                }
                above = Some(first.as_str());
            }
            grid.push(cells);
        }
        let widths = widths(&grid);
        for row in &grid {
            write_row(out, row, &widths, "  ", color);
        }
    }

    fn render_transposed(&self, out: &mut String, color: bool) {
        let width = self.header.iter().map(String::len).max().unwrap_or(0);
        for (number, row) in self.rows.iter().enumerate() {
            if number > 0 {
                out.push('\n');
            }
            for (title, value) in self.header.iter().zip(row) {
                let title = Cell {
                    lines: vec![title],
                    tone: Tone::Bold,
                };
                write_row(out, &[title, Cell::of(value)], &[width, 0], "  ", color);
            }
        }
    }

    /// For a pipe: no title, header, notes or footer, tabs between the cells and after the last.
    pub(super) fn render_plain(&self, out: &mut String) {
        if self.transpose {
            for (number, row) in self.rows.iter().enumerate() {
                if number > 0 {
                    out.push('\n');
                }
                for value in row {
                    write_row(out, &[Cell::of(value)], &[0], "\t", false);
                }
            }
            return;
        }
        let grid: Vec<Vec<Cell>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(Cell::of).collect())
            .collect();
        let widths = widths(&grid);
        for row in &grid {
            write_row(out, row, &widths, "\t", false);
        }
    }

    pub(super) fn to_json(&self) -> serde_json::Value {
        let keys: Vec<String> = self
            .header
            .iter()
            .enumerate()
            .map(|(number, title)| match key_of(&flat(title)) {
                key if key == "_" => number.to_string(),
                key => key,
            })
            .collect();
        let header: BTreeMap<&String, String> = keys
            .iter()
            .zip(self.header.iter().map(|title| flat(title)))
            .collect();
        let rows: Vec<BTreeMap<&String, &str>> = self
            .rows
            .iter()
            .map(|row| keys.iter().zip(row.iter().map(Value::as_str)).collect())
            .collect();
        let mut object = Map::new();
        object.insert("Content".to_owned(), json!(self.content));
        object.insert("Header".to_owned(), json!(header));
        object.insert("Rows".to_owned(), json!(rows));
        object.insert(
            "Notes".to_owned(),
            if self.notes.is_empty() {
                serde_json::Value::Null
            } else {
                json!(self.notes)
            },
        );
        serde_json::Value::Object(object)
    }
}

/// The key of a column: letters and digits in lower case, words joined by `_`.
fn key_of(title: &str) -> String {
    let key = title
        .to_lowercase()
        .split(|letter: char| !letter.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join("_");
    if key.is_empty() { "_".to_owned() } else { key }
}

/// A title over several lines, in one.
fn flat(title: &str) -> String {
    title.replace('\n', " ")
}

fn retain<T>(list: &mut Vec<T>, keep: &[bool]) {
    let mut flags = keep.iter();
    list.retain(|_| *flags.next().unwrap_or(&true));
}

struct Cell<'a> {
    lines: Vec<&'a str>,
    tone: Tone,
}

impl<'a> Cell<'a> {
    fn of(value: &'a Value) -> Self {
        Cell {
            lines: value.lines(),
            tone: value.tone(),
        }
    }
}

fn widths(grid: &[Vec<Cell>]) -> Vec<usize> {
    let columns = grid.iter().map(Vec::len).max().unwrap_or(0);
    (0..columns)
        .map(|column| {
            grid.iter()
                .filter_map(|row| row.get(column))
                .flat_map(|cell| cell.lines.iter().map(|line| line.len()))
                .max()
                .unwrap_or(0)
        })
        .collect()
}

/// All lines of one row: cells padded to their column but for the last, `gap` after every one.
fn write_row(out: &mut String, row: &[Cell], widths: &[usize], gap: &str, color: bool) {
    let height = row.iter().map(|cell| cell.lines.len()).max().unwrap_or(1);
    for line in 0..height {
        for (column, cell) in row.iter().enumerate() {
            let text = cell.lines.get(line).copied().unwrap_or("");
            out.push_str(&cell.tone.paint(text, color && !text.is_empty()));
            if column + 1 < row.len() {
                let padding = widths[column].saturating_sub(text.len());
                out.extend(std::iter::repeat_n(' ', padding));
            }
            out.push_str(gap);
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_titles() {
        assert_eq!(key_of("Started At"), "started_at");
        assert_eq!(key_of("Release(s)"), "release_s");
        assert_eq!(key_of("#"), "_");
    }

    #[test]
    fn cells_over_several_lines_keep_the_columns() {
        let mut table = Table::new("things", &["Name", "List", "Last"]);
        table.rows = vec![
            vec!["a".into(), Value::list(["x", "yy"]), "".into()],
            vec!["a".into(), "z".into(), "end".into()],
        ];
        let mut text = String::new();
        table.render(&mut text, false);
        assert_eq!(
            text,
            "Name  List  Last  \na     x     -  \n      yy      \n~     z     end  \n\n2 things\n"
        );
    }
}
