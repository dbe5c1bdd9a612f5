//! Persistent disks of containers: directories that appear at `store`.

use agent_protocol::AgentClient;
use domain::DiskCid;
use serde_json::json;

use super::harness::World;

#[tokio::test]
async fn disks_are_mounted_listed_migrated_and_unmounted() {
    let mut world = World::start().await;
    let (old, new) = (DiskCid::new("disk-old"), DiskCid::new("disk-new"));
    let directory = |cid: &DiskCid| world.dir.path().join("disks").join(cid.as_str());
    let (old_dir, new_dir) = (directory(&old), directory(&new));
    fs_err::create_dir_all(&old_dir).expect("disk");
    fs_err::create_dir_all(&new_dir).expect("disk");
    let store = world.base().join("store");
    let (client, to) = (world.client.clone(), world.to.clone());
    client
        .add_persistent_disk(&to, &old, &json!(old_dir))
        .await
        .expect("add");
    assert!(client.list_disk(&to).await.expect("list").is_empty());
    client.mount_disk(&to, &old).await.expect("mount");
    client.mount_disk(&to, &old).await.expect("mount again");
    assert_eq!(client.list_disk(&to).await.expect("list"), ["disk-old"]);
    fs_err::write(store.join("precious"), "data").expect("write");
    assert_eq!(
        fs_err::read_to_string(old_dir.join("precious")).expect("read"),
        "data"
    );

    // It is back after a restart.
    world.kill_agent();
    world.start_agent().await;
    assert_eq!(client.list_disk(&to).await.expect("list"), ["disk-old"]);

    client
        .add_persistent_disk(&to, &new, &json!({"path": new_dir}))
        .await
        .expect("add");
    client.mount_disk(&to, &new).await.expect("mount beside");
    assert_eq!(
        client.list_disk(&to).await.expect("list"),
        ["disk-new", "disk-old"]
    );
    client.migrate_disk(&to, &old, &new).await.expect("migrate");
    assert_eq!(client.list_disk(&to).await.expect("list"), ["disk-new"]);
    assert_eq!(
        fs_err::read_to_string(store.join("precious")).expect("read"),
        "data"
    );
    assert_eq!(
        fs_err::read_to_string(new_dir.join("precious")).expect("read"),
        "data"
    );
    client
        .unmount_disk(&to, &old)
        .await
        .expect("not mounted is fine");
    client
        .remove_persistent_disk(&to, &old)
        .await
        .expect("remove");
    let task = world.begin("unmount_disk", vec![json!(new)]).await;
    let value = client
        .wait_for_task(&to, "unmount_disk", &task, None)
        .await
        .expect("unmount");
    let message = value["message"].as_str().expect("message");
    assert!(
        message.starts_with(
            "Unmounted partition of {ID:disk-new DeviceID: VolumeID: Lun: HostDeviceID: Path:"
        ),
        "{message}"
    );
    assert!(client.list_disk(&to).await.expect("list").is_empty());
    assert!(!store.join("precious").exists());
}
