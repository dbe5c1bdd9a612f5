//! Certificates and permissions against a real nats-server with mutual TLS.

use std::time::Duration;

use bosun_director::config::Settings;
use bosun_director::nats;
use bosun_director::store::Store;
use futures_util::StreamExt as _;

use crate::support::{Environment, wait_for};

async fn connect_as(
    environment: &Environment,
    url: &str,
    pair: &agent_protocol::MbusCert,
) -> anyhow::Result<async_nats::Client> {
    let (certificate, key) = (environment.path("agent.pem"), environment.path("agent.key"));
    std::fs::write(&certificate, &pair.certificate)?;
    std::fs::write(&key, &pair.private_key)?;
    Ok(async_nats::ConnectOptions::new()
        .require_tls(true)
        .add_root_certificates(environment.path("ca.pem"))
        .add_client_certificate(certificate, key)
        .connect(url)
        .await?)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_may_connect_once_it_is_allowed_and_speaks_on_its_own_subjects_only()
-> anyhow::Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let environment = Environment::new().await?;
    let port = test_support::free_port()?;
    let mut server = services::Nats::start(services::nats::Options {
        dir: environment.path("nats"),
        address: "127.0.0.1".parse()?,
        port,
        certificate: environment.path("server.pem"),
        private_key: environment.path("server.key"),
        client_ca: environment.path("ca.pem"),
        authorization_file: Some(environment.path("nats/authorization.json")),
    })
    .await?;
    let url = format!("tls://127.0.0.1:{port}");
    let text = environment
        .settings_text()
        .replace(environment.bus.url(), &url)
        .replace("nats:\n", "nats:\n  authorization_file: nats/authorization.json\n  reload: {pid_file: nats/nats.pid}\n");
    let settings = Settings::parse(&text, "director.yml", environment.folder.path())?;
    let store = Store::open(settings.database_url(), 4, Duration::from_secs(10)).await?;
    let authority = nats::Authority::start(&settings.nats, store.clone()).await?;
    let director = nats::connect(&settings.nats).await?;
    let mut heard = director.subscribe("hm.agent.heartbeat.*").await?;
    director.flush().await?;

    let pair = authority.issue("agent-1")?;
    let unknown = tokio::time::timeout(
        Duration::from_secs(5),
        connect_as(&environment, &url, &pair),
    )
    .await?;
    assert!(unknown.is_err(), "an agent that is not allowed is refused");

    authority.allow("agent-1").await?;
    let url = &url;
    let (environment, pair) = (&environment, &pair);
    wait_for("the reload is in force", || async {
        connect_as(environment, url, pair).await.is_ok()
    })
    .await?;
    let agent = connect_as(environment, url, pair).await?;
    agent
        .publish("hm.agent.heartbeat.agent-2", "forged".into())
        .await?;
    agent
        .publish("hm.agent.heartbeat.agent-1", "own".into())
        .await?;
    let message = tokio::time::timeout(Duration::from_secs(10), heard.next())
        .await?
        .expect("the bus is up");
    assert_eq!(
        message.payload.as_ref(),
        b"own",
        "a message on another agent's subject does not arrive"
    );

    let mut requests = agent.subscribe("agent.agent-1").await?;
    agent.flush().await?;
    director.publish("agent.agent-1", "{}".into()).await?;
    assert!(
        tokio::time::timeout(Duration::from_secs(10), requests.next())
            .await?
            .is_some()
    );

    authority.deny("agent-1").await?;
    wait_for("the agent is shut out", || async {
        connect_as(environment, url, pair).await.is_err()
    })
    .await?;
    server.stop().await?;
    Ok(())
}
