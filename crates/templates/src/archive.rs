//! The archive that the agent unpacks below `/var/vcap/jobs`: `docs/spec/releases-and-templates.md` §16.5.

use std::io;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::rendered::RenderedInstance;

/// A gzip tar of `<job>/monit` and `<job>/<target>`, every file 0644 (the agent makes `bin/` executable), no folder
/// entries. The same content gives the same bytes.
pub fn archive(instance: &RenderedInstance) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::default()));
    for job in &instance.jobs {
        append(&mut tar, &format!("{}/monit", job.name), &job.monit)?;
        for file in &job.files {
            append(
                &mut tar,
                &format!("{}/{}", job.name, file.target),
                &file.content,
            )?;
        }
    }
    tar.into_inner()?.finish()
}

fn append<W: io::Write>(tar: &mut tar::Builder<W>, name: &str, content: &[u8]) -> io::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    // Any fixed time will do; tar programs complain about the epoch itself.
    header.set_mtime(315_532_800);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, name, content)
}
