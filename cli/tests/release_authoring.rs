//! What a release author types, and what is printed and written: exit codes, texts and files are those of the original
//! command line. `BOSUN_TEST_CLI=/path/of/another` runs the same sessions with that program.

mod support;

use regex::Regex;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use support::user::User;

/// Somebody with a release folder `r`.
struct Author(User);

impl Author {
    fn new() -> Self {
        Author(User::new("r"))
    }

    /// With the sample release of the vectors.
    fn with_sample() -> Self {
        let author = Author::new();
        let sample = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../tests/vectors/fingerprints/sample-release/.");
        let copied = Command::new("cp")
            .arg("-a")
            .arg(sample)
            .arg(author.path(""))
            .status();
        assert!(copied.expect("cp runs").success());
        author.write(
            "config/final.yml",
            "name: sample\nblobstore:\n  provider: local\n  options: {blobstore_path: store}\n",
        );
        author
    }

    fn path(&self, below: &str) -> PathBuf {
        self.0.path(below)
    }

    fn write(&self, path: &str, content: &str) {
        self.0.write(path, content);
    }

    fn read(&self, path: &str) -> String {
        self.mask(&self.0.read(path))
    }

    /// What differs from run to run by a word for it.
    fn mask(&self, text: &str) -> String {
        let text = text.replace(self.0.home().to_str().expect("UTF-8"), "$HOME");
        let uuid = Regex::new("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}").expect("valid");
        let digest = Regex::new("sha256:[0-9a-f]{64}").expect("valid");
        let text = uuid.replace_all(&text, "UUID").into_owned();
        digest.replace_all(&text, "DIGEST").into_owned()
    }

    /// Runs a command that has to succeed; what it prints.
    fn succeed(&self, arguments: &[&str]) -> String {
        self.mask(&self.0.succeed(arguments))
    }

    /// Runs a command that has to fail; what it says, without `Exit code 1`.
    fn fail(&self, arguments: &[&str]) -> String {
        let error = self.mask(&self.0.fail(arguments));
        error
            .strip_suffix("Exit code 1\n")
            .unwrap_or_else(|| panic!("{arguments:?}: {error}"))
            .to_owned()
    }

    fn git(&self, arguments: &[&str]) {
        let git = Command::new("git")
            .args(["-c", "user.name=a", "-c", "user.email=a@b"])
            .args(arguments)
            .current_dir(self.path(""))
            .output()
            .expect("git runs");
        assert!(git.status.success(), "{arguments:?}");
    }
}

const LIBS: &str = "9b20c9fb5f5df89de4685752ee9c4e78b8880bf23c8d682cb8d2e991e3cc81fa";
const RUNTIME: &str = "23381fa270b6758ddb8e37f9d557d75bf3ada5ef49047c754c21577a50d8b118";

