//! The argument lists of ssh and scp: keys, known hosts, the way through a gateway or proxy.

use super::super::Session;
use super::super::proxy::{Proxy, is_excepted};
use super::Access;
use crate::commands::GatewayArgs;
use crate::config::{boolean, optional};
use crate::error::Result;
use director_client::SshHost;
use std::path::Path;
use std::sync::Arc;

/// How to reach the instances; the same for all of them.
pub struct Connection {
    gateway_disabled: bool,
    gateway_user: Option<String>,
    gateway_host: Option<String>,
    gateway_key: Option<String>,
    socks5: Option<Arc<Proxy>>,
    options: Vec<String>,
}

impl Connection {
    /// Opens the tunnel if the proxy needs one.
    pub async fn new(session: &Session, args: &GatewayArgs, options: Vec<String>) -> Result<Self> {
        let or = |flag: &Option<String>, name: &str| flag.clone().or_else(|| optional(name));
        let socks5 = match &args.gw_socks5 {
            Some(url) if !url.is_empty() => Some(Arc::new(Proxy::open(url).await?)),
            Some(_) => None,
            None => session.proxy.clone(),
        };
        Ok(Connection {
            gateway_disabled: args.gw_disable || boolean("BOSH_GW_DISABLE", "--gw-disable")?,
            gateway_user: or(&args.gw_user, "BOSH_GW_USER"),
            gateway_host: or(&args.gw_host, "BOSH_GW_HOST"),
            gateway_key: or(&args.gw_private_key, "BOSH_GW_PRIVATE_KEY"),
            socks5,
            options,
        })
    }

    /// Arguments of `ssh`. `check_key` adds the option of strict host key checking in so many words;
    /// it is ssh's behaviour with a known-hosts file anyway when nobody can answer.
    pub fn ssh(
        &self,
        access: &Access,
        host: &SshHost,
        words: &[String],
        check_key: bool,
    ) -> Vec<String> {
        let mut arguments = vec!["-tt".to_owned()];
        arguments.extend(self.common(access, host));
        arguments.extend(self.options.iter().cloned());
        if check_key {
            arguments.extend(host_key_checking(access));
        }
        arguments.extend(["-l", access.user(), "--", &host.ip].map(str::to_owned));
        arguments.extend(words.iter().cloned());
        arguments
    }

    /// Arguments of `scp`.
    pub fn scp(
        &self,
        access: &Access,
        host: &SshHost,
        recursive: bool,
        paths: &[String],
    ) -> Vec<String> {
        let mut arguments = self.common(access, host);
        arguments.extend(host_key_checking(access));
        if recursive {
            arguments.push("-r".to_owned());
        }
        arguments.extend(paths.iter().cloned());
        arguments
    }

    fn common(&self, access: &Access, host: &SshHost) -> Vec<String> {
        let mut arguments: Vec<String> = [
            "ServerAliveInterval=30".to_owned(),
            "ForwardAgent=no".to_owned(),
            "PasswordAuthentication=no".to_owned(),
            "IdentitiesOnly=yes".to_owned(),
            format!("IdentityFile={}", access.private_key().display()),
            format!(
                "UserKnownHostsFile={}",
                access
                    .known_hosts()
                    .unwrap_or(Path::new("/dev/null"))
                    .display()
            ),
        ]
        .iter()
        .flat_map(|text| option(text))
        .collect();
        if let Some(command) = self.proxy_command(host) {
            arguments.extend(option(&format!("ProxyCommand={command}")));
        }
        arguments
    }

    /// A SOCKS5 proxy wins over a gateway; flags win over what the director said.
    fn proxy_command(&self, host: &SshHost) -> Option<String> {
        if let Some(proxy) = self.socks5.as_ref().filter(|_| !is_excepted(&host.ip)) {
            let address = proxy.address();
            return Some(if is_installed("connect-proxy") {
                format!("connect-proxy -S {address} %h %p")
            } else {
                format!("nc -x {address} %h %p")
            });
        }
        if self.gateway_disabled {
            return None;
        }
        let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let gateway = filled(&self.gateway_host).or_else(|| filled(&host.gateway_host))?;
        let user = filled(&self.gateway_user)
            .or_else(|| filled(&host.gateway_user))
            .unwrap_or_default();
        let forward = if host.ip.contains(':') {
            "[%h]:%p"
        } else {
            "%h:%p"
        };
        let mut command = format!(
            "ssh -tt -W {forward} -l '{user}' '{gateway}' -o ServerAliveInterval=30 -o ForwardAgent=no -o ClearAllForwardings=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
        );
        if let Some(key) = filled(&self.gateway_key) {
            command.push_str(&format!(
                " -o PasswordAuthentication=no -o IdentitiesOnly=yes -o IdentityFile={key}"
            ));
        }
        Some(command)
    }
}

/// Strict when the hosts' keys are known.
fn host_key_checking(access: &Access) -> [String; 2] {
    match access.known_hosts() {
        Some(_) => option("StrictHostKeyChecking=yes"),
        None => option("StrictHostKeyChecking=no"),
    }
}

fn option(text: &str) -> [String; 2] {
    ["-o".to_owned(), text.to_owned()]
}

fn is_installed(program: &str) -> bool {
    let path = optional("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}
