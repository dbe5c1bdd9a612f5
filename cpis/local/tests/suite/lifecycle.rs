//! What VMs and disks do over time, in both isolations.

use cpi::{AttachDisk, Cpi, CreateVm, DetachDisk, ResizeDisk};
use domain::{DiskCid, VmCid};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::host::{self, Host, Isolation, output, wait_until};

const BOTH: [Isolation; 2] = [Isolation::Namespaces, Isolation::Plain];
const JOB: &str = "sleep 8640001";
const AGENT: &str = "sleep 8640002";

/// Runs a test in each isolation, each in a thread of its own because of its network namespace.
fn in_each_isolation(test: impl AsyncFn(&Host) + Sync) {
    for isolation in BOTH {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                let Some(host) = Host::new(isolation) else {
                    return;
                };
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(test(&host));
                host.assert_nothing_left();
            });
            if let Err(panic) = thread.join() {
                eprintln!("failed with isolation {isolation:?}");
                std::panic::resume_unwind(panic);
            }
        });
    }
}

fn attach(vm: &VmCid, disk: &DiskCid) -> AttachDisk {
    AttachDisk {
        vm_cid: vm.clone(),
        disk_cid: disk.clone(),
        stemcell_api_version: Some(3),
    }
}

fn detach(vm: &VmCid, disk: &DiskCid) -> DetachDisk {
    DetachDisk {
        vm_cid: vm.clone(),
        disk_cid: disk.clone(),
        stemcell_api_version: Some(3),
    }
}

fn agent_starts(host: &Host, vm: &VmCid) -> usize {
    let file = host.inside(vm, "var/vcap/data/agent-starts");
    std::fs::read_to_string(file)
        .unwrap_or_default()
        .lines()
        .count()
}

fn wait_for_process(host: &Host, vm: &VmCid, command: &str) -> i32 {
    wait_until(command, || host.find(vm, command), Option::is_some).unwrap()
}

#[test]
fn the_same_agent_id_gives_the_same_vm_with_settings_and_address() {
    in_each_isolation(async |host| {
        let stemcell = host.import().await;
        let agent = format!("agent-{}-same", std::process::id());
        let first = host
            .cpi()
            .create_vm(host.vm_request(&agent, &stemcell, 0))
            .await
            .unwrap();
        let vm = &first.vm_cid;
        let init = wait_until("init", || host.init(vm), Option::is_some);
        // Another director asks again, without the first one's spooled answer.
        host.cpi().settle(&agent).await;
        let second = host
            .cpi()
            .create_vm(host.vm_request(&agent, &stemcell, 0))
            .await
            .unwrap();
        assert_eq!(*vm, second.vm_cid);
        assert_eq!(host.init(vm), init, "it was started again");
        assert_eq!(fs_err::read_dir(host.store.join("vms")).unwrap().count(), 1);

        let file = host.inside(vm, "var/vcap/bosh/warden-cpi-agent-env.json");
        let settings: Value = serde_json::from_slice(&fs_err::read(file).unwrap()).unwrap();
        assert_eq!(settings["agent_id"], agent.as_str());
        assert_eq!(settings["env"], host.vm_request(&agent, &stemcell, 0).env);
        assert_eq!(settings["disks"]["persistent"], serde_json::json!({}));
        let network = &settings["networks"]["private"];
        assert_eq!(network["ip"], host.address(0).as_str());
        assert_eq!(network["preconfigured"], true);
        if host.isolation == Isolation::Namespaces {
            let namespace = format!("--net=/proc/{}/ns/net", init.unwrap());
            let shown = output("nsenter", &[&namespace, "ip", "-o", "addr"]);
            assert!(
                shown.contains(&format!("{}/16", host.address(0))),
                "{shown}"
            );
            let link = output("nsenter", &[&namespace, "ip", "-o", "link"]);
            assert!(link.contains(network["mac"].as_str().unwrap()), "{link}");
            let route = output("nsenter", &[&namespace, "ip", "route"]);
            assert!(route.contains("default via 10.244.0.1"), "{route}");
        }
        // The address belongs to this VM.
        let error = host
            .cpi()
            .create_vm(host.vm_request("other", &stemcell, 0))
            .await
            .unwrap_err();
        assert!(
            error.to_string().contains(&format!("is in use by VM {vm}")),
            "{error}"
        );
        assert!(!error.ok_to_retry_vm_creation());
        host.delete_vm(vm).await;
    });
}

