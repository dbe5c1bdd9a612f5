//! An environment for a test: certificates, a database, a message bus, settings, and the director's process.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bosun_director::config::Settings;
use bosun_director::services::Services;
use pki::{Ca, Request, Subject, Usage};
use test_support::{TestDatabase, TestNats};
use tokio_util::sync::CancellationToken;

/// Everything that a director needs, in a folder that goes with the value.
pub struct Environment {
    pub folder: tempfile::TempDir,
    pub database: TestDatabase,
    pub bus: TestNats,
    pub port: u16,
    /// The CPI executable.
    pub cpi: PathBuf,
    /// More settings, top-level keys.
    pub more: String,
    /// Settings of users; those of the recorded scenarios unless a test says otherwise.
    pub users: Option<String>,
    /// More settings of the listener.
    pub listen: String,
    /// Signed all certificates here.
    pub ca: Ca,
}

/// Users of the recorded scenarios; the password is the name.
const USERS: &[(&str, Option<&str>)] = &[
    ("test", None),
    ("reader", Some("[bosh.read]")),
    ("alice", Some("[bosh.teams.alpha.admin]")),
    (
        "uploader",
        Some("[bosh.releases.upload, bosh.stemcells.upload]"),
    ),
];

/// Writes a CA and pairs signed by it; all tests of a process share the work.
pub fn certificates(folder: &Path) -> anyhow::Result<Ca> {
    let (ca, pair) = Ca::generate(Subject::common_name("test"))?;
    std::fs::write(folder.join("ca.pem"), &pair.certificate)?;
    std::fs::write(folder.join("ca.key"), &pair.private_key)?;
    let issue = |name: &str, request: Request| -> anyhow::Result<()> {
        let pair = ca.issue(&request)?;
        std::fs::write(folder.join(format!("{name}.pem")), pair.certificate)?;
        std::fs::write(folder.join(format!("{name}.key")), pair.private_key)?;
        Ok(())
    };
    let director = Subject::cloud_foundry("default.director.bosh-internal");
    issue("director", Request::new(director, &[Usage::Client]))?;
    for name in ["ci", "stranger"] {
        let client = Request::new(Subject::cloud_foundry(name), &[Usage::Client]);
        issue(name, client)?;
    }
    let mut server = Request::new(Subject::common_name("localhost"), &[Usage::Server]);
    server.alternative_names = vec!["127.0.0.1".into(), "localhost".into()];
    issue("server", server)?;
    Ok(ca)
}

