//! A small working UAA over TLS: the three grants that clients of a director use, prompts, and its keys. Its tokens are
//! real, signed with keys that can be changed while it runs.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// A running UAA; it ends with the value.
pub struct TestUaa {
    /// Its address, `https://127.0.0.1:<port>`.
    pub url: String,
    state: Arc<Mutex<Inner>>,
    task: tokio::task::JoinHandle<()>,
}

struct Inner {
    key: SigningKey,
    /// What `/token_keys` lists.
    published: Vec<Value>,
    keys_made: u32,
    /// Name to secret and scopes.
    clients: HashMap<String, (String, Vec<String>)>,
    users: HashMap<String, (String, Vec<String>)>,
    /// Seconds that access tokens last.
    lifetime: i64,
    /// Refresh tokens that were not used yet, with their users.
    refresh: HashMap<String, String>,
    grants: BTreeMap<String, u32>,
}

/// A key with its id.
struct SigningKey {
    id: String,
    key: EncodingKey,
    public: String,
}

impl SigningKey {
    fn new(number: u32) -> anyhow::Result<SigningKey> {
        let pair = pki::RsaKey::generate()?;
        Ok(SigningKey {
            id: format!("key-{number}"),
            key: EncodingKey::from_rsa_pem(pair.private_key()?.as_bytes())?,
            public: pair.public_key(),
        })
    }

    fn jwk(&self) -> anyhow::Result<Value> {
        let mut jwk = Jwk::from_encoding_key(&self.key, Algorithm::RS256)?;
        jwk.common.key_id = Some(self.id.clone());
        let mut jwk = serde_json::to_value(jwk)?;
        jwk["value"] = json!(self.public);
        Ok(jwk)
    }
}

impl TestUaa {
    /// Starts one whose certificate `ca` signs. It knows the client `bosh_cli` without a secret, as a director's UAA does.
    pub async fn start(ca: &pki::Ca) -> anyhow::Result<TestUaa> {
        let mut request =
            pki::Request::new(pki::Subject::common_name("uaa"), &[pki::Usage::Server]);
        request.alternative_names = vec!["127.0.0.1".into()];
        let pair = ca.issue(&request)?;
        let chain = vec![CertificateDer::from_pem_slice(pair.certificate.as_bytes())?];
        let private_key = PrivateKeyDer::from_pem_slice(pair.private_key.as_bytes())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, private_key)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let port = listener.local_addr()?.port();
        let key = SigningKey::new(1)?;
        let published = vec![key.jwk()?];
        let state = Arc::new(Mutex::new(Inner {
            key,
            published,
            keys_made: 1,
            clients: HashMap::from([("bosh_cli".into(), (String::new(), Vec::new()))]),
            users: HashMap::new(),
            lifetime: 600,
            refresh: HashMap::new(),
            grants: BTreeMap::new(),
        }));
        let router = Router::new()
            .route("/login", get(login))
            .route("/token_keys", get(token_keys))
            .route("/oauth/token", post(token))
            .with_state(state.clone());
        let listener = Tls(listener, TlsAcceptor::from(Arc::new(config)));
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, router).await;
        });
        Ok(TestUaa {
            url: format!("https://127.0.0.1:{port}"),
            state,
            task,
        })
    }

    pub fn add_client(&self, name: &str, secret: &str, scopes: &[&str]) {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let mut state = lock(&self.state);
        state.clients.insert(name.into(), (secret.into(), scopes));
    }

    pub fn add_user(&self, name: &str, password: &str, scopes: &[&str]) {
        let scopes = scopes.iter().map(|scope| (*scope).to_owned()).collect();
        let mut state = lock(&self.state);
        state.users.insert(name.into(), (password.into(), scopes));
    }

    /// How many seconds further access tokens last; negative ones have expired when they are given out.
    pub fn set_lifetime(&self, seconds: i64) {
        lock(&self.state).lifetime = seconds;
    }

    /// Signs with a new key from now on, and publishes only that.
    pub fn change_key(&self) -> anyhow::Result<()> {
        let mut state = lock(&self.state);
        state.keys_made += 1;
        state.key = SigningKey::new(state.keys_made)?;
        state.published = vec![state.key.jwk()?];
        Ok(())
    }

    /// PEM text of the public key in use.
    pub fn public_key(&self) -> String {
        lock(&self.state).key.public.clone()
    }

    /// A token with these claims, signed with the key in use.
    pub fn sign(&self, algorithm: Algorithm, claims: &Value) -> anyhow::Result<String> {
        let state = lock(&self.state);
        let mut header = Header::new(algorithm);
        header.kid = Some(state.key.id.clone());
        Ok(jsonwebtoken::encode(&header, claims, &state.key.key)?)
    }

    /// How often each grant was asked for.
    pub fn grants(&self) -> BTreeMap<String, u32> {
        lock(&self.state).grants.clone()
    }
}

