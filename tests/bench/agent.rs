//! An agent by itself: from its start to its subscription, on a message server with certificates of its own.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use e2e::{program, wait_for};
use serde_json::json;

const AGENT: &str = "b0b1c2d3-0000-4000-8000-000000000001";

/// A nats-server with mutual TLS, and the settings of an agent that may use it.
pub struct Bus {
    server: Child,
    folder: PathBuf,
}

impl Bus {
    /// Makes the certificates and starts the server.
    pub fn start(folder: &Path) -> Bus {
        fs_err::create_dir_all(folder).expect("a temporary folder can be written");
        certificates(folder);
        let port = std::net::TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("loopback has free ports")
            .port();
        let shown = folder.display();
        let config = format!(
            "host: 127.0.0.1\nport: {port}\ntls {{\n  cert_file: \"{shown}/leaf.pem\"\n  key_file: \"{shown}/leaf.key\"\n  \
             ca_file: \"{shown}/ca.pem\"\n  verify: true\n}}\n"
        );
        fs_err::write(folder.join("nats.conf"), config).expect("a temporary folder can be written");
        let log = fs_err::File::create(folder.join("nats.log")).expect("the folder can be written");
        let server = Command::new("nats-server")
            .arg("-c")
            .arg(folder.join("nats.conf"))
            .stderr(log.into_file())
            .spawn()
            .expect("nats-server is installed");
        wait_for("the message server", Duration::from_secs(20), || {
            std::net::TcpStream::connect(("127.0.0.1", port)).map_err(|error| error.to_string())
        });
        write_settings(folder, port);
        Bus {
            server,
            folder: folder.to_owned(),
        }
    }

    /// Starts an agent; milliseconds until it says that it is subscribed.
    pub fn time_to_subscription(&self, round: usize) -> f64 {
        let base = self.folder.join(format!("vm-{round}"));
        let started = Instant::now();
        let mut agent = Command::new(program("bosun-agent"))
            .args(["-P", "dummy", "-b"])
            .arg(&base)
            .arg("-C")
            .arg(self.folder.join("agent.json"))
            .stderr(Stdio::piped())
            .spawn()
            .expect("the agent starts");
        let output = BufReader::new(agent.stderr.take().expect("its errors are piped"));
        let mut said = Vec::new();
        let subscribed = output.lines().map_while(Result::ok).any(|line| {
            let subscribed = line.ends_with("subscribed");
            said.push(line);
            subscribed
        });
        let taken = started.elapsed();
        let _ = agent.kill();
        let _ = agent.wait();
        assert!(subscribed, "the agent ended: {}", said.join("\n"));
        taken.as_secs_f64() * 1000.0
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn write_settings(folder: &Path, port: u16) {
    let read = |name: &str| fs_err::read_to_string(folder.join(name)).expect("it was just made");
    let settings = json!({
        "agent_id": AGENT,
        "vm": {"name": "vm-1"},
        "mbus": format!("nats://127.0.0.1:{port}"),
        "networks": {},
        "disks": {"persistent": {}},
        "blobstore": {"provider": "local", "options": {"blobstore_path": folder.join("blobs")}},
        "env": {"bosh": {"mbus": {"cert": {
            "ca": read("ca.pem"), "certificate": read("leaf.pem"), "private_key": read("leaf.key"),
        }}}},
    });
    let source = json!({"Type": "File", "SettingsPath": folder.join("settings.json")});
    let config = json!({"Infrastructure": {"Settings": {"Sources": [source]}}});
    fs_err::write(folder.join("settings.json"), settings.to_string()).expect("it can be written");
    fs_err::write(folder.join("agent.json"), config.to_string()).expect("it can be written");
}

/// A CA, and one pair for server and agent.
fn certificates(folder: &Path) {
    let config = "[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = default.nats.bosh-internal\n\
        [ca]\nbasicConstraints = critical,CA:TRUE\nsubjectKeyIdentifier = hash\n\
        [leaf]\nbasicConstraints = CA:FALSE\nsubjectAltName = IP:127.0.0.1,DNS:default.nats.bosh-internal\n\
        extendedKeyUsage = serverAuth,clientAuth\n";
    fs_err::write(folder.join("openssl.cnf"), config).expect("it can be written");
    let request = "openssl req -config openssl.cnf -x509 -days 2 -nodes -newkey ec -pkeyopt ec_paramgen_curve:prime256v1";
    let script = format!(
        "set -e\n{request} -subj /CN=ca -extensions ca -keyout ca.key -out ca.pem\n\
         {request} -extensions leaf -CA ca.pem -CAkey ca.key -keyout leaf.key -out leaf.pem\n"
    );
    let output = Command::new("bash")
        .args(["-c", &script])
        .current_dir(folder)
        .output()
        .expect("bash is there");
    assert!(
        output.status.success(),
        "openssl: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}
