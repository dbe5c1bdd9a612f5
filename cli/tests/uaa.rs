//! Logging in to a director whose users are a UAA's: a real director with a real database, real tokens.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use bosun_director::api::{self, Api};
use bosun_director::config::Settings;
use bosun_director::services::Services;
use pki::{Ca, Request, Subject, Usage};
use test_support::{TestDatabase, TestNats, TestUaa};
use tokio_util::sync::CancellationToken;

struct Environment {
    folder: tempfile::TempDir,
    uaa: TestUaa,
    url: String,
    stop: CancellationToken,
    _database: TestDatabase,
    _bus: TestNats,
}

impl Environment {
    async fn start() -> anyhow::Result<Environment> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = tempfile::tempdir()?;
        let (ca, pair) = Ca::generate(Subject::common_name("test"))?;
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text);
        write("ca.pem", &pair.certificate)?;
        write("ca.key", &pair.private_key)?;
        let mut server = Request::new(Subject::common_name("director"), &[Usage::Server]);
        server.alternative_names = vec!["127.0.0.1".into()];
        let server = ca.issue(&server)?;
        write("server.pem", &server.certificate)?;
        write("server.key", &server.private_key)?;
        let uaa = TestUaa::start(&ca).await?;
        let (database, bus) = (TestDatabase::create().await?, TestNats::start().await?);
        let port = services::free_port("127.0.0.1")?;
        let text = format!(
            "name: uaa-director\ndata_dir: data\n\
             listen: {{address: 127.0.0.1, port: {port}, tls: {{certificate: server.pem, private_key: server.key}}}}\n\
             uaa: {{url: '{}', ca: ca.pem}}\ndatabase: {{url: '{}'}}\n\
             nats: {{urls: ['{}'], ca: ca.pem, client: {{certificate: ca.pem, private_key: ca.key}}, agent_ca: {{certificate: ca.pem, private_key: ca.key}}}}\n\
             cpi: {{path: /bin/false}}\n\
             blobstore: {{provider: local, options: {{blobstore_path: blobs}}, secret: key-of-signed-urls}}\n",
            uaa.url,
            database.url(),
            bus.url(),
        );
        let settings = Settings::parse(&text, "director.yml", folder.path())?;
        let listener = api::Server::bind(&settings.listen).await?;
        let stop = CancellationToken::new();
        let services = Services::connect(settings, "uaa".into(), stop.clone()).await?;
        let api = Api::new(Arc::new(services))?;
        tokio::spawn(api::serve(listener, api::router(api), stop.clone()));
        Ok(Environment {
            folder,
            uaa,
            url: format!("https://127.0.0.1:{port}"),
            stop,
            _database: database,
            _bus: bus,
        })
    }

    fn home(&self) -> &Path {
        self.folder.path()
    }

    /// Runs the CLI on this environment; `input` answers its questions.
    async fn bosun(&self, arguments: &[&str], input: &str) -> anyhow::Result<Output> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bosun"));
        command
            .args(["--tty", "--no-color", "-e", &self.url, "--ca-cert"])
            .arg(self.home().join("ca.pem"))
            .args(arguments)
            .env_clear()
            .env("HOME", self.home())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let input = input.to_owned();
        tokio::task::spawn_blocking(move || {
            let mut child = command.spawn()?;
            // A command that asks nothing may be gone already.
            let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
            Ok(child.wait_with_output()?)
        })
        .await?
    }

    fn config(&self) -> String {
        std::fs::read_to_string(self.home().join(".bosh/config")).unwrap_or_default()
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn text(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

fn assert_says(output: &Output, exit_code: i32, parts: &[&str]) {
    let text = text(output);
    assert_eq!(output.status.code(), Some(exit_code), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_its_token_whenever_it_needs_one() -> anyhow::Result<()> {
    let environment = Environment::start().await?;
    let uaa = &environment.uaa;
    uaa.add_client("ci", "ci-s3cret", &["bosh.admin"]);
    let good = ["--client", "ci", "--client-secret", "ci-s3cret"];
    let bad = ["--client", "ci", "--client-secret", "wr0ng"];
    let run = async |who: &[&str], command: &str| {
        let arguments = [who, &[command]].concat();
        environment.bosun(&arguments, "").await
    };
    assert_says(
        &run(&good, "log-in").await?,
        0,
        &["Successfully authenticated with UAA\n\nSucceeded"],
    );
    assert_eq!(environment.config(), "", "a client's token is not kept");
    let tasks = run(&good, "tasks").await?;
    let who = format!("Using environment '{}' as client 'ci'", environment.url);
    assert_says(&tasks, 0, &[&who, "0 tasks", "Succeeded"]);
    let refused = run(&bad, "log-in").await?;
    assert_says(
        &refused,
        1,
        &[
            "Failed to authenticate with UAA",
            "Requesting token via client credentials grant:\n  UAA responded with non-successful status code '401' response '",
        ],
    );
    assert!(!text(&refused).contains("wr0ng"));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_answers_the_prompts_and_tokens_renew_themselves() -> anyhow::Result<()> {
    let environment = Environment::start().await?;
    let uaa = &environment.uaa;
    uaa.add_user("ann", "ann-s3cret", &["bosh.admin", "openid"]);
    let nobody = environment.bosun(&["tasks"], "").await?;
    assert_says(
        &nobody,
        1,
        &["as anonymous user", "Not authorized: '/tasks'"],
    );
    // Tokens that have expired when they come: the first use is refused, renewed and repeated.
    uaa.set_lifetime(-1);
    let login = environment
        .bosun(&["log-in"], "ann\nwr0ng\nann\nann-s3cret\n")
        .await?;
    assert_says(
        &login,
        0,
        &[
            "Email (): ",
            "Password (): ",
            "Failed to authenticate with UAA",
            "Successfully authenticated with UAA",
        ],
    );
    let first = environment.config();
    assert!(first.contains("refresh_token: "), "{first}");
    assert!(!first.contains("password"), "{first}");
    uaa.set_lifetime(600);
    let tasks = environment.bosun(&["tasks"], "").await?;
    assert_says(
        &tasks,
        0,
        &["as user 'ann' (bosh.admin, openid)", "Succeeded"],
    );
    let second = environment.config();
    assert_ne!(first, second, "the renewed tokens are kept");
    assert_says(
        &environment.bosun(&["tasks"], "").await?,
        0,
        &["as user 'ann'"],
    );
    assert_eq!(second, environment.config());
    let grants = uaa.grants();
    assert_eq!(
        (grants["password"], grants["refresh_token"]),
        (2, 1),
        "{grants:?}"
    );
    // The UAA changes its key: the director learns it, the old token is renewed.
    uaa.change_key()?;
    let mut again = environment.bosun(&["tasks"], "").await?;
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while !again.status.success() && std::time::Instant::now() < deadline {
        again = environment.bosun(&["tasks"], "").await?;
    }
    assert_says(&again, 0, &["Succeeded"]);
    let out = environment.bosun(&["log-out"], "").await?;
    assert_says(&out, 0, &["Logged out from '"]);
    assert!(
        !environment.config().contains("token"),
        "{}",
        environment.config()
    );
    Ok(())
}