#[test]
fn an_agent_that_is_killed_comes_back_and_its_jobs_never_notice() {
    in_each_isolation(async |host| {
        let stemcell = host.import().await;
        let agent = format!("agent-{}-kill", std::process::id());
        let vm = host
            .cpi()
            .create_vm(host.vm_request(&agent, &stemcell, 0))
            .await
            .unwrap()
            .vm_cid;
        let agent = wait_for_process(host, &vm, AGENT);
        let job = wait_for_process(host, &vm, JOB);
        kill(Pid::from_raw(agent), Signal::SIGKILL).unwrap();
        wait_until(
            "the agent's return",
            || agent_starts(host, &vm),
            |starts| *starts == 2,
        );
        let next = wait_for_process(host, &vm, AGENT);
        assert_ne!(agent, next);
        assert_eq!(host.find(&vm, JOB), Some(job), "the job was touched");
        // What the agent left is now the init's, which will reap it.
        let stat = fs_err::read_to_string(format!("/proc/{job}/stat")).unwrap();
        let parent = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .nth(1)
            .unwrap()
            .parse()
            .ok();
        assert_eq!(parent, host.init(&vm));
        kill(Pid::from_raw(job), Signal::SIGKILL).unwrap();
        let gone = || Path::new(&format!("/proc/{job}")).exists();
        wait_until("the job's end without a zombie", gone, |exists| !exists);
        host.delete_vm(&vm).await;
    });
}

#[test]
fn a_persistent_disk_moves_between_running_vms_with_its_data() {
    in_each_isolation(async |host| {
        let cpi = host.cpi();
        let stemcell = host.import().await;
        let prefix = std::process::id();
        let one = cpi
            .create_vm(host.vm_request(&format!("{prefix}-one"), &stemcell, 0))
            .await
            .unwrap()
            .vm_cid;
        let two = cpi
            .create_vm(host.vm_request(&format!("{prefix}-two"), &stemcell, 1))
            .await
            .unwrap()
            .vm_cid;
        wait_for_process(host, &one, AGENT);
        wait_for_process(host, &two, AGENT);
        let disk = host.create_disk("key").await;
        cpi.settle("key").await;
        assert_eq!(
            disk,
            host.create_disk("key").await,
            "the same key gave another disk"
        );

        let hint = cpi.attach_disk(attach(&one, &disk)).await.unwrap();
        let place = hint.as_str().unwrap().trim_start_matches('/').to_string();
        fs_err::write(host.inside(&one, &place).join("entry"), "hello").unwrap();
        let error = cpi.attach_disk(attach(&two, &disk)).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("is attached to VM '{one}'")),
            "{error}"
        );
        cpi.detach_disk(detach(&one, &disk)).await.unwrap();
        assert!(
            !host.inside(&one, &place).join("entry").exists(),
            "it is still in the first VM"
        );

        cpi.resize_disk(ResizeDisk {
            disk_cid: disk.clone(),
            size_mib: 64,
        })
        .await
        .unwrap();
        cpi.attach_disk(attach(&two, &disk)).await.unwrap();
        let entry =
            || fs_err::read_to_string(host.inside(&two, &place).join("entry")).unwrap_or_default();
        assert_eq!(entry(), "hello");
        // A reboot keeps it, and so does the end of its VM.
        cpi.reboot_vm(&two).await.unwrap();
        wait_until("the reboot", || host.init(&two), Option::is_some);
        assert_eq!(entry(), "hello");
        host.delete_vm(&two).await;
        assert!(cpi.has_disk(&disk).await.unwrap());
        cpi.attach_disk(attach(&one, &disk)).await.unwrap();
        assert_eq!(
            fs_err::read_to_string(host.inside(&one, &place).join("entry")).unwrap(),
            "hello"
        );
        cpi.detach_disk(detach(&one, &disk)).await.unwrap();
        cpi.delete_disk(&disk).await.unwrap();
        host.delete_vm(&one).await;
    });
}

#[test]
fn a_disk_that_its_agent_still_has_mounted_is_not_detached() {
    let Some(host) = Host::new(Isolation::Namespaces) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let cpi = host.cpi();
        let stemcell = host.import().await;
        let agent = format!("{}-held", std::process::id());
        let vm = cpi
            .create_vm(host.vm_request(&agent, &stemcell, 0))
            .await
            .unwrap()
            .vm_cid;
        wait_for_process(&host, &vm, AGENT);
        let disk = host.create_disk("held").await;
        let hint = cpi.attach_disk(attach(&vm, &disk)).await.unwrap();
        let init = host.init(&vm).unwrap().to_string();
        let inside = |command: String| {
            host::run(
                "nsenter",
                &["-t", &init, "-m", "-p", "/bin/sh", "-c", &command],
            )
        };
        // As the agent mounts it.
        inside(format!(
            "mkdir -p /var/vcap/store && mount --bind {} /var/vcap/store",
            hint.as_str().unwrap()
        ));
        let error = cpi.detach_disk(detach(&vm, &disk)).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("its agent has to unmount it first"),
            "{error}"
        );
        assert_eq!(
            cpi.get_disks(&vm).await.unwrap(),
            std::slice::from_ref(&disk)
        );
        inside("umount /var/vcap/store".into());
        cpi.detach_disk(detach(&vm, &disk)).await.unwrap();
        host.delete_vm(&vm).await;
        cpi.delete_disk(&disk).await.unwrap();
    });
    host.assert_nothing_left();
}

