//! Installing the CPI on this machine: its packages compiled here, its jobs rendered, its `bin/cpi` ready to run, all below
//! `~/.bosh/installations/<installation id>` (spec cli §17.3).

use super::manifest::Installation;
use super::releases::{Job, Package, Releases};
use super::render::{self, Knowledge, is_local};
use super::stage::{Outcome, Stage};
use crate::error::{Error, Result, Within};
use domain::Digest;
use release_archive::tarball;
use serde_json::Map;
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// What a CPI's job renders its executable to.
const EXECUTABLE: &str = "bin/cpi";

/// Where things are installed.
pub struct Target {
    folder: PathBuf,
    packages: PathBuf,
}

impl Target {
    /// `package_dir` takes the place of the folder's own packages.
    pub fn new(folder: PathBuf, package_dir: Option<&str>) -> Result<Self> {
        let packages = match package_dir.filter(|dir| !dir.is_empty()) {
            Some(dir) => std::path::absolute(crate::config::expand(dir)?)?,
            None => folder.join("packages"),
        };
        Ok(Target { folder, packages })
    }

    /// An empty temporary folder: what an interrupted run left goes.
    pub fn prepare_tmp(&self) -> Result<PathBuf> {
        let tmp = self.folder.join("tmp");
        if tmp.exists() {
            fs_err::remove_dir_all(&tmp).within(|| "Setting temp root")?;
        }
        fs_err::create_dir_all(&tmp).within(|| "Setting temp root")?;
        use std::os::unix::fs::PermissionsExt;
        let private = std::fs::Permissions::from_mode(0o700);
        fs_err::set_permissions(&self.folder, private)?;
        Ok(tmp)
    }

    pub fn tmp(&self) -> PathBuf {
        self.folder.join("tmp")
    }

    pub fn jobs(&self) -> PathBuf {
        self.folder.join("jobs")
    }

    pub fn packages(&self) -> &Path {
        &self.packages
    }

    /// Where answers of the CPI are kept until they are in the state file.
    pub fn calls(&self) -> PathBuf {
        self.folder.join("calls")
    }

    fn compiled(&self, key: &str) -> PathBuf {
        let name = Digest::sha256(key).hex().to_owned();
        self.folder.join("compiled").join(format!("{name}.tgz"))
    }

    /// Removes all of it.
    pub fn uninstall(&self) -> Result<()> {
        Ok(fs_err::remove_dir_all(&self.folder)?)
    }
}

/// Checks that exactly one of the jobs is a CPI.
pub fn validate(installation: &Installation, releases: &Releases) -> Result<()> {
    let mut problems = Vec::new();
    let mut found = 0;
    for wanted in &installation.jobs {
        let Some(release) = releases.find(&wanted.release) else {
            problems.push(format!(
                "installation release '{}' must refer to a provided release",
                wanted.release
            ));
            continue;
        };
        if release.job(&wanted.name).is_none() {
            problems.push(format!(
                "release '{}' must contain specified job '{}'",
                wanted.release, wanted.name
            ));
            continue;
        }
        let jobs = releases.jobs(std::slice::from_ref(wanted))?;
        found += jobs.iter().filter(|job| is_cpi(job)).count();
    }
    if found == 1 {
        return Ok(());
    }
    let names: Vec<&str> = installation
        .jobs
        .iter()
        .map(|job| job.release.as_str())
        .collect();
    problems.insert(
        0,
        format!(
            "Found {found} releases containing a template that renders to target '{EXECUTABLE}'. Expected to find 1. Releases inspected: [{}]",
            names.join(" ")
        ),
    );
    super::read::all(problems)
}

fn is_cpi(job: &Job) -> bool {
    job.archive.spec.templates.values().any(|t| t == EXECUTABLE)
}

/// An installed CPI.
pub struct Installed {
    pub executable: PathBuf,
    jobs: Vec<String>,
}

impl Installed {
    /// Removes the rendered jobs, which hold credentials.
    pub fn clean_up(&self, target: &Target) -> Result<()> {
        for job in &self.jobs {
            let folder = target.jobs().join(job);
            if folder.exists() {
                fs_err::remove_dir_all(folder)?;
            }
        }
        Ok(())
    }
}

/// Installs in a group of steps.
pub async fn install(
    installation: &Installation,
    releases: &Releases,
    target: &Target,
    stage: &mut Stage,
) -> Result<Installed> {
    stage
        .group("installing CPI", async |stage| {
            install_in(installation, releases, target, stage).await
        })
        .await
        .within(|| "Installing CPI")
}

