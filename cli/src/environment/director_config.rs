//! The director's settings for an environment (docs/operator.md has all keys).

use serde_json::json;

use super::Error;
use super::credentials::Credentials;
use super::home::{Home, Isolation, State, program, write_private};
use super::supervisor::DATABASE;

/// Writes the director's settings. Done at each `bosun up`, so that a newer bosun brings its own.
pub fn write(home: &Home, state: &State, credentials: &Credentials) -> Result<(), Error> {
    let address = state.host_address();
    let nats_port = state.nats_port;
    let pair = |name: &str| {
        json!({
            "certificate": home.cert(&format!("{name}.pem")),
            "private_key": home.cert(&format!("{name}.key")),
        })
    };
    let settings = json!({
        "name": state.name,
        "data_dir": home.director().join("data"),
        "listen": {
            "address": address,
            "port": state.director_port,
            "tls": pair("director"),
        },
        "public_url": state.director_url(),
        "database": { "url": services::postgres::url(&home.postgres(), DATABASE) },
        "nats": {
            "urls": [format!("tls://{address}:{nats_port}")],
            "agent_url": format!("nats://{address}:{nats_port}"),
            "ca": home.cert("nats-ca.pem"),
            "client": pair("nats-director"),
            "agent_ca": pair("nats-ca"),
            "authorization_file": home.nats_authorization(),
            "reload": { "pid_file": super::supervisor::nats_options(home, state).pid_file() },
        },
        "users": [{
            "name": super::up::USER,
            "password_hash": credentials.admin_password_hash,
            "scopes": ["bosh.admin"],
        }],
        "cpi": {
            "name": "local",
            "path": program("bosun-cpi-local")?,
            "properties": cpi_properties(home, state),
        },
        "blobstore": {
            "provider": "local",
            "options": {
                "blobstore_path": home.blobs(),
                "tls": { "cert": { "ca": super::credentials::director_ca(home)? } },
            },
            "agent_url": format!("https://{address}:{}", state.director_port),
            "secret": credentials.blobstore_secret,
        },
    });
    let text = serde_yaml::to_string(&settings).expect("JSON is YAML");
    write_private(
        &home.director_config(),
        &format!("# Written by bosun up at each start.\n{text}"),
    )
}

/// What the container CPI is told with every call (docs/spec/cpi.md §11.2).
pub fn cpi_properties(home: &Home, state: &State) -> serde_json::Value {
    json!({
        "container": {
            "store_dir": home.containers(),
            "bridge": "bosh0",
            "bridge_cidr": format!("{}.0.1/16", state.network_prefix),
            "isolation": match state.isolation {
                Isolation::Namespaces => "namespaces",
                Isolation::Plain => "plain",
            },
        },
    })
}
