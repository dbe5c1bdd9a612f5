//! What each instance's templates rendered to last, and from which input.

use std::collections::BTreeMap;

use sqlx::PgExecutor;
use sqlx::types::Json;

/// One row of `rendered_hashes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedHashes {
    pub instance_uuid: String,
    pub input_sha256: String,
    pub configuration_hash: String,
    /// By job.
    pub template_hashes: BTreeMap<String, String>,
}

type Row = (String, String, String, Json<BTreeMap<String, String>>);

/// The rows of these instances, as far as there are some.
pub async fn list(
    db: impl PgExecutor<'_>,
    uuids: &[String],
) -> Result<Vec<RenderedHashes>, sqlx::Error> {
    let rows: Vec<Row> = sqlx::query_as(
        "select instance_uuid, input_sha256, configuration_hash, template_hashes
         from rendered_hashes where instance_uuid = any($1)",
    )
    .bind(uuids)
    .fetch_all(db)
    .await?;
    Ok(rows
        .into_iter()
        .map(
            |(instance_uuid, input_sha256, configuration_hash, Json(template_hashes))| {
                RenderedHashes {
                    instance_uuid,
                    input_sha256,
                    configuration_hash,
                    template_hashes,
                }
            },
        )
        .collect())
}

/// Records what was rendered for instances that have a row; the others are passed over.
pub async fn put_all(
    db: impl PgExecutor<'_>,
    rendered: &[RenderedHashes],
) -> Result<(), sqlx::Error> {
    let column = |of: fn(&RenderedHashes) -> String| rendered.iter().map(of).collect::<Vec<_>>();
    sqlx::query(
        "insert into rendered_hashes (instance_uuid, input_sha256, configuration_hash, template_hashes)
         select n.uuid, n.input, n.configuration, n.templates::jsonb
         from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as n (uuid, input, configuration, templates)
         join instances i on i.uuid = n.uuid
         on conflict (instance_uuid) do update
         set input_sha256 = excluded.input_sha256, configuration_hash = excluded.configuration_hash,
             template_hashes = excluded.template_hashes",
    )
    .bind(column(|row| row.instance_uuid.clone()))
    .bind(column(|row| row.input_sha256.clone()))
    .bind(column(|row| row.configuration_hash.clone()))
    .bind(column(|row| {
        serde_json::to_string(&row.template_hashes).unwrap_or_default()
    }))
    .execute(db)
    .await?;
    Ok(())
}
