//! What the manifest says about a consumed link (§3.3).

use serde_json::{Map, Value as Json};

use super::{Place, Written, written};
use crate::catalogue::LinkSpec;

/// How a job wants a link.
#[derive(Debug)]
pub(super) enum Wish<'a> {
    /// By type, inside the deployment.
    Implicit,
    /// `nil`.
    Blocked,
    Explicit(Explicit<'a>),
    /// Given by the operator, not looked for.
    Manual(&'a Map<String, Json>),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Explicit<'a> {
    /// The provider's name.
    pub from: &'a str,
    /// `from` was written: then even an optional link must be found.
    pub named: bool,
    /// `None`: this one.
    pub deployment: Option<&'a str>,
    pub network: Option<&'a str>,
    pub ip_addresses: Option<bool>,
}

/// Reads `consumes.<name>` of a job.
///
/// # Errors
/// The original's text (code 100).
pub(super) fn read_wish<'a>(
    link: &'a LinkSpec,
    consumes: &'a Map<String, Json>,
    place: Place,
) -> Result<Wish<'a>, String> {
    let name = link.name.as_str();
    let map = match written(consumes.get(name), "Consumer", name, place)? {
        Written::Absent => return Ok(Wish::Implicit),
        Written::Nil => return Ok(Wish::Blocked),
        Written::Map(map) => map,
    };
    for key in ["instances", "properties"] {
        if map.contains_key(key) && map.contains_key("from") {
            return Err(format!(
                "Cannot specify both '{key}' and 'from' keys for link '{name}' in {place}."
            ));
        }
    }
    if map.contains_key("properties") && !map.contains_key("instances") {
        return Err(format!(
            "Cannot specify 'properties' without 'instances' for link '{name}' in {place}."
        ));
    }
    let ip_addresses = match map.get("ip_addresses") {
        None => None,
        Some(Json::Bool(ip_addresses)) => Some(*ip_addresses),
        Some(_) => {
            return Err(format!(
                "Cannot specify non boolean values for 'ip_addresses' field for link '{name}' in {place}."
            ));
        }
    };
    if ["instances", "properties", "address"]
        .iter()
        .any(|key| map.contains_key(*key))
    {
        return Ok(Wish::Manual(map));
    }
    let text = |key: &str| map.get(key).and_then(Json::as_str);
    // compat: `from: deployment.job.link` of old manifests; only the part after the last dot counts.
    let from = text("from").map(|from| from.rsplit('.').next().unwrap_or(from));
    Ok(Wish::Explicit(Explicit {
        from: from.unwrap_or(name),
        named: from.is_some(),
        deployment: text("deployment"),
        network: text("network"),
        ip_addresses,
    }))
}
