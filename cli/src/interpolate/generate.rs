//! Values that are made up: passwords, RSA and SSH keys, certificates. `docs/spec/cli.md` §9.2 to §9.4.

use manifest::yaml::{self, Mapping, Value};
use pki::{Ca, CertifiedKey, Kind, Request, RsaKey, Subject, Usage};

/// Why a value can't be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A type that nobody knows how to make.
    #[error("Unsupported value type: {0}")]
    Type(String),
    /// Options that the type doesn't have, or of the wrong kind.
    #[error("Failed to generate {kind}, parameters are invalid")]
    Options {
        /// The type.
        kind: &'static str,
        /// Which and why.
        source: OptionError,
    },
    /// A password of negative length.
    #[error("Failed to generate password, 'length' param cannot be negative")]
    Length,
    /// A certificate that is no CA needs one that signs it.
    #[error("Missing required CA name")]
    NoCa,
    /// The signing CA is of no use.
    #[error("Loading certificates")]
    Ca(#[source] CaError),
    /// A usage that certificates don't have.
    #[error("Unsupported extended key usage value: {0}")]
    Usage(String),
    /// A size that keys don't have.
    #[error("Invalid key_length: {0}.  Must be one of: [2048 3072 4096]")]
    KeyLength(i64),
    /// The keys themselves.
    #[error("Generating {kind}")]
    Pki {
        /// The type.
        kind: &'static str,
        /// Why.
        source: pki::Error,
    },
}

/// An option that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OptionError {
    /// The type has no such option.
    #[error("Unsupported parameter '{0}'")]
    Unsupported(String),
    /// The option is something else.
    #[error("Expected '{name}' to be {wanted}, found a {found}")]
    Wrong {
        /// The option.
        name: String,
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
    },
}

/// A signing CA that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// There is no such variable, or it holds no certificate.
    #[error("Expected to find variable '{0}' with a certificate")]
    Missing(String),
    /// No PEM.
    #[error("Certificate did not contain PEM formatted block")]
    CertificatePem,
    /// No PEM.
    #[error("Private key did not contain PEM formatted block")]
    KeyPem,
    /// PEM of something else.
    #[error("Parsing {what}")]
    Parse {
        /// `certificate` or `private key`.
        what: &'static str,
        /// Why.
        source: pki::Error,
    },
}

/// Makes a value of the type. `find` looks up the variable of a signing CA.
pub(super) fn generate(
    kind: &str,
    options: &Mapping,
    find: &dyn Fn(&str) -> Option<Value>,
) -> Result<Value, Error> {
    match kind {
        "password" => password(options),
        "rsa" => rsa(),
        "ssh" => ssh(),
        "certificate" => certificate(options, find),
        other => Err(Error::Type(other.to_owned())),
    }
}

fn password(options: &Mapping) -> Result<Value, Error> {
    const KIND: &str = "password";
    let options = Options::new(options, &["length"], KIND)?;
    let length = match options.integer("length")?.unwrap_or(0) {
        0 => 20,
        length => usize::try_from(length).map_err(|_| Error::Length)?,
    };
    Ok(Value::String(pki::random_password(length)))
}

fn rsa() -> Result<Value, Error> {
    let failed = |source| Error::Pki {
        kind: "rsa",
        source,
    };
    let key = RsaKey::generate().map_err(failed)?;
    Ok(map([
        ("private_key", key.private_key().map_err(failed)?),
        ("public_key", key.public_key()),
    ]))
}

fn ssh() -> Result<Value, Error> {
    let failed = |source| Error::Pki {
        kind: "ssh",
        source,
    };
    let key = RsaKey::generate().map_err(failed)?;
    Ok(map([
        ("private_key", key.private_key().map_err(failed)?),
        ("public_key", key.ssh_public_key().map_err(failed)?),
        (
            "public_key_fingerprint",
            key.ssh_fingerprint().map_err(failed)?,
        ),
    ]))
}

fn certificate(options: &Mapping, find: &dyn Fn(&str) -> Option<Value>) -> Result<Value, Error> {
    const KIND: &str = "certificate";
    const KNOWN: [&str; 8] = [
        "alternative_names",
        "ca",
        "common_name",
        "duration",
        "extended_key_usage",
        "is_ca",
        "key_length",
        "organization",
    ];
    let options = Options::new(options, &KNOWN, KIND)?;
    let is_ca = options.boolean("is_ca")?.unwrap_or(false);
    let signer = options.text("ca")?.filter(|name| !name.is_empty());
    if signer.is_none() && !is_ca {
        return Err(Error::NoCa);
    }
    let request = request(&options)?;
    let failed = |source| Error::Pki { kind: KIND, source };
    let (ca, issued) = match signer {
        None => {
            let issued = pki::self_signed(&request).map_err(failed)?;
            (issued.certificate.clone(), issued)
        }
        Some(name) => {
            let ca = load_ca(&name, find).map_err(Error::Ca)?;
            let issued = if is_ca {
                ca.issue_ca(&request)
            } else {
                ca.issue(&request)
            };
            (ca.certificate().to_owned(), issued.map_err(failed)?)
        }
    };
    let CertifiedKey {
        certificate,
        private_key,
    } = issued;
    Ok(map([
        ("ca", ca),
        ("certificate", certificate),
        ("private_key", private_key),
    ]))
}

