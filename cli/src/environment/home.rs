//! The folder of an environment, and what is remembered about it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::Error;

/// The folder of an environment.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

impl Home {
    /// The folder given, or that of `BOSUN_HOME`, or `/var/lib/bosun` for root and `~/.bosun` for others.
    ///
    /// Root's own folder would not do: the database runs as another user, who may not pass through it.
    pub fn find(given: Option<PathBuf>) -> Home {
        let user_folder =
            || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".bosun"));
        let folder = given
            .or_else(|| std::env::var_os("BOSUN_HOME").map(PathBuf::from))
            .or_else(|| {
                if nix::unistd::Uid::effective().is_root() {
                    None
                } else {
                    user_folder()
                }
            });
        let folder = folder.unwrap_or_else(|| PathBuf::from("/var/lib/bosun"));
        Home(std::path::absolute(&folder).unwrap_or(folder))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder and those in it.
    pub fn create(&self) -> Result<(), Error> {
        // Others may pass (the database's user does), but see only what is theirs.
        for (folder, mode) in [
            (self.0.clone(), 0o711),
            (self.certs(), 0o700),
            (self.logs(), 0o700),
            (self.run(), 0o700),
            (self.director(), 0o700),
            (self.blobs(), 0o700),
            (self.containers(), 0o711),
        ] {
            fs_err::create_dir_all(&folder)?;
            fs_err::set_permissions(&folder, std::fs::Permissions::from_mode(mode))?;
        }
        Ok(())
    }

    /// Takes the lock that keeps a second `up` or `down` away; it goes with the value.
    pub fn lock(&self) -> Result<Flock<std::fs::File>, Error> {
        let file = fs_err::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.0.join("lock"))?
            .into_file();
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| Error::Busy(self.0.clone()))
    }

    /// Certificates and keys.
    pub fn certs(&self) -> PathBuf {
        self.0.join("certs")
    }
    /// One file of [`Home::certs`].
    pub fn cert(&self, file: &str) -> PathBuf {
        self.certs().join(file)
    }
    /// What the processes write.
    pub fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }
    /// Process ids.
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }
    /// The file with the process id of one of the processes.
    pub fn pid_file(&self, process: &str) -> PathBuf {
        self.run().join(format!("{process}.pid"))
    }
    /// The director's settings and its data.
    pub fn director(&self) -> PathBuf {
        self.0.join("director")
    }
    /// The director's settings.
    pub fn director_config(&self) -> PathBuf {
        self.director().join("director.yml")
    }
    /// The blobs.
    pub fn blobs(&self) -> PathBuf {
        self.0.join("blobs")
    }
    /// What the container CPI keeps: stemcells, containers, disks.
    pub fn containers(&self) -> PathBuf {
        self.0.join("containers")
    }
    /// The database cluster.
    pub fn postgres(&self) -> PathBuf {
        self.0.join("postgres")
    }
    /// The message server.
    pub fn nats(&self) -> PathBuf {
        self.0.join("nats")
    }
    /// The file with the agents' permissions on the message server.
    pub fn nats_authorization(&self) -> PathBuf {
        self.nats().join("auth.json")
    }
    /// Variables for the manifests of this environment.
    pub fn variables(&self) -> PathBuf {
        self.0.join("vars.yml")
    }
    fn state_file(&self) -> PathBuf {
        self.0.join("state.yml")
    }

    /// What is remembered of the environment, when there is one.
    pub fn load_state(&self) -> Result<Option<State>, Error> {
        let path = self.state_file();
        if !path.exists() {
            return Ok(None);
        }
        let text = fs_err::read_to_string(&path)?;
        serde_yaml::from_str(&text)
            .map(Some)
            .map_err(|error| Error::BadFile {
                path,
                detail: error.to_string(),
            })
    }

    /// The environment, or the error that says that there is none.
    pub fn state(&self) -> Result<State, Error> {
        self.load_state()?
            .ok_or_else(|| Error::NoEnvironment(self.0.clone()))
    }

    /// Remembers the environment, and writes the variables for manifests.
    pub fn save_state(&self, state: &State) -> Result<(), Error> {
        let text = serde_yaml::to_string(state).expect("a state has only strings and numbers");
        write_private(&self.state_file(), &text)?;
        let variables = format!(
            "---\n# Variables for manifests/, made by bosun up.\nnetwork_prefix: \"{}\"\n",
            state.network_prefix
        );
        fs_err::write(self.variables(), variables)?;
        Ok(())
    }
}

/// What is remembered of an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Name of the director and alias in the CLI.
    pub name: String,
    /// Port of the director's API.
    pub director_port: u16,
    /// Port of the message server.
    pub nats_port: u16,
    /// The first two numbers of the addresses of containers, like `10.244`.
    pub network_prefix: String,
    /// How containers are kept apart.
    pub isolation: Isolation,
}

/// How containers are kept apart on this machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Namespaces, a bridge, own addresses.
    Namespaces,
    /// A changed root and loopback addresses: the kernel refuses namespaces here.
    Plain,
}

impl State {
    /// The address at which containers, and everything else, reach the director and the message server: that of the
    /// bridge, or loopback. Nothing listens on another one.
    pub fn host_address(&self) -> String {
        match self.isolation {
            Isolation::Namespaces => format!("{}.0.1", self.network_prefix),
            Isolation::Plain => "127.0.0.1".to_owned(),
        }
    }

    /// The URL of the director for the CLI.
    pub fn director_url(&self) -> String {
        format!("https://{}:{}", self.host_address(), self.director_port)
    }
}

/// Writes a file that only its owner may read. The old content stays until the new one is complete.
pub fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    durable::replace(path, text.as_bytes(), durable::Mode::Is(0o600))?;
    Ok(())
}

/// The program of bosun's with this name: beside the running one, or in `PATH`.
pub fn program(name: &'static str) -> Result<PathBuf, Error> {
    let beside = std::env::current_exe()
        .ok()
        .and_then(|own| Some(own.parent()?.join(name)));
    if let Some(path) = beside.filter(|path| path.is_file()) {
        return Ok(path);
    }
    services::find_program(name, name).map_err(|_| Error::NoProgram(name))
}

/// The process id in a file, when that process still runs the program it should.
pub fn running_pid(pid_file: &Path, program: &str) -> Option<i32> {
    let pid: i32 = fs_err::read_to_string(pid_file).ok()?.trim().parse().ok()?;
    let command = fs_err::read(format!("/proc/{pid}/cmdline")).ok()?;
    let first = command.split(|byte| *byte == 0).next()?;
    String::from_utf8_lossy(first)
        .ends_with(program)
        .then_some(pid)
}
