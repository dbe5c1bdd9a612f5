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

/// `Last lines of <job>/<file>: …` for each process that has some. Best effort: `None` when the agent can't tell.
pub async fn of(work: &Work, row: &Instance, vm: &Vm, processes: &[&str]) -> Option<String> {
    let files = fetch(work, row, vm, "**/*.log").await?;
    joined(processes.iter().filter_map(|name| best(&files, name)))
}

/// The same for a lifecycle script: the agent's error names the jobs whose script failed.
pub async fn of_script(
    work: &Work,
    row: &Instance,
    vm: &Vm,
    script: &str,
    error: &str,
) -> Option<String> {
    let jobs: Vec<&str> = failed_jobs(error);
    if jobs.is_empty() {
        return None;
    }
    let files = fetch(work, row, vm, &format!("*/{script}.std*.log")).await?;
    joined(jobs.iter().filter_map(|job| best(&files, job)))
}

/// `1 of 2 pre-start scripts failed. Failed Jobs: a, b. Successful Jobs: c.`
fn failed_jobs(error: &str) -> Vec<&str> {
    let Some((_, rest)) = error.split_once("Failed Jobs: ") else {
        return Vec::new();
    };
    let names = rest.split_once('.').map_or(rest, |(names, _)| names);
    names
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .collect()
}

fn joined<'a>(files: impl Iterator<Item = &'a LogFile>) -> Option<String> {
    let shown: String = files.map(LogFile::shown).collect();
    (!shown.is_empty()).then_some(shown)
}

async fn fetch(work: &Work, row: &Instance, vm: &Vm, filter: &str) -> Option<Vec<LogFile>> {
    let filters = [filter.to_owned()];
    let fetching = logs::of_instance(work, "job", &filters, row, vm);
    let logs = tokio::time::timeout(PATIENCE, fetching).await.ok()?.ok()?;
    let id = BlobId::new(logs.blob_id);
    let blobs = &work.ctx.services.blobs;
    let bytes = blobs.get_bytes(&id, None).await.ok();
    let _ = blobs.delete(&id).await;
    let bytes = bytes?;
    tokio::task::spawn_blocking(move || tails(&bytes))
        .await
        .ok()
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
    fn the_jobs_whose_script_failed_are_those_the_agent_names() {
        let error = "Action Failed get_task: Task x result: 2 of 3 pre-start scripts failed. Failed Jobs: a, b-c. Successful Jobs: d.";
        assert_eq!(failed_jobs(error), ["a", "b-c"]);
        assert!(failed_jobs("timed out").is_empty());
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
