//! What people get wrong, and what they are told: one environment, a table of changes to a manifest that works, the
//! texts of the original, and what to do next. After each row nothing is left over, and in the end the right
//! manifest goes through.

use e2e::Environment;

use crate::faulty::{
    MANIFEST, changed, cloud_config, complaints, deploy, left_overs, prepare, write,
};

struct Row {
    what: &'static str,
    /// Texts of the manifest and what stands there instead.
    changes: &'static [(&'static str, &'static str)],
    /// All of these are in the output of `deploy`.
    told: &'static [&'static str],
    /// VMs of the deployment afterwards: what failed to start stays to be looked at.
    vms: usize,
}

const JOB: &str = "  - name: never-up\n    release: faulty\n    properties:\n      never_up:\n        fixed: true\n";

/// A row that fails before anything is made.
const fn refused(
    what: &'static str,
    changes: &'static [(&'static str, &'static str)],
    told: &'static [&'static str],
) -> Row {
    Row {
        what,
        changes,
        told,
        vms: 0,
    }
}

const ROWS: &[Row] = &[
    refused(
        "YAML that ends in the middle",
        &[("azs: [z1]", "azs: [z1")],
        &["line 1"],
    ),
    refused(
        "a key of the old format",
        &[("instance_groups:", "jobs: []\ninstance_groups:")],
        &["Jobs are no longer supported, please use instance groups instead"],
    ),
    refused(
        "a key that belongs into the cloud config",
        &[("instance_groups:", "azs: []\ninstance_groups:")],
        &[
            "Deployment manifest contains 'azs' section, but this can only be set in a cloud-config.",
        ],
    ),
    refused(
        "a key of the old format in a group",
        &[("vm_type: default", "resource_pool: default")],
        &["resource_pool"],
    ),
    refused(
        "no update section",
        &[("update:\n", "updates:\n")],
        &["Required property 'update' was not specified in object"],
    ),
    refused(
        "the same release twice",
        &[(
            "stemcells:\n",
            "- name: faulty\n  version: \"1\"\nstemcells:\n",
        )],
        &["Duplicate release name 'faulty'"],
    ),
    refused(
        "the same stemcell alias twice",
        &[(
            "update:\n",
            "- alias: default\n  os: debian-bookworm\n  version: latest\nupdate:\n",
        )],
        &["Duplicate stemcell alias 'default'"],
    ),
    refused(
        "the same group twice",
        &[(
            "instance_groups:\n",
            "instance_groups:\n- {name: group, instances: 0, azs: [z1], vm_type: default, stemcell: default, \
             networks: [{name: default}], jobs: []}\n",
        )],
        &["Invalid instance group name 'group', canonical name already taken"],
    ),
    refused(
        "the same job twice",
        &[(
            "  jobs:\n",
            "  jobs:\n  - {name: never-up, release: faulty}\n",
        )],
        &["Colocated job 'never-up' is already added to the instance group 'group'"],
    ),
    refused(
        "a release that is not there",
        &[
            (
                "- name: faulty\n  version: \"1\"",
                "- name: nope\n  version: \"1\"",
            ),
            ("    release: faulty", "    release: nope"),
        ],
        &["Release 'nope' doesn't exist\n", "bosh upload-release"],
    ),
    refused(
        "a version of a release that is not there",
        &[("version: \"1\"", "version: \"77\"")],
        &[
            "Release version 'faulty/77' doesn't exist\n",
            "bosh releases",
        ],
    ),
    refused(
        "a job of a release that is not listed",
        &[("    release: faulty", "    release: nope")],
        &[
            "Job 'never-up' (instance group 'group') references an unknown release 'nope'\n",
            "Add it to the manifest's 'releases'",
        ],
    ),
    refused(
        "a stemcell that is not there",
        &[(
            "os: debian-bookworm\n  version: latest",
            "os: debian-bookworm\n  version: \"0.1\"",
        )],
        &["Stemcell version '0.1' for OS 'debian-bookworm' doesn't exist"],
    ),
    refused(
        "a stemcell alias that is not listed",
        &[("stemcell: default", "stemcell: other")],
        &["Instance group 'group' references an unknown stemcell 'other'"],
    ),
    refused(
        "a network that is not there",
        &[("  - name: default\n", "  - name: nope\n")],
        &[
            "Instance group 'group' references an unknown network 'nope'\n",
            "Look at /instance_groups/0/networks/0",
        ],
    ),
    refused(
        "a VM type that is not there",
        &[("vm_type: default", "vm_type: huge")],
        &[
            "Instance group 'group' references an unknown vm type 'huge'\n",
            "Look at /instance_groups/0 in the manifest.",
        ],
    ),
    refused(
        "a disk type that is not there",
        &[(
            "vm_type: default",
            "vm_type: default\n  persistent_disk_type: huge",
        )],
        &["Instance group 'group' references an unknown disk type 'huge'"],
    ),
    refused(
        "an AZ that is not there",
        &[("azs: [z1]", "azs: [z9]")],
        &[
            "Instance group 'group' must specify availability zone that matches availability zones of network 'default'\n",
            "Look at /instance_groups/0/azs in the manifest.",
            "faulty.yml:18\n",
        ],
    ),
    refused(
        "a job that is not in the release",
        &[(JOB, "  - name: absent\n    release: faulty\n")],
        &["absent", "faulty"],
    ),
    refused(
        "a text where a number is wanted",
        &[("instances: 1", "instances: \"1\"")],
        &[
            "Property 'instances' value (\"1\") did not match the required type 'Integer'\n",
            "Look at /instance_groups/0/instances in the manifest.",
        ],
    ),
    refused(
        "more instances than addresses",
        &[("  - name: default\n", "  - name: tiny\n")],
        &["for manual network 'tiny': no more available"],
    ),
    refused(
        "a template that raises",
        &[(JOB, "  - name: raises\n    release: faulty\n")],
        &[
            "Unable to render instance groups for deployment. Errors are:",
            "Unable to render jobs for instance group 'group'. Errors are:",
            "Unable to render templates for job 'raises'. Errors are:",
            "Error filling in template 'config.erb' (line 3: the operator forgot something)",
        ],
    ),
    refused(
        "a property without a value",
        &[(JOB, "  - name: wants-property\n    release: faulty\n")],
        &[
            "Error filling in template 'config.erb' (line 1: Can't find property '[\"needed.value\"]')",
        ],
    ),
    refused(
        "a package that does not compile",
        &[(JOB, "  - name: uncompilable\n    release: faulty\n")],
        &[
            "Action Failed get_task: Task",
            "broken",
            "this_is_not_declared",
        ],
    ),
    Row {
        what: "a pre-start that fails",
        changes: &[(JOB, "  - name: bad-pre-start\n    release: faulty\n")],
        told: &[
            "Action Failed get_task: Task",
            "1 of 1 pre-start scripts failed. Failed Jobs: bad-pre-start.",
            "no license key found",
        ],
        vms: 1,
    },
    Row {
        what: "a process that ends at once",
        changes: &[("fixed: true", "fixed: false")],
        told: &[
            "is not running after update. Review logs for failed jobs: never-up",
            "cannot find my configuration",
            "bosh -d faulty logs group/",
        ],
        vms: 1,
    },
];

