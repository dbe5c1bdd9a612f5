//! Digest strings of blobs, archives and fingerprints: `docs/spec/releases-and-templates.md` §1.

use std::fmt;
use std::io::{self, Read};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha1::Digest as _;

/// Why a digest string can't be read, or content doesn't have the digest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A part has characters that digests don't have.
    #[error(
        "unable to parse digest string. Digest and algorithm key can only contain alpha-numeric characters"
    )]
    Characters,
    /// The string has no part at all.
    #[error("no digest algorithm found. Supported algorithms: sha1, sha256, sha512")]
    Missing,
    /// An algorithm stands twice.
    #[error("Multiple digests of the same algorithm '{0}' found in digests '{1}'")]
    Duplicate(String, String),
    /// The content's digest is another one.
    #[error("Expected stream to have digest '{expected}' but was '{actual}'")]
    Mismatch {
        /// The digest that was promised.
        expected: Digest,
        /// The digest that the content has.
        actual: Digest,
    },
    /// The promised digest is by an algorithm that can't be computed.
    #[error("Unable to create digest of unknown algorithm '{0}'")]
    Unknown(String),
    /// The content could not be read.
    #[error("Computing digest from stream")]
    Read(#[source] io::Error),
}

/// A way to compute digests, weakest first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DigestAlgorithm {
    /// Any algorithm that is not one of the others; it can't be computed.
    Other(String),
    /// SHA-1, which is written without a prefix.
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl DigestAlgorithm {
    /// The name before the colon.
    pub fn name(&self) -> &str {
        match self {
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Other(name) => name,
        }
    }

    fn from_name(name: &str) -> Self {
        match name {
            "sha1" => Self::Sha1,
            "sha256" => Self::Sha256,
            "sha512" => Self::Sha512,
            other => Self::Other(other.to_owned()),
        }
    }
}

/// One digest: algorithm and lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: DigestAlgorithm,
    hex: String,
}

impl Digest {
    /// The algorithm.
    pub fn algorithm(&self) -> &DigestAlgorithm {
        &self.algorithm
    }

    /// The hexadecimal digits alone.
    pub fn hex(&self) -> &str {
        &self.hex
    }

    /// Computes the digest of all that `content` still has.
    pub fn of_reader(algorithm: DigestAlgorithm, content: impl Read) -> Result<Self, Error> {
        let hex = match &algorithm {
            DigestAlgorithm::Sha1 => hex_of::<sha1::Sha1>(content),
            DigestAlgorithm::Sha256 => hex_of::<sha2::Sha256>(content),
            DigestAlgorithm::Sha512 => hex_of::<sha2::Sha512>(content),
            DigestAlgorithm::Other(name) => return Err(Error::Unknown(name.clone())),
        }
        .map_err(Error::Read)?;
        Ok(Self { algorithm, hex })
    }

    /// The SHA-1 of some bytes.
    pub fn sha1(content: impl AsRef<[u8]>) -> Self {
        let hex = hex::encode(sha1::Sha1::digest(content.as_ref()));
        Self {
            algorithm: DigestAlgorithm::Sha1,
            hex,
        }
    }

    /// The SHA-256 of some bytes.
    pub fn sha256(content: impl AsRef<[u8]>) -> Self {
        let hex = hex::encode(sha2::Sha256::digest(content.as_ref()));
        Self {
            algorithm: DigestAlgorithm::Sha256,
            hex,
        }
    }
}