#[test]
fn stop_and_start_of_the_whole_environment_keep_vms_and_disks() {
    in_each_isolation(async |host| {
        let cpi = host.cpi();
        host.command("prepare");
        let stemcell = host.import().await;
        let agent = format!("{}-night", std::process::id());
        let vm = cpi
            .create_vm(host.vm_request(&agent, &stemcell, 0))
            .await
            .unwrap()
            .vm_cid;
        wait_for_process(host, &vm, AGENT);
        let disk = host.create_disk("night").await;
        let hint = cpi.attach_disk(attach(&vm, &disk)).await.unwrap();
        let entry = format!("{}/entry", hint.as_str().unwrap().trim_start_matches('/'));
        fs_err::write(host.inside(&vm, &entry), "kept").unwrap();
        host.command("stop");
        assert!(host.processes(&vm).is_empty());
        assert!(!output("ip", &["-o", "link"]).contains("bt0"));
        assert!(cpi.has_vm(&vm).await.unwrap());
        for _ in 0..2 {
            host.command("start");
        }
        wait_for_process(host, &vm, AGENT);
        assert_eq!(
            fs_err::read_to_string(host.inside(&vm, &entry)).unwrap(),
            "kept"
        );
        assert_eq!(
            agent_starts(host, &vm),
            2,
            "data of the VM is lost, or it was started twice"
        );
        host.delete_vm(&vm).await;
        cpi.delete_disk(&disk).await.unwrap();
        // The bridge was made by `prepare`, so it is still there.
        host.command("stop");
    });
}

#[test]
fn a_cpi_killed_at_any_moment_of_create_vm_leaves_what_the_next_call_repairs() {
    in_each_isolation(async |host| {
        let stemcell = host.import().await;
        for delay in (0..200).step_by(12) {
            let agent = format!("{}-crash-{delay}", std::process::id());
            let request = host.vm_request(&agent, &stemcell, 0);
            kill_in_the_middle(host, &request, Duration::from_millis(delay));
            let vm = host.cpi().create_vm(request).await.unwrap().vm_cid;
            wait_for_process(host, &vm, AGENT);
            assert_eq!(fs_err::read_dir(host.store.join("vms")).unwrap().count(), 1);
            host.delete_vm(&vm).await;
        }
    });
}

/// Runs `create_vm` without a director and kills it with all its tools after a while.
fn kill_in_the_middle(host: &Host, request: &CreateVm, after: Duration) {
    use std::io::Write;
    use std::os::unix::process::CommandExt;
    let mut context = host.properties();
    context.insert("director_uuid".into(), "x".into());
    context.insert(
        "vm".into(),
        serde_json::json!({"stemcell": {"api_version": 3}}),
    );
    let call = serde_json::json!({
        "method": "create_vm", "context": context, "api_version": 2,
        "arguments": [request.agent_id, request.stemcell_cid, {}, request.networks, [], request.env],
    });
    let mut child = Command::new(host.executable())
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(call.to_string().as_bytes())
        .unwrap();
    // Not a wait for something: the moment of the crash.
    std::thread::sleep(after);
    let _ = nix::sys::signal::killpg(Pid::from_raw(child.id() as i32), Signal::SIGKILL);
    child.wait().unwrap();
}

#[test]
fn a_store_that_can_not_hold_overlays_gets_copies() {
    let Some(host) = Host::new(Isolation::Namespaces) else {
        return;
    };
    // An overlay can't be the upper layer of another.
    for name in ["lower", "upper", "work"] {
        fs_err::create_dir_all(host.path(name)).unwrap();
    }
    fs_err::create_dir_all(&host.store).unwrap();
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        host.path("lower").display(),
        host.path("upper").display(),
        host.path("work").display()
    );
    let store = host.store.to_str().unwrap();
    host::run(
        "mount",
        &["-t", "overlay", "overlay", "-o", &options, store],
    );
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let tried = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        runtime.block_on(async {
            let stemcell = host.import().await;
            let agent = format!("{}-copy", std::process::id());
            let vm = host
                .cpi()
                .create_vm(host.vm_request(&agent, &stemcell, 0))
                .await
                .unwrap()
                .vm_cid;
            wait_for_process(&host, &vm, AGENT);
            let record = fs_err::read_to_string(host.vm_folder(&vm).join("vm.json")).unwrap();
            assert!(record.contains(r#""overlay": false"#), "{record}");
            host.delete_vm(&vm).await;
        });
    }));
    host.command("cleanup");
    host::run("umount", &[store]);
    fs_err::remove_dir(&host.store).unwrap();
    if let Err(panic) = tried {
        std::panic::resume_unwind(panic);
    }
    host.assert_nothing_left();
}
