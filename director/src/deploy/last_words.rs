//! The last log lines of jobs that did not come up, for the error that the user reads.

use std::io::Read;
use std::time::Duration;

use domain::BlobId;
use flate2::read::GzDecoder;

use super::work::Work;
use crate::logs;
use crate::store::instances::Instance;
use crate::store::vms::Vm;

/// Fetching them must not make a failed deploy much longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Lines shown per process, and how far back in a file they are looked for.
const LINES: usize = 5;
const TAIL: usize = 4096;

/// More logs than this are not looked through.
const MOST: u64 = 64 << 20;

/// `<job>/<file>: <last lines>` for each process that has some. Best effort: `None` when the agent can't tell.
pub async fn of(work: &Work, row: &Instance, vm: &Vm, processes: &[&str]) -> Option<String> {
    let names: Vec<String> = processes.iter().map(|name| (*name).to_owned()).collect();
    let filters = ["**/*.log".to_owned()];
    let fetching = logs::of_instance(work, "job", &filters, row, vm);
    let logs = tokio::time::timeout(PATIENCE, fetching).await.ok()?.ok()?;
    let id = BlobId::new(logs.blob_id);
    let blobs = &work.ctx.services.blobs;
    let bytes = blobs.get_bytes(&id, None).await.ok();
    let _ = blobs.delete(&id).await;
    let bytes = bytes?;
    let files = tokio::task::spawn_blocking(move || tails(&bytes))
        .await
        .ok()?;
    let shown: Vec<String> = names
        .iter()
        .filter_map(|name| best(&files, name))
        .map(LogFile::shown)
        .collect();
    (!shown.is_empty()).then(|| shown.join(" "))
}

/// The end of one log file.
struct LogFile {
    path: String,
    modified: u64,
    lines: Vec<String>,
}

impl LogFile {
    fn shown(&self) -> String {
        format!(
            "Last lines of {}:\n  {}\n",
            self.path,
            self.lines.join("\n  ")
        )
    }
}

fn tails(archive: &[u8]) -> Vec<LogFile> {
    let mut files = Vec::new();
    let mut tar = tar::Archive::new(GzDecoder::new(archive).take(MOST));
    for entry in tar.entries().into_iter().flatten() {
        let Ok(mut entry) = entry else { break };
        let path = entry
            .path()
            .map(|path| path.to_string_lossy().trim_start_matches("./").to_owned());
        let (Ok(path), modified) = (path, entry.header().mtime().unwrap_or(0)) else {
            continue;
        };
        let mut content = Vec::new();
        if entry.read_to_end(&mut content).is_err() {
            break;
        }
        let tail = &content[content.len().saturating_sub(TAIL)..];
        let text = String::from_utf8_lossy(tail);
        let lines: Vec<String> = text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(str::to_owned)
            .collect();
        let lines = lines[lines.len().saturating_sub(LINES)..].to_vec();
        if !lines.is_empty() {
            files.push(LogFile {
                path,
                modified,
                lines,
            });
        }
    }
    files
}

/// The file that says most of a process: one of its name before another, errors before output, newer before
/// older.
fn best<'a>(files: &'a [LogFile], process: &str) -> Option<&'a LogFile> {
    let named = |file: &LogFile| {
        let (job, name) = file.path.split_once('/').unwrap_or(("", &file.path));
        (
            job == process || process.starts_with(job) && !job.is_empty(),
            name.contains(process),
        )
    };
    let score = |file: &&LogFile| (named(file), file.path.contains("stderr"), file.modified);
    files.iter().max_by_key(score)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(files: &[(&str, u64, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(flate2::write::GzEncoder::new(
            Vec::new(),
            flate2::Compression::fast(),
        ));
        for (path, modified, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mtime(*modified);
            header.set_mode(0o640);
            header.set_cksum();
            tar.append_data(&mut header, path, content.as_bytes())
                .unwrap();
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn the_errors_of_the_failing_job_are_shown_before_newer_ones_of_others() {
        let files = tails(&archive(&[
            ("web/web.stdout.log", 9, "started\n"),
            (
                "web/web.stderr.log",
                5,
                "1\n2\n3\n\n4\n5\ncan't open port\n",
            ),
            ("other/other.stderr.log", 8, "nothing\n"),
            ("web/empty.log", 10, "\n"),
        ]));
        let shown = best(&files, "web").unwrap().shown();
        assert_eq!(
            shown,
            "Last lines of web/web.stderr.log:\n  2\n  3\n  4\n  5\n  can't open port\n"
        );
    }
}
