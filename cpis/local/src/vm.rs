//! The life of a VM: made, started, stopped, removed. Each step can be repeated, and the record comes first, so whatever a
//! crash leaves is found and finished by the next call.

use cpi::{CreateVm, Fault, Metadata};

use crate::config::Config;
use crate::disk::{Disks, without_nulls};
use crate::error::Error;
use crate::network::{Bridge, disconnect};
use crate::report::say;
use crate::rootfs::Root;
use crate::runtime::Runtime;
use crate::stemcell::remove_tree;
use crate::store::{Isolation, Lock, Store, VmRecord};
use crate::{guest, interfaces, isolation, mounts, plain};

pub struct Vms<'a> {
    config: &'a Config,
    store: &'a Store,
}

impl<'a> Vms<'a> {
    pub fn new(config: &'a Config, store: &'a Store) -> Self {
        Vms { config, store }
    }

    /// The same agent id always gives the same VM. A failure leaves nothing.
    pub fn create(&self, request: &CreateVm) -> Result<VmRecord, Error> {
        guest::check_stemcell_version(request.stemcell_api_version)?;
        check_properties(request)?;
        let cid = format!("vm-{}", request.agent_id);
        self.store.vm(&cid)?;
        let _lock = self.store.lock(&cid)?;
        match self.store.find_vm(&cid)? {
            Some(record) if record.complete => {
                say(format!("VM {cid} is there already"));
                return self.revive(request, record);
            }
            Some(half) => {
                say(format!("VM {cid} was left half made; starting over"));
                self.remove(&half)?;
            }
            None => {}
        }
        let record = self.plan(&cid, request)?;
        match self.make(request, record.clone()) {
            Ok(record) => Ok(record),
            Err(error) => {
                if let Err(leftover) = self.remove(&record) {
                    say(format!("could not clean up after VM {cid}: {leftover}"));
                }
                self.store.forget_lock(&cid);
                Err(error)
            }
        }
    }

    /// Decides everything and writes it down, addresses first of all.
    fn plan(&self, cid: &str, request: &CreateVm) -> Result<VmRecord, Error> {
        let stemcell = request.stemcell_cid.as_str();
        let known = self
            .store
            .stemcell(stemcell)
            .is_ok_and(|place| place.join("rootfs").is_dir());
        if !known {
            return Err(Fault::cloud_error(format!(
                "stemcell '{stemcell}' is not imported here; upload it again with --fix"
            ))
            .into());
        }
        let (isolation, _) = isolation::choose(self.config, self.store)?;
        let _lock = self.store.lock("addresses")?;
        let others = self.store.vms()?;
        let record = VmRecord {
            cid: cid.to_string(),
            agent_id: request.agent_id.to_string(),
            stemcell_cid: stemcell.to_string(),
            isolation,
            complete: false,
            stopped: false,
            networks: interfaces::plan(self.config, isolation, cid, request, &others)?,
            overlay: false,
            metadata: guest::tags(&request.env),
        };
        self.store.save_vm(&record)?;
        Ok(record)
    }

    fn make(&self, request: &CreateVm, mut record: VmRecord) -> Result<VmRecord, Error> {
        let place = self.store.vm(&record.cid)?;
        {
            use std::os::unix::fs::PermissionsExt;
            fs_err::set_permissions(&place, std::fs::Permissions::from_mode(0o711))?;
        }
        let root = self.root(&record)?;
        record.overlay = root.create(record.isolation == Isolation::Namespaces)?;
        self.store.save_vm(&record)?;
        self.tell(request, &record)?;
        self.start(&record)?;
        record.complete = true;
        self.store.save_vm(&record)?;
        Ok(record)
    }

    fn tell(&self, request: &CreateVm, record: &VmRecord) -> Result<(), Error> {
        let settings = guest::settings(self.config, request, record);
        let dns = guest::dns_servers(&request.networks);
        guest::write(&self.root(record)?, record, &settings, &dns)
    }

    /// A repeated `create_vm`: new credentials are told, a dead VM is started.
    fn revive(&self, request: &CreateVm, mut record: VmRecord) -> Result<VmRecord, Error> {
        if !self.is_running(&record) {
            self.stop(&record)?;
            if record.overlay {
                self.root(&record)?.mount_overlay()?;
            }
            self.tell(request, &record)?;
            self.start(&record)?;
            record.stopped = false;
            self.store.save_vm(&record)?;
        } else {
            self.tell(request, &record)?;
        }
        Ok(record)
    }

    pub fn exists(&self, cid: &str) -> Result<bool, Error> {
        match self.store.vm(cid) {
            Ok(_) => Ok(self
                .store
                .find_vm(cid)?
                .is_some_and(|record| record.complete)),
            Err(_) => Ok(false),
        }
    }

    /// The record with the VM's lock held, or `VMNotFound`.
    pub fn open(&self, cid: &str) -> Result<(VmRecord, Lock), Error> {
        let missing = || Fault::vm_not_found(format!("VM '{cid}' not found"));
        self.store.vm(cid).map_err(|_| missing())?;
        let lock = self.store.lock(cid)?;
        match self.store.find_vm(cid)? {
            Some(record) => Ok((record, lock)),
            None => {
                self.store.forget_lock(cid);
                Err(missing().into())
            }
        }
    }

    /// Removes everything but the persistent disks.
    pub fn delete(&self, cid: &str) -> Result<(), Error> {
        let (record, _lock) = self.open(cid)?;
        self.remove(&record)?;
        self.store.forget_lock(cid);
        if self.store.vms()?.is_empty() {
            Bridge::new(self.config, self.store).remove(false)?;
        }
        Ok(())
    }

