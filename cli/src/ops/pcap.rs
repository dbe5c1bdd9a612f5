//! `pcap` (spec cli §14.4): tcpdump on many instances over ssh, all packets in one file.
//!
//! On each instance a shell runs tcpdump and waits for the end of its own input: closing that is how capturing is
//! stopped, so that the last packets still come.

use super::packets::{Packet, Source, write_header, write_packet};
use super::ssh::{Access, Connection, Program, interrupted, label};
use super::{Context, Session};
use crate::commands::PcapArgs;
use crate::commands::slugs::PoolOrInstanceSlug;
use crate::error::{Error, Result, Within};
use crate::ui::Table;
use std::sync::Arc;
use tokio::io::AsyncReadExt;
use tokio::process::Child;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

const LONGEST_NAME: usize = 16;
const LONGEST_FILTER: usize = 5000;

pub async fn capture(context: &Context, args: PcapArgs) -> Result<()> {
    check(&args).map_err(|text| Error::message(format!("invalid pcap cmd options: {text}")))?;
    let session = context.connect_deployment().await?;
    let connection = Connection::new(&session, &args.gateway, Vec::new()).await?;
    let slugs = PoolOrInstanceSlug::or_all(args.slugs.clone());
    let access = Access::open(&session, slugs).await?;
    let result = run(&session, &access, &connection, &args).await;
    access.close(&session).await;
    result
}

fn check(args: &PcapArgs) -> Result<(), String> {
    let name = &args.interface;
    let wrong = |text: String| Err(format!("validate network interface name: {text}"));
    if name.len() > LONGEST_NAME {
        return wrong(format!("name too long: {} > {LONGEST_NAME}", name.len()));
    }
    if matches!(name.as_str(), "." | "..") {
        return wrong(format!("invalid name: '{name}'"));
    }
    for (at, letter) in name.char_indices() {
        match letter {
            '/' | ':' => {
                return wrong(format!(
                    "illegal character: validation failed at pos. {at}: '{letter}'"
                ));
            }
            letter if letter.is_whitespace() => {
                return wrong(format!("validation failed: whitespace at pos {at}"));
            }
            _ => {}
        }
    }
    if args.filter.len() > LONGEST_FILTER {
        return Err(format!(
            "expected filter to be at most {LONGEST_FILTER} characters, received {}",
            args.filter.len()
        ));
    }
    Ok(())
}

async fn run(
    session: &Session,
    access: &Access,
    connection: &Connection,
    args: &PcapArgs,
) -> Result<()> {
    show_hosts(session, access);
    session.ui.confirm()?;
    let script = script(args);
    let (stop, stopped) = watch::channel(false);
    let (packets, arriving) = mpsc::channel(64);
    let (started, mut starts) = mpsc::channel(access.hosts().len());
    let logins = Arc::new(Semaphore::new(session.settings.parallel));
    let mut captures = JoinSet::new();
    for host in access.hosts() {
        let words = ["bash".to_owned(), "-c".to_owned(), quoted(&script)];
        let program = Program::new("ssh", connection.ssh(access, host, &words, true));
        let one = Capture {
            name: label(host),
            packets: packets.clone(),
            started: started.clone(),
            stopped: stopped.clone(),
            timeout: args.stop_timeout,
        };
        let logins = logins.clone();
        captures.spawn(async move { one.run(program, &logins).await });
    }
    drop((packets, started));
    let interrupted = interrupted(true);
    tokio::pin!(interrupted);
    let starting = async {
        let mut failed = 0;
        while let Some((name, outcome)) = starts.recv().await {
            if let Err(why) = outcome {
                failed += 1;
                session.ui.error_line(format!(
                    "Capture cannot be started on the instance {name} due to error: {why}. \nContinue on other instances"
                ));
            }
        }
        if failed == access.hosts().len() {
            return Err(Error::message("starting of all pcap captures failed"));
        }
        Ok(())
    };
    tokio::select! {
        started = starting => started?,
        // The caller takes the users away that were made for the captures.
        _ = &mut interrupted => return Err(Error::message("Interrupted")),
    }
    let write = write(&args.output, args.snaplen, arriving);
    tokio::pin!(write);
    let result = tokio::select! {
        // All captures ended by themselves.
        result = &mut write => result,
        _ = &mut interrupted => {
            for host in access.hosts() {
                session.ui.line(format!(
                    "Stop capture on {}, waiting {:.0} seconds for data to flush",
                    label(host),
                    args.stop_timeout.as_secs_f64()
                ));
            }
            let _ = stop.send(true);
            session.ui.line("Wait for session has been finished");
            write.await
        }
    };
    captures.join_all().await;
    session.ui.line("Capture finished");
    result.within(|| "write to output file failed")
}

fn show_hosts(session: &Session, access: &Access) {
    let mut table = Table::new("", &["Instance Group", "ID", "IP"]);
    table.title = Some("Expected VMs for SSH capture".to_owned());
    table.rows = access
        .hosts()
        .iter()
        .map(|host| {
            vec![
                host.job.as_str().into(),
                host.id.as_str().into(),
                host.ip.as_str().into(),
            ]
        })
        .collect();
    let count = table.rows.len();
    table.notes = vec![format!("Traffic on {count} VM(s) will be captured.")];
    if count > 5 {
        table.notes.push("\nWarning: This could cause significant load for various components and could result in a very large capture file. Use at your own discretion.".to_owned());
    }
    session.ui.table(table);
}