#[test]
fn a_release_is_started_from_nothing() {
    let author = Author::new();
    std::fs::create_dir(author.path("shop-release")).expect("a folder");
    author.succeed(&["init-release", "--git", "--dir", "shop-release"]);
    assert_eq!(author.read("shop-release/config/final.yml"), "name: shop\n");
    assert_eq!(author.read("shop-release/config/blobs.yml"), "--- {}\n");
    assert_eq!(
        author.read("shop-release/.gitignore"),
        "config/private.yml\nblobs\ndev_releases\nreleases/*.tgz\nreleases/**/*.tgz\n.dev_builds\n\
         .final_builds/jobs/**/*.tgz\n.final_builds/packages/**/*.tgz\n.DS_Store\n.idea\n*.swp\n*~\n*#\n#*\n"
    );
    for folder in ["jobs", "packages", "src", ".git"] {
        assert!(
            author.path("shop-release").join(folder).is_dir(),
            "{folder}"
        );
    }

    author.succeed(&["generate-job", "web", "--dir", "shop-release"]);
    assert_eq!(
        author.read("shop-release/jobs/web/spec"),
        "---\nname: web\n\ntemplates: {}\n\npackages: []\n\nproperties: {}\n"
    );
    assert_eq!(author.read("shop-release/jobs/web/monit"), "");
    assert!(author.path("shop-release/jobs/web/templates").is_dir());
    author.succeed(&["generate-package", "tool", "--dir", "shop-release"]);
    assert_eq!(
        author.read("shop-release/packages/tool/spec"),
        "---\nname: tool\n\ndependencies: []\n\nfiles: []\n"
    );
    assert_eq!(
        author.read("shop-release/packages/tool/packaging"),
        "set -e\n"
    );
    assert_eq!(
        author.fail(&["generate-job", "web", "--dir", "shop-release"]),
        "Job 'web' at 'shop-release/jobs/web' already exists\n"
    );
    assert_eq!(
        author.fail(&["generate-package", "tool", "--dir", "shop-release"]),
        "Package 'tool' at 'shop-release/packages/tool' already exists\n"
    );
    assert_eq!(
        author.fail(&["create-release"]),
        "Check that you're in the top-level of the release directory:\n  \
         Expected non-empty 'name' in config '$HOME/r/config/final.yml'\n"
    );

    // What else the configuration says stays.
    author.write(
        "config/final.yml",
        "final_name: old\nblobstore:\n  provider: s3\n  options: {bucket_name: b, a: 1}\nno_compression: true\n",
    );
    author.succeed(&["init-release"]);
    assert_eq!(
        author.read("config/final.yml"),
        "name: r\nblobstore:\n  provider: s3\n  options:\n    a: 1\n    bucket_name: b\nno_compression: true\n"
    );
}

#[test]
fn blobs_are_tracked_uploaded_and_brought_back() {
    let author = Author::new();
    author.write(
        "config/final.yml",
        "name: r\nblobstore: {provider: local, options: {blobstore_path: store}}\n",
    );
    author.write("config/blobs.yml", "--- {}\n");
    author.write("f", "hello");
    assert_eq!(
        author.succeed(&["add-blob", "f", "dir/f.txt", "--tty"]),
        "Added blob 'dir/f.txt'\n\nSucceeded\n"
    );
    assert_eq!(
        author.read("config/blobs.yml"),
        "dir/f.txt:\n  size: 5\n  sha: DIGEST\n"
    );
    assert_eq!(
        author.succeed(&["blobs"]),
        "dir/f.txt\t5 B\t(local)\tDIGEST\t\n"
    );
    assert_eq!(
        author.succeed(&["upload-blobs", "--tty"]),
        "Blob upload 'dir/f.txt' (5 B) (sha1: DIGEST) started\n\
         Blob upload 'dir/f.txt' (id: UUID) finished\n\nSucceeded\n"
    );
    assert_eq!(author.succeed(&["upload-blobs", "--tty"]), "Succeeded\n");
    assert_eq!(
        author.read("config/blobs.yml"),
        "dir/f.txt:\n  size: 5\n  object_id: UUID\n  sha: DIGEST\n"
    );

    // One that is wrong is fetched again, one that nobody knows goes.
    author.write("blobs/dir/f.txt", "other");
    author.write("blobs/unknown", "");
    assert_eq!(
        author.succeed(&["sync-blobs", "--tty"]),
        "Blob download 'dir/f.txt' (5 B) (id: UUID sha1: DIGEST) started\n\
         Blob download 'dir/f.txt' (id: UUID) finished\n\nSucceeded\n"
    );
    assert_eq!(author.read("blobs/dir/f.txt"), "hello");
    assert!(!author.path("blobs/unknown").exists());

    for path in ["../f", "/f"] {
        assert_eq!(
            author.fail(&["add-blob", "f", path]),
            format!("Tracking blob:\n  Invalid blob path '{path}': must be a safe local path\n")
        );
    }
    assert_eq!(
        author.fail(&["add-blob", "nope", "x"]),
        "Opening blob:\n  open nope: no such file or directory\n"
    );
    std::os::unix::fs::symlink("/etc", author.path("blobs/link")).expect("a link");
    assert_eq!(
        author.fail(&["sync-blobs"]),
        "Downloading blobs:\n  Bailing because symlinks found in blobs directory. If switching from CLI v1, please \
         use the `reset-release` command.\n"
    );
    std::fs::remove_file(author.path("blobs/link")).expect("the link");

    std::fs::remove_dir_all(author.path("store")).expect("the store");
    std::fs::remove_dir_all(author.path("blobs")).expect("blobs");
    assert_eq!(
        author.fail(&["sync-blobs"]),
        "Blob download 'dir/f.txt' (id: UUID) failed\n\
         Downloading blobs:\n  - Getting blob 'UUID' for path 'dir/f.txt':\n      \
         Getting blob from inner blobstore:\n        Getting blob from inner blobstore:\n          \
         Copying file:\n            Opening source path:\n              \
         open $HOME/r/store/UUID: no such file or directory\n"
    );
    for _ in 0..2 {
        assert_eq!(
            author.succeed(&["remove-blob", "dir/f.txt", "--tty"]),
            "Removed blob 'dir/f.txt'\n\nSucceeded\n"
        );
    }
    assert_eq!(author.read("config/blobs.yml"), "{}\n");
}

