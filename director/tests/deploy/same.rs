//! When a recorded name and ours are the same: what differs from run to run (ids, CIDs, UUIDs) is bound when it is first
//! met and has to stay the same from then on; times and vital signs are not compared.

use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value as Json;

/// Instances in an order that does not depend on who was first; any other list as it is.
fn in_order(list: &[Json]) -> Vec<&Json> {
    let mut all: Vec<&Json> = list.iter().collect();
    all.sort_by_key(|object| {
        let name = ["job_name", "job"].iter().find_map(|key| object.get(*key));
        let group = object.pointer("/instance/group");
        let name = name.or(group).map(Json::to_string);
        (name, object.get("index").and_then(Json::as_i64))
    });
    all
}

/// `config `, `task ` or another word for what the id at this place is an id of.
fn kind_of(at: &str) -> String {
    let (parent, key) = at.rsplit_once('.').unwrap_or(("", at));
    let thing = parent.rsplit('.').next().unwrap_or_default();
    if key.contains("config_ids") || thing == "config" {
        "config ".into()
    } else if thing == "task" || thing.contains("/tasks") {
        "task ".into()
    } else {
        format!("{} ", thing.split('[').next().unwrap_or_default())
    }
}

/// Which name of ours stands for which recorded one.
#[derive(Default)]
pub struct Same {
    names: HashMap<String, String>,
}

/// When: not compared, but there or not there as recorded.
const TIMES: &[&str] = &[
    "time",
    "timestamp",
    "started_at",
    "created_at",
    "vm_created_at",
    "orphaned_at",
];
/// What the simulated agents have to say, not the director; stemcells, which are older than the recorded ones; and
/// what bosun adds.
const OF_AGENTS: &[&str] = &[
    "vitals",
    "processes",
    "host_public_key",
    "ip",
    "sha1",
    "stdout",
    "stderr",
    "hint",
    "api_version",
];
/// Names that differ from run to run.
const NAMES: &[&str] = &[
    "id",
    "cid",
    "vm_cid",
    "disk_cid",
    "disk_cids",
    "disks",
    "agent_id",
    "blobstore_id",
    "snapshot_cid",
    "cloud_config_ids",
    "runtime_config_ids",
];

impl Same {
    /// Whether this recorded name stands for ours, from now on if it is new.
    pub fn bind(&mut self, recorded: &str, ours: &str) -> bool {
        let known = self.names.entry(recorded.to_owned());
        known.or_insert_with(|| ours.to_owned()) == ours
    }

    /// A text of the recording with our names in it.
    pub fn forward(&self, text: &str) -> String {
        static NAME: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"[0-9A-Za-z]+-[0-9A-Za-z-]+|[0-9a-f]{32}").unwrap());
        static TASK: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^/tasks?/(\d+)").unwrap());
        static CONFIG: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"%5B(\d+)%5D").unwrap());
        let text = NAME.replace_all(text, |found: &regex::Captures<'_>| self.name("", &found[0]));
        let text = TASK.replace(&text, |found: &regex::Captures<'_>| {
            found[0].replace(&found[1], &self.name("task ", &found[1]))
        });
        CONFIG
            .replace_all(&text, |found: &regex::Captures<'_>| {
                format!("%5B{}%5D", self.name("config ", &found[1]))
            })
            .into_owned()
    }

    /// Our name for a recorded one of a kind.
    pub fn name(&self, kind: &str, recorded: &str) -> String {
        self.names
            .get(&format!("{kind}{recorded}"))
            .cloned()
            .unwrap_or_else(|| recorded.to_owned())
    }

    /// Equal texts.
    pub fn text(&mut self, recorded: &str, ours: &str) -> bool {
        static VOLATILE: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(
            r"VM '[^']*'|cpi-\d+|(?:vm-|disk-|snap-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}",
        )
        .unwrap()
        });
        static NUMBER: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\d+").unwrap());
        let (names, our_names): (Vec<_>, Vec<_>) = (
            VOLATILE.find_iter(recorded).map(|m| m.as_str()).collect(),
            VOLATILE.find_iter(ours).map(|m| m.as_str()).collect(),
        );
        let rest = |text: &str| VOLATILE.replace_all(text, "<name>").into_owned();
        let (mut rest, our_rest) = (rest(recorded), rest(ours));
        if rest != our_rest {
            // Task ids are plain numbers.
            rest = NUMBER
                .replace_all(&rest, |found: &regex::Captures<'_>| {
                    self.name("task ", &found[0])
                })
                .into_owned();
        }
        rest == our_rest
            && names
                .iter()
                .zip(our_names)
                .all(|(recorded, ours)| recorded.starts_with("cpi-") || self.bind(recorded, ours))
    }

    /// Equal values, keys in the same order; what is not goes to `problems`.
    pub fn value(&mut self, at: &str, recorded: &Json, ours: &Json, problems: &mut Vec<String>) {
        let key = at.rsplit('.').next().unwrap_or(at);
        let key = key.split('[').next().unwrap_or(key);
        let both = recorded.is_null() == ours.is_null();
        let equal = match (recorded, ours) {
            _ if OF_AGENTS.contains(&key) => true,
            _ if TIMES.contains(&key) => both,
            (Json::Object(wanted), Json::Object(found)) => {
                let names = |map: &serde_json::Map<String, Json>| -> Vec<String> {
                    map.keys().filter(|key| *key != "hint").cloned().collect()
                };
                if names(wanted) != names(found) {
                    problems.push(format!(
                        "{at}: keys {:?}, not {:?}",
                        names(found),
                        names(wanted)
                    ));
                }
                for (key, value) in wanted {
                    if let Some(ours) = found.get(key) {
                        self.value(&format!("{at}.{key}"), value, ours, problems);
                    }
                }
                return;
            }
            (Json::Array(wanted), Json::Array(found)) if wanted.len() == found.len() => {
                let (wanted, found) = (in_order(wanted), in_order(found));
                for (index, (wanted, found)) in wanted.into_iter().zip(found).enumerate() {
                    self.value(&format!("{at}[{index}]"), wanted, found, problems);
                }
                return;
            }
            _ if NAMES.contains(&key) && both => {
                let plain = |value: &Json| match value.as_str() {
                    Some(text) => text.to_owned(),
                    None => value.to_string(),
                };
                // Plain numbers count each kind of thing on its own.
                let kind = match recorded {
                    Json::Number(_) => kind_of(at),
                    _ => String::new(),
                };
                recorded.is_null() || self.bind(&format!("{kind}{}", plain(recorded)), &plain(ours))
            }
            (Json::String(wanted), Json::String(found)) => self.text(wanted, found),
            _ => recorded == ours,
        };
        if !equal {
            problems.push(format!("{at}: {ours}, not {recorded}"));
        }
    }
}

/// Without ids and times.
pub fn masked(value: Json) -> Json {
    static IDS: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            "(disk-|snap-|vm-)?[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|\\b[0-9a-f]{32}\\b|stemcell-\\d",
        )
        .unwrap()
    });
    static TIMES: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new("\\d{4}-\\d\\d-\\d\\d[ T]\\d\\d:\\d\\d:\\d\\d( UTC|Z)").unwrap()
    });
    match value {
        Json::String(text) => {
            let text = IDS.replace_all(&text, "<id>");
            Json::String(TIMES.replace_all(&text, "<time>").into_owned())
        }
        Json::Array(items) => items.into_iter().map(masked).collect(),
        Json::Object(map) => map
            .into_iter()
            .map(|(key, value)| (key, masked(value)))
            .collect(),
        other => other,
    }
}