    pub fn reboot(&self, cid: &str) -> Result<(), Error> {
        let (record, _lock) = self.open(cid)?;
        self.restart(record)
    }

    fn restart(&self, mut record: VmRecord) -> Result<(), Error> {
        self.stop(&record)?;
        self.start(&record)?;
        record.stopped = false;
        self.store.save_vm(&record)
    }

    pub fn set_metadata(&self, cid: &str, metadata: Metadata) -> Result<(), Error> {
        let (mut record, _lock) = self.open(cid)?;
        record.metadata.extend(without_nulls(metadata));
        self.store.save_vm(&record)
    }

    /// Stops every VM; what they wrote stays. For when the whole environment goes down.
    pub fn stop_all(&self) -> Result<(), Error> {
        self.each(|record| {
            self.stop(&record)?;
            let record = VmRecord {
                stopped: true,
                ..record
            };
            self.store.save_vm(&record)
        })
    }

    /// Starts every VM that does not run.
    pub fn start_all(&self) -> Result<(), Error> {
        self.each(|record| {
            if self.is_running(&record) {
                return Ok(());
            }
            self.restart(record)
        })
    }

    pub fn delete_all(&self) -> Result<(), Error> {
        self.each(|record| {
            self.remove(&record)?;
            self.store.forget_lock(&record.cid);
            Ok(())
        })
    }

    /// All are tried; the first error is told at the end.
    fn each(&self, act: impl Fn(VmRecord) -> Result<(), Error>) -> Result<(), Error> {
        let mut failed = None;
        for record in self.store.vms()? {
            let _lock = self.store.lock(&record.cid)?;
            let cid = record.cid.clone();
            if let Err(error) = act(record) {
                say(format!("VM {cid}: {error}"));
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn root(&self, record: &VmRecord) -> Result<Root, Error> {
        Ok(Root::new(
            &self.store.vm(&record.cid)?,
            &self.store.stemcell(&record.stemcell_cid)?,
        ))
    }

    fn runtime(&self) -> Result<Runtime, Error> {
        Runtime::find(self.config).ok_or_else(|| {
            Error::Host("neither runc nor crun is installed; install one of them".into())
        })
    }

    fn is_running(&self, record: &VmRecord) -> bool {
        match record.isolation {
            Isolation::Plain => plain::is_running(self.store, record),
            Isolation::Namespaces => self
                .runtime()
                .is_ok_and(|runtime| runtime.is_running(self.store, record)),
        }
    }

    /// From files to processes. The VM does not run.
    fn start(&self, record: &VmRecord) -> Result<(), Error> {
        let root = self.root(record)?;
        match record.isolation {
            Isolation::Plain => {
                Disks::new(self.store).place_all(record)?;
                plain::start(self.store, record, &root)
            }
            Isolation::Namespaces => {
                if record.overlay {
                    root.mount_overlay()?;
                }
                let persist = self.store.persist(&record.cid)?;
                fs_err::create_dir_all(&persist)?;
                mounts::shared_folder(&persist)?;
                Disks::new(self.store).place_all(record)?;
                let bridge = Bridge::new(self.config, self.store);
                bridge.ensure(false)?;
                let runtime = self.runtime()?;
                let pid = runtime.create(self.store, record, &root)?;
                bridge.connect(&record.networks, pid)?;
                runtime.start(self.store, record)
            }
        }
    }

    /// From processes to files: nothing of it runs or is mounted afterwards.
    fn stop(&self, record: &VmRecord) -> Result<(), Error> {
        let root = self.root(record)?;
        match record.isolation {
            Isolation::Plain => plain::stop(self.store, record, &root),
            Isolation::Namespaces => {
                self.runtime()?.destroy(self.store, record)?;
                record.networks.iter().for_each(disconnect);
                mounts::unmount_all(&self.store.persist(&record.cid)?)?;
                root.unmount()
            }
        }
    }

    fn remove(&self, record: &VmRecord) -> Result<(), Error> {
        self.stop(record)?;
        Disks::new(self.store).detach_all(record)?;
        remove_tree(&self.store.persist(&record.cid)?)?;
        let place = self.store.vm(&record.cid)?;
        // A mount that was missed must not lose what it shows.
        if !mounts::below(&place).is_empty() {
            return Err(Error::Host(format!(
                "something is still mounted below '{}'",
                place.display()
            )));
        }
        // The record goes last: until then somebody can find the rest.
        for entry in fs_err::read_dir(&place)? {
            let path = entry?.path();
            if path.file_name().is_some_and(|name| name == "vm.json") {
                continue;
            }
            match path.symlink_metadata() {
                Ok(found) if found.is_dir() => remove_tree(&path)?,
                _ => fs_err::remove_file(&path)?,
            }
        }
        remove_tree(&place)
    }
}

/// Keys that nobody knows are ignored; known ones have a type (`docs/spec/cpi.md` §4).
fn check_properties(request: &CreateVm) -> Result<(), Fault> {
    for (name, network) in &request.networks {
        let mtu = &network["cloud_properties"]["mtu"];
        if !mtu.is_null() && !mtu.as_u64().is_some_and(|mtu| (576..=65535).contains(&mtu)) {
            return Err(Fault::cloud_error(format!(
                "networks.{name}.cloud_properties.mtu must be a number from 576 to 65535"
            )));
        }
    }
    if request
        .networks
        .values()
        .any(|network| !network.is_object())
    {
        return Err(Fault::cpi_error("each network must be an object"));
    }
    Ok(())
}
