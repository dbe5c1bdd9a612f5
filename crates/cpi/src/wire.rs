//! Request and response as they cross the pipe (`docs/spec/cpi.md` §1.2, §1.3).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::WireFault;

/// One call, as written to the CPI's stdin.
#[derive(Clone, Serialize, Deserialize)]
pub struct Request {
    pub method: String,
    pub arguments: Vec<Value>,
    pub context: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub api_version: Option<u32>,
}

/// What a CPI knows about the call besides its arguments.
#[derive(Clone, Default)]
pub struct Context {
    pub director_uuid: String,
    /// `cpi-482113`; absent from calls of `create-env`.
    pub request_id: Option<String>,
    /// `vm.stemcell.api_version`.
    pub stemcell_api_version: Option<u32>,
    /// Ours: repeating a creation with this key gives the same resource.
    pub idempotency_key: Option<String>,
    /// The version of the contract for this call.
    pub api_version: Option<u32>,
    /// Everything else: the properties of the CPI config's entry.
    pub properties: Map<String, Value>,
}

impl Context {
    /// Splits the flat context of a request.
    pub fn read(mut context: Map<String, Value>, api_version: Option<u32>) -> Context {
        let mut text = |key: &str| match context.remove(key) {
            Some(Value::String(value)) => Some(value),
            _ => None,
        };
        let director_uuid = text("director_uuid").unwrap_or_default();
        let request_id = text("request_id");
        let idempotency_key = text("idempotency_key");
        let vm = context.remove("vm").unwrap_or(Value::Null);
        let stemcell_api_version = vm["stemcell"]["api_version"]
            .as_u64()
            .and_then(|v| u32::try_from(v).ok());
        Context {
            director_uuid,
            request_id,
            stemcell_api_version,
            idempotency_key,
            api_version,
            properties: context,
        }
    }
}

/// The answer, as written to stdout.
#[derive(Debug, Serialize)]
pub(crate) struct Response {
    pub result: Value,
    pub error: Option<WireFault>,
    pub log: String,
}

impl Response {
    /// Reads an answer as strictly as the original director. The error names its class of failure first, as there.
    pub fn parse(text: &[u8]) -> Result<Response, String> {
        let value: Value = serde_json::from_slice(text)
            .map_err(|e| format!("ParserError - {}", excerpt(text, &e)))?;
        let Value::Object(mut object) = value else {
            return Err("SchemaValidationError: Expected instance of Hash".into());
        };
        for key in ["result", "error", "log"] {
            if !object.contains_key(key) {
                return Err(format!("SchemaValidationError: Missing key {key}"));
            }
        }
        let log = match object.remove("log") {
            Some(Value::String(log)) => log,
            other => {
                return Err(format!(
                    "SchemaValidationError: log: Expected instance of String, given {}",
                    type_name(&other.unwrap_or(Value::Null))
                ));
            }
        };
        let error = match object.remove("error") {
            None | Some(Value::Null) => None,
            Some(error) => Some(
                serde_json::from_value::<WireFault>(error)
                    .map_err(|e| format!("SchemaValidationError: error: {e}"))?,
            ),
        };
        Ok(Response {
            result: object.remove("result").unwrap_or(Value::Null),
            error,
            log,
        })
    }
}

/// The kind of a JSON value, for messages; never the value itself, which may be secret.
pub(crate) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

/// Why parsing failed, with the start of what was there: it is most often a stack trace or a usage message.
fn excerpt(text: &[u8], error: &serde_json::Error) -> String {
    if text.iter().all(u8::is_ascii_whitespace) {
        return "it wrote nothing to stdout".into();
    }
    let shown: String = String::from_utf8_lossy(text)
        .trim()
        .chars()
        .take(160)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    format!("{error}; stdout starts with: {shown}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_breaks_the_contract_says_how() {
        let cases = [
            ("", "ParserError - it wrote nothing to stdout"),
            ("Traceback (most", "stdout starts with: Traceback (most"),
            (
                r#"{"result":1,"error":null,"log":""} trailing"#,
                "ParserError - trailing characters",
            ),
            (r#"[1]"#, "Expected instance of Hash"),
            (r#"{"result":1,"error":null}"#, "Missing key log"),
            (
                r#"{"result":1,"error":null,"log":null}"#,
                "log: Expected instance of String, given null",
            ),
            (
                r#"{"result":1,"error":{"type":"x","message":"y"},"log":""}"#,
                "missing field `ok_to_retry`",
            ),
            (
                r#"{"result":1,"error":"boom","log":""}"#,
                "SchemaValidationError: error: ",
            ),
        ];
        for (text, expected) in cases {
            let message = Response::parse(text.as_bytes()).expect_err(text);
            assert!(message.contains(expected), "{text}: {message}");
        }
        let good = Response::parse(br#"{"result":"x","error":null,"log":"","more":1}"#).unwrap();
        assert_eq!(good.result, "x");
    }
}
