//! All SQL of the director, one file per noun.
//!
//! Every room calls functions here; nothing else speaks SQL. Functions return [`Error`] for database
//! trouble and `Option`/`bool` for what the caller must decide on. Writes of a task's worker are fenced:
//! they name the epoch of the worker's lease and change nothing once another worker has the task
//! (ARCHITECTURE §3).

pub mod addresses;
pub mod agents;
pub mod attributes;
pub mod audit;
pub mod binding;
pub mod blobs;
pub mod compiled_packages;
pub mod configs;
pub mod deployments;
pub mod disks;
pub mod dns_blobs;
pub mod errand_runs;
pub mod errands;
pub mod instances;
pub mod locks;
pub mod orphans;
pub mod output;
pub mod releases;
pub mod rendered_archives;
pub mod rendered_hashes;
pub mod schedule;
pub mod snapshots;
pub mod stemcells;
pub mod steps;
pub mod tasks;
pub mod versions;
pub mod vms;

use std::str::FromStr;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};

/// Database trouble: the connection, or a statement that the schema refused.
pub type Error = sqlx::Error;

/// The server or the way to it is at fault, not what was asked: asking again later may help.
pub fn is_connection_trouble(error: &Error) -> bool {
    match error {
        Error::Io(_)
        | Error::Tls(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed => true,
        // Class 08: connection exceptions; 57P0x: the server is going down, has crashed, or is starting.
        Error::Database(refused) => refused.code().is_some_and(|code| {
            code.starts_with("08") || ["57P01", "57P02", "57P03"].contains(&&*code)
        }),
        _ => false,
    }
}

/// A text holds a zero byte, which the database has no room for: what was asked is at fault.
pub fn is_unstorable_text(error: &Error) -> bool {
    match error {
        // 22021: character not in repertoire; 22P05: untranslatable character (the same in JSON).
        Error::Database(refused) => refused
            .code()
            .is_some_and(|code| ["22021", "22P05"].contains(&&*code)),
        _ => false,
    }
}

static MIGRATIONS: sqlx::migrate::Migrator = sqlx::migrate!("./migrations");

/// A pool of connections to the director's database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    pool: PgPool,
    record_events: bool,
}

impl Store {
    /// Connects (waiting up to `patience` for the server) and brings the schema up to date. Several
    /// directors may do so at once: migrations hold an advisory lock.
    pub async fn open(url: &str, max_connections: u32, patience: Duration) -> Result<Store, Error> {
        let options = PgConnectOptions::from_str(url)?
            .application_name("bosun-director")
            // Statement texts hold no secrets, but slow ones are worth a line only when they are slow.
            .options([
                ("statement_timeout", "60000"),
                ("idle_in_transaction_session_timeout", "60000"),
            ]);
        let pool = PgPoolOptions::new()
            .max_connections(max_connections)
            .min_connections(1)
            .acquire_timeout(patience)
            .connect_with(options)
            .await?;
        MIGRATIONS.run(&pool).await?;
        Ok(Store {
            pool,
            record_events: true,
        })
    }

    /// With `false` no audit event is recorded.
    #[must_use]
    pub fn recording_events(mut self, record: bool) -> Store {
        self.record_events = record;
        self
    }

    /// For the functions of this module's files that take an executor.
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// A transaction, for functions that take one because several writes belong together.
    pub async fn begin(&self) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, Error> {
        begin(&self.pool).await
    }

    /// A connection that listens to notifications and connects again by itself.
    pub async fn listener(&self) -> Result<PgListener, Error> {
        PgListener::connect_with(&self.pool).await
    }

    /// Closes all connections; used at the end of a director's life.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

/// Begins a transaction so that the caller may be dropped at any moment.
///
/// A `Pool::begin` that is dropped while the server answers gives its connection back to the pool *inside* the
/// transaction (sqlx counts it as begun only afterwards), and who gets it next holds locks that nobody ends.
/// Here the begin itself runs to its end in any case; what nobody waits for any more is rolled back.
pub(crate) async fn begin(
    pool: &PgPool,
) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, Error> {
    let pool = pool.clone();
    let begun = tokio::spawn(async move { pool.begin().await }).await;
    begun.map_err(|_| Error::WorkerCrashed)?
}
