//! Disks, networks, orphans, snapshots, clean-up (spec cli §11).

use super::Session;
use crate::commands::{
    AttachDiskArgs, CidArgs, CleanUpArgs, DeleteNetworkArgs, DisksArgs, NetworksArgs,
    TakeSnapshotArgs,
};
use crate::error::{Error, Result};
use crate::ui::{Sort, Table, Value, kib_bytes, time};
use director_client::{CleanupPlan, OrphanedDisk, OrphanedVm};

const DISK_HEADER: [&str; 6] = [
    "Disk CID",
    "Size",
    "Deployment",
    "Instance",
    "AZ",
    "Orphaned At",
];
const VM_HEADER: [&str; 6] = [
    "VM CID",
    "Deployment",
    "Instance",
    "AZ",
    "IPs",
    "Orphaned At",
];

/// The director's `2026-01-09 06:23:25 UTC` as the CLI shows times.
fn director_time(text: &str) -> Value {
    match chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S UTC") {
        Ok(at) => Value::text(time(at.and_utc().timestamp())),
        Err(_) => Value::text(text),
    }
}

fn disk_row(disk: &OrphanedDisk) -> Vec<Value> {
    vec![
        disk.disk_cid.as_str().into(),
        kib_bytes(disk.size * 1024 * 1024).into(),
        disk.deployment_name.as_str().into(),
        disk.instance_name.as_str().into(),
        Value::some(disk.az.as_deref()),
        director_time(&disk.orphaned_at),
    ]
}

fn vm_row(vm: &OrphanedVm) -> Vec<Value> {
    vec![
        vm.cid.as_str().into(),
        vm.deployment_name.as_str().into(),
        vm.instance_name.as_str().into(),
        Value::some(vm.az.as_deref()),
        Value::list(&vm.ip_addresses),
        director_time(&vm.orphaned_at),
    ]
}

fn disks_table(mut disks: Vec<OrphanedDisk>) -> Table {
    disks.sort_by(|a, b| b.orphaned_at.cmp(&a.orphaned_at));
    let mut table = Table::new("disks", &DISK_HEADER);
    table.rows = disks.iter().map(disk_row).collect();
    table
}

fn vms_table(mut vms: Vec<OrphanedVm>) -> Table {
    vms.sort_by(|a, b| b.orphaned_at.cmp(&a.orphaned_at));
    let mut table = Table::new("orphaned_vms", &VM_HEADER);
    table.rows = vms.iter().map(vm_row).collect();
    table
}

pub async fn list(session: &Session, args: DisksArgs) -> Result<()> {
    if !args.orphaned {
        return Err(Error::message("Only --orphaned is supported"));
    }
    session
        .ui
        .table(disks_table(session.client.orphaned_disks().await?));
    Ok(())
}

pub async fn attach(session: &Session, args: AttachDiskArgs) -> Result<()> {
    Ok(session
        .client
        .attach_disk(
            session.deployment()?,
            args.slug.pair(),
            &args.cid,
            args.disk_properties
                .as_deref()
                .filter(|what| !what.is_empty()),
            &session.reporter,
        )
        .await?)
}

pub async fn delete(session: &Session, args: CidArgs) -> Result<()> {
    session.ui.confirm()?;
    Ok(session
        .client
        .delete_disk(&args.cid, &session.reporter)
        .await?)
}

pub async fn orphan(session: &Session, args: CidArgs) -> Result<()> {
    session.ui.confirm()?;
    Ok(session
        .client
        .orphan_disk(&args.cid, &session.reporter)
        .await?)
}

pub async fn networks(session: &Session, args: NetworksArgs) -> Result<()> {
    if !args.orphaned {
        return Err(Error::message("Only --orphaned is supported"));
    }
    let header = ["Name", "Type", "Created At", "Orphaned At"];
    let mut table = Table::new("networks", &header).sorted(&[Sort::Up(0)]);
    let networks = session.client.orphaned_networks().await?;
    table.rows = networks
        .into_iter()
        .map(|network| {
            vec![
                network.name.into(),
                network.kind.into(),
                director_time(&network.created_at),
                director_time(&network.orphaned_at),
            ]
        })
        .collect();
    session.ui.table(table);
    Ok(())
}

pub async fn delete_network(session: &Session, args: DeleteNetworkArgs) -> Result<()> {
    session.ui.confirm()?;
    Ok(session
        .client
        .delete_network(&args.name, &session.reporter)
        .await?)
}

