//! Mutual TLS with the NATS server (`docs/spec/agent-protocol.md` §1.2), and the agent's own server of §1.8.

use std::sync::Arc;

use agent_protocol::MbusCert;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use crate::error::{Context, Error, Result};

const READING_IDENTITY: &str = "Parsing certificate and private key";

/// The TLS side of a connection with this certificate.
pub fn client_config(cert: &MbusCert) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(cert.ca.as_bytes()) {
        roots
            .add(certificate.context("Parsing the message bus CA")?)
            .context("Parsing the message bus CA")?;
    }
    if roots.is_empty() {
        return Err(Error::new(
            "Failed to load Mbus CA cert: env.bosh.mbus.cert.ca holds no certificate",
        ));
    }
    let (certificates, key) = identity(cert)?;
    let verifier = WebPkiServerVerifier::builder(Arc::new(roots))
        .build()
        .context("Making the message bus verifier")?;
    ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(NatsServer(verifier)))
        .with_client_auth_cert(certificates, key)
        .context(READING_IDENTITY)
}

/// The TLS side of a server with this certificate, for clients without one.
pub fn server_config(cert: &MbusCert) -> Result<ServerConfig> {
    let (certificates, key) = identity(cert)?;
    ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .context(READING_IDENTITY)
}

fn identity(cert: &MbusCert) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let certificates = CertificateDer::pem_slice_iter(cert.certificate.as_bytes())
        .collect::<Result<Vec<_>, _>>()
        .context(READING_IDENTITY)?;
    let key =
        PrivateKeyDer::from_pem_slice(cert.private_key.as_bytes()).context(READING_IDENTITY)?;
    Ok((certificates, key))
}

/// The usual verification, and then the server's common name: certificates of other servers under the same CA must not
/// pass as the message bus.
#[derive(Debug)]
struct NatsServer(Arc<WebPkiServerVerifier>);

impl ServerCertVerifier for NatsServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.0.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        )?;
        let (_, certificate) = x509_parser::parse_x509_certificate(end_entity)
            .map_err(|_| rustls::Error::General("server Certificate can't be parsed".into()))?;
        let mut names = certificate.subject().iter_common_name();
        if names.any(|name| name.as_str().is_ok_and(is_nats_name)) {
            return Ok(verified);
        }
        Err(rustls::Error::General(
            "server Certificate CommonName does not match *.nats.bosh-internal".into(),
        ))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.0.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

/// `^[a-zA-Z0-9*\-]*.nats.bosh-internal$`, where the first dot is any character.
fn is_nats_name(name: &str) -> bool {
    let Some(prefix) = name.strip_suffix("nats.bosh-internal") else {
        return false;
    };
    let mut characters = prefix.chars();
    characters.next_back().is_some()
        && characters.all(|c| c.is_ascii_alphanumeric() || c == '*' || c == '-')
}

#[cfg(test)]
mod tests {
    use super::is_nats_name;

    #[test]
    fn only_nats_servers_names_pass() {
        assert!(is_nats_name("default.nats.bosh-internal"));
        assert!(is_nats_name("*.nats.bosh-internal"));
        assert!(!is_nats_name("default.director.bosh-internal"));
        assert!(!is_nats_name("nats.bosh-internal"));
        assert!(!is_nats_name("a.b.nats.bosh-internal"));
    }
}
