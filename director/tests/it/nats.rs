//! Certificates and permissions against a real nats-server with mutual TLS.

use std::time::Duration;

use agent_protocol::{AgentClient as _, NatsAgentClient, Patience, Reply, Request, Target};
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
    let port = services::free_port("127.0.0.1")?;
    let mut server = services::Nats::start(services::nats::Options {
        dir: environment.path("nats"),
        address: "127.0.0.1".parse()?,
        port,
        tls: Some(services::nats::Tls {
            certificate: environment.path("server.pem"),
            private_key: environment.path("server.key"),
            client_ca: environment.path("ca.pem"),
        }),
        authorization_file: Some(environment.path("nats/authorization.json")),
        mortal: false,
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

    // What others get and say is not to be heard.
    let overheard = [
        agent.subscribe("agent.agent-2").await?,
        agent.subscribe("agent.*").await?,
        agent.subscribe("director.>").await?,
        agent.subscribe("hm.agent.heartbeat.*").await?,
        agent.subscribe(">").await?,
    ];
    // Nor may it ask other agents, or answer for them.
    let mut forged = director.subscribe("director.>").await?;
    director.flush().await?;
    agent
        .publish("director.1.agent-2.request", "forged".into())
        .await?;
    agent.publish("agent.agent-2", "forged".into()).await?;
    agent
        .publish("director.1.agent-1.request", "own".into())
        .await?;
    let message = tokio::time::timeout(Duration::from_secs(10), forged.next())
        .await?
        .expect("the bus is up");
    assert_eq!(message.payload.as_ref(), b"own");

    let mut requests = agent.subscribe("agent.agent-1").await?;
    agent.flush().await?;
    director.publish("agent.agent-2", "{}".into()).await?;
    director.publish("agent.agent-1", "{}".into()).await?;
    assert!(
        tokio::time::timeout(Duration::from_secs(10), requests.next())
            .await?
            .is_some()
    );

    // Its own request came after the other's, which would be here by now.
    for mut subscription in overheard {
        let heard = tokio::time::timeout(Duration::ZERO, subscription.next()).await;
        assert!(
            heard.is_err(),
            "an agent hears what is not its own: {heard:?}"
        );
    }

    authority.deny("agent-1").await?;
    wait_for("the agent is shut out", || async {
        connect_as(environment, url, pair).await.is_err()
    })
    .await?;
    server.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_takes_is_sent_again_until_its_agent_is_connected()
-> anyhow::Result<()> {
    let bus = test_support::TestNats::start().await?;
    let director = async_nats::connect(bus.url()).await?;
    let agent = async_nats::connect(bus.url()).await?;
    let to = Target {
        agent: domain::AgentId::new("a-1"),
        instance: "app/1 (0)".into(),
    };
    let client = NatsAgentClient::new(director.clone());
    // One attempt of a minute: unless it is sent again, no reply comes in time.
    let asked = tokio::spawn(async move {
        let patience = Patience::once(Duration::from_secs(60));
        client.exchange(&to, "get_state", vec![], patience).await
    });
    let statistics = director.statistics();
    let sent = &statistics.out_messages;
    wait_for("the request is sent", || async {
        sent.load(std::sync::atomic::Ordering::Relaxed) > 0
    })
    .await?;
    // The server has the request now, and no agent.
    director.flush().await?;
    let mut requests = agent.subscribe("agent.a-1").await?;
    agent.flush().await?;
    let message = tokio::time::timeout(Duration::from_secs(30), requests.next())
        .await?
        .expect("the bus is up");
    let request: Request = serde_json::from_slice(&message.payload)?;
    agent
        .publish(request.reply_to, r#"{"value":"here"}"#.into())
        .await?;
    let reply = tokio::time::timeout(Duration::from_secs(30), asked).await???;
    assert!(
        matches!(&reply, Reply::Done(value) if value == "here"),
        "{reply:?}"
    );
    Ok(())
}