fn request(options: &Options<'_>) -> Result<Request, Error> {
    let kind = match options.integer("key_length")?.unwrap_or(0) {
        0 | 3072 => Kind::Rsa3072,
        2048 => Kind::Rsa2048,
        4096 => Kind::Rsa4096,
        other => return Err(Error::KeyLength(other)),
    };
    let usages = options.texts("extended_key_usage")?.into_iter();
    let mut usages: Vec<Usage> = usages
        .map(|usage| match usage.as_str() {
            "client_auth" => Ok(Usage::Client),
            "server_auth" => Ok(Usage::Server),
            _ => Err(Error::Usage(usage)),
        })
        .collect::<Result<_, _>>()?;
    if usages.is_empty() {
        usages.push(Usage::Server);
    }
    let organization = options
        .text("organization")?
        .filter(|name| !name.is_empty());
    let days = options.integer("duration")?.filter(|days| *days != 0);
    Ok(Request {
        subject: Subject {
            country: Some("US".to_owned()),
            organization: Some(organization.unwrap_or_else(|| "Cloud Foundry".to_owned())),
            common_name: options.text("common_name")?.unwrap_or_default(),
        },
        kind,
        days: days.unwrap_or(365),
        alternative_names: options.texts("alternative_names")?,
        usages,
    })
}

fn load_ca(name: &str, find: &dyn Fn(&str) -> Option<Value>) -> Result<Ca, CaError> {
    let missing = || CaError::Missing(name.to_owned());
    let value = find(name).ok_or_else(missing)?;
    let text = |key: &str| value.get(key).and_then(Value::as_str);
    let certificate = text("certificate").ok_or_else(missing)?;
    let private_key = text("private_key").unwrap_or_default();
    if !certificate.contains("-----BEGIN") {
        return Err(CaError::CertificatePem);
    }
    if !private_key.contains("-----BEGIN") {
        return Err(CaError::KeyPem);
    }
    Ca::load(certificate, private_key).map_err(|source| {
        let what = match &source {
            pki::Error::Parse { what } if what.contains("key") => "private key",
            _ => "certificate",
        };
        CaError::Parse { what, source }
    })
}

/// A definition's options, read with the type's name for errors.
struct Options<'a> {
    map: &'a Mapping,
    kind: &'static str,
}

impl<'a> Options<'a> {
    fn new(map: &'a Mapping, known: &[&str], kind: &'static str) -> Result<Self, Error> {
        let names = map
            .keys()
            .map(|name| yaml::scalar_text(name).unwrap_or_default());
        let unsupported = names.filter(|name| !known.contains(&name.as_str())).min();
        match unsupported {
            Some(name) => Err(Error::Options {
                kind,
                source: OptionError::Unsupported(name),
            }),
            None => Ok(Self { map, kind }),
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(name).filter(|value| !value.is_null())
    }

    fn wrong(&self, name: &str, wanted: &'static str, found: &Value) -> Error {
        let found = yaml::type_name(found);
        let source = OptionError::Wrong {
            name: name.to_owned(),
            wanted,
            found,
        };
        Error::Options {
            kind: self.kind,
            source,
        }
    }

    fn integer(&self, name: &str) -> Result<Option<i64>, Error> {
        let read = |value: &Value| {
            value
                .as_i64()
                .ok_or_else(|| self.wrong(name, "an integer", value))
        };
        self.get(name).map(read).transpose()
    }

    fn boolean(&self, name: &str) -> Result<Option<bool>, Error> {
        let read = |value: &Value| {
            value
                .as_bool()
                .ok_or_else(|| self.wrong(name, "a boolean", value))
        };
        self.get(name).map(read).transpose()
    }

    fn text(&self, name: &str) -> Result<Option<String>, Error> {
        let read = |value: &Value| {
            yaml::scalar_text(value).ok_or_else(|| self.wrong(name, "a string", value))
        };
        self.get(name).map(read).transpose()
    }

    fn texts(&self, name: &str) -> Result<Vec<String>, Error> {
        let Some(value) = self.get(name) else {
            return Ok(Vec::new());
        };
        let wrong = || self.wrong(name, "a list of strings", value);
        let items = value.as_sequence().ok_or_else(wrong)?;
        items
            .iter()
            .map(|item| yaml::scalar_text(item).ok_or_else(wrong))
            .collect()
    }
}

fn map<const N: usize>(entries: [(&str, String); N]) -> Value {
    let entries = entries
        .into_iter()
        .map(|(key, text)| (Value::from(key), Value::String(text)));
    Value::Mapping(entries.collect())
}
