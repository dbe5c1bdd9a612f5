//! VMs.

use serde_json::{Value, json};

use super::Planned;
use super::driver::{Made, World, ensure, ensure_kind};
use crate::FaultKind;

pub(super) const CHECKS: &[Planned] = &[
    Planned(
        16,
        "create_vm answers a CID and the networks",
        result_of_create_vm,
    ),
    Planned(18, "has_vm knows what is there", has_vm),
    Planned(
        19,
        "what can't be made is refused and leaves nothing",
        refused_vms,
    ),
    Planned(
        22,
        "a stemcell that needs a registry is refused",
        old_stemcell,
    ),
    Planned(23, "any metadata is taken", metadata),
    Planned(
        25,
        "an address is free again after delete_vm",
        address_is_free_again,
    ),
    Planned(27, "persistent disks outlive their VM", disks_outlive),
    Planned(28, "deleting a VM that is gone", delete_missing),
    Planned(29, "reboot_vm", reboot),
    Planned(30, "VMs are made and deleted in parallel", in_parallel),
    Planned(31, "calculated properties make a VM", calculated),
    Planned(44, "networks are made or not implemented", networks),
];

fn result_of_create_vm(world: &mut World) -> Result<(), String> {
    let arguments = world.vm_arguments(0)?;
    let sent = arguments[3].clone();
    let (_, networks) = world.create_vm_with(arguments)?;
    let keys = |value: &Value| {
        value
            .as_object()
            .map(|o| o.keys().cloned().collect::<Vec<_>>())
    };
    ensure(
        keys(&networks) == keys(&sent),
        "the networks are not those that were sent",
    )
}

fn has_vm(world: &mut World) -> Result<(), String> {
    let vm = world.create_vm(0)?;
    ensure(
        world.must("has_vm", json!([vm]))? == true,
        "false for a VM that is there",
    )?;
    world.delete_vm(&vm)?;
    ensure(
        world.must("has_vm", json!([vm]))? == false,
        "true for a deleted VM",
    )?;
    let unknown = "vm-00000000-0000-0000-0000-000000000000";
    ensure(
        world.must("has_vm", json!([unknown]))? == false,
        "true for an unknown VM",
    )
}

fn refused_vms(world: &mut World) -> Result<(), String> {
    let mut unknown_stemcell = world.vm_arguments(0)?;
    unknown_stemcell[1] = "sc-00000000-0000-0000-0000-000000000000".into();
    let mut no_network = world.vm_arguments(0)?;
    no_network[3] = json!({});
    for arguments in [unknown_stemcell, no_network] {
        let fault = world.must_fail("create_vm", arguments.into())?;
        ensure(
            !fault.ok_to_retry,
            format!("it is called retriable: {}", fault.message),
        )?;
    }
    // Nothing of them holds the address.
    world.create_vm(0).map(drop)
}

fn old_stemcell(world: &mut World) -> Result<(), String> {
    for vm in [
        json!({"stemcell": {"api_version": 1}}),
        json!({"stemcell": {}}),
    ] {
        let mut context = world.context();
        context.insert("vm".into(), vm);
        let arguments = world.vm_arguments(0)?;
        match world.call_with("create_vm", arguments.into(), context, Some(2))? {
            Ok(result) => {
                world.note(Made::Vm(result[0].as_str().unwrap_or_default().to_string()));
                return Err("it was accepted".into());
            }
            Err(fault) => ensure_kind(&fault, FaultKind::CloudError)?,
        }
    }
    Ok(())
}

fn metadata(world: &mut World) -> Result<(), String> {
    let vm = world.create_vm(0)?;
    let long = "x".repeat(300);
    for metadata in [
        json!({"name": "web/0", "index": 0, "deployment": "d", "empty": null, "yes": true, &long: long}),
        json!({"job": "web"}),
        json!({}),
    ] {
        world.may("set_vm_metadata", json!([vm, metadata]))?;
    }
    Ok(())
}