#[test]
fn final_releases_are_made_of_development_releases_and_of_tarballs() {
    let author = Author::with_sample();
    let made = author.succeed(&["create-release", "--final", "--tty"]);
    for line in [
        format!("Adding package 'libs/{LIBS}'...\n"),
        format!("Added package 'libs/{LIBS}'\n"),
        "Added dev release 'sample/0+dev.1'\n".to_owned(),
        format!("-- Started uploading 'libs/{LIBS}' (sha1=DIGEST)\n"),
        format!("-- Finished uploading 'libs/{LIBS}' (sha1=DIGEST)\n"),
        "Added final release 'sample/1'\n".to_owned(),
    ] {
        assert!(made.contains(&line), "{line} in {made}");
    }
    assert_eq!(
        author.read(".final_builds/packages/libs/index.yml"),
        format!(
            "builds:\n  {LIBS}:\n    version: {LIBS}\n    blobstore_id: UUID\n    sha1: DIGEST\nformat-version: \"2\"\n"
        )
    );
    assert_eq!(
        author.read(".dev_builds/packages/libs/index.yml"),
        format!(
            "builds:\n  {LIBS}:\n    version: {LIBS}\n    sha1: DIGEST\nformat-version: \"2\"\n"
        )
    );
    assert_eq!(
        author.read("releases/sample/index.yml"),
        "builds:\n  UUID:\n    version: \"1\"\nformat-version: \"2\"\n"
    );
    assert_eq!(
        author.fail(&["create-release", "--final", "--version", "1"]),
        "Release 'sample' version '1' already exists\n"
    );
    author.succeed(&["create-release", "--tarball", "((name))-((version)).tgz"]);
    let listed = author.succeed(&["inspect-local-release", "sample-1+dev.1.tgz", "--tty"]);
    assert!(
        listed.contains("Archive      sample-1+dev.1.tgz  \n"),
        "{listed}"
    );
    assert!(
        listed.contains("2 jobs\n") && listed.contains("3 packages\n"),
        "{listed}"
    );

    let finished = author.succeed(&["finalize-release", "sample-1+dev.1.tgz", "--tty"]);
    assert!(
        finished.contains("Added final release 'sample/2'\n"),
        "{finished}"
    );
    assert!(!finished.contains("uploading"), "{finished}");
    let other = [
        "finalize-release",
        "sample-1+dev.1.tgz",
        "--name",
        "other",
        "--version",
        "9",
    ];
    author.succeed(&other);
    assert_eq!(
        author.fail(&other),
        "Release 'other' version '9' already exists\n"
    );
    assert!(author.path("releases/other/other-9.yml").exists());
    assert_eq!(
        author.fail(&["finalize-release", "nope.tgz"]),
        "stat nope.tgz: no such file or directory\n"
    );

    // Elsewhere, all comes from the blobstore; and without that, it is said what is missing.
    author.succeed(&["reset-release"]);
    std::fs::remove_dir_all(author.0.home().join(".bosh/cache")).expect("the cache");
    let rebuilt = author.succeed(&[
        "create-release",
        "releases/sample/sample-1.yml",
        "--tarball",
        "one.tgz",
        "--tty",
    ]);
    let line = format!("-- Finished downloading 'libs/{LIBS}' (sha1=DIGEST)\n");
    assert!(rebuilt.contains(&line), "{rebuilt}");
    assert_eq!(
        author.fail(&["create-release", "--tarball", "."]),
        "invalid argument for flag `--tarball' (expected opts.FileArg): Path must not be directory\n"
    );
    assert_eq!(
        author.fail(&["create-release", "--version", "a b"]),
        "invalid argument for flag `--version' (expected opts.VersionArg): Expected version 'a b' to match version format\n"
    );
}