fn hex_of<D: sha1::Digest>(mut content: impl Read) -> io::Result<String> {
    let mut digest = D::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match content.read(&mut buffer) {
            Ok(0) => return Ok(hex::encode(digest.finalize())),
            Ok(n) => digest.update(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.algorithm {
            DigestAlgorithm::Sha1 => f.write_str(&self.hex),
            _ => write!(f, "{}:{}", self.algorithm.name(), self.hex),
        }
    }
}

/// A digest string: one digest or several by different algorithms, in the order they were made.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MultiDigest(Vec<Digest>);

impl MultiDigest {
    /// Parses `algorithm:hex` parts joined by `;`; a part without a prefix is SHA-1.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut digests: Vec<Digest> = Vec::new();
        for part in text.split(';').filter(|part| !part.is_empty()) {
            let (algorithm, hex) = part.split_once(':').unwrap_or(("sha1", part));
            let plain = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_alphanumeric());
            if !plain(algorithm) || !plain(hex) {
                return Err(Error::Characters);
            }
            let algorithm = DigestAlgorithm::from_name(algorithm);
            if digests.iter().any(|digest| digest.algorithm == algorithm) {
                return Err(Error::Duplicate(
                    algorithm.name().to_owned(),
                    text.to_owned(),
                ));
            }
            digests.push(Digest {
                algorithm,
                hex: hex.to_owned(),
            });
        }
        if digests.is_empty() {
            return Err(Error::Missing);
        }
        Ok(Self(digests))
    }

    /// Computes the digests of some bytes by each of the algorithms, in that order.
    pub fn of_bytes(
        algorithms: impl IntoIterator<Item = DigestAlgorithm>,
        content: &[u8],
    ) -> Result<Self, Error> {
        let digests: Vec<_> = algorithms
            .into_iter()
            .map(|algorithm| Digest::of_reader(algorithm, content))
            .collect::<Result<_, _>>()?;
        if digests.is_empty() {
            Err(Error::Missing)
        } else {
            Ok(Self(digests))
        }
    }

    /// The parts, in order.
    pub fn digests(&self) -> &[Digest] {
        &self.0
    }

    /// The digest that verification uses: sha512, then sha256, then sha1, else the first part.
    pub fn strongest(&self) -> &Digest {
        let known = |d: &&Digest| !matches!(d.algorithm, DigestAlgorithm::Other(_));
        self.0
            .iter()
            .filter(known)
            .max_by(|a, b| a.algorithm.cmp(&b.algorithm))
            .unwrap_or(&self.0[0])
    }

    /// Reads all of `content` and compares it with the strongest digest.
    pub fn verify(&self, content: impl Read) -> Result<(), Error> {
        let expected = self.strongest();
        let actual = Digest::of_reader(expected.algorithm.clone(), content)?;
        if actual.hex.eq_ignore_ascii_case(&expected.hex) {
            Ok(())
        } else {
            Err(Error::Mismatch {
                expected: expected.clone(),
                actual,
            })
        }
    }
}

impl From<Digest> for MultiDigest {
    fn from(digest: Digest) -> Self {
        Self(vec![digest])
    }
}

impl fmt::Display for MultiDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, digest) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(";")?;
            }
            digest.fmt(f)?;
        }
        Ok(())
    }
}

impl FromStr for MultiDigest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl Serialize for MultiDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MultiDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ABC_SHA1: &str = "a9993e364706816aba3e25717850c26c9cd0d89d";
    const ABC_SHA256: &str =
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn a_digest_string_is_written_as_it_is_read_with_sha1_bare() {
        let text = format!("sha1:{ABC_SHA1};;{ABC_SHA256}");
        let digest = MultiDigest::parse(&text).unwrap();
        assert_eq!(digest.to_string(), format!("{ABC_SHA1};{ABC_SHA256}"));
        assert_eq!(digest.strongest().to_string(), ABC_SHA256);
    }

    #[test]
    fn content_is_verified_against_the_strongest_known_digest_only() {
        let wrong_sha1 = format!("{};{ABC_SHA256}", "0".repeat(40));
        MultiDigest::parse(&wrong_sha1)
            .unwrap()
            .verify(&b"abc"[..])
            .unwrap();
        MultiDigest::parse(ABC_SHA1)
            .unwrap()
            .verify(&b"abc"[..])
            .unwrap();
        let error = MultiDigest::parse(ABC_SHA1)
            .unwrap()
            .verify(&b"abd"[..])
            .unwrap_err();
        assert!(error.to_string().contains(ABC_SHA1), "{error}");
        MultiDigest::parse("md9:abc")
            .unwrap()
            .verify(&b"abc"[..])
            .unwrap_err();
    }

    #[test]
    fn bad_digest_strings_are_refused_with_the_original_words() {
        let error = |text: &str| MultiDigest::parse(text).unwrap_err().to_string();
        assert_eq!(
            error(""),
            "no digest algorithm found. Supported algorithms: sha1, sha256, sha512"
        );
        assert_eq!(
            error("sha256:ab;sha256:cd"),
            "Multiple digests of the same algorithm 'sha256' found in digests 'sha256:ab;sha256:cd'"
        );
        assert!(error("sha1:").starts_with("unable to parse digest string."));
        assert!(error("sha1:a b").starts_with("unable to parse digest string."));
    }
}