#[test]
fn every_mistake_is_named_and_leaves_nothing_behind() {
    let environment = Environment::up();
    let run = deploy(&environment, MANIFEST);
    let mut wrong = complaints(
        "a deploy before anything is uploaded",
        &run,
        &["Required property 'networks' was not specified in object ({})"],
    );
    prepare(&environment);
    wrong.extend(bad_cloud_configs(&environment));
    for row in ROWS {
        let run = deploy(&environment, &changed(row.what, row.changes));
        wrong.extend(complaints(row.what, &run, row.told));
        let left = left_overs(&environment, row.vms);
        if !left.is_empty() {
            wrong.push(format!("{}: left over: {}", row.what, left.join("; ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n----\n"));
    let failed = environment.sql("select count(*) from tasks where state not in ('done', 'error')");
    assert_eq!(failed, "0", "every task ended in one of these two");

    let run = deploy(&environment, MANIFEST);
    assert_eq!(run.code, 0, "the corrected manifest: {}", run.text());
    assert!(left_overs(&environment, 1).is_empty());
    environment.ok(&["-d", "faulty", "delete-deployment"]);
    assert!(left_overs(&environment, 0).is_empty());
    assert_eq!(
        environment.sql("select count(*) from ip_addresses"),
        "0",
        "addresses"
    );
}

/// Texts that are refused at the upload, and one whose mistake shows in the deploy.
fn bad_cloud_configs(environment: &Environment) -> Vec<String> {
    let good = cloud_config(environment);
    let mut wrong = Vec::new();
    for (what, text, told) in [
        (
            "a cloud config that is no YAML",
            good.replace("azs:\n- name: z1", "azs:\n- name: [z1"),
            "line ",
        ),
        (
            "a cloud config that is a list",
            "- azs\n".to_owned(),
            "hash",
        ),
    ] {
        let file = write(environment, "bad-cloud.yml", &text);
        let run = environment.run(&["update-cloud-config", &file]);
        wrong.extend(complaints(what, &run, &[told]));
    }
    let twice = good.replace("- name: tiny", "- name: default");
    let file = write(environment, "bad-cloud.yml", &twice);
    environment.ok(&["update-cloud-config", &file]);
    let run = deploy(environment, MANIFEST);
    wrong.extend(complaints(
        "a network twice",
        &run,
        &["Invalid network name 'default', canonical name already taken"],
    ));
    let file = write(environment, "cloud.yml", &good);
    environment.ok(&["update-cloud-config", &file]);
    wrong
}
