//! The executable's side: reads one request, runs one method of a [`Cpi`], writes one answer.
//!
//! A CPI's `main` calls [`run`] with a function that makes its `Cpi` from the call's [`Context`]. Whatever happens (malformed
//! request, error, panic) stdout gets exactly one response and the exit status is 0 (`docs/spec/cpi.md` §1.1,
//! §1.4). Messages for people go to stderr.

use serde_json::{Map, Value, json};
use std::io::{Read, Write};
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use crate::error::{Error, Fault, WireFault};
use crate::wire::{Context, Response, type_name};
use crate::{
    AttachDisk, Cpi, CreateDisk, CreateNetwork, CreateStemcell, CreateVm, DeleteVm, DetachDisk,
    ResizeDisk, SnapshotDisk, UpdateDisk, VmResources,
};

/// Serves the request on stdin.
pub fn run<C: Cpi>(make: impl FnOnce(&Context) -> Result<C, Fault>) -> ExitCode {
    let mut text = Vec::new();
    let answer = match std::io::stdin().read_to_end(&mut text) {
        Ok(_) => serve(&text, make),
        Err(error) => Err(Fault::cpi_error(format!(
            "Could not read the request: {error}"
        ))),
    };
    let response = match &answer {
        Ok(result) => Response {
            result: result.clone(),
            error: None,
            log: String::new(),
        },
        Err(fault) => Response {
            result: Value::Null,
            error: Some(WireFault::from(fault)),
            log: String::new(),
        },
    };
    let mut stdout = std::io::stdout().lock();
    let written = serde_json::to_writer(&mut stdout, &response)
        .map_err(std::io::Error::from)
        .and_then(|()| stdout.flush());
    match written {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads: the status is all that is left to tell it.
        Err(_) => ExitCode::FAILURE,
    }
}

/// Parses a request and runs it; a panic becomes a `CloudError`.
fn serve<C: Cpi>(
    text: &[u8],
    make: impl FnOnce(&Context) -> Result<C, Fault>,
) -> Result<Value, Fault> {
    let call = parse(text)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Fault::cloud_error(format!("Could not start: {e}")))?;
    let served = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let handler = make(&call.context)?;
        runtime.block_on(dispatch(&handler, &call))
    }));
    served.unwrap_or_else(|_| {
        Err(Fault::cloud_error(format!(
            "'{}' stopped at a bug of this CPI; its messages are in the CPI log",
            call.method
        )))
    })
}

struct Call {
    method: String,
    arguments: Vec<Value>,
    context: Context,
}

fn parse(text: &[u8]) -> Result<Call, Fault> {
    // The error of the parser may quote the request, which holds secrets: only its place is told.
    let request: Value = serde_json::from_slice(text).map_err(|e| {
        Fault::cpi_error(format!(
            "The request is not JSON: line {}, column {}",
            e.line(),
            e.column()
        ))
    })?;
    let Value::Object(mut request) = request else {
        return Err(Fault::cpi_error(format!(
            "The request must be an object, got {}",
            type_name(&request)
        )));
    };
    let wrong = |key: &str, expected: &str, found: Option<&Value>| {
        let found = found.map_or("nothing", type_name);
        Fault::cpi_error(format!(
            "'{key}' of the request must be {expected}, got {found}"
        ))
    };
    let method = match request.remove("method") {
        Some(Value::String(method)) => method,
        other => return Err(wrong("method", "a string", other.as_ref())),
    };
    let arguments = match request.remove("arguments") {
        Some(Value::Array(arguments)) => arguments,
        other => return Err(wrong("arguments", "an array", other.as_ref())),
    };
    let context = match request.remove("context") {
        Some(Value::Object(context)) => context,
        None | Some(Value::Null) => Map::new(),
        other => return Err(wrong("context", "an object", other.as_ref())),
    };
    let api_version = match request.remove("api_version") {
        None | Some(Value::Null) => None,
        Some(value) => Some(
            value
                .as_u64()
                .and_then(|version| u32::try_from(version).ok())
                .ok_or_else(|| wrong("api_version", "an integer", Some(&value)))?,
        ),
    };
    Ok(Call {
        method,
        arguments,
        context: Context::read(context, api_version),
    })
}

/// Positional arguments with their types checked.
struct Arguments<'a> {
    method: &'a str,
    values: &'a [Value],
}

