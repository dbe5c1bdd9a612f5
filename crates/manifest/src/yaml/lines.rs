//! The side table from a node's path to its line.

use std::collections::HashMap;

/// Lines (from 1) of a document's nodes. A node is named by its path: keys and list positions joined by `/`, each with
/// a leading `/` (`/instance_groups/0/name`; `/` in a key is `~1`, `~` is `~0`); the root is the empty text.
///
/// Nodes that came in by an alias or a merge key have no line of their own: their nearest ancestor has.
#[derive(Debug, Clone, Default)]
pub struct Lines(HashMap<String, u32>);

impl Lines {
    /// The line of the node or else of the nearest ancestor that has one.
    pub fn of(&self, path: &str) -> Option<usize> {
        let mut path = path;
        loop {
            if let Some(line) = self.0.get(path) {
                return Some(*line as usize);
            }
            path = &path[..path.rfind('/')?];
        }
    }

    /// The path made of keys and positions.
    pub fn path<'a>(segments: impl IntoIterator<Item = &'a str>) -> String {
        let mut path = String::new();
        for segment in segments {
            push(&mut path, segment);
        }
        path
    }

    pub(super) fn set(&mut self, path: &str, line: usize) {
        self.0
            .insert(path.to_owned(), u32::try_from(line).unwrap_or(u32::MAX));
    }
}

/// Appends one segment to a path.
pub(super) fn push(path: &mut String, segment: &str) {
    path.push('/');
    for c in segment.chars() {
        match c {
            '~' => path.push_str("~0"),
            '/' => path.push_str("~1"),
            c => path.push(c),
        }
    }
}