pub async fn orphaned_vms(session: &Session) -> Result<()> {
    session
        .ui
        .table(vms_table(session.client.orphaned_vms().await?));
    Ok(())
}

pub async fn snapshots(session: &Session, args: TakeSnapshotArgs) -> Result<()> {
    let header = ["Instance", "CID", "Created At", "Clean"];
    let mut table = Table::new("snapshots", &header).sorted(&[Sort::Up(0)]);
    table.rows = session
        .client
        .snapshots(session.deployment()?)
        .await?
        .into_iter()
        .filter(|snapshot| {
            args.slug.as_ref().is_none_or(|slug| {
                let ids = [
                    &snapshot.uuid,
                    &snapshot.index.map(|index| index.to_string()),
                ];
                snapshot.job.as_ref() == Some(&slug.group)
                    && ids.iter().any(|id| id.as_ref() == Some(&slug.id))
            })
        })
        .map(|snapshot| {
            let instance = match (&snapshot.job, snapshot.index) {
                (Some(job), Some(index)) => format!("{job}/{index}"),
                (Some(job), None) => job.clone(),
                _ => "?".to_owned(),
            };
            vec![
                instance.into(),
                snapshot.snapshot_cid.into(),
                director_time(&snapshot.created_at),
                Value::bool(snapshot.clean),
            ]
        })
        .collect();
    session.ui.table(table);
    Ok(())
}

pub async fn take_snapshot(session: &Session, args: TakeSnapshotArgs) -> Result<()> {
    let instance = args.slug.as_ref().map(|slug| slug.pair());
    Ok(session
        .client
        .take_snapshot(session.deployment()?, instance, &session.reporter)
        .await?)
}

pub async fn delete_snapshots(session: &Session, cid: Option<String>) -> Result<()> {
    session.ui.confirm()?;
    Ok(session
        .client
        .delete_snapshots(session.deployment()?, cid.as_deref(), &session.reporter)
        .await?)
}

pub async fn clean_up(session: &Session, args: CleanUpArgs) -> Result<()> {
    if args.dry_run {
        let plan = session
            .client
            .clean_up_plan(args.all, args.keep_orphaned_disks)
            .await?;
        print_plan(session, plan);
        return Ok(());
    }
    session.ui.confirm()?;
    Ok(session
        .client
        .clean_up(args.all, args.keep_orphaned_disks, &session.reporter)
        .await?)
}

fn print_plan(session: &Session, plan: CleanupPlan) {
    let titled = |title: &str, mut table: Table| {
        table.title = Some(title.to_owned());
        session.ui.table(table);
    };
    let mut releases = Table::new("releases", &["Name", "Version"]);
    for release in &plan.releases {
        for version in &release.versions {
            releases
                .rows
                .push(vec![release.name.as_str().into(), Value::version(version)]);
        }
    }
    titled("Unused Releases", releases);
    let mut stemcells = Table::new("stemcells", &["Name", "Version"]);
    stemcells.rows = plan
        .stemcells
        .into_iter()
        .map(|stemcell| vec![stemcell.name.into(), Value::version(&stemcell.version)])
        .collect();
    titled("Unused Stemcells", stemcells);
    let header = ["Package Name", "Stemcell OS", "Stemcell Version"];
    let mut packages = Table::new("compiled packages", &header);
    packages.rows = plan
        .compiled_packages
        .into_iter()
        .map(|package| {
            vec![
                package.package_name.into(),
                package.stemcell_os.into(),
                package.stemcell_version.into(),
            ]
        })
        .collect();
    titled("Unused Compiled Packages", packages);
    titled(
        "Exported Releases",
        blobs("exported releases", plan.exported_releases),
    );
    titled("Stale DNS Record Blobs", blobs("dns blobs", plan.dns_blobs));
    let header = ["Disk CID", "Deployment", "Instance", "Size"];
    let mut disks = Table::new("orphaned disks", &header).sorted(&[Sort::Up(0)]);
    disks.rows = plan
        .orphaned_disks
        .into_iter()
        .map(|disk| {
            vec![
                disk.disk_cid.into(),
                disk.deployment_name.into(),
                disk.instance_name.into(),
                Value::text(disk.size.to_string()),
            ]
        })
        .collect();
    titled("Orphaned Disks", disks);
    titled("Orphaned VMs", vms_table(plan.orphaned_vms));
}

fn blobs(content: &str, ids: Vec<String>) -> Table {
    let mut table = Table::new(content, &["Blobstore ID"]).sorted(&[Sort::Up(0)]);
    table.rows = ids.into_iter().map(|id| vec![id.into()]).collect();
    table
}
