//! Certificates of agents: the subject is the user name that permissions are given to.

use agent_protocol::MbusCert;
use pki::{Ca, Request, Subject, Usage};

use super::{Error, read};
use crate::config::Nats;

/// Signs agents' certificates with the CA of the settings.
pub(super) struct Signer {
    ca: Ca,
    /// CA of the server's certificate, PEM: what agents trust.
    server_ca: String,
}

impl Signer {
    pub fn load(settings: &Nats) -> Result<Signer, Error> {
        let certificate = read(&settings.agent_ca.certificate)?;
        let private_key = read(&settings.agent_ca.private_key)?;
        Ok(Signer {
            ca: Ca::load(&certificate, &private_key).map_err(Error::AgentCa)?,
            server_ca: read(&settings.ca)?,
        })
    }

    /// A fresh pair of two years for a common name, with an EC key: an RSA key takes a hundred times as long to
    /// make, and the original agent accepts both.
    pub fn issue(&self, agent: &str, common_name: &str) -> Result<MbusCert, Error> {
        let request = Request::new(Subject::cloud_foundry(common_name), &[Usage::Client]);
        let pair = self.ca.issue(&request).map_err(|source| Error::Issue {
            agent: agent.to_owned(),
            source,
        })?;
        Ok(MbusCert {
            ca: self.server_ca.clone(),
            certificate: pair.certificate,
            private_key: pair.private_key,
        })
    }
}
