//! Those who sign.

use rcgen::{Issuer, KeyPair};

use crate::Error;
use crate::certificate::{CertifiedKey, Kind, Request, Subject};

/// A certificate authority: its certificate, and the key that signs. Has no `Debug`: the key is a secret.
pub struct Ca {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    /// A new one that nobody signed but itself, for ten years.
    pub fn generate(subject: Subject) -> Result<(Ca, CertifiedKey), Error> {
        let request = Request {
            days: 3650,
            ..Request::new(subject, &[])
        };
        let key = self_signed(&request)?;
        Ok((Ca::load(&key.certificate, &key.private_key)?, key))
    }

    /// One from its certificate and key (PEM), which must belong together.
    pub fn load(certificate: &str, private_key: &str) -> Result<Ca, Error> {
        let key = KeyPair::from_pem(private_key).map_err(|_| Error::Parse { what: "CA key" })?;
        let parse = || Error::Parse {
            what: "CA certificate",
        };
        let (_, pem) =
            x509_parser::pem::parse_x509_pem(certificate.as_bytes()).map_err(|_| parse())?;
        let parsed = pem.parse_x509().map_err(|_| parse())?;
        if parsed.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
            return Err(Error::Mismatch);
        }
        let issuer = Issuer::from_ca_cert_pem(certificate, key).map_err(|_| parse())?;
        Ok(Ca {
            certificate: certificate.to_owned(),
            issuer,
        })
    }

    /// Its certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate with a new key.
    pub fn issue(&self, request: &Request) -> Result<CertifiedKey, Error> {
        self.sign(request, false)
    }

    /// The certificate of a CA below this one, with a new key.
    pub fn issue_ca(&self, request: &Request) -> Result<CertifiedKey, Error> {
        self.sign(request, true)
    }

    fn sign(&self, request: &Request, ca: bool) -> Result<CertifiedKey, Error> {
        let key = request.kind.generate()?;
        let certificate = request
            .params(&key, ca)?
            .signed_by(&key, &self.issuer)
            .map_err(|source| Error::Generate {
                what: "certificate",
                source,
            })?;
        Ok(CertifiedKey {
            certificate: certificate.pem(),
            private_key: request.kind.pem(&key)?,
        })
    }
}

/// The certificate of a CA that signs itself, with a new key.
pub fn self_signed(request: &Request) -> Result<CertifiedKey, Error> {
    let key = Kind::generate(request.kind)?;
    let certificate = request
        .params(&key, true)?
        .self_signed(&key)
        .map_err(|source| Error::Generate {
            what: "certificate",
            source,
        })?;
    Ok(CertifiedKey {
        certificate: certificate.pem(),
        private_key: request.kind.pem(&key)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Usage, not_after};

    #[test]
    fn an_agents_certificate_has_the_subject_in_the_order_that_nats_maps() {
        let (ca, _) = Ca::generate(Subject::common_name("test CA")).unwrap();
        let request = Request::new(
            Subject::cloud_foundry("a1.agent.bosh-internal"),
            &[Usage::Client],
        );
        let issued = ca.issue(&request).unwrap();

        let (_, pem) = x509_parser::pem::parse_x509_pem(issued.certificate.as_bytes()).unwrap();
        let parsed = pem.parse_x509().unwrap();
        assert_eq!(
            parsed.subject().to_string(),
            "C=USA, O=Cloud Foundry, CN=a1.agent.bosh-internal"
        );
        assert_eq!(parsed.issuer().to_string(), "CN=test CA");
        assert!(!parsed.is_ca());
        assert!(
            parsed
                .extended_key_usage()
                .unwrap()
                .unwrap()
                .value
                .client_auth
        );
        assert!(
            not_after(&issued.certificate).unwrap()
                > time::OffsetDateTime::now_utc() + time::Duration::days(700)
        );
    }

    #[test]
    fn rsa_keys_are_pkcs1_and_identified_by_their_modulus_through_a_chain() {
        let request = |name: &str| Request {
            kind: Kind::Rsa2048,
            ..Request::new(Subject::common_name(name), &[Usage::Server])
        };
        let root = self_signed(&request("root")).unwrap();
        assert!(
            root.private_key
                .starts_with("-----BEGIN RSA PRIVATE KEY-----\n")
        );
        let ca = Ca::load(&root.certificate, &root.private_key).unwrap();
        let below = ca.issue_ca(&request("below")).unwrap();
        let below = Ca::load(&below.certificate, &below.private_key).unwrap();
        let leaf = below.issue(&request("leaf")).unwrap();
        let parse = |pem: &str| x509_parser::pem::parse_x509_pem(pem.as_bytes()).unwrap().1;
        let (issuer, leaf) = (parse(below.certificate()), parse(&leaf.certificate));
        let (issuer, leaf) = (issuer.parse_x509().unwrap(), leaf.parse_x509().unwrap());
        leaf.verify_signature(Some(issuer.public_key())).unwrap();
        let usage = leaf.key_usage().unwrap().unwrap().value;
        assert!(usage.digital_signature() && usage.key_encipherment());
    }

    #[test]
    fn a_ca_is_the_same_after_loading_and_refuses_anothers_key() {
        let (_, one) = Ca::generate(Subject::common_name("one")).unwrap();
        let (_, two) = Ca::generate(Subject::common_name("two")).unwrap();
        let loaded = Ca::load(&one.certificate, &one.private_key).unwrap();
        assert_eq!(loaded.certificate(), one.certificate);
        assert!(matches!(
            Ca::load(&one.certificate, &two.private_key),
            Err(Error::Mismatch)
        ));
        assert!(matches!(
            Ca::load("no", &two.private_key),
            Err(Error::Parse { .. })
        ));
    }
}
