//! The agent in a VM: takes requests from NATS one after another, as a real one does, and changes its VM and
//! the disks attached to it.

use futures_util::StreamExt;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Crash, FakeCloud, Fault, World, text, world::Call};

pub(super) fn start(
    cloud: FakeCloud,
    vm_cid: String,
    agent_id: String,
) -> tokio::task::AbortHandle {
    tokio::spawn(async move {
        let Ok(mut requests) = cloud.nats.subscribe(format!("agent.{agent_id}")).await else {
            return;
        };
        while let Some(message) = requests.next().await {
            let Ok(request) = serde_json::from_slice::<Value>(&message.payload) else {
                continue;
            };
            let reply_to = text(request.get("reply_to"));
            let Some(answer) = handle(&cloud, &vm_cid, &agent_id, &request).await else {
                continue;
            };
            let body = match answer {
                Ok(value) => json!({"value": value}),
                Err(message) => json!({"exception": {"message": message}}),
            };
            if !reply_to.is_empty() {
                let _ = cloud.nats.publish(reply_to, body.to_string().into()).await;
            }
        }
    })
    .abort_handle()
}

/// The reply, or none when this request is never answered.
async fn handle(
    cloud: &FakeCloud,
    vm_cid: &str,
    agent_id: &str,
    request: &Value,
) -> Option<Result<Value, String>> {
    let method = text(request.get("method"));
    let arguments = request.get("arguments").cloned().unwrap_or(json!([]));
    let (crash, fault) = {
        let mut world = cloud.world();
        if world.vms.get(vm_cid)?.agent.mute {
            return None;
        }
        // Polls are not effects: crashing at one would only cost time.
        if method == "get_task" {
            (None, None)
        } else {
            let call = Call {
                agent_id: Some(agent_id.to_owned()),
                method: method.clone(),
                arguments: arguments.clone(),
            };
            world.calls.push(call.clone());
            let crash = world.faults.stops_at(&call);
            (crash, world.faults.of(&method))
        }
    };
    if crash == Some(Crash::BeforeEffect) || fault == Some(Fault::Hang) {
        return None;
    }
    if let Some(Fault::Error { message, .. }) = &fault {
        return Some(match is_async(&method) {
            true => finish(cloud, vm_cid, &method, Err(message.clone())),
            false => Err(format!("Action Failed {method}: {message}")),
        });
    }
    let result = act(cloud, vm_cid, agent_id, &method, &arguments).await;
    if crash == Some(Crash::AfterEffect) || fault == Some(Fault::LostReply) {
        return None;
    }
    Some(match is_async(&method) {
        true => finish(cloud, vm_cid, &method, result),
        false => result,
    })
}

fn is_async(method: &str) -> bool {
    matches!(
        method,
        "prepare"
            | "apply"
            | "stop"
            | "drain"
            | "run_script"
            | "run_errand"
            | "compile_package"
            | "compile_package_with_signed_url"
            | "fetch_logs"
            | "fetch_logs_with_signed_url"
            | "update_settings"
            | "upload_blob"
            | "mount_disk"
            | "unmount_disk"
            | "migrate_disk"
            | "list_disk"
            | "add_persistent_disk"
            | "remove_persistent_disk"
    )
}

/// Keeps an asynchronous action's result for `get_task`.
fn finish(
    cloud: &FakeCloud,
    vm_cid: &str,
    method: &str,
    result: Result<Value, String>,
) -> Result<Value, String> {
    let id = Uuid::new_v4().to_string();
    let mut world = cloud.world();
    let endless = method == "run_errand" && world.endless_errands;
    let vm = world.vms.get_mut(vm_cid).ok_or("VM is gone")?;
    vm.agent.tasks.insert(id.clone(), result);
    if endless {
        vm.agent.endless.insert(id.clone());
    }
    Ok(running(&id))
}

fn running(task: &str) -> Value {
    json!({"agent_task_id": task, "state": "running"})
}

