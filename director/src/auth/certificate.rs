//! Callers who showed a client certificate: the listener asks once for each connection.
//!
//! The handshake has checked the certificate's signature and dates; here only its names are compared.

use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::Identity;
use crate::config::access::{CertificateUser, ClientCertificates};

/// The users of the settings.
pub struct CertificateUsers(Vec<CertificateUser>);

impl CertificateUsers {
    pub fn new(settings: &ClientCertificates) -> CertificateUsers {
        CertificateUsers(settings.users.clone())
    }

    /// The first user whose subject or alternative name the certificate has.
    pub fn identify(&self, certificate: &CertificateDer<'_>) -> Option<Identity> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let (subject, names) = (subject(&certificate), alternative_names(&certificate));
        let user = self.0.iter().find(|user| {
            user.subject
                .as_deref()
                .is_some_and(|wanted| subject.as_ref() == Some(&parts(wanted)))
                || user
                    .alternative_name
                    .as_ref()
                    .is_some_and(|wanted| names.contains(wanted))
        })?;
        Some(Identity::of_settings(&user.name, user.scopes.as_ref()))
    }
}

/// `C=USA, O=Example` as pairs. A value with a comma can't be written like this, so it matches nobody.
fn parts(subject: &str) -> Vec<(String, String)> {
    subject
        .split(',')
        .map(|part| {
            let (key, value) = part.split_once('=').unwrap_or((part, ""));
            (key.trim().to_owned(), value.trim().to_owned())
        })
        .collect()
}

/// `None` when a part of it is no text: then it is nobody's.
fn subject(certificate: &X509Certificate<'_>) -> Option<Vec<(String, String)>> {
    certificate
        .subject()
        .iter_attributes()
        .map(|attribute| {
            let oid = attribute.attr_type();
            let key = x509_parser::objects::oid2abbrev(oid, x509_parser::objects::oid_registry())
                .map_or_else(|_| oid.to_id_string(), str::to_owned);
            Some((key, attribute.as_str().ok()?.to_owned()))
        })
        .collect()
}

fn alternative_names(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    let names = extension.value.general_names.iter();
    names
        .filter_map(|name| match name {
            GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => {
                Some((*text).to_owned())
            }
            GeneralName::IPAddress(bytes) => match bytes.len() {
                4 => Some(std::net::IpAddr::from(<[u8; 4]>::try_from(*bytes).ok()?).to_string()),
                16 => Some(std::net::IpAddr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string()),
                _ => None,
            },
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls_pki_types::pem::PemObject as _;

    #[test]
    fn a_certificate_is_the_user_of_its_whole_subject_or_of_one_of_its_names() {
        let (ca, _) = pki::Ca::generate(pki::Subject::common_name("ca")).unwrap();
        let mut request =
            pki::Request::new(pki::Subject::cloud_foundry("ci"), &[pki::Usage::Client]);
        request.alternative_names = vec!["ci.example".into(), "10.0.0.9".into()];
        let pem = ca.issue(&request).unwrap().certificate;
        let der = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
        let user = |subject: Option<&str>, name: Option<&str>| {
            CertificateUsers(vec![CertificateUser {
                name: "u".into(),
                subject: subject.map(str::to_owned),
                alternative_name: name.map(str::to_owned),
                scopes: Some(vec!["bosh.read".into()]),
            }])
            .identify(&der)
            .map(|who| who.scopes)
        };
        let known = Some(vec!["bosh.read".to_owned()]);
        assert_eq!(user(Some("C=USA, O=Cloud Foundry, CN=ci"), None), known);
        assert_eq!(user(None, Some("ci.example")), known);
        assert_eq!(user(None, Some("10.0.0.9")), known);
        assert_eq!(user(Some("CN=ci"), None), None);
        assert_eq!(user(Some("C=USA, O=Cloud Foundry, CN=c"), None), None);
        assert_eq!(user(None, Some("example")), None);
    }
}
