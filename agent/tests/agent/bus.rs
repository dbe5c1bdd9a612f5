//! A nats-server as a director has it: mutual TLS, permissions by certificate subject.

use std::path::{Path, PathBuf};

use pki::{Ca, CertifiedKey, Request, Subject, Usage};
use serde_json::{Value, json};
use services::nats;

pub struct Bus {
    server: nats::Nats,
    authorization: PathBuf,
    ca: Ca,
    director: CertifiedKey,
}

impl Bus {
    pub async fn start(dir: &Path) -> Self {
        let (ca, _) = Ca::generate(Subject::common_name("test CA")).expect("CA");
        let mut request = Request::new(
            Subject::common_name("default.nats.bosh-internal"),
            &[Usage::Server],
        );
        request.alternative_names = vec!["127.0.0.1".into()];
        let server = ca.issue(&request).expect("server certificate");
        let director = issue(&ca, "default.director.bosh-internal");
        let file = |name: &str, text: &str| {
            let path = dir.join(name);
            fs_err::write(&path, text).expect("certificate file");
            path
        };
        let authorization = file("auth.json", "{\"authorization\":{\"users\":[]}}");
        let options = nats::Options {
            dir: dir.to_path_buf(),
            address: [127, 0, 0, 1].into(),
            port: services::free_port("127.0.0.1").expect("port"),
            tls: Some(nats::Tls {
                certificate: file("nats.crt", &server.certificate),
                private_key: file("nats.key", &server.private_key),
                client_ca: file("ca.crt", ca.certificate()),
            }),
            authorization_file: Some(authorization.clone()),
            mortal: false,
        };
        let server = nats::Nats::start(options).await.expect("nats-server");
        Self {
            server,
            authorization,
            ca,
            director,
        }
    }

    pub fn url(&self) -> &str {
        self.server.url()
    }

    /// A client certificate and its CA, as settings have it.
    pub fn client_cert(&self, name: &str) -> Value {
        let key = issue(&self.ca, name);
        json!({
            "ca": self.ca.certificate(),
            "certificate": key.certificate,
            "private_key": key.private_key,
        })
    }

    /// Lets the director and these agent certificates in, and nobody else.
    pub fn allow(&self, agent: &str, names: &[&str]) {
        let subject = |name: &str| format!("C=USA, O=Cloud Foundry, CN={name}");
        let mut users = vec![json!({
            "user": subject("default.director.bosh-internal"),
            "permissions": {
                "publish": ["agent.*", "hm.director.alert"],
                "subscribe": ["director.>", "hm.agent.heartbeat.*", "hm.agent.alert.*", "hm.agent.shutdown.*"],
            },
        })];
        users.extend(names.iter().map(|name| {
            json!({
                "user": subject(name),
                "permissions": {
                    "publish": [
                        format!("hm.agent.heartbeat.{agent}"),
                        format!("hm.agent.alert.{agent}"),
                        format!("hm.agent.shutdown.{agent}"),
                        format!("director.*.{agent}.*"),
                    ],
                    "subscribe": [format!("agent.{agent}")],
                },
            })
        }));
        let text = json!({"authorization": {"users": users}}).to_string();
        fs_err::write(&self.authorization, text).expect("authorization file");
        let pid = self.server.pid().expect("nats-server runs");
        let pid = nix::unistd::Pid::from_raw(pid.try_into().expect("pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGHUP).expect("reload");
    }

    /// A director's connection.
    pub async fn connect(&self) -> async_nats::Client {
        use rustls_pki_types::pem::PemObject;
        use rustls_pki_types::{CertificateDer, PrivateKeyDer};
        let mut roots = rustls::RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(self.ca.certificate().as_bytes()).expect("CA"))
            .expect("CA");
        let certificate = CertificateDer::from_pem_slice(self.director.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(self.director.private_key.as_bytes());
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate.expect("certificate")], key.expect("key"))
            .expect("client certificate");
        let deadline = tokio::time::Instant::now() + super::harness::DEADLINE;
        loop {
            let options = async_nats::ConnectOptions::new()
                .require_tls(true)
                .tls_client_config(config.clone());
            match options.connect(self.url()).await {
                Ok(client) => return client,
                Err(error) if tokio::time::Instant::now() > deadline => {
                    panic!("the director can't connect: {error}")
                }
                // The reload of the permissions may not be over yet.
                Err(_) => tokio::time::sleep(super::harness::MOMENT).await,
            }
        }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        if let Some(pid) = self.server.pid().and_then(|pid| pid.try_into().ok()) {
            let pid = nix::unistd::Pid::from_raw(pid);
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

fn issue(ca: &Ca, name: &str) -> CertifiedKey {
    let request = Request::new(Subject::cloud_foundry(name), &[Usage::Client]);
    ca.issue(&request).expect("client certificate")
}
