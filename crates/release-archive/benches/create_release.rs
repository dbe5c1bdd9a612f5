//! What `create-release` of a large tree costs: `cargo bench -p release-archive`.
//!
//! Builds a release of ten packages, half of it text and half of it noise, 500 MB unless `BOSUN_BENCH_MB` says
//! otherwise, then writes its tarball. Prints seconds and the peak of resident memory, which must not grow with the
//! tree.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use release_archive::{CreateOptions, ReleaseDir};

const PACKAGES: u64 = 10;
const MIB: u64 = 1024 * 1024;

fn main() {
    let size = std::env::var("BOSUN_BENCH_MB")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(500);
    let folder = tempfile::tempdir().expect("a folder");
    let root = folder.path().join("release");
    write_release(&root, size * MIB / PACKAGES);

    let dir = ReleaseDir::open(&root, folder.path().join("cache")).at_once(5);
    let start = Instant::now();
    let release = dir
        .create_release(&CreateOptions::default(), &mut ())
        .expect("a release");
    let built = start.elapsed();
    release
        .write_tarball(&folder.path().join("release.tgz"), &Default::default())
        .expect("a tarball");
    let written = start.elapsed() - built;

    let start = Instant::now();
    dir.create_release(&CreateOptions::default(), &mut ())
        .expect("a release");
    println!(
        "create-release of {size} MB: {:.1} s, tarball {:.1} s, again without changes {:.1} s, at most {} MiB resident",
        built.as_secs_f64(),
        written.as_secs_f64(),
        start.elapsed().as_secs_f64(),
        peak_kib() / 1024
    );
}

fn write_release(root: &Path, package_size: u64) {
    let write = |path: &str, content: &str| {
        let path = root.join(path);
        fs_err::create_dir_all(path.parent().expect("a parent")).expect("a folder");
        fs_err::write(path, content).expect("written");
    };
    write("config/final.yml", "name: large\n");
    write("config/blobs.yml", "--- {}\n");
    let mut noise = Noise(1);
    for package in 0..PACKAGES {
        let name = format!("p{package}");
        let spec = format!("name: {name}\ndependencies: []\nfiles: [\"{name}/**/*\"]\n");
        write(&format!("packages/{name}/spec"), &spec);
        write(&format!("packages/{name}/packaging"), "set -e\n");
        let (mut written, mut file) = (0, 0);
        while written < package_size {
            let size = [4_096, 20_000, 100_000, 400_000, 4_000_000][file % 5];
            let path = root.join(format!("src/{name}/d{}/f{file}", file % 20));
            fs_err::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            let mut out = std::io::BufWriter::new(fs_err::File::create(path).expect("a file"));
            let mut left = size;
            let mut line = String::new();
            while left > 0 {
                line.clear();
                let bytes = if file % 2 == 0 {
                    let _ = writeln!(
                        line,
                        "    value_{} = other_{};",
                        noise.next() % 999,
                        left % 77
                    );
                    line.as_bytes().to_vec()
                } else {
                    noise.next().to_le_bytes().to_vec()
                };
                let part = bytes.len().min(left);
                out.write_all(&bytes[..part]).expect("written");
                left -= part;
            }
            written += size as u64;
            file += 1;
        }
    }
}

/// Numbers that look random (xorshift): the same tree on every run.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
}

/// The most memory that this process ever had, in KiB.
fn peak_kib() -> u64 {
    let status = fs_err::read_to_string("/proc/self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or(0)
}
