//! The document of `--json` (spec cli §4.1): four spaces of indent, sorted keys, `null` for what was not
//! printed, no newline at the end.

use serde::Serialize;
use serde_json::Value;

#[derive(Default)]
pub struct Document {
    pub tables: Vec<Value>,
    pub blocks: Vec<String>,
    pub lines: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shape<'a> {
    tables: Option<&'a [Value]>,
    blocks: Option<&'a [String]>,
    lines: Option<&'a [String]>,
}

impl Document {
    pub fn to_text(&self) -> String {
        let shape = Shape {
            tables: Some(&self.tables[..]).filter(|list| !list.is_empty()),
            blocks: Some(&self.blocks[..]).filter(|list| !list.is_empty()),
            lines: Some(&self.lines[..]).filter(|list| !list.is_empty()),
        };
        crate::json::to_text(&shape).expect("strings and maps always serialise into memory")
    }
}
