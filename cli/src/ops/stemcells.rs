//! Stemcells (spec cli §11).

use super::{Context, Session};
use crate::commands::{DeleteStemcellArgs, InspectLocalStemcellArgs, UploadStemcellArgs};
use crate::error::{Error, Result, Within};
use crate::stemcell::StemcellManifest;
use crate::ui::{Sort, Table, TransferBar, Value};
use flate2::read::GzDecoder;
use release_archive::Problem;
use std::io::Read;
use std::path::Path;

pub async fn list(session: &Session) -> Result<()> {
    let header = ["Name", "Version", "OS", "CPI", "CID"];
    let mut table = Table::new("stemcells", &header).sorted(&[Sort::Up(0), Sort::Down(1)]);
    table.notes = vec!["(*) Currently deployed".to_owned()];
    table.rows = session
        .client
        .stemcells()
        .await?
        .into_iter()
        .map(|stemcell| {
            let deployed = if stemcell.deployments.is_empty() {
                ""
            } else {
                "*"
            };
            vec![
                stemcell.name.into(),
                Value::version(&stemcell.version).suffix(deployed),
                Value::some(stemcell.operating_system),
                Value::some(stemcell.cpi),
                Value::some(stemcell.cid),
            ]
        })
        .collect();
    session.ui.table(table);
    Ok(())
}

pub async fn upload(session: &Session, args: UploadStemcellArgs) -> Result<()> {
    let remote = args.url.starts_with("http://") || args.url.starts_with("https://");
    let path = args.url.strip_prefix("file://").unwrap_or(&args.url);
    let (name, version) = if remote {
        let version = args.version.as_ref().map(ToString::to_string);
        (args.name, version.unwrap_or_default())
    } else {
        let manifest = read_manifest(Path::new(path)).within(|| "Retrieving stemcell info")?;
        (manifest.text("name"), manifest.text("version"))
    };
    if !args.fix && !session.client.stemcell_needed(&name, &version).await? {
        session
            .ui
            .line(format!("Stemcell '{name}/{version}' already exists."));
        return Ok(());
    }
    if remote {
        session
            .client
            .upload_stemcell_url(&args.url, args.sha1.as_deref(), args.fix, &session.reporter)
            .await?;
        return Ok(());
    }
    let bar = TransferBar::when_watched(&session.ui, format!("Uploading {name}/{version}"));
    session
        .client
        .upload_stemcell_file(Path::new(path), args.fix, bar, &session.reporter)
        .await?;
    Ok(())
}

pub async fn delete(session: &Session, args: DeleteStemcellArgs) -> Result<()> {
    session.ui.confirm()?;
    let slug = &args.slug;
    session
        .client
        .delete_stemcell(&slug.name, &slug.version, args.force, &session.reporter)
        .await?;
    Ok(())
}

pub fn inspect_local(context: &Context, args: InspectLocalStemcellArgs) -> Result<()> {
    let manifest = read_manifest(Path::new(&args.path))?;
    let header = ["Name", "OS", "Version", "Infrastructure", "Hypervisor"];
    let mut table = Table::new("stemcell-metadata", &header);
    table.rows = vec![vec![
        manifest.text("name").into(),
        manifest.text("operating_system").into(),
        manifest.text("version").into(),
        manifest.cloud_property("infrastructure", "unknown").into(),
        manifest.cloud_property("hypervisor", "-").into(),
    ]];
    context.ui.table(table);
    Ok(())
}

/// Finds `stemcell.MF`, the first file of a well-made stemcell: the image behind it is not read.
fn read_manifest(path: &Path) -> Result<StemcellManifest> {
    let file = std::fs::File::open(path).map_err(|error| {
        Error::from(Problem::io("open", path, &error)).within("Opening archive")
    })?;
    let mut archive = tar::Archive::new(GzDecoder::new(file));
    let broken = |error: std::io::Error| {
        if error.kind() == std::io::ErrorKind::UnexpectedEof {
            return Error::message("unexpected EOF");
        }
        Error::message(match error.to_string() {
            text if text.contains("invalid gzip header") => {
                "gzip: invalid header; a stemcell is a gzipped tar with a file stemcell.MF"
                    .to_owned()
            }
            text => text,
        })
    };
    for entry in archive.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let is_manifest = entry
            .path()
            .is_ok_and(|path| path.strip_prefix("./").unwrap_or(&path) == Path::new("stemcell.MF"));
        if is_manifest {
            let mut text = String::new();
            entry.read_to_string(&mut text).map_err(broken)?;
            return StemcellManifest::parse(&text);
        }
    }
    Err(Error::message(format!(
        "Missing 'stemcell.MF'\nIs '{}' a stemcell?",
        path.display()
    )))
}
