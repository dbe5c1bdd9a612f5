//! Links (§3): what jobs provide and consume, who gets what from whom, and what templates see of it.
//!
//! `providers` and `consumers` read release and manifest, `resolve` pairs them, `content` makes what is stored
//! and what is seen.

mod consumers;
mod content;
mod providers;
mod resolve;

pub(crate) use content::{GroupFacts, InstanceFacts};
pub(crate) use providers::read_providers;
pub(crate) use resolve::{JobLinks, resolve};

use serde_json::Value as Json;

/// A job in its group, as error texts name it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    pub job: &'a str,
    pub group: &'a str,
}

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "job '{}' in instance group '{}'", self.job, self.group)
    }
}

/// What an operator may write for a link: nothing, the text `nil`, or a map.
enum Written<'a> {
    Absent,
    Nil,
    Map(&'a serde_json::Map<String, Json>),
}

/// Reads one entry of `provides` or `consumes`; `what` is `Provider` or `Consumer`.
fn written<'a>(
    value: Option<&'a Json>,
    what: &str,
    name: &str,
    place: Place,
) -> Result<Written<'a>, String> {
    let map = match value {
        None => return Ok(Written::Absent),
        Some(Json::String(text)) if text == "nil" => return Ok(Written::Nil),
        Some(Json::Object(map)) => map,
        Some(_) => {
            return Err(format!(
                "{what} '{name}' in {place} specified in the manifest should only be a hash or string 'nil'"
            ));
        }
    };
    if map.contains_key("name") || map.contains_key("type") {
        return Err(format!(
            "Cannot specify 'name' or 'type' properties in the manifest for link '{name}' in {place}. Please provide \
             these keys in the release only."
        ));
    }
    Ok(Written::Map(map))
}
