//! What every room may use: one value, built once at start, shared by the API and the task workers.

use std::sync::Arc;
use std::time::Duration;

use agent_protocol::{AgentClient, LongTexts, NatsAgentClient};
use async_trait::async_trait;
use blobstore::signed::SigningKey;
use blobstore::{Blobstore, DavBlobstore, LocalBlobstore, S3Blobstore};
use domain::BlobId;
use tokio_util::sync::CancellationToken;

use crate::agents::Persistent;
use crate::cloud::Cpis;
use crate::config::Settings;
use crate::health::Monitor;
use crate::nats;
use crate::store::Store;

/// Handles to everything outside of the director's own code. Shared behind an `Arc`.
pub struct Services {
    pub settings: Settings,
    pub store: Store,
    pub blobs: Arc<dyn Blobstore>,
    /// Verifies the `/signed/` URLs of a local blobstore.
    pub blob_secret: Option<SigningKey>,
    pub agents: Arc<dyn AgentClient>,
    pub cpis: Cpis,
    /// Renders job templates; starts Ruby when first asked.
    pub renderer: Arc<templates::Pool>,
    /// Issues agents' certificates and keeps their permissions.
    pub nats: nats::Authority,
    /// The last words of agents.
    pub health: Monitor,
    /// Identifies this environment in `/info`, NATS and scopes: the same in all its directors.
    pub director_uuid: String,
    /// Identifies this director's data folder: tasks that need a local file run only here.
    pub instance: String,
}

/// Why a director can't start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "the database can't be used; check database.url in the settings and that the server is up"
    )]
    Database(#[from] crate::store::Error),
    #[error("the blobstore can't be used; check the blobstore section of the settings")]
    Blobstore(#[from] blobstore::Error),
    #[error("NATS can't be used; check the nats section of the settings")]
    Nats(#[from] nats::Error),
}

impl Services {
    /// Connects to everything. `instance` names the (locked) data folder.
    pub async fn connect(
        settings: Settings,
        instance: String,
        stop: CancellationToken,
    ) -> Result<Services, Error> {
        let store = Store::open(
            settings.database_url(),
            settings.database.max_connections,
            Duration::from_secs(30),
        )
        .await?
        .recording_events(settings.record_events);
        let uuid = settings
            .uuid
            .clone()
            .unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
        let director_uuid = match &settings.uuid {
            Some(given) => {
                store.set_attribute("uuid", given).await?;
                given.clone()
            }
            None => store.attribute_or_insert("uuid", &uuid).await?,
        };
        let blob_secret = settings
            .blobstore
            .secret
            .as_ref()
            .map(|secret| SigningKey::new(secret.expose()));
        let blobs = open_blobstore(&settings, blob_secret.clone())?;
        let bus = nats::connect(&settings.nats).await?;
        let authority = nats::Authority::start(&settings.nats, store.clone()).await?;
        let health = Monitor::new(Duration::from_secs(settings.agent_timeout));
        health.start(bus.clone(), store.clone(), stop);
        let mut cpi = cpi::ExternalCpiConfig::new(
            &settings.cpi.path,
            settings.data_dir.join("cpi-calls"),
            director_uuid.clone(),
        );
        cpi.env.clone_from(&settings.cpi.env);
        cpi.properties.clone_from(&settings.cpi.properties);
        cpi.timeout = Duration::from_secs(settings.cpi.timeout);
        let renderer = Arc::new(templates::Pool::new(templates::Options {
            ruby: settings.ruby.path.clone(),
            workers: settings.ruby.workers,
            timeout: Duration::from_secs(settings.ruby.timeout),
            ..templates::Options::default()
        }));
        Ok(Services {
            renderer,
            agents: Arc::new(Persistent(
                NatsAgentClient::new(bus).with_long_texts(Arc::new(Texts(blobs.clone()))),
            )),
            blobs,
            blob_secret,
            cpis: Cpis::external(cpi::ExternalCpi::new(cpi)),
            nats: authority,
            health,
            director_uuid,
            instance,
            store,
            settings,
        })
    }
}

fn open_blobstore(
    settings: &Settings,
    secret: Option<SigningKey>,
) -> Result<Arc<dyn Blobstore>, blobstore::Error> {
    let options = settings.blobstore.options.clone();
    Ok(match settings.blobstore.provider.as_str() {
        "dav" => Arc::new(DavBlobstore::new(options)?),
        "s3" => Arc::new(S3Blobstore::new(options)?),
        // Settings allow no fourth provider.
        _ => {
            let folder = match options
                .get("blobstore_path")
                .and_then(serde_json::Value::as_str)
            {
                Some(path) => settings.data_dir.join(path),
                None => settings.data_dir.join("blobs"),
            };
            // Settings refuse a local blobstore without a secret.
            let secret =
                secret.unwrap_or_else(|| SigningKey::new(uuid::Uuid::new_v4().to_string()));
            let ca = serde_json::Value::Object(options)
                .pointer("/tls/cert/ca")
                .and_then(serde_json::Value::as_str)
                .map(str::to_owned);
            Arc::new(LocalBlobstore::open(folder, settings.blob_url(), secret)?.with_ca(ca))
        }
    })
}

/// Long texts that agents leave in the blobstore.
struct Texts(Arc<dyn Blobstore>);

#[async_trait]
impl LongTexts for Texts {
    async fn take(&self, blob_id: &str) -> Option<String> {
        let id = BlobId::new(blob_id);
        let bytes = self.0.get_bytes(&id, None).await.ok()?;
        if let Err(error) = self.0.delete(&id).await {
            tracing::warn!(blob = blob_id, %error, "an agent's text stays in the blobstore");
        }
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }
}