async fn act(
    cloud: &FakeCloud,
    vm_cid: &str,
    agent_id: &str,
    method: &str,
    arguments: &Value,
) -> Result<Value, String> {
    let first = text(arguments.get(0));
    match method {
        "compile_package" | "compile_package_with_signed_url" => {
            return compile(cloud, arguments).await;
        }
        "fetch_logs" | "fetch_logs_with_signed_url" => {
            let jobs = cloud
                .world()
                .vms
                .get(vm_cid)
                .map(|vm| vm.agent.jobs())
                .unwrap_or_default();
            let logs = logs(&jobs).map_err(|error| error.to_string())?;
            let (id, sha1) = put(cloud, arguments.pointer("/0/signed_url"), logs).await?;
            return Ok(json!({"blobstore_id": id, "sha1": sha1}));
        }
        _ => {}
    }
    let mut world = cloud.world();
    let World {
        vms,
        disks,
        failing_jobs,
        errand_exit_code,
        errand_exit_codes,
        ..
    } = &mut *world;
    let vm = vms.get_mut(vm_cid).ok_or("VM is gone")?;
    let agent = &mut vm.agent;
    match method {
        "ping" => Ok(json!("pong")),
        "info" => Ok(json!({"api_version": 1})),
        "get_task" if agent.endless.contains(&first) => Ok(running(&first)),
        "get_task" => match agent.tasks.get(&first) {
            Some(Ok(value)) => Ok(value.clone()),
            Some(Err(message)) => Err(format!(
                "Action Failed get_task: Task {first} result: {message}"
            )),
            None => Err(format!(
                "Action Failed get_task: Task with id {first} could not be found"
            )),
        },
        "cancel_task" => {
            if agent.endless.remove(&first)
                && let Some(Ok(result)) = agent.tasks.get_mut(&first)
            {
                // As a process that SIGTERM ended.
                result["exit_code"] = json!(143);
            }
            Ok(json!("canceled"))
        }
        "get_state" => Ok(agent.report(agent_id, failing_jobs)),
        "prepare" => Ok(json!("prepared")),
        "apply" => {
            agent.spec = arguments.get(0).cloned().unwrap_or(Value::Null);
            Ok(json!("applied"))
        }
        "start" => {
            let fails = agent.jobs().iter().any(|job| failing_jobs.contains(job));
            agent.job_state = if fails { "failing" } else { "running" }.into();
            Ok(json!("started"))
        }
        "stop" => {
            agent.job_state = "stopped".into();
            Ok(json!("stopped"))
        }
        "drain" => Ok(json!(0)),
        "run_script" => Ok(json!({})),
        "run_errand" => {
            let stdout = format!("ran {first}\n");
            let group = text(agent.spec.pointer("/job/name"));
            let exit_code = errand_exit_codes.get(&group).unwrap_or(errand_exit_code);
            Ok(json!({"stdout": stdout, "stderr": "", "exit_code": exit_code}))
        }
        "ssh" if first == "setup" => Ok(
            json!({"command": "setup", "status": "success", "ip": "127.0.0.1", "host_public_key": "ssh-rsa fake"}),
        ),
        "ssh" => Ok(json!({"command": first, "status": "success"})),
        "update_settings" => Ok(json!("ok")),
        "upload_blob" => Ok(arguments
            .pointer("/0/blob_id")
            .cloned()
            .unwrap_or(Value::Null)),
        "sync_dns" => {
            agent.dns_version = arguments.get(2).and_then(Value::as_u64).unwrap_or_default();
            Ok(json!("synced"))
        }
        "sync_dns_with_signed_url" => {
            agent.dns_version = arguments
                .pointer("/0/version")
                .and_then(Value::as_u64)
                .unwrap_or_default();
            Ok(json!("synced"))
        }
        "delete_arp_entries" => Ok(json!({})),
        "add_persistent_disk" => {
            if disks
                .get(&first)
                .and_then(|disk| disk.attached_to.as_deref())
                != Some(vm_cid)
            {
                return Err(format!("disk {first} is not attached to this VM"));
            }
            agent
                .known_disks
                .insert(first, arguments.get(1).cloned().unwrap_or(Value::Null));
            Ok(json!({}))
        }
        "remove_persistent_disk" => {
            agent.known_disks.remove(&first);
            Ok(json!({}))
        }
        "mount_disk" => {
            if !agent.known_disks.contains_key(&first) {
                return Err(format!(
                    "Persistent disk with volume id '{first}' could not be found"
                ));
            }
            if agent.store.is_none() {
                agent.store = Some(first);
            } else if agent.store.as_ref() != Some(&first) {
                agent.migration_target = Some(first);
            }
            Ok(json!({}))
        }
        "unmount_disk" => {
            if agent.store.as_ref() == Some(&first) {
                agent.store = None;
            }
            if agent.migration_target.as_ref() == Some(&first) {
                agent.migration_target = None;
            }
            Ok(json!({"message": "Unmounted partition of {}"}))
        }
        "migrate_disk" => {
            let (Some(from), Some(to)) = (agent.store.clone(), agent.migration_target.take())
            else {
                return Err("nothing to migrate".into());
            };
            let data = disks
                .get(&from)
                .map(|disk| disk.data.clone())
                .unwrap_or_default();
            if let Some(disk) = disks.get_mut(&to) {
                disk.data = data;
            }
            agent.store = Some(to);
            Ok(json!({}))
        }
        "list_disk" => {
            let mounted = agent.store.iter().chain(&agent.migration_target);
            Ok(json!(mounted.collect::<Vec<_>>()))
        }
        "shutdown" => Ok(json!("")),
        unknown => Err(format!("unknown message {unknown}")),
    }
}

async fn compile(cloud: &FakeCloud, arguments: &Value) -> Result<Value, String> {
    let signed = arguments.pointer("/0/upload_signed_url");
    let name = match signed {
        Some(_) => text(arguments.pointer("/0/name")),
        None => text(arguments.get(2)),
    };
    if cloud.world().failing_packages.contains(&name) {
        return Err(format!(
            "Compiling package {name}: Running packaging script: Running packaging script: Command exited with 1; \
             Stdout: , Stderr: {name} does not compile\n"
        ));
    }
    let compiled = archive([("compiled".to_owned(), format!("compiled {name}\n"))])
        .map_err(|error| error.to_string())?;
    let (id, sha1) = put(cloud, signed, compiled).await?;
    Ok(match signed {
        Some(_) => json!({"result": {"sha1": sha1}}),
        None => json!({"result": {"blobstore_id": id, "sha1": sha1}}),
    })
}

async fn put(
    cloud: &FakeCloud,
    signed_url: Option<&Value>,
    content: Vec<u8>,
) -> Result<(String, String), String> {
    let sha1 = domain::Digest::sha1(&content).hex().to_owned();
    let url = signed_url.and_then(Value::as_str).map(str::to_owned);
    let id = (cloud.put_blob)(url, content)
        .await
        .map_err(|error| format!("{error:#}"))?;
    Ok((id, sha1))
}

/// One log per job, in the shape of a real agent's archive.
fn logs(jobs: &[String]) -> std::io::Result<Vec<u8>> {
    archive(jobs.iter().map(|job| {
        let content = format!("{job} starts\n{job} says why it can't go on\n");
        (format!("{job}/{job}.stderr.log"), content)
    }))
}

fn archive(files: impl IntoIterator<Item = (String, String)>) -> std::io::Result<Vec<u8>> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o640);
        header.set_cksum();
        tar.append_data(&mut header, path, content.as_bytes())?;
    }
    tar.into_inner()?.finish()
}
