//! The listener: TLS (or plain HTTP on loopback) and one hyper connection per client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Api, router};
use crate::config::{KeyPair, Listen};

/// A bound listener with its certificate.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
}

/// A client that opens a connection and says nothing is not waited for longer.
const HANDSHAKE: Duration = Duration::from_secs(15);

impl Server {
    /// Binds the address and reads the certificate; both are the operator's to mend.
    pub async fn bind(listen: &Listen) -> anyhow::Result<Server> {
        let tls = listen.tls.as_ref().map(acceptor).transpose()?;
        let address = SocketAddr::new(listen.address, listen.port);
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("listen: {address} can't be used; is another director running?")
        })?;
        let address = listener.local_addr()?;
        Ok(Server {
            listener,
            address,
            tls,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn acceptor(pair: &KeyPair) -> anyhow::Result<TlsAcceptor> {
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_file_iter(&pair.certificate)
        .and_then(Iterator::collect)
        .with_context(|| format!("listen.tls.certificate: {}", pair.certificate.display()))?;
    let key = PrivateKeyDer::from_pem_file(&pair.private_key)
        .with_context(|| format!("listen.tls.private_key: {}", pair.private_key.display()))?;
    let mut config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .context("listen.tls: certificate and private key don't belong together")?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until `stop`; then lets running requests end.
pub async fn serve(server: Server, api: Api, stop: CancellationToken) {
    let router = router(api);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = server.listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, or a client that is gone already: neither may end the loop.
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        connections.spawn(connection(
            stream,
            server.tls.clone(),
            router.clone(),
            stop.clone(),
        ));
    }
    connections.close();
    connections.wait().await;
}

async fn connection(
    stream: TcpStream,
    tls: Option<TlsAcceptor>,
    router: axum::Router,
    stop: CancellationToken,
) {
    match tls {
        None => http(TokioIo::new(stream), router, stop).await,
        Some(tls) => match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
            Ok(Ok(stream)) => http(TokioIo::new(stream), router, stop).await,
            Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
            Err(_) => tracing::debug!("TLS handshake timed out"),
        },
    }
}

async fn http<S>(stream: S, router: axum::Router, stop: CancellationToken)
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Some(Duration::from_secs(120)));
    let mut connection =
        std::pin::pin!(builder.serve_connection(stream, TowerToHyperService::new(router)));
    tokio::select! {
        result = connection.as_mut() => {
            if let Err(error) = result {
                tracing::debug!(%error, "a connection ended early");
            }
            return;
        }
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
