//! The agent as it runs on a VM: as root with `-P ubuntu`, below `/var/vcap`, with mounts and users of its own. The VM
//! is a mount and process namespace over a throw-away overlay of this machine's root file system.

use std::process::{Command, Stdio};

use agent_protocol::AgentClient;
use domain::DiskCid;
use serde_json::json;

use super::harness::World;

/// Whether this machine lets us make such a VM.
fn possible() -> bool {
    let probe = "mkdir /tmp/l /tmp/u /tmp/w /tmp/m && mount -t overlay -o lowerdir=/tmp/l,upperdir=/tmp/u,workdir=/tmp/w overlay /tmp/m";
    let script = format!("mount -t tmpfs tmpfs /tmp && {probe}");
    Command::new("unshare")
        .args(["--mount", "--pid", "--fork", "sh", "-c", &script])
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}

/// The program and arguments that run the agent in its VM.
pub fn command(world_dir: &std::path::Path, proc: bool) -> Command {
    let dir = world_dir.display();
    let agent = env!("CARGO_BIN_EXE_bosun-agent");
    let mount_proc = if proc {
        "mount -t proc proc $r/proc"
    } else {
        "true"
    };
    let script = format!(
        "set -e\n\
         r={dir}/root\n\
         mkdir -p {dir}/vm $r\n\
         mount -t tmpfs tmpfs {dir}/vm\n\
         mkdir {dir}/vm/upper {dir}/vm/work\n\
         mount -t overlay -o lowerdir=/,upperdir={dir}/vm/upper,workdir={dir}/vm/work overlay $r\n\
         mkdir -p $r{dir} $r/var/vcap $r/var/vcap/bosh $r/etc/ssh $r/warden-cpi-dev\n\
         {mount_proc}\n\
         mount --bind /dev $r/dev\n\
         mount --bind {dir}/shared $r{dir}\n\
         mkdir -p {dir}/shared/disks/disk-1\n\
         mkdir $r/warden-cpi-dev/disk-1\n\
         mount --bind {dir}/shared/disks/disk-1 $r/warden-cpi-dev/disk-1\n\
         cp {agent} $r/bosun-agent\n\
         echo 'ssh-ed25519 AAAA host' > $r/etc/ssh/ssh_host_ed25519_key.pub\n\
         rm -f $r/etc/ssh/ssh_host_rsa_key.pub $r/etc/ssh/ssh_host_ecdsa_key.pub\n\
         for g in vcap admin bosh_sudoers bosh_sshers; do chroot $r groupadd -f $g; done\n\
         chroot $r useradd -m -g vcap vcap 2>/dev/null || true\n\
         exec chroot $r /bosun-agent -P ubuntu -C {dir}/agent.json\n"
    );
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        &script,
    ]);
    command
}

#[tokio::test]
async fn in_a_container_disks_are_mounts_and_users_are_real() {
    if !possible() {
        eprintln!("skipped: this machine refuses mount namespaces with overlays");
        return;
    }
    for proc in [true, false] {
        let world = World::start_in_container(proc).await;
        let (client, to) = (&world.client, &world.to);
        let inside = |script: &str| {
            let output = Command::new("nsenter")
                .args(["--mount", "--pid", "--target", &world.vm_pid().to_string()])
                .args(["chroot"])
                .arg(world.dir.path().join("root"))
                .args(["sh", "-c", script])
                .output()
                .expect("nsenter runs");
            let text = [output.stdout, output.stderr].concat();
            String::from_utf8(text).expect("text")
        };
        let disk = DiskCid::new("disk-1");
        client
            .add_persistent_disk(to, &disk, &json!("/warden-cpi-dev/disk-1"))
            .await
            .expect("add");
        client.mount_disk(to, &disk).await.expect("mount");
        assert_eq!(client.list_disk(to).await.expect("list"), ["disk-1"]);
        inside("echo data > /var/vcap/store/precious");
        let on_disk = world.dir.path().join("shared/disks/disk-1/precious");
        assert_eq!(fs_err::read_to_string(on_disk).expect("file"), "data\n");
        assert_eq!(
            inside("test -L /var/vcap/store || echo mounted"),
            "mounted\n"
        );

        let result = client
            .ssh_setup(to, "bosh_ab12", "ssh-ed25519 AAAA me")
            .await
            .expect("setup");
        assert_eq!(
            result.host_public_key.as_deref(),
            Some("ssh-ed25519 AAAA host")
        );
        assert_eq!(
            inside("cat /var/vcap/bosh_ssh/bosh_ab12/.ssh/authorized_keys"),
            "ssh-ed25519 AAAA me\n"
        );
        assert_eq!(
            inside("stat -c '%U %a' /var/vcap/bosh_ssh/bosh_ab12/.ssh/authorized_keys"),
            "bosh_ab12 600\n"
        );
        let groups = inside("id -Gn bosh_ab12");
        assert!(
            groups.contains("bosh_sudoers") && groups.contains("bosh_sshers"),
            "{groups}"
        );
        client.ssh_cleanup(to, "^bosh_ab12").await.expect("cleanup");
        assert!(inside("id bosh_ab12").contains("no such user"));

        let files = world.sleeper("web");
        let files: Vec<_> = files.iter().map(|(n, c)| (n.as_str(), c.clone())).collect();
        world.deploy(&world.spec("h1", &["web"], &files)).await;
        assert_eq!(
            inside("stat -c '%U:%G %a' /var/vcap/jobs/web/bin/ctl"),
            "root:vcap 750\n"
        );
        assert!(inside("cat /etc/hosts").contains(super::harness::AGENT));
        let before = inside("cat /var/vcap/sys/run/web/web.pid");
        inside("kill -9 $(cat /var/vcap/sys/run/web/web.pid)");
        super::harness::wait_for("another pid", || {
            let pid = inside("cat /var/vcap/sys/run/web/web.pid");
            (pid != before && !pid.contains("No such file")).then_some(())
        })
        .await;
        world.running().await;
        let state = client.get_state(to, true).await.expect("get_state");
        assert!(state.vitals().is_some());
        client.stop(to).await.expect("stop");
        client.unmount_disk(to, &disk).await.expect("unmount");
        assert!(client.list_disk(to).await.expect("list").is_empty());
    }
}
