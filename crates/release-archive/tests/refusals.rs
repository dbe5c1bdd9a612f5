//! Job archives that the director refuses, each with the original's text and code.

use release_archive::tarball::Writer;
use release_archive::{JobArchive, job_spec};

fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let mut tar = Writer::new(Vec::new());
    for (name, content) in files {
        tar.file(name, 0o644, content.as_bytes()).unwrap();
    }
    tar.finish().unwrap()
}

fn read(files: &[(&str, &str)]) -> Result<JobArchive, job_spec::Error> {
    JobArchive::read("web", "v1", std::io::Cursor::new(archive(files)))
}

fn refusal(spec: &str) -> (u32, String) {
    let spec = format!("name: web\n{spec}");
    let error = read(&[("job.MF", &spec), ("monit", "")]).unwrap_err();
    (error.code(), error.to_string())
}

#[test]
fn every_fault_of_a_job_archive_has_its_code_and_text() {
    let error = JobArchive::read("web", "v1", &b"no archive"[..]).unwrap_err();
    assert_eq!(error.code(), 80000);
    assert_eq!(
        error.to_string(),
        "Extracting job 'web/v1' archive failed. Check task debug log for details."
    );
    let error = read(&[("monit", "")]).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (80001, "Missing job manifest for 'web'")
    );
    let error = read(&[("job.MF", "name: web\n")]).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (80004, "Job 'web' is missing monit file")
    );
    let error = read(&[("job.MF", "name: other\n"), ("monit", "")]).unwrap_err();
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (
            80016,
            "Inconsistent name for job 'web'(exptected: 'web', got: 'other')"
        )
    );
    let duplicate = "provides: [{name: a, type: t}, {name: a, type: u}]";
    let table = [
        (
            "templates: {a.erb: bin/a}",
            80002,
            "Missing template file 'a.erb' for job 'web'",
        ),
        ("logs: []", 80005, "Job 'web' has invalid logs spec format"),
        (
            "properties: []",
            80008,
            "Job 'web' has invalid properties spec format",
        ),
        (
            "packages: {}",
            80012,
            "Job 'web' has invalid package spec format",
        ),
        (
            "provides: {}",
            80013,
            "Job 'web' has invalid spec format: 'provides' must be an array of hashes with name and type",
        ),
        (
            "provides: [a]",
            80013,
            "Provides section in the release spec must be a list of hashes",
        ),
        (
            "consumes: [{name: a}]",
            80013,
            "Each consumes item in the consumes section of the release spec must contain 'name' and 'type'",
        ),
        (
            "provides: [{name: a, type: t, optional: true}]",
            80013,
            "Link 'a' of type 't' is a provides link, not allowed to have 'optional' key",
        ),
        (
            duplicate,
            80014,
            "Job 'web' specifies duplicate provides link with name 'a'",
        ),
    ];
    for (spec, code, text) in table {
        assert_eq!(refusal(spec), (code, text.to_owned()), "{spec}");
    }
}

#[test]
fn a_good_job_archive_keeps_the_order_and_the_types_of_its_spec() {
    let spec = "name: web\ntemplates: {z.erb: bin/z, a.erb: a}\nproperties:\n  z.b: {default: yes}\n  a: {default: 0644}\n";
    let files = [
        ("./job.MF", spec),
        ("./templates/a.erb", "A"),
        ("./templates/z.erb", "Z"),
        ("web.monit", "m"),
    ];
    let job = read(&files).unwrap();
    assert_eq!(
        job.spec.templates.keys().collect::<Vec<_>>(),
        ["z.erb", "a.erb"]
    );
    assert_eq!(job.spec.properties.keys().collect::<Vec<_>>(), ["z.b", "a"]);
    // As the original's parser reads them.
    assert_eq!(job.spec.properties["z.b"]["default"], true);
    assert_eq!(job.spec.properties["a"]["default"], 420);
    assert_eq!(job.monit, b"m");
    assert_eq!(job.templates["z.erb"], b"Z");
}

#[test]
fn an_entry_that_leads_outside_of_the_folder_is_refused() {
    // The writer refuses such names, so the header is made by hand.
    let mut header = tar::Header::new_gnu();
    let name = b"../outside";
    header.as_old_mut().name[..name.len()].copy_from_slice(name);
    header.set_size(1);
    header.set_mode(0o644);
    header.set_cksum();
    let mut tar = tar::Builder::new(Vec::new());
    tar.append(&header, &b"x"[..]).unwrap();
    let bytes = tar.into_inner().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let inside = folder.path().join("in");
    std::fs::create_dir(&inside).unwrap();
    let error = release_archive::tarball::unpack(std::io::Cursor::new(bytes), &inside).unwrap_err();
    assert!(
        error.to_string().contains("outside of its folder"),
        "{error}"
    );
    assert!(!folder.path().join("outside").exists());
}
