//! The message bus as the director sees it: its own connection, agents' certificates, agents' permissions
//! (`docs/spec/operations.md` §11).
//!
//! `deploy` and `compile` call [`Authority::issue`] and [`Authority::allow`] before `create_vm`, so that the
//! agent may connect with its first try; after `delete_vm` they call [`Authority::deny`]. What is written is always
//! made from the rows of `vms`, so every director of an environment writes the same file and a start repairs it.

mod authorization;
mod certificates;

use std::path::Path;
use std::time::Duration;

pub use authorization::Authority;

use crate::config::Nats;

/// What goes wrong with the bus's files and server.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("a file of the settings' nats section can't be read")]
    Read(#[source] std::io::Error),
    #[error(
        "nats.agent_ca can't sign certificates: its certificate and private key must be PEM and belong together"
    )]
    AgentCa(#[source] pki::Error),
    #[error("no certificate can be issued for agent {agent}")]
    Issue {
        agent: String,
        #[source]
        source: pki::Error,
    },
    #[error("the permissions of agents can't be written")]
    Write(#[source] std::io::Error),
    #[error("the NATS server can't be told to reload: {0}; check nats.reload.pid_file")]
    Reload(String),
    #[error("the agents' rows can't be read")]
    Rows(#[source] crate::store::Error),
    #[error("nats.client: {0}")]
    Client(String),
    #[error("NATS does not accept the director's connection settings")]
    Connect(#[source] async_nats::ConnectError),
}

impl From<Error> for crate::error::Error {
    fn from(error: Error) -> crate::error::Error {
        std::sync::Arc::new(error).into()
    }
}

impl From<std::sync::Arc<Error>> for crate::error::Error {
    fn from(error: std::sync::Arc<Error>) -> crate::error::Error {
        crate::error::Error::unclassified(format!("The message bus can't serve agents: {error}."))
            .hint("Check the nats section of the director's settings and the nats-server.")
            .caused_by(error)
    }
}

/// The director's connection. Connects in the background and again after each loss: the director answers
/// while the bus is away.
pub async fn connect(settings: &Nats) -> Result<async_nats::Client, Error> {
    let mut options = async_nats::ConnectOptions::new()
        .name("bosun-director")
        .retry_on_initial_connect()
        .max_reconnects(None)
        .reconnect_delay_callback(|attempt| Duration::from_millis((50 * attempt as u64).min(2000)))
        .connection_timeout(Duration::from_secs(5))
        .ping_interval(Duration::from_secs(5))
        .event_callback(|event| async move {
            match event {
                async_nats::Event::Connected => tracing::info!("connected to NATS"),
                async_nats::Event::Disconnected => {
                    tracing::warn!("the connection to NATS is lost, connecting again")
                }
                other => tracing::debug!(event = %other, "NATS"),
            }
        });
    if settings.urls.iter().any(|url| !url.starts_with("nats://")) {
        options = options
            .require_tls(true)
            .add_root_certificates(settings.ca.clone())
            .add_client_certificate(
                settings.client.certificate.clone(),
                settings.client.private_key.clone(),
            );
    }
    let urls: Vec<async_nats::ServerAddr> = settings
        .urls
        .iter()
        .map(|url| {
            url.parse()
                .map_err(|error| Error::Client(format!("the URL {url} is not valid: {error}")))
        })
        .collect::<Result<_, _>>()?;
    options.connect(urls).await.map_err(Error::Connect)
}

fn read(path: &Path) -> Result<String, Error> {
    fs_err::read_to_string(path).map_err(Error::Read)
}