fn address_is_free_again(world: &mut World) -> Result<(), String> {
    for _ in 0..2 {
        let vm = world.create_vm(0)?;
        world.delete_vm(&vm)?;
    }
    Ok(())
}

fn disks_outlive(world: &mut World) -> Result<(), String> {
    let vm = world.create_vm(0)?;
    let disk = world.create_disk(Some(&vm))?;
    world.must("attach_disk", json!([vm, disk]))?;
    world.delete_vm(&vm)?;
    ensure(
        world.must("has_disk", json!([disk]))? == true,
        "the disk went with its VM",
    )?;
    let next = world.create_vm(1)?;
    world.must("attach_disk", json!([next, disk])).map(drop)
}

fn delete_missing(world: &mut World) -> Result<(), String> {
    let vm = world.create_vm(0)?;
    world.delete_vm(&vm)?;
    match world.call("delete_vm", json!([vm]))? {
        Ok(_) => Ok(()),
        Err(fault) => ensure_kind(&fault, FaultKind::VmNotFound),
    }
}

fn reboot(world: &mut World) -> Result<(), String> {
    let vm = world.create_vm(0)?;
    if world.may("reboot_vm", json!([vm]))?.is_some() {
        ensure(
            world.must("has_vm", json!([vm]))? == true,
            "it is gone afterwards",
        )?;
    }
    Ok(())
}

fn in_parallel(world: &mut World) -> Result<(), String> {
    let count = world.profile.networks.len().min(8);
    let arguments: Vec<Vec<Value>> = (0..count)
        .map(|n| world.vm_arguments(n))
        .collect::<Result<_, _>>()?;
    let shared = &*world;
    let made: Vec<Result<Value, String>> = std::thread::scope(|scope| {
        let running: Vec<_> = arguments
            .into_iter()
            .map(|arguments| scope.spawn(move || shared.must("create_vm", arguments.into())))
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or(Err("panicked".into())))
            .collect()
    });
    let mut cids = Vec::new();
    for result in made.iter().flatten() {
        let cid = result[0].as_str().unwrap_or_default().to_string();
        world.note(Made::Vm(cid.clone()));
        cids.push(cid);
    }
    made.into_iter().find_map(Result::err).map_or(Ok(()), Err)?;
    let mut unique = cids.clone();
    unique.sort();
    unique.dedup();
    ensure(unique.len() == count, "two of them have the same CID")?;
    let shared = &*world;
    let deleted: Vec<Result<Value, String>> = std::thread::scope(|scope| {
        let running: Vec<_> = cids
            .iter()
            .map(|cid| scope.spawn(move || shared.must("delete_vm", json!([cid]))))
            .collect();
        running
            .into_iter()
            .map(|thread| thread.join().unwrap_or(Err("panicked".into())))
            .collect()
    });
    deleted
        .into_iter()
        .find_map(Result::err)
        .map_or(Ok(()), Err)
}

fn calculated(world: &mut World) -> Result<(), String> {
    let wanted = json!([{"cpu": 1, "ram": 256, "ephemeral_disk_size": 1024}]);
    let Some(properties) = world.may("calculate_vm_cloud_properties", wanted)? else {
        return Ok(());
    };
    ensure(properties.is_object(), "it gave no object")?;
    let mut arguments = world.vm_arguments(0)?;
    if let (Value::Object(all), Value::Object(calculated)) = (&mut arguments[2], properties) {
        all.extend(calculated);
    }
    world.create_vm_with(arguments).map(drop)
}

fn networks(world: &mut World) -> Result<(), String> {
    let definition = json!([{"type": "manual", "range": "10.254.0.0/24", "gateway": "10.254.0.1", "cloud_properties": {}}]);
    let Some(made) = world.may("create_network", definition)? else {
        return Ok(());
    };
    let cid = super::driver::text("create_network", &made[0])?;
    world.must("delete_network", json!([cid]))?;
    match world.call("delete_network", json!([cid]))? {
        Ok(_) => Ok(()),
        Err(fault) => ensure_kind(&fault, FaultKind::NetworkNotFound),
    }
}
