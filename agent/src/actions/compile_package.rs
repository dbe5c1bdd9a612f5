//! `compile_package` and `compile_package_with_signed_url` (`docs/spec/agent-protocol.md` §3.7).

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use agent_protocol::{BlobstoreHeaders, CompilePackageWithSignedUrl, CompiledPackage, Dependency};
use domain::DigestAlgorithm;
use fs_err as fs;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::process::Command;

use super::scripts::code_of;
use crate::agent::Agent;
use crate::applier::package::{self, Package, Source};
use crate::archive;
use crate::blobs::{BlobRef, Blobs, blocking, digest_of};
use crate::dispatch::Call;
use crate::error::{Context, Error, Result, plain};
use crate::files;
use crate::sys;

/// What to compile, either way it was asked for.
struct Request {
    source: Source,
    dependencies: Vec<Source>,
    upload: Upload,
}

enum Upload {
    Blobstore,
    SignedUrl(String, BlobstoreHeaders),
}

/// From blob to blob.
pub async fn compile_package(call: Call) -> Result<Value> {
    let dependencies: Option<BTreeMap<String, Dependency>> = call.optional(4)?;
    let source = Source {
        blob_id: call.argument(0, 5)?,
        digest: call.argument(1, 5)?,
        name: call.argument(2, 5)?,
        version: call.argument(3, 5)?,
        signed_url: String::new(),
        headers: BlobstoreHeaders::new(),
    };
    let dependencies = dependencies.unwrap_or_default().into_values();
    let request = Request {
        source,
        dependencies: dependencies
            .map(|dependency| Source {
                name: dependency.name,
                version: dependency.version,
                digest: dependency.sha1,
                blob_id: dependency.blobstore_id,
                signed_url: String::new(),
                headers: BlobstoreHeaders::new(),
            })
            .collect(),
        upload: Upload::Blobstore,
    };
    run(&call.agent, request).await
}

/// From URL to URL.
pub async fn compile_package_with_signed_url(call: Call) -> Result<Value> {
    let wire: CompilePackageWithSignedUrl = call.argument(0, 1)?;
    let request = Request {
        source: Source {
            name: wire.name,
            version: wire.version,
            digest: wire.digest,
            blob_id: String::new(),
            signed_url: wire.package_get_signed_url,
            headers: wire.blobstore_headers.clone(),
        },
        dependencies: wire
            .deps
            .into_values()
            .map(|dependency| Source {
                name: dependency.name,
                version: dependency.version,
                digest: dependency.sha1,
                blob_id: dependency.blobstore_id,
                signed_url: dependency.package_get_signed_url,
                headers: dependency.blobstore_headers,
            })
            .collect(),
        upload: Upload::SignedUrl(wire.upload_signed_url, wire.blobstore_headers),
    };
    run(&call.agent, request).await
}

async fn run(agent: &Arc<Agent>, request: Request) -> Result<Value> {
    let name = request.source.name.clone();
    let compiled = compile(agent, request)
        .await
        .with_context(|| format!("Compiling package {name}"))?;
    Ok(json!({"result": compiled}))
}

async fn compile(agent: &Arc<Agent>, request: Request) -> Result<CompiledPackage> {
    let layout = &agent.layout;
    let blobs = agent.blobs();
    let source = &request.source;
    package::keep_only(layout, &[]).context("Removing packages")?;
    for dependency in &request.dependencies {
        let installed = package::install_one(layout, &agent.platform, &blobs, dependency)
            .await
            .and_then(|installed| package::enable(layout, &installed));
        installed
            .with_context(|| format!("Installing dependent package: '{}'", dependency.name))?;
    }
    let target = package::package_to_compile(layout, &source.name, &source.version)?;
    let compile_dir = layout.data_compile().join(&source.name);
    let gzip = fetch(&blobs, source, &compile_dir)
        .await
        .with_context(|| format!("Fetching package {}", source.name))?;

    package::make_parents(layout, agent.platform.as_ref(), &target)?;
    files::remove(&target.bundle)?;
    files::make_dir(&target.bundle, 0o755).context("Setting up new package bundle")?;
    agent.platform.give_to_vcap(&target.bundle)?;
    package::enable(layout, &target).context("Enabling new package bundle")?;

    let compiled = async {
        if compile_dir.join("packaging").exists() {
            run_packaging(agent, source, &compile_dir)
                .await
                .context("Running packaging script")?;
        }
        upload(agent, &blobs, &target, gzip, &request.upload).await
    }
    .await;
    package::keep_only(layout, &[]).context("Removing packages")?;
    files::remove(&compile_dir).context("Removing compile directory")?;
    compiled
}

