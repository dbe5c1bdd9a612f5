//! Tables of instances and VMs (spec cli §11, "Instances").

use super::Session;
use crate::commands::slugs::PoolOrInstanceSlug;
use crate::commands::{InstancesArgs, VmsArgs};
use crate::error::Result;
use crate::ui::{Table, Value, decimal_bytes, time};
use director_client::{InstanceInfo, Process, Vitals};

/// Which columns to show.
#[derive(Clone, Copy, Default)]
struct Columns {
    processes: bool,
    failing: bool,
    details: bool,
    vitals: bool,
    cloud_properties: bool,
    /// `vms` instead of `instances`.
    vms: bool,
}

const DETAILS: [&str; 8] = [
    "State",
    "VM CID",
    "VM Type",
    "Disk CIDs",
    "Agent ID",
    "Index",
    "Bootstrap",
    "Ignore",
];
const VM: [&str; 3] = ["VM CID", "VM Type", "Active"];
const VITALS: [&str; 12] = [
    "VM Created At",
    "Uptime",
    "Load\n(1m, 5m, 15m)",
    "CPU\nTotal",
    "CPU\nUser",
    "CPU\nSys",
    "CPU\nWait",
    "Memory\nUsage",
    "Swap\nUsage",
    "System\nDisk Usage",
    "Ephemeral\nDisk Usage",
    "Persistent\nDisk Usage",
];

pub async fn list(session: &Session, args: InstancesArgs) -> Result<()> {
    let columns = Columns {
        processes: args.ps,
        failing: args.failing,
        details: args.details,
        vitals: args.vitals,
        ..Columns::default()
    };
    print(session, columns, args.slugs).await
}

pub async fn list_vms(session: &Session, args: VmsArgs) -> Result<()> {
    let columns = Columns {
        vms: true,
        vitals: args.vitals,
        cloud_properties: args.cloud_properties,
        ..Columns::default()
    };
    print(session, columns, args.slugs).await
}

/// Shows those that `slugs` name, all when they name none.
async fn print(session: &Session, columns: Columns, slugs: Vec<PoolOrInstanceSlug>) -> Result<()> {
    let names: Vec<String> = match session.deployment_filter() {
        Some(name) => vec![name.to_owned()],
        None => session
            .client
            .deployments_in_full()
            .await?
            .into_iter()
            .map(|row| row.name)
            .collect(),
    };
    for name in names {
        let mut infos = if columns.vms {
            session.client.vms(&name, &session.reporter).await?
        } else {
            session.client.instances(&name, &session.reporter).await?
        };
        infos.retain(|info| is_wanted(info, &slugs));
        session.ui.table(table(&name, infos, columns));
    }
    Ok(())
}

fn is_wanted(info: &InstanceInfo, slugs: &[PoolOrInstanceSlug]) -> bool {
    let index = info.index.map(|index| index.to_string());
    let ids = [info.id.as_deref(), index.as_deref()];
    let ips = info.ips.as_deref().unwrap_or_default();
    slugs.is_empty()
        || slugs
            .iter()
            .any(|slug| slug.means(info.group.as_deref(), ids, ips))
}

fn table(deployment: &str, mut infos: Vec<InstanceInfo>, columns: Columns) -> Table {
    let content = if columns.vms { "vms" } else { "instances" };
    let mut table = Table::new(content, &header(columns));
    table.title = Some(format!("Deployment '{deployment}'"));
    infos.sort_by_key(|info| (info.group.clone(), info.id.clone()));
    if columns.failing {
        infos.retain(|info| !is_healthy(info));
    }
    table.count = Some(infos.len());
    for info in &infos {
        table.rows.push(instance_row(deployment, info, columns));
        if !columns.processes {
            continue;
        }
        let mut processes: Vec<&Process> = info.processes.iter().flatten().collect();
        processes.sort_by(|a, b| a.name.cmp(&b.name));
        for process in processes {
            if !columns.failing || process.state != "running" {
                table.rows.push(process_row(info, process, columns));
            }
        }
    }
    table
}

fn header(columns: Columns) -> Vec<&'static str> {
    let mut header = vec!["Instance"];
    if columns.processes {
        header.push("Process");
    }
    header.extend(["Process State", "AZ", "IPs"]);
    if !columns.vms {
        header.push("Deployment");
    }
    if columns.details {
        header.extend(DETAILS);
    } else if columns.vms {
        header.extend(VM);
    }
    if columns.vms {
        header.push("Stemcell");
    }
    if columns.cloud_properties {
        header.push("Cloud Properties");
    }
    if columns.vitals {
        header.extend(VITALS);
    }
    header
}

fn slug(info: &InstanceInfo) -> String {
    let group = info.group.as_deref().filter(|text| !text.is_empty());
    match (group, info.id.as_deref()) {
        (Some(group), Some(id)) if !id.is_empty() => format!("{group}/{id}"),
        (Some(group), _) => match info.index {
            Some(index) => format!("{group}/{index}"),
            None => group.to_owned(),
        },
        (None, _) => "?".to_owned(),
    }
}

/// compat: an instance that runs without any process shows no state, and so counts as failing.
fn shown_state(info: &InstanceInfo) -> &str {
    let state = info.process_state.as_deref().unwrap_or_default();
    let none = info.processes.as_ref().is_none_or(Vec::is_empty);
    if state == "running" && none {
        ""
    } else {
        state
    }
}

