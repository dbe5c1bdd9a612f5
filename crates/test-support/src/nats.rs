//! A private nats-server: plain TCP on a free loopback port, for tests that are not about certificates.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::bail;

use crate::postgres::free_port;

/// A nats-server that dies with the test process.
pub struct TestNats {
    url: String,
}

impl TestNats {
    pub async fn start() -> anyhow::Result<TestNats> {
        let port = free_port()?;
        let mut server = Command::new("setpriv");
        server
            .args([
                "--pdeathsig=KILL",
                "--",
                "nats-server",
                "-a",
                "127.0.0.1",
                "-p",
                &port.to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        crate::process::run_for_ever(server, Vec::new())?;
        let url = format!("nats://127.0.0.1:{port}");
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            match async_nats::connect(&url).await {
                Ok(_) => return Ok(TestNats { url }),
                Err(error) if Instant::now() > deadline => {
                    bail!("nats-server on port {port}: {error}")
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    /// `nats://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.url
    }
}
