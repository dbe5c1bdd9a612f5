//! The large files of a release folder (spec releases-and-templates §10).

use super::Context;
use super::create_release::{BuildLines, open_dir};
use crate::commands::{AddBlobArgs, ReleaseDirArgs, RemoveBlobArgs};
use crate::config::expand;
use crate::error::{Result, Within};
use crate::ui::{Sort, Table};
use release_archive::progress::binary_size;

pub fn list(context: &Context, args: ReleaseDirArgs) -> Result<()> {
    let header = ["Path", "Size", "Blobstore ID", "Digest"];
    let mut table = Table::new("blobs", &header).sorted(&[Sort::Up(0)]);
    table.rows = open_dir(&context.settings, &args.dir)?
        .blobs()?
        .into_iter()
        .map(|blob| {
            vec![
                blob.path.into(),
                binary_size(blob.size).into(),
                blob.object_id
                    .unwrap_or_else(|| "(local)".to_owned())
                    .into(),
                blob.digest.into(),
            ]
        })
        .collect();
    context.ui.table(table);
    Ok(())
}

pub fn add(context: &Context, args: AddBlobArgs) -> Result<()> {
    let dir = open_dir(&context.settings, &args.folder.dir)?;
    dir.add_blob(&expand(&args.path)?, &args.blobs_path)?;
    context.ui.line(format!("Added blob '{}'", args.blobs_path));
    Ok(())
}

pub fn remove(context: &Context, args: RemoveBlobArgs) -> Result<()> {
    open_dir(&context.settings, &args.folder.dir)?.remove_blob(&args.blobs_path)?;
    context
        .ui
        .line(format!("Removed blob '{}'", args.blobs_path));
    Ok(())
}

pub fn sync(context: &Context, args: ReleaseDirArgs) -> Result<()> {
    open_dir(&context.settings, &args.dir)?
        .sync_blobs(&mut BuildLines(&context.ui))
        .within(|| "Downloading blobs")
}

pub fn upload(context: &Context, args: ReleaseDirArgs) -> Result<()> {
    open_dir(&context.settings, &args.dir)?
        .upload_blobs(&mut BuildLines(&context.ui))
        .within(|| "Uploading blobs")
}