async fn install_in(
    installation: &Installation,
    releases: &Releases,
    target: &Target,
    stage: &mut Stage,
) -> Result<Installed> {
    let jobs = releases
        .jobs(&installation.jobs)
        .within(|| "Resolving jobs from manifest")?;
    let packages = releases.packages(&jobs)?;
    for package in &packages {
        let step = format!(
            "Compiling package '{}/{}'",
            package.name, package.fingerprint
        );
        stage
            .step_or_skip(step, compile(package, &packages, target))
            .await
            .within(|| "Compiling job package dependencies")
            .within(|| "Compiling job package dependencies for installation")?;
    }
    stage
        .step("Installing packages", async {
            for package in &packages {
                install_package(package, &packages, target)
                    .within(|| format!("Installing package '{}'", package.name))?;
            }
            Ok(())
        })
        .await?;
    let nothing = Map::new();
    let knowledge = Knowledge {
        deployment: &installation.name,
        address: "",
        global: &nothing,
        group: &installation.properties,
        own: &|_| None,
    };
    let rendered = stage
        .step("Rendering job templates", render::render(&jobs, &knowledge))
        .await
        .within(|| "Rendering job templates for installation")
        .within(|| "Rendering and uploading Jobs")?;
    for job in &jobs {
        let step = format!("Installing job '{}'", job.name);
        let install = async {
            if !is_local(&job.name) {
                return Err(Error::message(format!(
                    "Invalid job name '{}': must be a safe local path",
                    job.name
                )));
            }
            render::install(&rendered, &job.name, &target.jobs().join(&job.name))
        };
        stage
            .step(step, install)
            .await
            .within(|| format!("Installing job '{}' for CPI release", job.name))?;
    }
    let cpi = jobs.iter().find(|job| is_cpi(job));
    let cpi = cpi.map(|job| job.name.clone()).unwrap_or_default();
    Ok(Installed {
        executable: target.jobs().join(cpi).join(EXECUTABLE),
        jobs: jobs.into_iter().map(|job| job.name).collect(),
    })
}

/// Makes the compiled archive, unless it is there from an earlier run.
async fn compile(package: &Package, all: &[Package], target: &Target) -> Result<Outcome<()>> {
    let archive = target.compiled(&package.key(all));
    if archive.is_file() {
        return Ok(Outcome::Done(()));
    }
    let folder = target.folder.join("compiled");
    fs_err::create_dir_all(&folder)?;
    let unfinished = tempfile::NamedTempFile::new_in(&folder)?;
    if package.is_compiled {
        fs_err::copy(&package.archive, unfinished.path())?;
    } else {
        compile_into(package, all, target, unfinished.as_file()).await?;
    }
    unfinished
        .persist(&archive)
        .map_err(|error| Error::from(error.error))?;
    Ok(if package.is_compiled {
        Outcome::Skipped((), "Package already compiled".to_owned())
    } else {
        Outcome::Done(())
    })
}

async fn compile_into(
    package: &Package,
    all: &[Package],
    target: &Target,
    archive: &std::fs::File,
) -> Result<()> {
    for name in &package.dependencies {
        let needed = all.iter().find(|other| other.name == *name);
        if let Some(needed) = needed {
            install_package(needed, all, target)
                .within(|| format!("Installing package '{name}'"))
                .within(|| format!("Installing dependencies of package '{}'", package.name))?;
        }
    }
    let source = tempfile::tempdir_in(target.tmp())?;
    let packed = fs_err::File::open(&package.archive)?;
    tarball::unpack(packed.into_file(), source.path())?;
    if !source.path().join("packaging").is_file() {
        return Err(Error::message(format!(
            "Packaging script for package '{}' not found",
            package.name
        )));
    }
    let installed = package_folder(package, target)?;
    fs_err::create_dir_all(&installed).within(|| "Creating package install dir")?;
    let output = tokio::process::Command::new("bash")
        .args(["-x", "packaging"])
        .env("BOSH_COMPILE_TARGET", source.path())
        .env("BOSH_INSTALL_TARGET", &installed)
        .env("BOSH_PACKAGE_NAME", &package.name)
        .env("BOSH_PACKAGES_DIR", target.packages())
        .current_dir(source.path())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await
        .within(|| "Compiling package")?;
    if !output.status.success() {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        return Err(Error::message(format!(
            "Running command: 'bash -x packaging', stdout: '{}', stderr: '{}': {}",
            text(&output.stdout),
            text(&output.stderr),
            output.status
        ))
        .within("Compiling package"));
    }
    tarball::pack(&installed, true, archive).within(|| "Compressing compiled package")?;
    // What was compiled against is installed anew with everything else.
    for package in all {
        let folder = package_folder(package, target)?;
        if folder.exists() {
            fs_err::remove_dir_all(folder)?;
        }
    }
    Ok(())
}

fn package_folder(package: &Package, target: &Target) -> Result<PathBuf> {
    if is_local(&package.name) {
        return Ok(target.packages().join(&package.name));
    }
    Err(Error::message(format!(
        "Invalid package name '{}': must be a safe local path",
        package.name
    )))
}

fn install_package(package: &Package, all: &[Package], target: &Target) -> Result<()> {
    let folder = package_folder(package, target)?;
    if folder.exists() {
        fs_err::remove_dir_all(&folder)?;
    }
    fs_err::create_dir_all(&folder)?;
    let archive = fs_err::File::open(target.compiled(&package.key(all)))?;
    Ok(tarball::unpack(archive.into_file(), &folder)?)
}
