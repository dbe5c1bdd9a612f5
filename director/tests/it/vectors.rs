//! Configs over HTTP compared with traffic recorded from the original.

use serde_json::Value;

use crate::support::Environment;

/// The calls of one scenario in order, with the answers' bodies.
const RECORDED: &str = include_str!("configs.json");

/// Ids in a fresh database count as in the recording; times do not.
fn masked(mut value: Value) -> Value {
    match &mut value {
        Value::Object(map) => {
            for (key, value) in map.iter_mut() {
                *value = if key == "created_at" || key == "timestamp" {
                    Value::Null
                } else {
                    masked(value.take())
                };
            }
        }
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| *item = masked(item.take())),
        _ => {}
    }
    value
}

#[tokio::test(flavor = "multi_thread")]
async fn configs_answer_as_the_original_did() -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    let director = environment.director().await?;
    let calls: Vec<Value> = serde_json::from_str(RECORDED)?;
    let mut differing = Vec::new();
    for (number, call) in calls.iter().enumerate() {
        let text = |key: &str| call[key].as_str().unwrap_or_default().to_owned();
        let content_type = text("content_type");
        let headers: Vec<(&str, &str)> = if content_type.is_empty() {
            vec![]
        } else {
            vec![("content-type", content_type.as_str())]
        };
        let got = director
            .send(
                "test",
                &text("method"),
                &text("path"),
                &headers,
                text("body"),
            )
            .await?;
        let wanted = text("answer");
        let same = match (
            serde_json::from_str(&got.body),
            serde_json::from_str(&wanted),
        ) {
            (Ok(got), Ok(wanted)) => masked(got) == masked(wanted),
            _ => got.body == wanted,
        };
        if u64::from(got.status) != call["status"].as_u64().unwrap_or_default() || !same {
            differing.push(format!(
                "{number} {} {} {}\n  wanted {} {wanted}\n  got    {} {}",
                text("method"),
                text("path"),
                text("body"),
                call["status"],
                got.status,
                got.body
            ));
        }
    }
    assert!(
        differing.is_empty(),
        "{} of {} differ:\n{}",
        differing.len(),
        calls.len(),
        differing.join("\n")
    );
    Ok(())
}