#[test]
fn digests_of_a_tarball_are_rewritten_and_nothing_else() {
    let author = Author::with_sample();
    author.succeed(&["create-release", "--tarball", "new.tgz"]);
    author.succeed(&["sha1ify-release", "new.tgz", "old.tgz"]);
    author.succeed(&["sha2ify-release", "old.tgz", "newer.tgz"]);
    let manifest = |tarball: &str| {
        let output = Command::new("tar")
            .args(["-xOf", tarball, "release.MF"])
            .current_dir(author.path(""))
            .output()
            .expect("tar runs");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let (new, old) = (manifest("new.tgz"), manifest("old.tgz"));
    assert_eq!(new, manifest("newer.tgz"));
    let plain = Regex::new("(?m)^  sha1: [0-9a-f]{40}$").expect("valid");
    assert_eq!(plain.find_iter(&old).count(), 6, "{old}");
    let without = |text: &str| {
        Regex::new("(?m)^  sha1: .*\n")
            .expect("valid")
            .replace_all(text, "")
            .into_owned()
    };
    assert_eq!(without(&old), without(&new));
    assert_eq!(
        author.fail(&["sha1ify-release", "nope.tgz", "x.tgz"]),
        "Extracting release:\n  Resolving tarball path:\n    lstat nope.tgz: no such file or directory\n"
    );
}

#[test]
fn a_package_is_taken_over_with_what_it_depends_on() {
    let author = Author::with_sample();
    let source = author.path("").to_str().expect("UTF-8").to_owned();
    author.write(
        "shop/config/final.yml",
        "name: shop\nblobstore: {provider: local, options: {blobstore_path: store}}\n",
    );
    author.write("shop/config/blobs.yml", "--- {}\n");
    let vendor = |package: &str, more: &[&str]| {
        let arguments = [&["vendor-package", package, &source, "--dir", "shop"], more].concat();
        author.0.run(&arguments)
    };
    let said = |output: &Output| author.mask(&String::from_utf8_lossy(&output.stderr));
    let none = "Expected to find at least one dev or final version\nExit code 1\n";
    assert_eq!(said(&vendor("app", &[])), none);
    author.succeed(&["create-release"]);
    assert_eq!(
        said(&vendor("nope", &[])),
        "Expected to find package 'nope'\nExit code 1\n"
    );

    author.write("shop/packages/x-app/spec", "what was there before");
    let taken = vendor("app", &["--prefix", "x", "--tty"]);
    assert!(taken.status.success(), "{}", said(&taken));
    let line = format!("Added package 'x-libs/{LIBS}'\n");
    assert!(String::from_utf8_lossy(&taken.stdout).contains(&line));
    assert!(!author.path("shop/packages/x-app/spec").exists());
    let lock = author.read("shop/packages/x-app/spec.lock");
    assert!(lock.starts_with("name: x-app\nfingerprint: "), "{lock}");
    assert!(
        lock.ends_with("\ndependencies:\n- x-runtime\n- x-libs\n"),
        "{lock}"
    );
    assert_eq!(
        author.read("shop/packages/x-runtime/spec.lock"),
        format!("name: x-runtime\nfingerprint: {RUNTIME}\n")
    );
    let made = author.succeed(&["create-release", "--dir", "shop"]);
    assert!(made.contains(&format!("x-libs/{LIBS}")), "{made}");

    std::fs::remove_dir_all(author.path("shop/.final_builds")).expect("the index");
    let missing = author.fail(&["create-release", "--dir", "shop"]);
    assert!(
        missing.contains(&format!("  - Expected to find 'x-libs/{LIBS}'\n")),
        "{missing}"
    );
}

#[test]
fn the_state_of_the_repository_decides_whether_a_release_may_be_made() {
    let author = Author::with_sample();
    let version_and_commit = |output: String| {
        let lines: Vec<_> = output.lines().map(str::trim).map(str::to_owned).collect();
        (lines[1].clone(), lines[2].clone())
    };
    let made = |arguments: &[&str]| version_and_commit(author.succeed(arguments));
    assert_eq!(
        made(&["create-release"]),
        ("0+dev.1".to_owned(), "non-git".to_owned())
    );
    author.git(&["init", "-q"]);
    author.write(".gitignore", "blobs\ndev_releases\n.dev_builds\n");
    let dirty = author.fail(&["create-release"]);
    assert!(
        dirty.starts_with("Git repository has local modifications:\n\n?? .gitignore\n?? LICENSE\n"),
        "{dirty}"
    );
    assert_eq!(
        made(&["create-release", "--force"]),
        ("0+dev.2".to_owned(), "empty+".to_owned())
    );
    author.git(&["add", "-A"]);
    author.git(&["commit", "-qm", "x"]);
    let (_, clean) = made(&["create-release"]);
    assert!(clean.len() >= 7 && !clean.ends_with('+'), "{clean}");
    author.write("new", "");
    assert_eq!(
        author.fail(&["create-release"]),
        "Git repository has local modifications:\n\n?? new\n"
    );
    assert_eq!(
        made(&["create-release", "--force"]),
        ("0+dev.4".to_owned(), format!("{clean}+"))
    );
    author.succeed(&["create-release", "--force", "--tarball", "../t.tgz"]);
    assert_eq!(
        author.fail(&["finalize-release", "../t.tgz"]),
        "Git repository has local modifications:\n\n?? new\n"
    );
    author.succeed(&["finalize-release", "../t.tgz", "--force"]);
}

#[test]
fn links_modes_and_odd_names_are_packed_as_they_are() {
    let author = Author::with_sample();
    author.write(
        "packages/libs/spec",
        "name: libs\nfiles: [\"d/**/*\"]\nexcluded_files: [\"**/no\", none]\n",
    );
    author.write("src/d/é x", "");
    author.write("src/d/private/.dot", "");
    author.write("src/d/no", "");
    author.write(&format!("src/d/{0}/{0}/f", "l".repeat(90)), "");
    std::fs::create_dir(author.path("src/d/empty")).expect("a folder");
    std::os::unix::fs::symlink("/nowhere", author.path("src/d/dangling")).expect("a link");
    let private = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(author.path("src/d/private"), private).expect("a mode");
    author.succeed(&["create-release", "--tarball", "t.tgz"]);
    let script =
        "tar -xf t.tgz packages/libs.tgz && tar -tvf packages/libs.tgz --quoting-style=literal";
    let listing = Command::new("sh")
        .args(["-c", script])
        .current_dir(author.path(""))
        .output()
        .expect("tar runs");
    let listing = String::from_utf8(listing.stdout).expect("UTF-8");
    let entries: Vec<String> = listing
        .lines()
        .map(|line| {
            let mode = &line[..10];
            let name = &line[line.find("./").expect("a name")..];
            format!("{mode} {name}")
        })
        .collect();
    let long = "l".repeat(90);
    let mut expected = vec![
        "drwxr-xr-x ./".to_owned(),
        "drwxr-xr-x ./d/".to_owned(),
        "lrwxrwxrwx ./d/dangling -> /nowhere".to_owned(),
        format!("drwxr-xr-x ./d/{long}/"),
        format!("drwxr-xr-x ./d/{long}/{long}/"),
        format!("-rw-r--r-- ./d/{long}/{long}/f"),
        "drwx------ ./d/private/".to_owned(),
        "-rw-r--r-- ./d/private/.dot".to_owned(),
        "-rw-r--r-- ./d/é x".to_owned(),
        "-rw-r--r-- ./packaging".to_owned(),
    ];
    let mut entries = entries;
    entries.sort();
    expected.sort();
    assert_eq!(entries, expected);
}

#[test]
fn a_stemcell_is_repacked_with_other_properties_and_without_its_image() {
    let author = Author::new();
    author.write(
        "s/stemcell.MF",
        "name: bosh-x\nversion: 1.10\noperating_system: ubuntu-jammy\nsha1: abc\nbosh_protocol: 1\napi_version: 3\n\
         extra: y\nstemcell_formats: [a]\ncloud_properties: {infrastructure: aws, z: 1}\n",
    );
    author.write("s/image", "an image");
    author.write("s/packages.txt", "");
    let packed = Command::new("tar")
        .args(["-czf", "../s.tgz", "stemcell.MF", "packages.txt", "image"])
        .current_dir(author.path("s"))
        .status();
    assert!(packed.expect("tar runs").success());
    assert_eq!(
        author.succeed(&["inspect-local-stemcell", "s.tgz"]),
        "bosh-x\tubuntu-jammy\t1.10\taws\t-\t\n"
    );
    author.succeed(&["repack-stemcell", "s.tgz", "same.tgz"]);
    author.succeed(&[
        "repack-stemcell",
        "s.tgz",
        "other.tgz",
        "--name",
        "n",
        "--version",
        "2.0",
        "--empty-image",
        "--format",
        "x",
        "--format",
        "y",
        "--cloud-properties",
        "{z: 2, new: {a: yes}}",
    ]);
    for (tarball, manifest, image) in [
        (
            "same.tgz",
            "name: bosh-x\nversion: \"1.10\"\noperating_system: ubuntu-jammy\nsha1: abc\nbosh_protocol: \"1\"\n\
             stemcell_formats:\n- a\napi_version: 3\ncloud_properties:\n  infrastructure: aws\n  z: 1\n",
            "an image",
        ),
        (
            "other.tgz",
            "name: \"n\"\nversion: \"2.0\"\noperating_system: ubuntu-jammy\nsha1: abc\nbosh_protocol: \"1\"\n\
             stemcell_formats:\n- x\n- \"y\"\napi_version: 3\ncloud_properties:\n  infrastructure: aws\n  new:\n    \
             a: true\n  z: 2\n",
            "",
        ),
    ] {
        let folder = author.path(&format!("out-{tarball}"));
        std::fs::create_dir(&folder).expect("a folder");
        let listed = Command::new("tar")
            .arg("-xvf")
            .arg(author.path(tarball))
            .current_dir(&folder)
            .output()
            .expect("tar runs");
        let listed = String::from_utf8(listed.stdout).expect("UTF-8");
        assert_eq!(listed, "image\npackages.txt\nstemcell.MF\n", "{tarball}");
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a file");
        assert_eq!(read("stemcell.MF"), manifest, "{tarball}");
        assert_eq!(read("image"), image, "{tarball}");
    }
    assert_eq!(
        author.fail(&["inspect-local-stemcell", "nope.tgz"]),
        "Opening archive:\n  open nope.tgz: no such file or directory\n"
    );
}