/// Unpacks the source; says whether it was compressed.
async fn fetch(blobs: &Blobs, source: &Source, compile_dir: &Path) -> Result<bool> {
    if source.blob_id.is_empty() && source.signed_url.is_empty() {
        return Err(Error::new(format!(
            "No blobstore reference for package '{}'",
            source.name
        )));
    }
    let blob = BlobRef {
        signed_url: &source.signed_url,
        headers: &source.headers,
        blob_id: &source.blob_id,
        digest: &source.digest,
    };
    let file = blobs.get(&blob).await.context("Fetching package blob")?;
    let unpack_dir = compile_dir.with_file_name(format!("{}-bosh-agent-unpack", source.name));
    let compile_dir = compile_dir.to_path_buf();
    blocking(move || {
        files::remove(&unpack_dir)?;
        files::remove(&compile_dir)?;
        files::make_dir(&unpack_dir, 0o755)?;
        archive::unpack(&file, &unpack_dir)?;
        fs::rename(&unpack_dir, &compile_dir).map_err(plain)?;
        archive::is_gzip(&file)
    })
    .await
}

async fn run_packaging(agent: &Agent, source: &Source, compile_dir: &Path) -> Result<()> {
    let layout = &agent.layout;
    let logs = layout.sys_log().join("compilation");
    files::remove(&logs)?;
    files::make_dir(&logs, 0o750)?;
    let (stdout, stderr) = (
        logs.join("packaging.stdout.log"),
        logs.join("packaging.stderr.log"),
    );
    let open = |path| fs::File::create(path).map_err(plain);
    let mut command = Command::new("bash");
    command
        .args(["-x", "packaging"])
        .current_dir(compile_dir)
        .env("BOSH_COMPILE_TARGET", compile_dir)
        .env("BOSH_INSTALL_TARGET", layout.packages().join(&source.name))
        .env("BOSH_PACKAGE_NAME", &source.name)
        .env("BOSH_PACKAGE_VERSION", &source.version)
        .stdin(Stdio::null())
        .stdout(Stdio::from(open(&stdout)?.into_parts().0))
        .stderr(Stdio::from(open(&stderr)?.into_parts().0));
    sys::own_group_bound_to_agent(&mut command, 0);
    let mut child = command.spawn().context("Running packaging script")?;
    let status = child.wait().await.context("Waiting for packaging script")?;
    if status.success() {
        return Ok(());
    }
    let read = |path: &Path| fs::read(path).unwrap_or_default();
    Err(Error::new(format!(
        "Running packaging script: Command exited with {}; {}, {}",
        code_of(status),
        tail("tdout", &read(&stdout)),
        tail("tderr", &read(&stderr))
    )))
}

/// So much of each stream is told.
const TAIL: usize = 10_240;

/// The end of a stream with its label, cut at a line start if that doesn't lose much. `label` lacks its first letter,
/// which is capital only at the front.
fn tail(label: &str, stream: &[u8]) -> String {
    if stream.len() <= TAIL {
        return format!("S{label}: {}", String::from_utf8_lossy(stream));
    }
    let end = &stream[stream.len() - TAIL..];
    let next_line = end.iter().position(|&byte| byte == b'\n').map(|i| i + 1);
    let start = next_line.filter(|&i| i <= TAIL / 4).unwrap_or(0);
    format!(
        "Truncated s{label}: {}",
        String::from_utf8_lossy(&end[start..])
    )
}

async fn upload(
    agent: &Agent,
    blobs: &Blobs,
    package: &Package,
    gzip: bool,
    upload: &Upload,
) -> Result<CompiledPackage> {
    let packed = NamedTempFile::with_prefix_in("compiled-", agent.layout.tmp())
        .context("Creating temporary file")?
        .into_temp_path();
    let (bundle, to) = (package.bundle.clone(), packed.to_path_buf());
    blocking(move || archive::pack(&bundle, &to, gzip))
        .await
        .context("Compressing compiled package")?;
    let sha1 = digest_of(&packed, DigestAlgorithm::Sha1).await?;
    match upload {
        Upload::Blobstore => {
            let id = blobs
                .put(&packed)
                .await
                .context("Uploading compiled package")?;
            Ok(CompiledPackage {
                blobstore_id: Some(id),
                sha1: sha1.to_string(),
            })
        }
        Upload::SignedUrl(url, headers) => {
            let sha512 = digest_of(&packed, DigestAlgorithm::Sha512).await?;
            blobs
                .put_url(url, headers, &packed)
                .await
                .context("Uploading compiled package")?;
            Ok(CompiledPackage {
                blobstore_id: None,
                sha1: format!("{sha1};{sha512}"),
            })
        }
    }
}
