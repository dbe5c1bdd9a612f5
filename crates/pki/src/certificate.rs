//! What a certificate shall say, and what comes of it.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, RsaKeySize,
    SerialNumber,
};
use time::{Duration, OffsetDateTime};

use crate::{Error, rsa};

/// The kind of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ECDSA on P-256: made in well under a millisecond.
    EcP256,
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
}

impl Kind {
    pub(crate) fn generate(self) -> Result<KeyPair, Error> {
        match self {
            Kind::EcP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Kind::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            Kind::Rsa3072 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072),
            Kind::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
        }
        .map_err(|source| Error::Generate {
            what: "key",
            source,
        })
    }

    /// The private key as PEM: PKCS#1 for RSA, as the original tools write it, else PKCS#8.
    pub(crate) fn pem(self, key: &KeyPair) -> Result<String, Error> {
        match self {
            Kind::EcP256 => Ok(key.serialize_pem()),
            Kind::Rsa2048 | Kind::Rsa3072 | Kind::Rsa4096 => rsa::pkcs1_pem(key),
        }
    }
}

/// The subject of a certificate, in the order C, O, CN.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// C.
    pub country: Option<String>,
    /// O.
    pub organization: Option<String>,
    /// CN; left out when empty.
    pub common_name: String,
}

impl Subject {
    /// Only a common name.
    pub fn common_name(name: impl Into<String>) -> Subject {
        Subject {
            common_name: name.into(),
            ..Subject::default()
        }
    }

    /// `C=USA, O=Cloud Foundry, CN=…`: how parts of an environment name themselves on NATS, where the server maps
    /// the text of the whole subject to a user (docs/spec/operations.md §11.2).
    pub fn cloud_foundry(name: impl Into<String>) -> Subject {
        Subject {
            country: Some("USA".to_owned()),
            organization: Some("Cloud Foundry".to_owned()),
            common_name: name.into(),
        }
    }
}

/// What the holder of a certificate may do with it on a TLS connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Answer.
    Server,
    /// Ask.
    Client,
}

/// What a certificate shall say.
#[derive(Debug, Clone)]
pub struct Request {
    /// Whom it names.
    pub subject: Subject,
    /// The kind of its key.
    pub kind: Kind,
    /// Days from now until it ends.
    pub days: i64,
    /// DNS names and IP addresses.
    pub alternative_names: Vec<String>,
    /// Empty for a CA.
    pub usages: Vec<Usage>,
}

impl Request {
    /// A certificate of two years with a fast key.
    pub fn new(subject: Subject, usages: &[Usage]) -> Request {
        Request {
            subject,
            kind: Kind::EcP256,
            days: 730,
            alternative_names: Vec::new(),
            usages: usages.to_vec(),
        }
    }

    pub(crate) fn params(&self, key: &KeyPair, ca: bool) -> Result<CertificateParams, Error> {
        let mut params =
            CertificateParams::new(self.alternative_names.clone()).map_err(|source| {
                Error::Generate {
                    what: "certificate",
                    source,
                }
            })?;
        let mut name = DistinguishedName::new();
        if let Some(country) = &self.subject.country {
            name.push(DnType::CountryName, country.as_str());
        }
        if let Some(organization) = &self.subject.organization {
            name.push(DnType::OrganizationName, organization.as_str());
        }
        if !self.subject.common_name.is_empty() {
            name.push(DnType::CommonName, self.subject.common_name.as_str());
        }
        params.distinguished_name = name;
        params.serial_number = Some(SerialNumber::from_slice(&serial()));
        // Clocks of VMs may be a little behind.
        let now = OffsetDateTime::now_utc();
        params.not_before = now - Duration::minutes(5);
        params.not_after = now + Duration::days(self.days);
        params.use_authority_key_identifier_extension = true;
        if self.kind != Kind::EcP256 {
            params.key_identifier_method = KeyIdMethod::PreSpecified(rsa::key_identifier(key)?);
        }
        if ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        } else {
            params.is_ca = IsCa::ExplicitNoCa;
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
            if self.kind != Kind::EcP256 {
                params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
            }
            params.extended_key_usages = self
                .usages
                .iter()
                .map(|usage| match usage {
                    Usage::Server => ExtendedKeyUsagePurpose::ServerAuth,
                    Usage::Client => ExtendedKeyUsagePurpose::ClientAuth,
                })
                .collect();
        }
        Ok(params)
    }
}

/// A random serial number of 127 bits: the sign bit stays clear, so that it is positive in DER.
fn serial() -> [u8; 16] {
    let mut serial: [u8; 16] = rand::random();
    serial[0] = serial[0] & 0x7f | 0x40;
    serial
}

/// A certificate and its private key, both PEM. Has no `Debug`: the key is a secret.
#[derive(Clone)]
pub struct CertifiedKey {
    /// The certificate.
    pub certificate: String,
    /// The private key: PKCS#8, or PKCS#1 for RSA.
    pub private_key: String,
}

/// When a certificate (PEM) ends.
pub fn not_after(certificate: &str) -> Result<OffsetDateTime, Error> {
    let error = || Error::Parse {
        what: "certificate",
    };
    let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).map_err(|_| error())?;
    Ok(pem
        .parse_x509()
        .map_err(|_| error())?
        .validity()
        .not_after
        .to_datetime())
}

/// Whole days until a certificate (PEM) ends; negative when it has.
pub fn days_left(certificate: &str) -> Result<i64, Error> {
    Ok((not_after(certificate)? - OffsetDateTime::now_utc()).whole_days())
}