impl Drop for TestUaa {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock(state: &Mutex<Inner>) -> MutexGuard<'_, Inner> {
    state
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}

struct Tls(TcpListener, TlsAcceptor);

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let Ok((stream, address)) = self.0.accept().await else {
                tokio::task::yield_now().await;
                continue;
            };
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

type Shared = State<Arc<Mutex<Inner>>>;

async fn login() -> Json<Value> {
    Json(json!({
        "app": {"version": "77.0.0"},
        "prompts": {"password": ["password", "Password"], "username": ["text", "Email"]},
    }))
}

async fn token_keys(State(state): Shared) -> Json<Value> {
    Json(json!({"keys": lock(&state).published}))
}

async fn token(State(state): Shared, headers: HeaderMap, body: Bytes) -> (StatusCode, Json<Value>) {
    let form: HashMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    let field = |key: &str| form.get(key).cloned().unwrap_or_default();
    let mut state = lock(&state);
    let grant = field("grant_type");
    *state.grants.entry(grant.clone()).or_default() += 1;
    let refused = |what: &str| {
        let body = json!({"error": "unauthorized", "error_description": what});
        (StatusCode::UNAUTHORIZED, Json(body))
    };
    let Some((client, secret)) = basic(&headers) else {
        return refused("An Authentication object was not found in the SecurityContext");
    };
    let Some((wanted, scopes)) = state.clients.get(&client).cloned() else {
        return refused("Bad credentials");
    };
    if wanted != secret {
        return refused("Bad credentials");
    }
    let (user, scopes) = match grant.as_str() {
        "client_credentials" => (None, scopes),
        "password" => match state.users.get(&field("username")) {
            Some((password, scopes)) if *password == field("password") => {
                (Some(field("username")), scopes.clone())
            }
            _ => return refused("Bad credentials"),
        },
        "refresh_token" => match state.refresh.remove(&field("refresh_token")) {
            Some(user) => {
                let scopes = state.users[&user].1.clone();
                (Some(user), scopes)
            }
            None => return refused("The refresh token is not known"),
        },
        _ => return refused("Unsupported grant"),
    };
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs() as i64);
    let mut claims = json!({
        "jti": uuid::Uuid::new_v4().simple().to_string(),
        "client_id": client,
        "scope": scopes,
        "iat": now,
        "exp": now + state.lifetime,
        "aud": ["bosh_cli", "bosh"],
    });
    if let Some(user) = &user {
        claims["user_name"] = json!(user);
    }
    let mut header = Header::new(Algorithm::RS256);
    header.kid = Some(state.key.id.clone());
    let sign = |claims: &Value| jsonwebtoken::encode(&header, claims, &state.key.key);
    let Ok(access) = sign(&claims) else {
        return (StatusCode::INTERNAL_SERVER_ERROR, Json(Value::Null));
    };
    let mut answer = json!({
        "access_token": access,
        "token_type": "bearer",
        "expires_in": state.lifetime,
        "scope": scopes.join(" "),
    });
    if let Some(user) = user {
        claims["jti"] = json!(format!("{}-r", uuid::Uuid::new_v4().simple()));
        claims["exp"] = json!(now + 86400);
        let Ok(refresh) = sign(&claims) else {
            return (StatusCode::INTERNAL_SERVER_ERROR, Json(Value::Null));
        };
        answer["refresh_token"] = json!(refresh);
        state.refresh.insert(refresh, user);
    }
    (StatusCode::OK, Json(answer))
}

fn basic(headers: &HeaderMap) -> Option<(String, String)> {
    let header = headers.get("authorization")?.to_str().ok()?;
    let encoded = header.strip_prefix("Basic ")?;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}
