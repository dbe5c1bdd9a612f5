//! A private PostgreSQL cluster per test process and a fresh database per test.
//!
//! The cluster is made by the first test that needs one, is reached through a Unix socket, keeps nothing safe
//! (`fsync=off`) and dies with the process.

use std::path::PathBuf;
use std::sync::OnceLock;

use services::postgres::{self, Options, Postgres};

/// The folder of the cluster.
static CLUSTER: OnceLock<Result<PathBuf, String>> = OnceLock::new();

/// A fresh, empty database on the shared cluster. Left behind when the test ends: the cluster goes with
/// the process.
pub struct TestDatabase {
    url: String,
}

impl TestDatabase {
    /// Creates the database, starting the cluster if this is the first one.
    pub async fn create() -> anyhow::Result<TestDatabase> {
        let cluster = tokio::task::spawn_blocking(|| {
            CLUSTER.get_or_init(|| start().map_err(|error| format!("{error:#}")))
        })
        .await?;
        let cluster = cluster
            .as_ref()
            .map_err(|error| anyhow::anyhow!("test PostgreSQL: {error}"))?;
        let name = format!("t{}", uuid::Uuid::new_v4().simple());
        postgres::ensure_database(cluster, &name).await?;
        Ok(TestDatabase {
            url: postgres::url(cluster, &name),
        })
    }

    /// `postgres://…` of this database.
    pub fn url(&self) -> &str {
        &self.url
    }
}

fn start() -> anyhow::Result<PathBuf> {
    crate::process::keep("postgres", |dir, ready| async move {
        let mut server = Postgres::start(Options {
            dir: dir.clone(),
            volatile: true,
            mortal: true,
        })
        .await?;
        let _ = ready.send(dir);
        server.wait().await?;
        Ok(())
    })
}
