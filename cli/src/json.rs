//! JSON as the original writes it: four spaces of indent, no newline at the end.

use serde::Serialize;

/// The text of a value.
pub fn to_text(value: &impl Serialize) -> serde_json::Result<String> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    value.serialize(&mut serde_json::Serializer::with_formatter(
        &mut text, formatter,
    ))?;
    // compat: these three only occur inside of strings, where the original escapes them.
    Ok(String::from_utf8_lossy(&text)
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026"))
}
