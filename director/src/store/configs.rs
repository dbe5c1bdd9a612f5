//! Config rows (director-api.md §10): append-only, soft-deleted, current = newest not deleted.

use chrono::{DateTime, Utc};

use super::{Error, Store};

/// One row of `configs`.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ConfigRow {
    pub id: i64,
    #[sqlx(rename = "type")]
    pub kind: String,
    pub name: String,
    pub content: String,
    pub team: Option<String>,
    pub deleted: bool,
    pub created_at: DateTime<Utc>,
    /// It is the newest of its type and name.
    pub current: bool,
}

/// Select list with `current` computed: no newer row of the pair that is not deleted.
const SELECT: &str = "select c.id, c.type, c.name, c.content, c.team, c.deleted, c.created_at,
  not c.deleted and not exists (
    select 1 from configs n where n.type = c.type and n.name = c.name and not n.deleted and n.id > c.id) as current
  from configs c ";

fn sql(rest: &str) -> sqlx::AssertSqlSafe<String> {
    // Only constants of this file are joined.
    sqlx::AssertSqlSafe(format!("{SELECT}{rest}"))
}

impl Store {
    pub async fn find_config(&self, id: i64) -> Result<Option<ConfigRow>, Error> {
        sqlx::query_as(sql("where c.id = $1 and not c.deleted"))
            .bind(id)
            .fetch_optional(self.pool())
            .await
    }

    /// Rows by id, deleted ones too: what a deployment was made with.
    pub async fn configs_by_ids(&self, ids: &[i64]) -> Result<Vec<ConfigRow>, Error> {
        sqlx::query_as(sql("where c.id = any($1) order by c.id"))
            .bind(ids)
            .fetch_all(self.pool())
            .await
    }

    /// The current row of a type and name.
    pub async fn current_config(&self, kind: &str, name: &str) -> Result<Option<ConfigRow>, Error> {
        sqlx::query_as(sql(
            "where c.type = $1 and c.name = $2 and not c.deleted order by c.id desc limit 1",
        ))
        .bind(kind)
        .bind(name)
        .fetch_optional(self.pool())
        .await
    }

    /// The newest row of every name of a type that these teams may see (theirs and team-less ones);
    /// `default` first, then by name.
    pub async fn current_configs(
        &self,
        kind: &str,
        teams: &[String],
    ) -> Result<Vec<ConfigRow>, Error> {
        sqlx::query_as(sql(
            "where c.type = $1 and not c.deleted and (c.team is null or c.team = any($2))
               and not exists (
                 select 1 from configs n where n.type = c.type and n.name = c.name and not n.deleted and n.id > c.id)
             order by c.name <> 'default', c.name",
        ))
        .bind(kind)
        .bind(teams)
        .fetch_all(self.pool())
        .await
    }

    /// A listing: the newest `limit` rows per type and name. Type, `default` first, name, newest first.
    pub async fn list_configs(
        &self,
        kind: Option<&str>,
        name: Option<&str>,
        limit: Option<i64>,
    ) -> Result<Vec<ConfigRow>, Error> {
        sqlx::query_as(
            "select id, type, name, content, team, deleted, created_at, n = 1 as current from (
               select c.*, row_number() over (partition by type, name order by id desc) as n
               from configs c
               where not deleted and ($1::text is null or type = $1) and ($2::text is null or name = $2)) as ranked
             where $3::bigint is null or n <= $3
             order by type, name <> 'default', name, id desc",
        )
        .bind(kind)
        .bind(name)
        .bind(limit)
        .fetch_all(self.pool())
        .await
    }

    /// The newest rows of one type and name, at most `limit`, newest first (typed endpoints).
    pub async fn config_history(
        &self,
        kind: &str,
        name: &str,
        limit: i64,
    ) -> Result<Vec<ConfigRow>, Error> {
        sqlx::query_as(sql(
            "where c.type = $1 and c.name = $2 and not c.deleted order by c.id desc limit $3",
        ))
        .bind(kind)
        .bind(name)
        .bind(limit)
        .fetch_all(self.pool())
        .await
    }

    /// Appends a row if its content differs from the current one. Returns the current row and whether it
    /// is new. `expected_latest` (as text, `"0"` = none) is checked in the same transaction: on mismatch
    /// `Err(latest id)`.
    pub async fn put_config(
        &self,
        kind: &str,
        name: &str,
        content: &str,
        team: Option<&str>,
        expected_latest: Option<&str>,
    ) -> Result<Result<(ConfigRow, bool), String>, Error> {
        let mut tx = self.begin().await?;
        sqlx::query("select pg_advisory_xact_lock(hashtextextended($1, 11))")
            .bind(format!("{kind}/{name}"))
            .execute(&mut *tx)
            .await?;
        let current: Option<ConfigRow> = sqlx::query_as(sql(
            "where c.type = $1 and c.name = $2 and not c.deleted order by c.id desc limit 1",
        ))
        .bind(kind)
        .bind(name)
        .fetch_optional(&mut *tx)
        .await?;
        let latest = current
            .as_ref()
            .map_or_else(|| "0".to_owned(), |row| row.id.to_string());
        if expected_latest.is_some_and(|expected| expected != latest) {
            return Ok(Err(latest));
        }
        if let Some(current) = current.filter(|row| row.content == content) {
            return Ok(Ok((current, false)));
        }
        let row: ConfigRow = sqlx::query_as(
            "insert into configs (type, name, content, team) values ($1, $2, $3, $4)
             returning id, type, name, content, team, deleted, created_at, true as current",
        )
        .bind(kind)
        .bind(name)
        .bind(content)
        .bind(team)
        .fetch_one(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(Ok((row, true)))
    }

    /// Soft-deletes one row.
    pub async fn delete_config(&self, id: i64) -> Result<bool, Error> {
        let done = sqlx::query("update configs set deleted = true where id = $1 and not deleted")
            .bind(id)
            .execute(self.pool())
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Soft-deletes all rows of a type and name; how many there were.
    pub async fn delete_configs(&self, kind: &str, name: &str) -> Result<u64, Error> {
        let done = sqlx::query(
            "update configs set deleted = true where type = $1 and name = $2 and not deleted",
        )
        .bind(kind)
        .bind(name)
        .execute(self.pool())
        .await?;
        Ok(done.rows_affected())
    }
}

/// A config that a deployment was made with.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct DeploymentConfigRow {
    pub deployment_id: i64,
    pub deployment: String,
    pub teams: Vec<String>,
    pub config_id: i64,
    #[sqlx(rename = "type")]
    pub kind: String,
    pub name: String,
}

impl Store {
    /// The configs of the named deployments' last success.
    pub async fn deployment_configs(
        &self,
        deployments: &[String],
    ) -> Result<Vec<DeploymentConfigRow>, Error> {
        sqlx::query_as(
            "select d.id as deployment_id, d.name as deployment, d.teams, c.id as config_id, c.type, c.name
             from deployments d join deployment_configs dc on dc.deployment_id = d.id
               join configs c on c.id = dc.config_id
             where d.name = any($1) order by d.name, c.type, c.name, c.id",
        )
        .bind(deployments)
        .fetch_all(self.pool())
        .await
    }
}