impl<'a> Arguments<'a> {
    fn count(&self, at_least: usize, at_most: usize) -> Result<(), Fault> {
        if (at_least..=at_most).contains(&self.values.len()) {
            return Ok(());
        }
        Err(Fault::cpi_error(format!(
            "Arguments are not correct, details: '{}' takes {at_most}, got {}",
            self.method,
            self.values.len()
        )))
    }

    fn wrong(&self, index: usize, expected: &str) -> Fault {
        Fault::cpi_error(format!(
            "Arguments are not correct, details: argument {index} of '{}' must be {expected}, got {}",
            self.method,
            self.values.get(index).map_or("nothing", type_name)
        ))
    }

    fn text(&self, index: usize) -> Result<&'a str, Fault> {
        match self.values.get(index) {
            Some(Value::String(text)) if !text.is_empty() => Ok(text),
            _ => Err(self.wrong(index, "a non-empty string")),
        }
    }

    fn whole(&self, index: usize) -> Result<u64, Fault> {
        self.values
            .get(index)
            .and_then(Value::as_u64)
            .ok_or_else(|| self.wrong(index, "a whole number of MiB"))
    }

    /// `null` counts as `{}`.
    fn object(&self, index: usize) -> Result<Map<String, Value>, Fault> {
        match self.values.get(index) {
            Some(Value::Object(object)) => Ok(object.clone()),
            Some(Value::Null) => Ok(Map::new()),
            _ => Err(self.wrong(index, "an object")),
        }
    }

    fn texts(&self, index: usize) -> Result<Vec<&'a str>, Fault> {
        match self.values.get(index) {
            Some(Value::Null) => Ok(vec![]),
            Some(Value::Array(items)) => items
                .iter()
                .map(|item| {
                    item.as_str()
                        .ok_or_else(|| self.wrong(index, "an array of strings"))
                })
                .collect(),
            _ => Err(self.wrong(index, "an array of strings")),
        }
    }
}

async fn dispatch(cpi: &dyn Cpi, call: &Call) -> Result<Value, Fault> {
    if let Some(wanted) = call.context.api_version
        && call.method != "info"
    {
        let spoken = cpi.info().await.map_err(into_fault)?.api_version;
        if wanted > spoken {
            return Err(Fault::not_supported(format!(
                "CPI API version {wanted} is not supported, the highest is {spoken}"
            )));
        }
    }
    let arguments = Arguments {
        method: &call.method,
        values: &call.arguments,
    };
    method(cpi, call, arguments).await
}

