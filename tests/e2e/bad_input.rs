//! What people get wrong, and what they are told: one environment, a table of manifests and texts. After each row
//! nothing is left over, and in the end a corrected deploy goes through.

use e2e::{Environment, Run, stemcell};

/// A small deployment; `JOB` and what is around it is changed by each row.
const MANIFEST: &str = r#"---
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

struct Row {
    what: &'static str,
    /// Text of the manifest and what stands there instead.
    change: (&'static str, &'static str),
    /// All of these are in the output of `deploy`.
    told: &'static [&'static str],
}

const JOB: &str = "  - name: never-up\n    release: faulty\n    properties:\n      never_up:\n        fixed: true\n";

const ROWS: &[Row] = &[
    Row {
        what: "a key of the old format",
        change: ("instance_groups:", "jobs: []\ninstance_groups:"),
        told: &["Jobs are no longer supported, please use instance groups instead"],
    },
    Row {
        what: "a release that is not there",
        change: (
            "- name: faulty\n  version: \"1\"",
            "- name: nope\n  version: \"1\"",
        ),
        told: &["Release 'nope' doesn't exist"],
    },
    Row {
        what: "a version of a release that is not there",
        change: ("version: \"1\"", "version: \"77\""),
        told: &["Release version 'faulty/77' doesn't exist"],
    },
    Row {
        what: "a stemcell that is not there",
        change: (
            "os: debian-bookworm\n  version: latest",
            "os: debian-bookworm\n  version: \"0.1\"",
        ),
        told: &["Stemcell version '0.1' for OS 'debian-bookworm' doesn't exist"],
    },
    Row {
        what: "a network that is not there",
        change: ("  - name: default\n", "  - name: nope\n"),
        told: &["Instance group 'group' references an unknown network 'nope'"],
    },
    Row {
        what: "a VM type that is not there",
        change: ("vm_type: default", "vm_type: huge"),
        told: &["Instance group 'group' references an unknown vm type 'huge'"],
    },
    Row {
        what: "an AZ that is not there",
        change: ("azs: [z1]", "azs: [z9]"),
        told: &["z9"],
    },
    Row {
        what: "a job that is not in the release",
        change: (JOB, "  - name: absent\n    release: faulty\n"),
        told: &["absent", "faulty"],
    },
    Row {
        what: "a number where a text is wanted",
        change: ("instances: 1", "instances: \"1\""),
        told: &["Property 'instances' value (\"1\") did not match the required type 'Integer'"],
    },
    Row {
        what: "more instances than addresses",
        change: ("  - name: default\n", "  - name: tiny\n"),
        told: &["for manual network 'tiny': no more available"],
    },
    Row {
        what: "a template that raises",
        change: (JOB, "  - name: raises\n    release: faulty\n"),
        told: &[
            "Unable to render instance groups for deployment. Errors are:",
            "Unable to render jobs for instance group 'group'. Errors are:",
            "Unable to render templates for job 'raises'. Errors are:",
            "Error filling in template 'config.erb' (line 3: the operator forgot something)",
        ],
    },
    Row {
        what: "a property without a value",
        change: (JOB, "  - name: wants-property\n    release: faulty\n"),
        told: &[
            "Error filling in template 'config.erb' (line 1: Can't find property '[\"needed.value\"]')",
        ],
    },
    Row {
        what: "a package that does not compile",
        change: (JOB, "  - name: uncompilable\n    release: faulty\n"),
        told: &["broken", "this_is_not_declared"],
    },
    Row {
        what: "a pre-start that fails",
        change: (JOB, "  - name: bad-pre-start\n    release: faulty\n"),
        told: &[
            "Action Failed get_task: Task",
            "1 of 1 pre-start scripts failed. Failed Jobs: bad-pre-start.",
        ],
    },
    Row {
        what: "a process that ends at once",
        change: ("fixed: true", "fixed: false"),
        told: &[
            "is not running after update. Review logs for failed jobs: never-up",
            "cannot find my configuration",
        ],
    },
];

#[test]
fn every_mistake_is_named_and_leaves_nothing_behind() {
    let environment = Environment::up();
    prepare(&environment);
    let mut wrong = Vec::new();
    for row in ROWS {
        let (from, to) = row.change;
        assert!(
            MANIFEST.contains(from),
            "{}: the manifest has no '{from}'",
            row.what
        );
        let run = deploy(&environment, &MANIFEST.replacen(from, to, 1));
        if run.code != 1 {
            wrong.push(format!(
                "{}: exit status {}\n{}",
                row.what,
                run.code,
                run.text()
            ));
            continue;
        }
        for told in row.told {
            if !run.text().contains(told) {
                wrong.push(format!(
                    "{}: not told '{told}', but:\n{}",
                    row.what,
                    run.text()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n----\n"));

    // What failed to start is still a VM of the deployment; nothing else is there.
    let vms = environment.rows(&["vms"]);
    assert_eq!(environment.inventory().veths(), vms.len(), "{vms:#?}");

    let run = deploy(&environment, MANIFEST);
    assert_eq!(run.code, 0, "the corrected manifest: {}", run.text());
    environment.ok(&["-d", "faulty", "delete-deployment"]);
    assert_eq!(environment.inventory().veths(), 0);
}

fn prepare(environment: &Environment) {
    let prefix = environment.network_prefix();
    let cloud = format!(
        "azs:\n- name: z1\nvm_types:\n- name: default\nnetworks:\n- name: default\n  type: manual\n  subnets:\n  \
         - {{range: {prefix}.0.0/24, gateway: {prefix}.0.1, azs: [z1]}}\n- name: tiny\n  type: manual\n  subnets:\n  \
         - {{range: {prefix}.9.0/30, gateway: {prefix}.9.1, azs: [z1], reserved: [{prefix}.9.2]}}\n\
         compilation: {{workers: 1, az: z1, vm_type: default, network: default, reuse_compilation_vms: true}}\n"
    );
    let file = write(environment, "cloud.yml", &cloud);
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

fn deploy(environment: &Environment, manifest: &str) -> Run {
    let file = write(environment, "faulty.yml", manifest);
    environment.run(&["-d", "faulty", "deploy", &file])
}

fn write(environment: &Environment, name: &str, text: &str) -> String {
    let path = environment.scratch().join(name);
    fs_err::write(&path, text).expect("the scratch folder can be written");
    path.display().to_string()
}
