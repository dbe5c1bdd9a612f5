//! The typed-property rule (§0.1): the one primitive by which every schema is read.

use serde_json::{Map, Value as Json};

use super::Problem;
use super::ruby::{inspect, shown};

/// A map at a place in a document.
#[derive(Clone, Copy)]
pub(crate) struct Object<'a> {
    map: &'a Map<String, Json>,
    /// `/instance_groups/0`.
    path: &'a str,
}

impl<'a> Object<'a> {
    /// Takes `value` as a map.
    pub fn of(value: &'a Json, path: &'a str) -> Result<Self, Problem> {
        match value {
            Json::Object(map) => Ok(Object { map, path }),
            other => Err(Problem::new(
                40000,
                format!(
                    "Object ({}) did not match the required type 'Hash'",
                    shown(other)
                ),
            )
            .at(path)),
        }
    }

    /// The value as it is, null included.
    pub fn raw(&self, key: &str) -> Option<&'a Json> {
        self.map.get(key)
    }

    /// Whether the key is there, whatever its value.
    pub fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// The path of a key.
    pub fn path_of(&self, key: &str) -> String {
        format!("{}/{key}", self.path)
    }

    pub fn missing(&self, key: &str) -> Problem {
        Problem::new(
            40001,
            format!(
                "Required property '{key}' was not specified in object ({})",
                inspect(&Json::Object(self.map.clone()))
            ),
        )
        .at(self.path)
    }

    fn wrong(&self, key: &str, value: &Json, wanted: &str) -> Problem {
        Problem::new(
            40000,
            format!(
                "Property '{key}' value ({}) did not match the required type '{wanted}'",
                shown(value)
            ),
        )
        .at(self.path_of(key))
    }

    /// A number counts as its decimal text.
    pub fn optional_string(&self, key: &str) -> Result<Option<String>, Problem> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Json::String(text)) => Ok(Some(text.clone())),
            Some(Json::Number(number)) => Ok(Some(number.to_string())),
            Some(other) => Err(self.wrong(key, other, "String")),
        }
    }

    pub fn string(&self, key: &str) -> Result<String, Problem> {
        self.optional_string(key)?.ok_or_else(|| self.missing(key))
    }

    pub fn optional_integer(&self, key: &str, min: Option<i64>) -> Result<Option<i64>, Problem> {
        let Some(value) = self.map.get(key) else {
            return Ok(None);
        };
        let number = value
            .as_i64()
            .ok_or_else(|| self.wrong(key, value, "Integer"))?;
        match min {
            Some(min) if number < min => Err(Problem::new(
                40002,
                format!("'{key}' value ({number}) should be greater than {min}"),
            )
            .at(self.path_of(key))),
            _ => Ok(Some(number)),
        }
    }

    pub fn integer(&self, key: &str, min: Option<i64>) -> Result<i64, Problem> {
        self.optional_integer(key, min)?
            .ok_or_else(|| self.missing(key))
    }

    pub fn boolean(&self, key: &str) -> Result<Option<bool>, Problem> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Json::Bool(b)) => Ok(Some(*b)),
            Some(other) => Err(self.wrong(key, other, "boolean")),
        }
    }

    pub fn optional_array(&self, key: &str) -> Result<Option<&'a [Json]>, Problem> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Json::Array(items)) => Ok(Some(items)),
            Some(other) => Err(self.wrong(key, other, "Array")),
        }
    }

    /// An absent list is empty.
    pub fn array(&self, key: &str) -> Result<&'a [Json], Problem> {
        Ok(self.optional_array(key)?.unwrap_or(&[]))
    }

    pub fn required_array(&self, key: &str) -> Result<&'a [Json], Problem> {
        self.optional_array(key)?.ok_or_else(|| self.missing(key))
    }

    pub fn optional_hash(&self, key: &str) -> Result<Option<&'a Map<String, Json>>, Problem> {
        match self.map.get(key) {
            None => Ok(None),
            Some(Json::Object(map)) => Ok(Some(map)),
            Some(other) => Err(self.wrong(key, other, "Hash")),
        }
    }

    /// An absent map is empty.
    pub fn hash(&self, key: &str) -> Result<Map<String, Json>, Problem> {
        Ok(self.optional_hash(key)?.cloned().unwrap_or_default())
    }
}

/// A YAML value as JSON: map keys become texts, tags are dropped, order stays.
pub fn to_json(value: &serde_yaml::Value) -> Json {
    use serde_yaml::Value as Yaml;
    match value {
        Yaml::Null => Json::Null,
        Yaml::Bool(b) => Json::Bool(*b),
        Yaml::Number(n) => number(n),
        Yaml::String(s) => Json::String(s.clone()),
        Yaml::Sequence(items) => Json::Array(items.iter().map(to_json).collect()),
        Yaml::Mapping(map) => Json::Object(
            map.iter()
                .map(|(k, v)| (super::ruby::interpolated(&to_json(k)), to_json(v)))
                .collect(),
        ),
        Yaml::Tagged(tagged) => to_json(&tagged.value),
    }
}

fn number(n: &serde_yaml::Number) -> Json {
    if let Some(i) = n.as_i64() {
        Json::from(i)
    } else if let Some(u) = n.as_u64() {
        Json::from(u)
    } else {
        // NaN and infinities have no JSON form; null is what the wire would carry.
        n.as_f64().map_or(Json::Null, Json::from)
    }
}
