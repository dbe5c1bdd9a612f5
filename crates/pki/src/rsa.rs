//! RSA keys in the forms that other tools write and expect: PKCS#1 private keys, SSH public keys.
//!
//! Used by `--vars-store` (`docs/spec/cli.md` §9.3, §9.4) and wherever a certificate is asked for with an RSA key.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use rcgen::{KeyPair, PublicKeyData as _};
use sha1::{Digest as _, Sha1};

use crate::{Error, Kind};

/// An RSA key pair. Has no `Debug`: it is a secret.
pub struct RsaKey {
    pair: KeyPair,
}

impl RsaKey {
    /// A new key with 2048 bits.
    pub fn generate() -> Result<Self, Error> {
        Kind::Rsa2048.generate().map(|pair| Self { pair })
    }

    /// The private key, PKCS#1 PEM (`RSA PRIVATE KEY`).
    pub fn private_key(&self) -> Result<String, Error> {
        pkcs1_pem(&self.pair)
    }

    /// The public key, PKIX PEM (`PUBLIC KEY`).
    pub fn public_key(&self) -> String {
        self.pair.public_key_pem()
    }

    /// The public key as a line of an `authorized_keys` file, with its line break and without a comment.
    pub fn ssh_public_key(&self) -> Result<String, Error> {
        Ok(format!("ssh-rsa {}\n", STANDARD.encode(self.ssh_wire()?)))
    }

    /// The MD5 fingerprint of the SSH public key: 16 bytes in hex, joined by colons.
    pub fn ssh_fingerprint(&self) -> Result<String, Error> {
        let digest = Md5::digest(self.ssh_wire()?);
        let bytes: Vec<_> = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(bytes.join(":"))
    }

    /// RFC 4253 §6.6: name, exponent, modulus, each with its length. DER integers are SSH's mpints.
    fn ssh_wire(&self) -> Result<Vec<u8>, Error> {
        let (modulus, exponent) = public_numbers(&self.pair)?;
        let mut wire = Vec::new();
        for field in [b"ssh-rsa".as_slice(), exponent, modulus] {
            let length = u32::try_from(field.len()).unwrap_or_default();
            wire.extend(length.to_be_bytes());
            wire.extend(field);
        }
        Ok(wire)
    }
}

/// The private key in PKCS#1, which is what a PKCS#8 document of an RSA key wraps.
pub(crate) fn pkcs1_pem(pair: &KeyPair) -> Result<String, Error> {
    let wrapped = || {
        let (document, _) = der(pair.serialized_der(), SEQUENCE)?;
        let (_version, rest) = der(document, INTEGER)?;
        let (_algorithm, rest) = der(rest, SEQUENCE)?;
        der(rest, OCTET_STRING)
    };
    let (key, _) = wrapped().ok_or(Error::Parse { what: "RSA key" })?;
    let line_ending = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
    Ok(pem::encode_config(
        &pem::Pem::new("RSA PRIVATE KEY", key),
        line_ending,
    ))
}

/// The identifier of an RSA key in certificates: SHA-1 of the modulus.
pub(crate) fn key_identifier(pair: &KeyPair) -> Result<Vec<u8>, Error> {
    let (modulus, _) = public_numbers(pair)?;
    // The leading zero is DER's sign, no byte of the number.
    Ok(Sha1::digest(modulus.strip_prefix(&[0]).unwrap_or(modulus)).to_vec())
}

/// Modulus and exponent as DER integers.
fn public_numbers(pair: &KeyPair) -> Result<(&[u8], &[u8]), Error> {
    let numbers = || {
        let (key, _) = der(pair.der_bytes(), SEQUENCE)?;
        let (modulus, rest) = der(key, INTEGER)?;
        let (exponent, _) = der(rest, INTEGER)?;
        Some((modulus, exponent))
    };
    numbers().ok_or(Error::Parse { what: "RSA key" })
}

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// The content of the DER element with this tag, and what follows it.
fn der(input: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = input.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (
            bytes
                .iter()
                .fold(0, |length, byte| length << 8 | usize::from(*byte)),
            rest,
        )
    };
    (found == tag).then_some(())?;
    rest.split_at_checked(length)
}
