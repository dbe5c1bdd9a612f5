//! The keys that a UAA publishes at `/token_keys`, kept until one is missing.
//!
//! Beyond the original, which knows only the keys of its settings: here a UAA can change its key without a change of the
//! director's settings.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use anyhow::Context as _;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::config::access::Uaa;

/// Keys of one UAA. Fetched when first needed, when a token names an unknown one, and when they are old.
pub struct Fetched(Arc<Inner>);

struct Inner {
    http: reqwest::Client,
    urls: Vec<String>,
    known: RwLock<Known>,
    /// Held while the UAA is asked: one request at a time.
    asking: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Known {
    keys: Vec<(Option<String>, DecodingKey)>,
    fetched: Option<Instant>,
}

/// Unknown keys (of forged tokens, too) make us ask no more often than this.
const PAUSE: Duration = Duration::from_secs(5);
/// Older keys are fetched again, so that one which the UAA has withdrawn goes.
const FRESH: Duration = Duration::from_secs(600);
/// Keys that could not be fetched again for so long are not trusted any more.
const LAST: Duration = Duration::from_secs(6 * 3600);
const TIMEOUT: Duration = Duration::from_secs(10);

impl Fetched {
    pub fn new(settings: &Uaa) -> anyhow::Result<Fetched> {
        let mut builder = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(file) = &settings.ca {
            let pem = fs_err::read(file).context("uaa.ca")?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem)
                .with_context(|| format!("uaa.ca: {} holds no certificate", file.display()))?;
            builder = builder.tls_certs_only(roots);
        }
        Ok(Fetched(Arc::new(Inner {
            http: builder.build().context("uaa.ca")?,
            urls: settings.all_urls(),
            known: RwLock::default(),
            asking: Mutex::default(),
        })))
    }

    /// The key of this id; all keys for a token that names none.
    pub async fn matching(&self, id: Option<&str>) -> Vec<DecodingKey> {
        let (found, old) = self.0.find(id);
        if found.is_empty() {
            self.0.refresh().await;
            return self.0.find(id).0;
        }
        if old {
            // Whoever calls now is not kept waiting.
            let inner = self.0.clone();
            tokio::spawn(async move { inner.refresh().await });
        }
        found
    }
}

impl Inner {
    fn find(&self, id: Option<&str>) -> (Vec<DecodingKey>, bool) {
        let known = self
            .known
            .read()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let age = known.fetched.map(|time| time.elapsed());
        if age.is_none_or(|age| age > LAST) {
            return (Vec::new(), true);
        }
        let keys = known
            .keys
            .iter()
            .filter(|(known, _)| id.is_none() || known.as_deref() == id)
            .map(|(_, key)| key.clone())
            .collect();
        (keys, age.is_some_and(|age| age > FRESH))
    }

    async fn refresh(&self) {
        let mut asked = self.asking.lock().await;
        if asked.is_some_and(|time| time.elapsed() < PAUSE) {
            return;
        }
        match self.fetch().await {
            Ok(keys) => {
                let mut known = self
                    .known
                    .write()
                    .unwrap_or_else(|poisoned| poisoned.into_inner());
                known.keys = keys;
                known.fetched = Some(Instant::now());
            }
            Err(error) => tracing::warn!(
                "the UAA's keys are not fetched: {error:#}; tokens signed with unknown keys are refused until it answers"
            ),
        }
        *asked = Some(Instant::now());
    }

    async fn fetch(&self) -> anyhow::Result<Vec<(Option<String>, DecodingKey)>> {
        let mut problem = anyhow::anyhow!("no address is known");
        for url in &self.urls {
            match self.fetch_from(&format!("{url}/token_keys")).await {
                Ok(keys) => return Ok(keys),
                Err(error) => problem = error,
            }
        }
        Err(problem)
    }

    async fn fetch_from(&self, url: &str) -> anyhow::Result<Vec<(Option<String>, DecodingKey)>> {
        let response = self.http.get(url).send().await?.error_for_status()?;
        let body: serde_json::Value = response.json().await?;
        let list = body["keys"]
            .as_array()
            .with_context(|| format!("{url} answered without a list of keys"))?;
        let keys: Vec<_> = list.iter().filter_map(rsa_key).collect();
        anyhow::ensure!(!keys.is_empty(), "{url} lists no RSA key");
        Ok(keys)
    }
}

/// RSA keys only: a secret that travels over the wire would be none.
fn rsa_key(value: &serde_json::Value) -> Option<(Option<String>, DecodingKey)> {
    let key: Jwk = serde_json::from_value(value.clone()).ok()?;
    let AlgorithmParameters::RSA(_) = &key.algorithm else {
        return None;
    };
    Some((key.common.key_id.clone(), DecodingKey::from_jwk(&key).ok()?))
}
