//! One director process from start to end: data folder, services, engine, API, signals.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::api::{self, Api};
use crate::config::Settings;
use crate::services::Services;
use crate::tasks::{Engine, Options};

/// Time for running steps to end after SIGTERM.
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs a director until SIGTERM or SIGINT.
pub fn run(settings: Settings) -> anyhow::Result<()> {
    log_to_stderr(&settings.log)?;
    // A second provider can't be installed by anyone else: this is the process's first act with TLS.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(32)
        .thread_keep_alive(Duration::from_secs(2))
        .enable_all()
        .build()
        .context("the runtime can't be started")?
        .block_on(serve(settings))
}

/// The process's log as the settings filter it; what belongs to a task goes to its debug output too.
fn log_to_stderr(filter: &str) -> anyhow::Result<()> {
    use tracing_subscriber::Layer as _;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::util::SubscriberInitExt as _;
    // The NATS client tells of each connection at info; this director does so itself.
    let filter = tracing_subscriber::EnvFilter::try_new(format!("async_nats=warn,{filter}"))
        .context("log: the filter can't be read")?;
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_filter(filter);
    tracing_subscriber::registry()
        .with(stderr)
        .with(crate::tasks::trace::layer())
        .init();
    Ok(())
}

async fn serve(settings: Settings) -> anyhow::Result<()> {
    let folder = DataFolder::open(&settings.data_dir)?;
    let stop = CancellationToken::new();
    // Bind first: a port that is taken is the most common mistake, and clients may queue while we connect.
    let listener = api::Server::bind(&settings.listen).await?;
    let metrics = match &settings.metrics {
        Some(metrics) => Some(api::Server::bind_metrics(metrics).await?),
        None => None,
    };
    let workers = settings.workers;
    let services =
        Arc::new(Services::connect(settings, folder.instance.clone(), stop.clone()).await?);
    let api = Api::new(services.clone())?;
    let owner: Arc<str> = format!("{}#{}", folder.instance, uuid::Uuid::new_v4()).into();
    let engine = Engine::start(
        services.clone(),
        Options::new(workers, folder.instance.clone(), owner.clone()),
    )
    .await?;
    tokio::spawn(crate::health::watch(services.clone(), owner, stop.clone()));
    services.record_start().await;
    services.remove_left_uploads().await;
    tokio::spawn(crate::tasks::retention::run(services.clone(), stop.clone()));
    tokio::spawn(crate::schedule::run(services.clone(), stop.clone()));
    let address = listener.address();
    if let Some(metrics) = metrics {
        let router = api::metrics_router(api.clone());
        tokio::spawn(api::serve(metrics, router, stop.clone()));
    }
    let server = tokio::spawn(api::serve(listener, api::router(api), stop.clone()));
    tracing::info!(%address, uuid = services.director_uuid, "the director is up");

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("going down: running steps end, other directors or the next start go on");
    stop.cancel();
    engine.shutdown(PATIENCE).await;
    let _ = tokio::time::timeout(Duration::from_secs(5), server).await;
    services.store.close().await;
    drop(folder);
    Ok(())
}

/// The data folder, locked for this process: whoever holds the lock knows that no other process of the folder
/// is alive, and takes over its tasks at once.
struct DataFolder {
    /// Made at the first start, kept in the folder.
    instance: String,
    _lock: nix::fcntl::Flock<std::fs::File>,
}

impl DataFolder {
    fn open(path: &Path) -> anyhow::Result<DataFolder> {
        fs_err::create_dir_all(path)?;
        let file = fs_err::OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path.join("director.lock"))?
            .into_parts()
            .0;
        // A process that was just killed may hold the lock for a moment longer.
        let mut file = file;
        let deadline = std::time::Instant::now() + Duration::from_secs(5);
        let lock = loop {
            match nix::fcntl::Flock::lock(file, nix::fcntl::FlockArg::LockExclusiveNonblock) {
                Ok(lock) => break lock,
                Err((back, _)) if std::time::Instant::now() < deadline => {
                    file = back;
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(_) => anyhow::bail!(
                    "another director uses {}; stop it first, or give this one a data_dir of its own",
                    path.display()
                ),
            }
        };
        let id = path.join("instance-id");
        let instance = match fs_err::read_to_string(&id) {
            Ok(text) => text.trim().to_owned(),
            Err(_) => {
                let fresh = uuid::Uuid::new_v4().to_string();
                fs_err::write(&id, &fresh)?;
                fresh
            }
        };
        Ok(DataFolder {
            instance,
            _lock: lock,
        })
    }
}

impl Services {
    /// Uploads that no task needs any more: their tasks ended without them, or were never queued.
    async fn remove_left_uploads(&self) {
        let folder = self.settings.data_dir.join("uploads");
        let Ok(entries) = fs_err::read_dir(&folder) else {
            return;
        };
        let needed = match self.store.files_in_use(&self.instance).await {
            Ok(needed) => needed,
            Err(error) => return tracing::warn!(%error, "old uploads are not removed"),
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = path.to_string_lossy();
            // A task may keep more beside its file, under the file's name.
            if needed.iter().any(|file| name.starts_with(file.as_str())) {
                continue;
            }
            let removed = if path.is_dir() {
                fs_err::remove_dir_all(&path)
            } else {
                fs_err::remove_file(&path)
            };
            if let Err(error) = removed {
                tracing::warn!(%error, "an old upload is not removed");
            }
        }
    }

    async fn record_start(&self) {
        let event = crate::store::audit::NewAudit {
            user: "_director".into(),
            action: "start".into(),
            object_type: "director".into(),
            object_name: Some(self.director_uuid.clone()),
            context: Some(serde_json::json!({"version": crate::VERSION})),
            ..Default::default()
        };
        if let Err(error) = self.store.insert_audit(&event).await {
            tracing::warn!(%error, "the start was not recorded");
        }
    }
}
