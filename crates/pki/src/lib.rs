//! Certificates, keys and passwords.
//!
//! Used by `bosun up` (the environment's CAs), by the director (a certificate for each agent) and by the CLI
//! (`--vars-store`). Keys never show in `Debug`.

mod ca;
mod certificate;
mod password;
mod rsa;

pub use ca::{Ca, self_signed};
pub use certificate::{CertifiedKey, Kind, Request, Subject, Usage, days_left, not_after};
pub use password::random_password;
pub use rsa::RsaKey;

/// What can go wrong with certificates.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A key or certificate could not be made.
    #[error("the {what} could not be made")]
    Generate {
        /// "key" or "certificate".
        what: &'static str,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// A given certificate or key can't be read.
    #[error("the {what} is not PEM of the kind that is wanted")]
    Parse {
        /// "CA certificate", "CA key" or "certificate".
        what: &'static str,
    },
    /// The CA's certificate belongs to another key.
    #[error("the CA's certificate does not belong to its private key")]
    Mismatch,
}
