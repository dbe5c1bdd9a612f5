//! A small deployment of a release whose jobs fail in all ways, for the tests of what goes wrong.

use e2e::{Environment, Run, stemcell};

/// A deployment that comes up; each test changes what it wants to be wrong.
pub const MANIFEST: &str = r#"---
name: faulty
releases:
- name: faulty
  version: "1"
stemcells:
- alias: default
  os: debian-bookworm
  version: latest
update:
  canaries: 1
  max_in_flight: 1
  canary_watch_time: 1000-4000
  update_watch_time: 1000-4000
instance_groups:
- name: group
  instances: 1
  azs: [z1]
  vm_type: default
  stemcell: default
  networks:
  - name: default
  jobs:
  - name: never-up
    release: faulty
    properties:
      never_up:
        fixed: true
"#;

/// The cloud config it is made for; `tiny` has no free address.
pub fn cloud_config(environment: &Environment) -> String {
    let prefix = environment.network_prefix();
    format!(
        "azs:
- name: z1
vm_types:
- name: default
disk_types:
- name: default
  disk_size: 64
networks:
- name: default
  type: manual
  subnets:
  - {{range: {prefix}.0.0/24, gateway: {prefix}.0.1, azs: [z1]}}
- name: tiny
  type: manual
  subnets:
  - {{range: {prefix}.9.0/30, gateway: {prefix}.9.1, azs: [z1], reserved: [{prefix}.9.2]}}
compilation: {{workers: 1, az: z1, vm_type: default, network: default, reuse_compilation_vms: true}}
"
    )
}

/// Uploads stemcell, release and cloud config.
pub fn prepare(environment: &Environment) {
    let file = write(environment, "cloud.yml", &cloud_config(environment));
    environment.ok(&["update-cloud-config", &file]);
    environment.ok(&["upload-stemcell", &stemcell().to_string_lossy()]);
    let tarball = environment.scratch().join("faulty.tgz");
    let folder = environment.scratch().join("faulty-release");
    let fixture = e2e::repository().join("tests/fixtures/faulty-release");
    let status = std::process::Command::new("cp")
        .arg("-a")
        .arg(fixture)
        .arg(&folder)
        .status()
        .expect("cp is there");
    assert!(status.success());
    let (folder, tarball) = (folder.to_string_lossy(), tarball.to_string_lossy());
    environment.ok(&[
        "create-release",
        "--force",
        "--name",
        "faulty",
        "--version",
        "1",
        "--dir",
        &folder,
        "--tarball",
        &tarball,
    ]);
    environment.ok(&["upload-release", &tarball]);
}

/// The manifest with some texts changed, each of which must be in it.
pub fn changed(what: &str, changes: &[(&str, &str)]) -> String {
    let mut manifest = MANIFEST.to_owned();
    for (from, to) in changes {
        assert!(
            manifest.contains(from),
            "{what}: the manifest has no '{from}'"
        );
        manifest = manifest.replacen(from, to, 1);
    }
    manifest
}

/// Deploys a text.
pub fn deploy(environment: &Environment, manifest: &str) -> Run {
    let file = write(environment, "faulty.yml", manifest);
    environment.run(&["-d", "faulty", "deploy", &file])
}

/// Writes a file of the test's own; returns its path.
pub fn write(environment: &Environment, name: &str, text: &str) -> String {
    let path = environment.scratch().join(name);
    fs_err::write(&path, text).expect("the scratch folder can be written");
    path.display().to_string()
}

/// What is wrong with a failed run, if anything: its exit status, a text that is missing.
pub fn complaints(what: &str, run: &Run, told: &[&str]) -> Vec<String> {
    if run.code != 1 {
        return vec![format!("{what}: exit status {}\n{}", run.code, run.text())];
    }
    told.iter()
        .filter(|told| !run.text().contains(**told))
        .map(|told| format!("{what}: not told '{told}', but:\n{}", run.text()))
        .collect()
}

/// What is there that no row of the deployment accounts for: VMs of compilations, containers, network pairs,
/// disks. `vms` is how many VMs the deployment may have.
pub fn left_overs(environment: &Environment, vms: usize) -> Vec<String> {
    let number = |query: &str| environment.sql(&format!("select count(*) from {query}"));
    let (wanted, none) = (vms.to_string(), "0".to_owned());
    let found = [
        ("rows of VMs", number("vms"), wanted.clone()),
        (
            "containers",
            environment.cpi_objects("vms").len().to_string(),
            wanted.clone(),
        ),
        (
            "network pairs",
            environment.inventory().veths().to_string(),
            wanted.clone(),
        ),
        (
            "compilation instances",
            number("instances where compilation"),
            none.clone(),
        ),
        (
            "disks",
            environment.cpi_objects("disks").len().to_string(),
            none.clone(),
        ),
        ("orphaned VMs", number("orphan_vms"), none.clone()),
    ];
    found
        .into_iter()
        .filter(|(_, found, wanted)| found != wanted)
        .map(|(what, found, wanted)| format!("{what}: {found} instead of {wanted}"))
        .collect()
}
