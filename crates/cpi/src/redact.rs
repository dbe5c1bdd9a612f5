//! What of a request may be shown: the rules of `docs/spec/cpi.md` §1.6.

use serde_json::{Map, Value};

const REDACTED: &str = "<redacted>";

/// The request as it may be logged. `properties` are the CPI's configured ones: their values are secrets.
pub(crate) fn request(
    method: &str,
    arguments: &[Value],
    context: &Map<String, Value>,
    properties: &Map<String, Value>,
) -> Value {
    let mut arguments = arguments.to_vec();
    match method {
        "create_vm" => {
            if let Some(properties) = arguments.get_mut(2) {
                hide_values(properties);
            }
            if let Some(Value::Object(networks)) = arguments.get_mut(3) {
                for network in networks.values_mut() {
                    if let Some(properties) = network.get_mut("cloud_properties") {
                        hide_values(properties);
                    }
                }
            }
            if let Some(Value::Object(env)) = arguments.get_mut(5) {
                hide_env(env);
            }
        }
        "create_disk" | "create_stemcell" => {
            if let Some(properties) = arguments.get_mut(1) {
                hide_values(properties);
            }
        }
        "update_disk" => {
            if let Some(properties) = arguments.get_mut(2) {
                hide_values(properties);
            }
        }
        _ => {}
    }
    let context: Map<String, Value> = context
        .iter()
        .map(|(key, value)| {
            let hidden = properties.contains_key(key);
            (
                key.clone(),
                if hidden {
                    REDACTED.into()
                } else {
                    value.clone()
                },
            )
        })
        .collect();
    serde_json::json!({"method": method, "arguments": arguments, "context": context})
}

fn hide_values(value: &mut Value) {
    match value {
        Value::Object(object) => object.values_mut().for_each(|v| *v = REDACTED.into()),
        Value::Null => {}
        other => *other = REDACTED.into(),
    }
}

/// All of `env` but the names of the instance group and its tags.
fn hide_env(env: &mut Map<String, Value>) {
    for (key, value) in env.iter_mut() {
        match value {
            Value::Object(bosh) if key == "bosh" => {
                for (key, value) in bosh.iter_mut() {
                    if !matches!(key.as_str(), "group" | "groups" | "tags") {
                        *value = REDACTED.into();
                    }
                }
            }
            value => *value = REDACTED.into(),
        }
    }
}

/// Secret values of a call, taken out of whatever the CPI says.
#[derive(Default)]
pub(crate) struct Secrets(Vec<String>);

/// Shorter values would hide ordinary words.
const SHORTEST: usize = 6;

impl Secrets {
    /// The values under keys that sound secret, anywhere inside of `values`.
    pub fn of<'a>(values: impl Iterator<Item = &'a Value>) -> Secrets {
        let mut secrets = Secrets::default();
        values.for_each(|value| secrets.collect("", value));
        secrets
    }

    /// Adds top-level keys with their values.
    pub fn and<'a>(mut self, pairs: impl Iterator<Item = (&'a String, &'a Value)>) -> Secrets {
        pairs.for_each(|(key, value)| self.collect(key, value));
        self
    }

    fn collect(&mut self, key: &str, value: &Value) {
        match value {
            Value::Object(object) => object.iter().for_each(|(k, v)| self.collect(k, v)),
            Value::Array(items) => items.iter().for_each(|item| self.collect(key, item)),
            Value::String(text) if sounds_secret(key) => {
                // A key in PEM may be printed line by line.
                let lines = text.lines().map(str::trim);
                let long = lines.filter(|l| l.len() >= SHORTEST && !l.starts_with("-----"));
                self.0.extend(long.map(str::to_string));
            }
            _ => {}
        }
    }

    /// The text without them.
    pub fn scrub(&self, text: &str) -> String {
        let mut text = text.to_string();
        for secret in &self.0 {
            if text.contains(secret.as_str()) {
                text = text.replace(secret.as_str(), REDACTED);
            }
        }
        text
    }
}

fn sounds_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    let words = [
        "password",
        "secret",
        "private_key",
        "token",
        "api_key",
        "access_key",
        "credential",
    ];
    words.iter().any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_secret_of_a_create_vm_is_shown() {
        let arguments = [
            json!("agent"),
            json!("stemcell"),
            json!({"type": "S-ecret"}),
            json!({"a": {"ip": "10.0.0.1", "cloud_properties": {"key": "S-ecret"}}}),
            json!([]),
            json!({"bosh": {"group": "web", "tags": {"a": "b"}, "password": "S-ecret",
                   "mbus": {"cert": {"private_key": "S-ecret"}}}, "other": "S-ecret"}),
        ];
        let properties = json!({"secret_access_key": "S-ecret"});
        let properties = properties.as_object().unwrap();
        let mut context = properties.clone();
        context.insert("request_id".into(), "cpi-1".into());
        let shown = request("create_vm", &arguments, &context, properties).to_string();
        assert!(!shown.contains("S-ecret"), "{shown}");
        for kept in ["10.0.0.1", "web", "cpi-1", r#""tags":{"a":"b"}"#] {
            assert!(shown.contains(kept), "{kept} in {shown}");
        }
    }
}
