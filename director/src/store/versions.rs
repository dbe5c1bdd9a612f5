//! Versions that are there, by name: what `latest` can mean.

use super::{Error, Store};

impl Store {
    /// Versions of a release whose upload is complete.
    pub async fn versions_of_release(&self, name: &str) -> Result<Vec<String>, Error> {
        sqlx::query_scalar(
            "select v.version from release_versions v join releases r on r.id = v.release_id
             where r.name = $1 and v.update_completed",
        )
        .bind(name)
        .fetch_all(self.pool())
        .await
    }

    /// Versions of the stemcells of an operating system or a name.
    pub async fn versions_of_stemcell(
        &self,
        os: Option<&str>,
        name: Option<&str>,
    ) -> Result<Vec<String>, Error> {
        sqlx::query_scalar(
            "select distinct version from stemcells
             where ($1::text is not null or $2::text is not null)
               and ($1::text is null or operating_system = $1) and ($2::text is null or name = $2)",
        )
        .bind(os)
        .bind(name)
        .fetch_all(self.pool())
        .await
    }
}
