//! Arguments to JSON and replies to results, with errors that name the agent and the action.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::actions::CompiledPackage;
use crate::envelope::Reply;
use crate::error::Error;
use crate::patience::Target;

pub(crate) fn encode(method: &str, argument: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(argument).map_err(|source| Error::Arguments {
        method: method.to_owned(),
        source,
    })
}

pub(crate) fn decode<T: DeserializeOwned>(
    to: &Target,
    method: &str,
    value: Value,
) -> Result<T, Error> {
    serde_json::from_value(value).map_err(|error| unexpected(to, method, &error.to_string()))
}

pub(crate) fn compiled(
    to: &Target,
    method: &str,
    mut value: Value,
) -> Result<CompiledPackage, Error> {
    let result = value
        .get_mut("result")
        .map(Value::take)
        .ok_or_else(|| unexpected(to, method, "no 'result'"))?;
    decode(to, method, result)
}

pub(crate) fn synced(to: &Target, reply: Reply) -> Result<(), Error> {
    match reply {
        Reply::Done(Value::String(text)) if text == "synced" => Ok(()),
        Reply::Exception(exception) => Err(Error::remote("sync_dns", exception)),
        _ => Err(unexpected(to, "sync_dns", "not \"synced\"")),
    }
}

pub(crate) fn tolerate_unknown(result: Result<Value, Error>) -> Result<(), Error> {
    match result {
        Err(error) if error.is_unknown_message() => Ok(()),
        other => other.map(drop),
    }
}

pub(crate) fn unexpected(to: &Target, method: &str, problem: &str) -> Error {
    Error::Unexpected {
        agent: to.agent.to_string(),
        method: method.to_owned(),
        problem: problem.to_owned(),
    }
}