impl Environment {
    pub async fn new() -> anyhow::Result<Environment> {
        let folder = tempfile::tempdir()?;
        let ca = certificates(folder.path())?;
        Ok(Environment {
            more: String::new(),
            users: None,
            listen: String::new(),
            ca,
            folder,
            database: TestDatabase::create().await?,
            bus: TestNats::start().await?,
            port: services::free_port("127.0.0.1")?,
            cpi: "/bin/false".into(),
        })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The settings file's text: TLS on loopback, the users of the scenarios.
    pub fn settings_text(&self) -> String {
        let mut users = String::from("users:\n");
        for (name, scopes) in USERS {
            let hash = bosun_director::auth::hash_password(name).expect("a password can be hashed");
            users.push_str(&format!("- {{name: {name}, password_hash: '{hash}'"));
            if let Some(scopes) = scopes {
                users.push_str(&format!(", scopes: {scopes}"));
            }
            users.push_str("}\n");
        }
        format!(
            "name: TestDirector\nuuid: deadbeef\ndata_dir: data\n\
             listen: {{address: 127.0.0.1, port: {port}, tls: {{certificate: server.pem, private_key: server.key}}{listen}}}\n\
             database: {{url: '{database}'}}\n\
             nats:\n  urls: ['{bus}']\n  ca: ca.pem\n  client: {{certificate: director.pem, private_key: director.key}}\n  \
             agent_ca: {{certificate: ca.pem, private_key: ca.key}}\n\
             {users}\
             cpi: {{name: test-cpi, path: '{cpi}'}}\n\
             blobstore: {{provider: local, options: {{blobstore_path: blobs}}, secret: key-of-signed-urls}}\n{more}",
            users = self.users.as_ref().unwrap_or(&users),
            listen = self.listen,
            more = self.more,
            port = self.port,
            cpi = self.cpi.display(),
            database = self.database.url(),
            bus = self.bus.url(),
        )
    }

    /// Services of a director in this process (its engine is the test's own).
    pub async fn services(&self) -> anyhow::Result<Arc<Services>> {
        self.services_with("").await
    }

    /// The same with more settings.
    pub async fn services_with(&self, more: &str) -> anyhow::Result<Arc<Services>> {
        let text = format!("{}{more}", self.settings_text());
        let settings = Settings::parse(&text, "director.yml", self.folder.path())?;
        let stop = CancellationToken::new();
        Ok(Arc::new(
            Services::connect(settings, "instance-1".into(), stop).await?,
        ))
    }

    /// Starts the binary and waits until it answers.
    pub async fn director(&self) -> anyhow::Result<Director> {
        self.director_as("director", self.port).await
    }

    /// A second director of the environment: other data folder, other port.
    pub async fn second_director(&self) -> anyhow::Result<Director> {
        self.director_as("second", services::free_port("127.0.0.1")?)
            .await
    }

    async fn director_as(&self, name: &str, port: u16) -> anyhow::Result<Director> {
        let (settings, log_file) = (
            self.path(&format!("{name}.yml")),
            self.path(&format!("{name}.log")),
        );
        let text = self
            .settings_text()
            .replace(
                "data_dir: data",
                if name == "second" {
                    "data_dir: data-of-second"
                } else {
                    "data_dir: data"
                },
            )
            .replace(&format!("port: {},", self.port), &format!("port: {port},"));
        std::fs::write(&settings, text)?;
        let log = std::fs::File::create(&log_file)?;
        let process = tokio::process::Command::new(env!("CARGO_BIN_EXE_bosun-director"))
            .arg("--config")
            .arg(&settings)
            .stdin(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let ca = reqwest::Certificate::from_pem(&std::fs::read(self.path("ca.pem"))?)?;
        let http = reqwest::Client::builder()
            .tls_certs_only([ca])
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        let director = Director {
            process,
            http,
            base: format!("https://127.0.0.1:{port}"),
        };
        wait_for("the director answers", || async {
            director
                .http
                .get(format!("{}/info", director.base))
                .send()
                .await
                .is_ok()
        })
        .await
        .map_err(|error| {
            anyhow::anyhow!(
                "{error}; its log:\n{}",
                std::fs::read_to_string(&log_file).unwrap_or_default()
            )
        })?;
        Ok(director)
    }
}

/// A running director process.
pub struct Director {
    pub process: tokio::process::Child,
    pub http: reqwest::Client,
    pub base: String,
}

/// Status, content type and body of an answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

impl Director {
    /// One request as a user (password = name; `user:password` for another, empty for nobody).
    pub async fn send(
        &self,
        user: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<reqwest::Body>,
    ) -> anyhow::Result<Answer> {
        let mut request = self
            .http
            .request(method.parse()?, format!("{}{path}", self.base))
            .body(body);
        if !user.is_empty() {
            let (name, password) = user.split_once(':').unwrap_or((user, user));
            request = request.basic_auth(name, Some(password));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer {
            status,
            headers,
            body: response.text().await?,
        })
    }

    pub async fn get(&self, user: &str, path: &str) -> anyhow::Result<Answer> {
        self.send(user, "GET", path, &[], "").await
    }
}

/// Waits for a condition, at most 60 s.
pub async fn wait_for<F: Future<Output = bool>>(
    what: &str,
    mut condition: impl FnMut() -> F,
) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        anyhow::ensure!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}