fn is_healthy(info: &InstanceInfo) -> bool {
    shown_state(info) == "running"
        && info
            .processes
            .iter()
            .flatten()
            .all(|process| process.state == "running")
}

fn instance_row(deployment: &str, info: &InstanceInfo, columns: Columns) -> Vec<Value> {
    let healthy = is_healthy(info);
    let mut row = vec![Value::text(slug(info)).state(healthy)];
    if columns.processes {
        row.push(Value::default());
    }
    row.extend([
        Value::text(shown_state(info)).state(healthy),
        Value::some(info.az.as_deref()),
        Value::list(info.ips.iter().flatten()),
    ]);
    if !columns.vms {
        row.push(deployment.into());
    }
    if columns.details {
        row.extend(details(info));
    } else if columns.vms {
        row.extend([
            Value::some(info.vm_cid.as_deref()),
            Value::some(info.vm_type.as_deref()),
            info.active.map(Value::bool).unwrap_or_default(),
        ]);
    }
    if columns.vms {
        let stemcell = info
            .stemcell
            .as_ref()
            .filter(|stemcell| !stemcell.name.is_empty())
            .map(|stemcell| format!("{}/{}", stemcell.name, stemcell.version));
        row.push(Value::some(stemcell));
    }
    if columns.cloud_properties {
        row.push(match &info.cloud_properties {
            Some(value) if !value.is_null() => Value::text(crate::yaml::from_json(value)),
            _ => Value::default(),
        });
    }
    if columns.vitals {
        row.extend(instance_vitals(info));
    }
    row
}

fn details(info: &InstanceInfo) -> [Value; 8] {
    let one = info.disk_cid.iter().filter(|cid| !cid.is_empty());
    let disks = match &info.disk_cids {
        Some(cids) => Value::list(cids),
        None => Value::list(one),
    };
    [
        Value::some(info.state.as_deref()),
        Value::some(info.vm_cid.as_deref()),
        Value::some(info.vm_type.as_deref()),
        disks,
        Value::some(info.agent_id.as_deref()),
        info.index.map(Value::int).unwrap_or_default(),
        Value::bool(info.bootstrap),
        Value::bool(info.ignore),
    ]
}

fn instance_vitals(info: &InstanceInfo) -> Vec<Value> {
    let created = info
        .vm_created_at
        .as_deref()
        .and_then(|text| chrono::DateTime::parse_from_rfc3339(text).ok())
        .map(|at| time(at.timestamp()));
    let none = Vitals::default();
    let vitals = info.vitals.as_ref().unwrap_or(&none);
    let memory =
        |memory: &director_client::Memory| usage(&memory.percent, memory.kb.parse::<f64>().ok());
    let disk = |name: &str| match vitals.disk.get(name) {
        Some(disk) if !disk.percent.is_empty() => {
            Value::text(format!("{}% ({}i%)", disk.percent, disk.inode_percent))
        }
        _ => Value::default(),
    };
    vec![
        Value::some(created),
        uptime(vitals.uptime.as_ref().and_then(|uptime| uptime.secs)),
        Value::text(vitals.load.join(", ")),
        // Only processes have a total.
        Value::default(),
        percent(&vitals.cpu.user),
        percent(&vitals.cpu.sys),
        percent(&vitals.cpu.wait),
        memory(&vitals.mem),
        memory(&vitals.swap),
        disk("system"),
        disk("ephemeral"),
        disk("persistent"),
    ]
}

fn process_row(info: &InstanceInfo, process: &Process, columns: Columns) -> Vec<Value> {
    let running = process.state == "running";
    let mut row = vec![
        Value::text(slug(info)),
        Value::text(&process.name).state(running),
        Value::text(&process.state).state(running),
    ];
    let width = header(columns).len();
    if !columns.vitals {
        row.resize(width, Value::default());
        return row;
    }
    row.resize(width - VITALS.len(), Value::default());
    let memory = process.mem.clone().unwrap_or_default();
    let total = process.cpu.as_ref().and_then(|cpu| cpu.total);
    row.extend([
        Value::default(),
        uptime(process.uptime.as_ref().and_then(|uptime| uptime.secs)),
        Value::default(),
        Value::some(total.map(|total| format!("{total:.1}%"))),
        Value::default(),
        Value::default(),
        Value::default(),
        match (memory.percent, memory.kb) {
            (Some(percent), kb) => usage(&format!("{percent:.1}"), kb.map(|kb| kb as f64)),
            _ => Value::default(),
        },
    ]);
    row.resize(width, Value::default());
    row
}

fn percent(text: &str) -> Value {
    if text.is_empty() {
        return Value::default();
    }
    Value::text(format!("{text}%"))
}

/// `12% (124 MB)`; the original counts a kilobyte as 1000 bytes here.
fn usage(percent: &str, kilobytes: Option<f64>) -> Value {
    if percent.is_empty() {
        return Value::default();
    }
    let bytes = kilobytes.unwrap_or_default() * 1000.0;
    Value::text(format!("{percent}% ({})", decimal_bytes(bytes as u64)))
}

/// `1d 1h 1m 1s`.
fn uptime(seconds: Option<u64>) -> Value {
    let Some(seconds) = seconds else {
        return Value::default();
    };
    Value::text(format!(
        "{}d {}h {}m {}s",
        seconds / 86400,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60
    ))
}
