//! Who gets in: tokens of a UAA, client certificates, the metrics listener.

use std::time::{SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use test_support::TestUaa;

use crate::support::{Director, Environment};

fn now() -> i64 {
    let time = SystemTime::now().duration_since(UNIX_EPOCH);
    time.map_or(0, |time| time.as_secs() as i64)
}

fn claims() -> Value {
    json!({"jti": "abc", "user_name": "ann", "client_id": "cli", "scope": ["bosh.admin"], "exp": now() + 600})
}

async fn with_token(director: &Director, token: &str) -> anyhow::Result<(u16, String)> {
    let header = format!("bearer {token}");
    let headers = [("authorization", header.as_str())];
    let answer = director
        .send("", "GET", "/deployments", &headers, "")
        .await?;
    Ok((answer.status, answer.body))
}

async fn user_of(director: &Director, token: &str) -> anyhow::Result<Value> {
    let header = format!("Bearer {token}");
    let headers = [("authorization", header.as_str())];
    let info = director.send("", "GET", "/info", &headers, "").await?;
    Ok(info.json()["user"].clone())
}

/// A client that shows this certificate.
fn holder_of(environment: &Environment, name: &str) -> anyhow::Result<reqwest::Client> {
    let mut pem = std::fs::read(environment.path(&format!("{name}.pem")))?;
    pem.extend(std::fs::read(environment.path(&format!("{name}.key")))?);
    let ca = reqwest::Certificate::from_pem(&std::fs::read(environment.path("ca.pem"))?)?;
    Ok(reqwest::Client::builder()
        .tls_certs_only([ca])
        .identity(reqwest::Identity::from_pem(&pem)?)
        .build()?)
}

fn unauthorized() -> (u16, String) {
    (401, "Not authorized: '/deployments'\n".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_signed_with_the_key_of_the_settings_are_good_until_they_expire()
-> anyhow::Result<()> {
    let mut environment = Environment::new().await?;
    let uaa = TestUaa::start(&environment.ca).await?;
    let key: Vec<String> = uaa
        .public_key()
        .lines()
        .map(|line| format!("    {line}\n"))
        .collect();
    environment.users = Some(format!(
        "uaa:\n  url: https://uaa.example:8443/\n  public_key: |\n{}",
        key.concat()
    ));
    let director = environment.director().await?;
    let info = director.get("", "/info").await?.json();
    assert_eq!(
        info["user_authentication"],
        json!({"type": "uaa", "options": {"url": "https://uaa.example:8443", "urls": ["https://uaa.example:8443"]}})
    );
    for algorithm in [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512] {
        let token = uaa.sign(algorithm, &claims())?;
        assert_eq!(with_token(&director, &token).await?, (200, "[]".into()));
        assert_eq!(user_of(&director, &token).await?, "ann");
    }
    let good = uaa.sign(Algorithm::RS256, &claims())?;
    let changed = |key: &str, value: Value| {
        let mut claims = claims();
        claims[key] = value;
        uaa.sign(Algorithm::RS256, &claims)
    };
    let without = |key: &str| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(key);
        uaa.sign(Algorithm::RS256, &claims)
    };
    let (head, rest) = good.split_once('.').unwrap();
    let payload = rest.split('.').next().unwrap();
    // The public key is known to all: it must not be good as a secret.
    let confused = jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims(),
        &EncodingKey::from_secret(uaa.public_key().as_bytes()),
    )?;
    for (what, token) in [
        ("expired", changed("exp", json!(now() - 1))?),
        ("without an end", without("exp")?),
        ("a refresh token", changed("jti", json!("abc-r"))?),
        ("without an id", without("jti")?),
        ("without a signature", format!("{head}.{payload}.")),
        ("with another's signature", format!("{good}A")),
        ("signed with the public key as a secret", confused),
        ("no token", "x.y.z".into()),
    ] {
        assert_eq!(
            with_token(&director, &token).await?,
            unauthorized(),
            "{what}"
        );
        assert_eq!(user_of(&director, &token).await?, Value::Null, "{what}");
    }
    // Local users there are none.
    assert_eq!(director.get("test", "/deployments").await?.status, 401);
    // A client has no user name; its scopes count as a user's do.
    let mut client = claims();
    client.as_object_mut().unwrap().remove("user_name");
    client["scope"] = json!(["bosh.teams.alpha.admin"]);
    let client = uaa.sign(Algorithm::RS256, &client)?;
    assert_eq!(user_of(&director, &client).await?, "cli");
    assert_eq!(with_token(&director, &client).await?, (200, "[]".into()));
    let headers = [("authorization", &*format!("bearer {client}"))];
    let locks = director.send("", "GET", "/locks", &headers, "").await?;
    assert_eq!(
        (locks.status, locks.json()["code"].as_u64()),
        (401, Some(600_000))
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_signed_with_a_shared_secret_are_good_if_the_secret_is_right() -> anyhow::Result<()>
{
    let mut environment = Environment::new().await?;
    std::fs::write(environment.path("uaa.secret"), "s3cret-of-the-uaa\n")?;
    environment.users = Some(
        "uaa: {urls: ['https://a.example', 'https://b.example'], symmetric_key_file: uaa.secret}\n"
            .into(),
    );
    let director = environment.director().await?;
    let sign = |algorithm, secret: &str| {
        let key = EncodingKey::from_secret(secret.as_bytes());
        jsonwebtoken::encode(&Header::new(algorithm), &claims(), &key)
    };
    for algorithm in [Algorithm::HS256, Algorithm::HS384, Algorithm::HS512] {
        let token = sign(algorithm, "s3cret-of-the-uaa")?;
        assert_eq!(user_of(&director, &token).await?, "ann");
    }
    let forged = sign(Algorithm::HS256, "s3cret")?;
    assert_eq!(with_token(&director, &forged).await?, unauthorized());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_fetched_from_the_uaa_again_when_it_has_a_new_one() -> anyhow::Result<()> {
    let mut environment = Environment::new().await?;
    let uaa = TestUaa::start(&environment.ca).await?;
    environment.users = Some(format!("uaa: {{url: '{}', ca: ca.pem}}\n", uaa.url));
    let director = environment.director().await?;
    let first = uaa.sign(Algorithm::RS256, &claims())?;
    assert_eq!(user_of(&director, &first).await?, "ann");
    uaa.change_key()?;
    let second = uaa.sign(Algorithm::RS256, &claims())?;
    // Not more often than every few seconds: forged tokens must not make the director a nuisance.
    crate::support::wait_for("the new key is known", || async {
        user_of(&director, &second)
            .await
            .is_ok_and(|user| user == "ann")
    })
    .await?;
    // The old one was withdrawn.
    assert_eq!(with_token(&director, &first).await?, unauthorized());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_is_a_user_with_scopes() -> anyhow::Result<()> {
    let mut environment = Environment::new().await?;
    environment.listen = ", client_certificates: {ca: ca.pem, users: [{name: ci, subject: 'C=USA, O=Cloud Foundry, CN=ci', scopes: [bosh.read]}]}".into();
    let mut director = environment.director().await?;
    let plain = director.http.clone();
    director.http = holder_of(&environment, "ci")?;
    assert_eq!(director.get("", "/info").await?.json()["user"], "ci");
    assert_eq!(director.get("", "/locks").await?.status, 200);
    assert_eq!(director.get("", "/disks").await?.json()["code"], 600_000);
    // What the header says goes first, also when it is wrong.
    assert_eq!(director.get("test", "/disks").await?.status, 200);
    assert_eq!(director.get("test:wrong", "/locks").await?.status, 401);
    director.http = holder_of(&environment, "stranger")?;
    assert_eq!(director.get("", "/info").await?.json()["user"], Value::Null);
    assert_eq!(director.get("", "/locks").await?.status, 401);
    director.http = plain;
    assert_eq!(director.get("", "/locks").await?.status, 401);
    assert_eq!(director.get("test", "/locks").await?.status, 200);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_for_those_with_a_certificate_on_a_port_of_their_own() -> anyhow::Result<()> {
    let mut environment = Environment::new().await?;
    let port = services::free_port("127.0.0.1")?;
    environment.more = format!(
        "metrics: {{address: 127.0.0.1, port: {port}, tls: {{certificate: server.pem, private_key: server.key}}, client_ca: ca.pem}}\n"
    );
    let director = environment.director().await?;
    let cloud = "azs: [{name: z1}]\nvm_types: [{name: small}]\ncompilation: {workers: 1, network: my-net, az: z1, vm_type: small}\nnetworks:\n- {name: my-net, type: manual, subnets: [{range: 10.0.0.0/24, az: z1, gateway: 10.0.0.1, reserved: [10.0.0.2-10.0.0.9], static: [10.0.0.20-10.0.0.29]}]}\n";
    let yaml = [("content-type", "text/yaml")];
    let put = director
        .send("test", "POST", "/cloud_configs", &yaml, cloud)
        .await?;
    assert_eq!(put.status, 201, "{put:?}");
    director.get("test", "/tasks/77").await?;
    assert_eq!(
        director.get("test", "/metrics").await?.body,
        "Not Found: /metrics"
    );
    let base = format!("https://127.0.0.1:{port}");
    let without = director.http.get(format!("{base}/metrics")).send().await;
    assert!(without.is_err(), "{without:?}");
    let http = holder_of(&environment, "ci")?;
    let get = async |path: &str| -> anyhow::Result<String> {
        let answer = http.get(format!("{base}{path}")).send().await?;
        Ok(answer.text().await?)
    };
    let metrics = get("/metrics").await?;
    for line in [
        "bosh_resurrection_enabled 1",
        "bosh_deploy_config_enabled 0",
        "bosh_networks_dynamic_ips_total{name=\"no_networks\"} 0",
        // 256 less .0, .255 and the gateway, 8 reserved and 10 static ones
        "bosh_networks_dynamic_ips_total{name=\"my_net\"} 235",
        "bosh_networks_dynamic_free_ips_total{name=\"my_net\"} 235",
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} is not in\n{metrics}"
        );
    }
    let requests = get("/api_metrics").await?;
    for line in [
        "http_server_requests_total{code=\"404\",method=\"GET\",path=\"/tasks/:id\"} 1",
        "http_server_request_duration_seconds_count{method=\"GET\",path=\"/tasks/:id\"} 1",
        "http_server_requests_total{code=\"201\",method=\"POST\",path=\"/cloud_configs\"} 1",
    ] {
        assert!(
            requests.lines().any(|found| found == line),
            "{line} is not in\n{requests}"
        );
    }
    assert_eq!(get("/deployments").await?, "Not Found: /deployments");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_have_the_headers_of_the_original_and_are_compressed_on_demand()
-> anyhow::Result<()> {
    let environment = Environment::new().await?;
    let director = environment.director().await?;
    let list = director.get("test", "/deployments").await?;
    for (name, value) in [
        ("www-authenticate", "Basic realm=\"BOSH Director\""),
        ("x-content-type-options", "nosniff"),
    ] {
        assert_eq!(list.headers[name], value);
    }
    assert!(list.headers.contains_key("date"));
    let info = director.get("test", "/info").await?;
    assert!(!info.headers.contains_key("www-authenticate"));
    let refused = director.get("", "/deployments").await?;
    assert_eq!(refused.headers["x-frame-options"], "SAMEORIGIN");
    let head = director.send("test", "HEAD", "/info", &[], "").await?;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.headers["content-type"], "application/json");
    let options = director.send("test", "OPTIONS", "/info", &[], "").await?;
    assert_eq!(
        (options.status, options.body.as_str()),
        (404, "Endpoint '/info' not found.")
    );

    let text = format!("a: {}\n", "x".repeat(5000));
    let yaml = [("content-type", "text/yaml")];
    director
        .send("test", "POST", "/cloud_configs", &yaml, text)
        .await?;
    let path = "/configs?latest=true";
    let plain = director.get("test", path).await?;
    assert!(!plain.headers.contains_key("content-encoding"));
    let response = director
        .http
        .get(format!("{}{path}", director.base))
        .basic_auth("test", Some("test"))
        .header("accept-encoding", "gzip")
        .send()
        .await?;
    assert_eq!(response.headers()["content-encoding"], "gzip");
    let bytes = response.bytes().await?;
    assert!(bytes.len() < 500, "{}", bytes.len());
    let mut text = String::new();
    std::io::Read::read_to_string(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut text)?;
    assert_eq!(text, plain.body);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificates_of_the_settings_are_listed_with_their_end() -> anyhow::Result<()> {
    let environment = Environment::new().await?;
    let director = environment.director().await?;
    let list = director
        .get("reader", "/director/certificate_expiry")
        .await?
        .json();
    let names: Vec<&str> = list
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["certificate_path"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "director.ssl.cert",
            "nats.tls.ca",
            "nats.tls.client_ca.certificate",
            "nats.tls.director.certificate"
        ]
    );
    assert_eq!(list[0]["days_left"], 729, "{list}");
    std::fs::remove_file(environment.path("server.pem"))?;
    let gone = director
        .get("reader", "/director/certificate_expiry")
        .await?;
    assert_eq!(gone.status, 500);
    let text = gone.json()["error"].as_str().unwrap_or_default().to_owned();
    assert!(
        text.starts_with("Certificate expiry information not available: director.ssl.cert: "),
        "{text}"
    );
    Ok(())
}

#[test]
fn wrong_settings_of_users_say_what_is_wrong() {
    let base = "name: d\ndata_dir: data\nlisten: {address: 127.0.0.1, port: 1, tls: {certificate: a, private_key: b}}\ndatabase: {url: 'postgres://h/d'}\nnats: {urls: ['tls://h:1'], ca: c, client: {certificate: a, private_key: b}, agent_ca: {certificate: a, private_key: b}}\ncpi: {path: /c}\nblobstore: {provider: dav}\n";
    for (more, problem) in [
        (
            "uaa: {url: 'https://u', urls: ['https://v']}",
            "uaa.url and uaa.urls are both given",
        ),
        ("uaa: {ca: x}", "uaa.url is missing"),
        (
            "uaa: {url: uaa.example}",
            "uaa.url: 'uaa.example' is no URL",
        ),
        (
            "uaa: {url: 'http://uaa.example'}",
            "keys are not fetched from 'http://uaa.example' without TLS",
        ),
        (
            "uaa: {url: 'https://u', public_key: x, symmetric_key: y}",
            "uaa.public_key and uaa.symmetric_key are both given",
        ),
        (
            "uaa: {url: 'https://u', public_key: x}",
            "uaa.public_key is no RSA public key",
        ),
        (
            "uaa: {url: 'https://u', symmetric_key: ''}",
            "uaa.symmetric_key is empty",
        ),
        ("uaa: {url: 'https://u', key: x}", "unknown field `key`"),
        (
            "users: [{name: a, password_hash: b}]\nuaa: {url: 'https://u'}",
            "users and uaa are both given",
        ),
    ] {
        let text = format!("{base}{more}\n");
        let error =
            bosun_director::config::Settings::parse(&text, "d.yml", std::path::Path::new("/"))
                .unwrap_err()
                .to_string();
        assert!(error.contains(problem), "{more}: {error}");
    }
}
