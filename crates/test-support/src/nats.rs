//! A private nats-server: plain TCP on a free loopback port, for tests that are not about certificates.

use services::nats::{Nats, Options};

/// A nats-server that dies with the test process.
pub struct TestNats {
    url: String,
}

impl TestNats {
    /// Starts it and waits until it answers.
    pub async fn start() -> anyhow::Result<TestNats> {
        let url = tokio::task::spawn_blocking(|| {
            crate::process::keep("nats", |dir, ready| async move {
                let mut server = Nats::start(Options {
                    dir,
                    address: [127, 0, 0, 1].into(),
                    port: services::free_port("127.0.0.1")?,
                    tls: None,
                    authorization_file: None,
                    mortal: true,
                })
                .await?;
                let _ = ready.send(server.url().to_owned());
                server.wait().await?;
                Ok(())
            })
        })
        .await??;
        Ok(TestNats { url })
    }

    /// `nats://127.0.0.1:<port>`.
    pub fn url(&self) -> &str {
        &self.url
    }
}
