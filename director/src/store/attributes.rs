//! Named values of the environment as a whole: its UUID, the resurrection switch.

use super::{Error, Store};

impl Store {
    pub async fn attribute(&self, name: &str) -> Result<Option<String>, Error> {
        sqlx::query_scalar("select value from director_attributes where name = $1")
            .bind(name)
            .fetch_optional(self.pool())
            .await
    }

    pub async fn set_attribute(&self, name: &str, value: &str) -> Result<(), Error> {
        sqlx::query(
            "insert into director_attributes (name, value) values ($1, $2)
             on conflict (name) do update set value = excluded.value",
        )
        .bind(name)
        .bind(value)
        .execute(self.pool())
        .await?;
        Ok(())
    }

    /// The value that is there, or `value` if none was: several directors that start at once agree.
    pub async fn attribute_or_insert(&self, name: &str, value: &str) -> Result<String, Error> {
        sqlx::query("insert into director_attributes (name, value) values ($1, $2) on conflict (name) do nothing")
            .bind(name)
            .bind(value)
            .execute(self.pool())
            .await?;
        sqlx::query_scalar("select value from director_attributes where name = $1")
            .bind(name)
            .fetch_one(self.pool())
            .await
    }
}
