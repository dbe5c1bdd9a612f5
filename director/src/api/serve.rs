//! The listener: TLS (or plain HTTP on loopback) and one hyper connection per client.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject as _;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::{CertificateUsers, Identity};
use crate::config::access::{Metrics, read_certificates};
use crate::config::{KeyPair, Listen};

/// A bound listener with its certificate.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    tls: Option<TlsAcceptor>,
    /// Who is who of those that show a certificate.
    users: Option<Arc<CertificateUsers>>,
}

/// An extension of every request: the caller named by the connection's client certificate.
#[derive(Clone)]
pub struct CertificateCaller(pub Option<Identity>);

/// A client that opens a connection and says nothing is not waited for longer.
const HANDSHAKE: Duration = Duration::from_secs(15);

impl Server {
    /// Binds the API's address and reads its certificates; both are the operator's to mend.
    pub async fn bind(listen: &Listen) -> anyhow::Result<Server> {
        let clients = listen.client_certificates.as_ref();
        let verifier = clients
            .map(|clients| {
                let key = "listen.client_certificates.ca";
                let roots = roots(key, &clients.ca)?;
                let verifier = WebPkiClientVerifier::builder(roots).allow_unauthenticated();
                verifier.build().context(key)
            })
            .transpose()?;
        let tls = listen
            .tls
            .as_ref()
            .map(|pair| acceptor("listen.tls", pair, verifier))
            .transpose()?;
        let address = SocketAddr::new(listen.address, listen.port);
        let mut server = Server::listen("listen", address, tls).await?;
        server.users = clients.map(|clients| Arc::new(CertificateUsers::new(clients)));
        Ok(server)
    }

    /// Binds the metrics' address: nobody gets through the handshake without a certificate.
    pub async fn bind_metrics(metrics: &Metrics) -> anyhow::Result<Server> {
        let key = "metrics.client_ca";
        let verifier = WebPkiClientVerifier::builder(roots(key, &metrics.client_ca)?)
            .build()
            .context(key)?;
        let tls = acceptor("metrics.tls", &metrics.tls, Some(verifier))?;
        let address = SocketAddr::new(metrics.address, metrics.port);
        Server::listen("metrics", address, Some(tls)).await
    }

    async fn listen(
        key: &str,
        address: SocketAddr,
        tls: Option<TlsAcceptor>,
    ) -> anyhow::Result<Server> {
        let listener = TcpListener::bind(address).await.with_context(|| {
            format!("{key}: {address} can't be used; is another director running?")
        })?;
        let address = listener.local_addr()?;
        Ok(Server {
            listener,
            address,
            tls,
            users: None,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

fn roots(key: &str, file: &std::path::Path) -> anyhow::Result<Arc<RootCertStore>> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(key, file)? {
        roots
            .add(certificate)
            .with_context(|| format!("{key}: {}", file.display()))?;
    }
    Ok(Arc::new(roots))
}

fn acceptor(
    key: &str,
    pair: &KeyPair,
    clients: Option<Arc<dyn ClientCertVerifier>>,
) -> anyhow::Result<TlsAcceptor> {
    let chain = read_certificates(&format!("{key}.certificate"), &pair.certificate)?;
    let private_key = PrivateKeyDer::from_pem_file(&pair.private_key)
        .with_context(|| format!("{key}.private_key: {}", pair.private_key.display()))?;
    let builder = rustls::ServerConfig::builder();
    let builder = match clients {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder
        .with_single_cert(chain, private_key)
        .with_context(|| format!("{key}: certificate and private key don't belong together"))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

/// Serves until `stop`; then lets running requests end.
pub async fn serve(server: Server, router: axum::Router, stop: CancellationToken) {
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
            server.users.clone(),
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
    users: Option<Arc<CertificateUsers>>,
    router: axum::Router,
    stop: CancellationToken,
) {
    let Some(tls) = tls else {
        return speak(TokioIo::new(stream), CertificateCaller(None), router, stop).await;
    };
    match tokio::time::timeout(HANDSHAKE, tls.accept(stream)).await {
        Ok(Ok(stream)) => {
            let shown = stream.get_ref().1.peer_certificates();
            let first = shown.and_then(<[_]>::first);
            let caller = users
                .zip(first)
                .and_then(|(users, certificate)| users.identify(certificate));
            speak(
                TokioIo::new(stream),
                CertificateCaller(caller),
                router,
                stop,
            )
            .await;
        }
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake timed out"),
    }
}

async fn speak<S>(
    stream: S,
    caller: CertificateCaller,
    router: axum::Router,
    stop: CancellationToken,
) where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let mut builder = hyper::server::conn::http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(Some(Duration::from_secs(120)));
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |mut request| {
        let extensions = http::Request::<hyper::body::Incoming>::extensions_mut(&mut request);
        extensions.insert(caller.clone());
        hyper::service::Service::call(&router, request)
    });
    let mut connection = std::pin::pin!(builder.serve_connection(stream, service));
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
