//! Persistent disks and snapshots.

use serde_json::{Map, Value, json};

use super::Planned;
use super::driver::{Made, World, ensure, ensure_kind, text};
use crate::FaultKind;

pub(super) const CHECKS: &[Planned] = &[
    Planned(32, "create_disk, with and without a VM", create),
    Planned(33, "has_disk knows what is there", has_disk),
    Planned(34, "attach_disk gives a hint, the same each time", attach),
    Planned(35, "a disk can't be attached to two VMs", attach_elsewhere),
    Planned(36, "get_disks lists the attached disks", get_disks),
    Planned(37, "detach_disk", detach),
    Planned(38, "two disks at once, detached in either order", two_disks),
    Planned(
        39,
        "delete_disk of a missing and of an attached disk",
        delete,
    ),
    Planned(40, "resize_disk", resize),
    Planned(42, "snapshots", snapshots),
    Planned(43, "set_disk_metadata", metadata),
];

fn create(world: &mut World) -> Result<(), String> {
    world.create_disk(None)?;
    let vm = world.create_vm(0)?;
    world.create_disk(Some(&vm))?;
    world.must_fail("create_disk", json!(["big", {}, null]))?;
    world
        .must_fail("create_disk", json!([10.5, {}, null]))
        .map(drop)
}

fn has_disk(world: &mut World) -> Result<(), String> {
    let disk = world.create_disk(None)?;
    ensure(
        world.must("has_disk", json!([disk]))? == true,
        "false for a disk that is there",
    )?;
    world.must("delete_disk", json!([disk]))?;
    world.forget(&Made::Disk(disk.clone()));
    ensure(
        world.must("has_disk", json!([disk]))? == false,
        "true for a deleted disk",
    )?;
    let unknown = "disk-00000000-0000-0000-0000-000000000000";
    ensure(
        world.must("has_disk", json!([unknown]))? == false,
        "true for an unknown disk",
    )
}

fn attach(world: &mut World) -> Result<(), String> {
    let vm = world.create_vm(0)?;
    let disk = world.create_disk(Some(&vm))?;
    let hint = world.must("attach_disk", json!([vm, disk]))?;
    let good = match &hint {
        Value::String(text) => !text.is_empty(),
        Value::Object(object) => !object.is_empty(),
        _ => false,
    };
    ensure(good, "the hint is no non-empty string or object")?;
    let again = world.must("attach_disk", json!([vm, disk]))?;
    ensure(again == hint, "the hint is another the second time")?;
    let missing = world.must_fail(
        "attach_disk",
        json!(["vm-00000000-0000-0000-0000-000000000000", disk]),
    )?;
    ensure_kind(&missing, FaultKind::VmNotFound)
}

fn attach_elsewhere(world: &mut World) -> Result<(), String> {
    let (one, two) = (world.create_vm(0)?, world.create_vm(1)?);
    let disk = world.create_disk(Some(&one))?;
    world.must("attach_disk", json!([one, disk]))?;
    world.must_fail("attach_disk", json!([two, disk])).map(drop)
}

fn get_disks(world: &mut World) -> Result<(), String> {
    let vm = world.create_vm(0)?;
    let Some(none) = world.may("get_disks", json!([vm]))? else {
        return Ok(());
    };
    ensure(none == json!([]), format!("{none} for a VM without disks"))?;
    let disk = world.create_disk(Some(&vm))?;
    world.must("attach_disk", json!([vm, disk]))?;
    let one = world.must("get_disks", json!([vm]))?;
    ensure(
        one == json!([disk]),
        format!("{one} where {disk} is attached"),
    )
}

fn detach(world: &mut World) -> Result<(), String> {
    let vm = world.create_vm(0)?;
    let disk = world.create_disk(Some(&vm))?;
    world.must("attach_disk", json!([vm, disk]))?;
    world.must("detach_disk", json!([vm, disk]))?;
    if let Some(disks) = world.may("get_disks", json!([vm]))? {
        ensure(disks == json!([]), format!("get_disks still says {disks}"))?;
    }
    let again = world.must_fail("detach_disk", json!([vm, disk]))?;
    ensure_kind(&again, FaultKind::DiskNotAttached)?;
    ensure(again.ok_to_retry, "DiskNotAttached is not called retriable")
}

fn two_disks(world: &mut World) -> Result<(), String> {
    let vm = world.create_vm(0)?;
    let disks = [world.create_disk(Some(&vm))?, world.create_disk(Some(&vm))?];
    for order in [[0, 1], [1, 0]] {
        let hints: Vec<Value> = disks
            .iter()
            .map(|disk| world.must("attach_disk", json!([vm, disk])))
            .collect::<Result<_, _>>()?;
        ensure(hints[0] != hints[1], "both have the same hint")?;
        for index in order {
            world.must("detach_disk", json!([vm, disks[index]]))?;
        }
    }
    Ok(())
}

fn delete(world: &mut World) -> Result<(), String> {
    let unknown = "disk-00000000-0000-0000-0000-000000000000";
    if let Err(fault) = world.call("delete_disk", json!([unknown]))? {
        ensure_kind(&fault, FaultKind::DiskNotFound)?;
        ensure(!fault.ok_to_retry, "DiskNotFound is called retriable")?;
    }
    let vm = world.create_vm(0)?;
    let disk = world.create_disk(Some(&vm))?;
    world.must("attach_disk", json!([vm, disk]))?;
    world.must_fail("delete_disk", json!([disk]))?;
    ensure(
        world.must("has_disk", json!([disk]))? == true,
        "the attached disk is gone",
    )
}

fn resize(world: &mut World) -> Result<(), String> {
    let disk = world.create_disk(None)?;
    let size = world.profile.disk_size;
    if world.may("resize_disk", json!([disk, size * 2]))?.is_none() {
        return Ok(());
    }
    world.must("resize_disk", json!([disk, size * 2]))?;
    let smaller = world.must_fail("resize_disk", json!([disk, size]))?;
    ensure_kind(&smaller, FaultKind::NotSupported)
}

fn snapshots(world: &mut World) -> Result<(), String> {
    let vm = world.create_vm(0)?;
    let disk = world.create_disk(Some(&vm))?;
    let metadata = json!({"deployment": "d", "job": "web", "index": 0});
    let Some(first) = world.may("snapshot_disk", json!([disk, metadata]))? else {
        return Ok(());
    };
    let first = text("snapshot_disk", &first)?;
    world.note(Made::Snapshot(first.clone()));
    world.must("attach_disk", json!([vm, disk]))?;
    let second = text(
        "snapshot_disk",
        &world.must("snapshot_disk", json!([disk, metadata]))?,
    )?;
    world.note(Made::Snapshot(second.clone()));
    ensure(first != second, "two snapshots have the same CID")?;
    for _ in 0..2 {
        world.must("delete_snapshot", json!([second]))?;
    }
    Ok(())
}

fn metadata(world: &mut World) -> Result<(), String> {
    let tags: Map<String, Value> = (0..50).map(|n| (format!("tag-{n}"), n.into())).collect();
    let disk = world.create_disk(None)?;
    world.may("set_disk_metadata", json!([disk, tags]))?;
    let vm = world.create_vm(0)?;
    world.must("attach_disk", json!([vm, disk]))?;
    world
        .may("set_disk_metadata", json!([disk, tags]))
        .map(drop)
}