/// The table of methods.
async fn method(cpi: &dyn Cpi, call: &Call, args: Arguments<'_>) -> Result<Value, Fault> {
    let stemcell_api_version = call.context.stemcell_api_version;
    let result = match call.method.as_str() {
        "info" => cpi.info().await.map(|info| json!(info)),
        "ping" => Ok(json!("pong")),
        "create_stemcell" => {
            args.count(2, 3)?;
            let request = CreateStemcell {
                image_path: args.text(0)?.into(),
                cloud_properties: Value::Object(args.object(1)?),
                env: args.values.get(2).cloned(),
            };
            cpi.create_stemcell(request).await.map(|cid| json!(cid))
        }
        "delete_stemcell" => {
            args.count(1, 1)?;
            cpi.delete_stemcell(&args.text(0)?.into())
                .await
                .map(|()| Value::Null)
        }
        "create_vm" => {
            args.count(6, 6)?;
            let request = CreateVm {
                agent_id: args.text(0)?.into(),
                stemcell_cid: args.text(1)?.into(),
                cloud_properties: Value::Object(args.object(2)?),
                networks: args.object(3)?,
                disk_cids: args.texts(4)?.into_iter().map(Into::into).collect(),
                env: Value::Object(args.object(5)?),
                stemcell_api_version,
            };
            let created = cpi.create_vm(request).await;
            created.map(|vm| json!([vm.vm_cid, vm.networks]))
        }
        "delete_vm" => {
            args.count(1, 1)?;
            let request = DeleteVm {
                vm_cid: args.text(0)?.into(),
                stemcell_api_version,
            };
            cpi.delete_vm(request).await.map(|()| Value::Null)
        }
        "has_vm" => {
            args.count(1, 1)?;
            cpi.has_vm(&args.text(0)?.into()).await.map(Value::Bool)
        }
        "reboot_vm" => {
            args.count(1, 1)?;
            cpi.reboot_vm(&args.text(0)?.into())
                .await
                .map(|()| Value::Null)
        }
        "set_vm_metadata" => {
            args.count(2, 2)?;
            let done = cpi
                .set_vm_metadata(&args.text(0)?.into(), args.object(1)?)
                .await;
            done.map(|()| Value::Null)
        }
        "calculate_vm_cloud_properties" => {
            args.count(1, 1)?;
            let wanted: VmResources = serde_json::from_value(args.values[0].clone())
                .map_err(|e| args.wrong(0, &format!("cpu, ram and ephemeral_disk_size ({e})")))?;
            cpi.calculate_vm_cloud_properties(wanted).await
        }
        "create_disk" => {
            args.count(3, 3)?;
            let request = CreateDisk {
                size_mib: args.whole(0)?,
                cloud_properties: Value::Object(args.object(1)?),
                vm_cid: match &args.values[2] {
                    Value::Null => None,
                    _ => Some(args.text(2)?.into()),
                },
                idempotency_key: call.context.idempotency_key.clone(),
            };
            cpi.create_disk(request).await.map(|cid| json!(cid))
        }
        "delete_disk" => {
            args.count(1, 1)?;
            cpi.delete_disk(&args.text(0)?.into())
                .await
                .map(|()| Value::Null)
        }
        "has_disk" => {
            args.count(1, 1)?;
            cpi.has_disk(&args.text(0)?.into()).await.map(Value::Bool)
        }
        "attach_disk" => {
            args.count(2, 2)?;
            cpi.attach_disk(AttachDisk {
                vm_cid: args.text(0)?.into(),
                disk_cid: args.text(1)?.into(),
                stemcell_api_version,
            })
            .await
        }
        "detach_disk" => {
            args.count(2, 2)?;
            let request = DetachDisk {
                vm_cid: args.text(0)?.into(),
                disk_cid: args.text(1)?.into(),
                stemcell_api_version,
            };
            cpi.detach_disk(request).await.map(|()| Value::Null)
        }
        "get_disks" => {
            args.count(1, 1)?;
            cpi.get_disks(&args.text(0)?.into())
                .await
                .map(|cids| json!(cids))
        }
        "set_disk_metadata" => {
            args.count(2, 2)?;
            let done = cpi
                .set_disk_metadata(&args.text(0)?.into(), args.object(1)?)
                .await;
            done.map(|()| Value::Null)
        }
        "resize_disk" => {
            args.count(2, 2)?;
            let request = ResizeDisk {
                disk_cid: args.text(0)?.into(),
                size_mib: args.whole(1)?,
            };
            cpi.resize_disk(request).await.map(|()| Value::Null)
        }
        "update_disk" => {
            args.count(3, 3)?;
            let request = UpdateDisk {
                disk_cid: args.text(0)?.into(),
                size_mib: args.whole(1)?,
                cloud_properties: Value::Object(args.object(2)?),
            };
            cpi.update_disk(request).await.map(|cid| json!(cid))
        }
        "snapshot_disk" => {
            args.count(2, 2)?;
            let request = SnapshotDisk {
                disk_cid: args.text(0)?.into(),
                metadata: args.object(1)?,
            };
            cpi.snapshot_disk(request).await.map(|cid| json!(cid))
        }
        "delete_snapshot" => {
            args.count(1, 1)?;
            cpi.delete_snapshot(&args.text(0)?.into())
                .await
                .map(|()| Value::Null)
        }
        "create_network" => {
            args.count(1, 1)?;
            let request = CreateNetwork {
                definition: Value::Object(args.object(0)?),
            };
            let created = cpi.create_network(request).await;
            created.map(|net| json!([net.network_cid, net.subnet, net.cloud_properties]))
        }
        "delete_network" => {
            args.count(1, 1)?;
            cpi.delete_network(args.text(0)?)
                .await
                .map(|()| Value::Null)
        }
        unknown => Err(Fault::not_implemented(unknown).into()),
    };
    result.map_err(into_fault)
}

fn into_fault(error: Error) -> Fault {
    match error {
        Error::Fault { fault, .. } => fault,
        other => Fault::cloud_error(other.to_string()),
    }
}
