//! A nats-server, with mutual TLS and permissions by certificate (docs/spec/operations.md §11.2, §11.3).

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::process::{self, Error};

/// Where a server lives and what it trusts. The files of the certificates must be there.
#[derive(Debug, Clone)]
pub struct Options {
    /// Folder for the configuration, the log and the process id.
    pub dir: PathBuf,
    /// Address it listens on.
    pub address: IpAddr,
    /// Port it listens on.
    pub port: u16,
    /// Mutual TLS. Without it everybody who reaches the port may do everything: for tests.
    pub tls: Option<Tls>,
    /// File with the users and their permissions, as the director writes it. It is made with no user in it when it
    /// is not there; without one every certificate of the CA may do everything.
    pub authorization_file: Option<PathBuf>,
    /// The server ends when the thread that started it ends, also when its process is killed. For tests.
    pub mortal: bool,
}

/// Who the server is, and whom it lets in.
#[derive(Debug, Clone)]
pub struct Tls {
    /// Certificate of the server, PEM.
    pub certificate: PathBuf,
    /// Private key of the server, PEM.
    pub private_key: PathBuf,
    /// Certificates of those who sign clients, PEM.
    pub client_ca: PathBuf,
}

impl Options {
    /// The file that holds the process id of the server, for reloads.
    pub fn pid_file(&self) -> PathBuf {
        self.dir.join("nats.pid")
    }

    fn config(&self) -> String {
        let quoted =
            |path: &Path| serde_json::Value::from(path.to_string_lossy().into_owned()).to_string();
        let mut text = format!(
            "# Written by bosun at each start.\n\
             host: \"{}\"\n\
             port: {}\n\
             pid_file: {}\n\
             max_payload: 1048576\n\
             ping_interval: \"5s\"\n\
             ping_max: 2\n",
            self.address,
            self.port,
            quoted(&self.pid_file()),
        );
        if let Some(tls) = &self.tls {
            text.push_str(&format!(
                "tls {{\n  cert_file: {}\n  key_file: {}\n  ca_file: {}\n  verify_and_map: true\n  timeout: 30\n}}\n",
                quoted(&tls.certificate),
                quoted(&tls.private_key),
                quoted(&tls.client_ca),
            ));
        }
        if let Some(file) = &self.authorization_file {
            // The server reads an include relative to its own file.
            let relative = relative(&self.dir, file);
            text.push_str(&format!("include {}\n", quoted(&relative)));
        }
        text
    }
}

/// A running server. Dropping it leaves the process; [`Nats::stop`] ends it.
#[derive(Debug)]
pub struct Nats {
    child: Child,
    url: String,
    pid_file: PathBuf,
}

impl Nats {
    /// Writes the configuration, starts the server and waits until it listens. A server of this folder that an earlier
    /// process left behind is ended first.
    pub async fn start(options: Options) -> Result<Nats, Error> {
        let program = process::find_program("nats-server", "nats-server")?;
        fs_err::create_dir_all(&options.dir)?;
        let pid_file = options.pid_file();
        stop_left_over(&pid_file).await;
        if let Some(file) = &options.authorization_file
            && !file.exists()
        {
            fs_err::write(file, "{\"authorization\":{\"users\":[]}}")?;
        }
        let config = options.dir.join("nats.conf");
        fs_err::write(&config, options.config())?;
        let log = options.dir.join("nats.log");
        let last_signal = options.mortal.then_some(Signal::SIGKILL);
        let mut command = process::command(&program, last_signal);
        command.arg("-c").arg(&config);
        let mut child = process::spawn(command, &log)?;
        let target = match options.address {
            address if address.is_unspecified() => IpAddr::from([127, 0, 0, 1]),
            address => address,
        };
        process::wait_ready(
            "nats-server",
            &mut child,
            &log,
            Duration::from_secs(30),
            || async {
                TcpStream::connect((target, options.port))
                    .await
                    .map(drop)
                    .map_err(|error| error.to_string())
            },
        )
        .await?;
        Ok(Nats {
            child,
            url: format!("nats://{target}:{}", options.port),
            pid_file,
        })
    }

    /// The URL for clients on this machine.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The file with the process id, for who reloads the permissions.
    pub fn pid_file(&self) -> &Path {
        &self.pid_file
    }

    /// The process id of the server.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the server ends by itself.
    pub async fn wait(&mut self) -> std::io::Result<std::process::ExitStatus> {
        self.child.wait().await
    }

    /// Ends the server.
    pub async fn stop(&mut self) -> std::io::Result<()> {
        process::stop(&mut self.child, Signal::SIGTERM, Duration::from_secs(10)).await?;
        let _ = fs_err::remove_file(&self.pid_file);
        Ok(())
    }
}

async fn stop_left_over(pid_file: &Path) {
    let Ok(text) = fs_err::read_to_string(pid_file) else {
        return;
    };
    let Ok(pid) = text.trim().parse::<i32>() else {
        return;
    };
    let command = fs_err::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let folder = pid_file
        .parent()
        .unwrap_or(Path::new("/"))
        .to_string_lossy();
    let ours = String::from_utf8_lossy(&command).contains(&*folder);
    if ours && process::stop_pid(pid, Signal::SIGTERM, Duration::from_secs(10)).await {
        tracing::info!(pid, "ended a nats-server that was left behind");
    }
}

/// The path of a file as seen from a folder, both absolute.
fn relative(from: &Path, file: &Path) -> PathBuf {
    let shared = from
        .components()
        .zip(file.components())
        .take_while(|(a, b)| a == b)
        .count();
    let ups = from
        .components()
        .skip(shared)
        .map(|_| std::path::Component::ParentDir);
    ups.chain(file.components().skip(shared)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_include_is_named_as_seen_from_the_folder_of_the_configuration() {
        assert_eq!(
            relative(Path::new("/a/nats"), Path::new("/a/nats/auth.json")),
            Path::new("auth.json")
        );
        assert_eq!(
            relative(Path::new("/a/nats"), Path::new("/a/d/auth.json")),
            Path::new("../d/auth.json")
        );
    }
}