/// The capture's own connection is left out of it.
fn script(args: &PcapArgs) -> String {
    let filter = match args.filter.trim() {
        "" => String::new(),
        filter => format!(" and ({filter})"),
    };
    format!(
        "set -- $SSH_CONNECTION; exec 3<&0; sudo tcpdump -U -w - -i {} -s {} \"not (host $1 and port $2)\"{} & pid=$!; (cat <&3 >/dev/null; sudo kill -TERM $pid) 2>/dev/null & wait $pid",
        quoted(&args.interface),
        args.snaplen,
        quoted(&filter),
    )
}

/// One word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// The capture on one instance.
struct Capture {
    name: String,
    packets: mpsc::Sender<Packet>,
    /// Told once whether packets will come.
    started: mpsc::Sender<(String, Result<(), String>)>,
    stopped: watch::Receiver<bool>,
    timeout: std::time::Duration,
}

impl Capture {
    async fn run(mut self, program: Program, logins: &Semaphore) {
        let opened = {
            let _turn = logins.acquire().await;
            self.open(&program).await
        };
        let (outcome, running) = match opened {
            Ok(running) => (Ok(()), Some(running)),
            Err(why) => (Err(why), None),
        };
        // The receiver is only gone when the program ends.
        let _ = self.started.send((self.name.clone(), outcome)).await;
        // Lets the receiver see that all have reported.
        let (nobody, _) = mpsc::channel(1);
        self.started = nobody;
        if let Some((child, source)) = running {
            self.pass_on(child, source).await;
        }
    }

    async fn open(
        &mut self,
        program: &Program,
    ) -> Result<(Child, Source<tokio::process::ChildStdout>), String> {
        let mut child = program.spawn_binary().map_err(|error| error.to_string())?;
        let (Some(stdout), Some(mut stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err("ssh has no output".to_owned());
        };
        let said = tokio::spawn(async move {
            let mut said = String::new();
            let _ = stderr.read_to_string(&mut said).await;
            said
        });
        if let Some(source) = Source::open(stdout).await? {
            return Ok((child, source));
        }
        let said = said.await.unwrap_or_default();
        let last = said.trim_end().lines().last().unwrap_or_default();
        Err(if last.is_empty() {
            "it ended without a packet".to_owned()
        } else {
            last.to_owned()
        })
    }

    async fn pass_on(&mut self, mut child: Child, mut source: Source<tokio::process::ChildStdout>) {
        let packets = self.packets.clone();
        let pass = async move {
            while let Ok(Some(packet)) = source.next().await {
                if packets.send(packet).await.is_err() {
                    break;
                }
            }
        };
        tokio::pin!(pass);
        let stopped = async {
            // No sender any more: the command ended.
            let _ = self.stopped.wait_for(|stopped| *stopped).await.is_ok();
        };
        tokio::select! {
            () = &mut pass => {}
            () = stopped => {
                drop(child.stdin.take());
                let _ = tokio::time::timeout(self.timeout, pass).await;
            }
        }
        // It ended, or had its time.
        let _ = child.kill().await;
    }
}

/// Writes packets as they come, until nobody sends any more.
async fn write(path: &str, snaplen: u32, mut packets: mpsc::Receiver<Packet>) -> Result<()> {
    let file = fs_err::tokio::File::create(path).await?;
    let mut file = tokio::io::BufWriter::new(file);
    write_header(&mut file, snaplen).await?;
    while let Some(packet) = packets.recv().await {
        write_packet(&mut file, &packet).await?;
        if packets.is_empty() {
            tokio::io::AsyncWriteExt::flush(&mut file).await?;
        }
    }
    tokio::io::AsyncWriteExt::flush(&mut file).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::{Parsed, parse};

    fn args(words: &[&str]) -> PcapArgs {
        let words = ["bosun", "pcap", "-o", "x"].iter().chain(words);
        match parse(words.map(std::ffi::OsString::from)) {
            Ok(Parsed::Run(cli)) => match cli.command {
                crate::commands::Command::Pcap(args) => *args,
                _ => panic!("expected pcap"),
            },
            _ => panic!("expected a command"),
        }
    }

    #[test]
    fn names_of_interfaces_are_checked() {
        assert!(check(&args(&["-i", "eth0"])).is_ok());
        assert_eq!(
            check(&args(&["-i", "a/b"])).unwrap_err(),
            "validate network interface name: illegal character: validation failed at pos. 1: '/'"
        );
        assert!(check(&args(&["-i", "a b"])).is_err());
        assert!(check(&args(&["-i", "name-that-is-too-long"])).is_err());
    }

    #[test]
    fn a_filter_is_one_word_for_the_shell_on_the_other_side() {
        let script = script(&args(&["-f", "port 80 or 'x'; reboot"]));
        assert!(
            script.contains(r"' and (port 80 or '\''x'\''; reboot)'"),
            "{script}"
        );
    }
}
