//! The steps of one instance (§5.4, §5.5, §5.8; agent-protocol §9).

use manifest::documents::WatchTime;

use super::detect::{disk_differences, find_disk};
use crate::change::{Change, ChangeKind as Kind};
use crate::input::{AgentObservation, CurrentInstance, DirectorFacts, InstanceState};
use crate::placement::{PlacedGroup, PlacedInstance};
use crate::spec::DiskSpec;
use crate::step::{DiskRef, DrainKind, NextStates, Step};

/// What the steps of an instance follow from.
pub(super) struct Work<'a> {
    pub director: &'a DirectorFacts,
    pub group: &'a PlacedGroup,
    pub instance: &'a PlacedInstance,
    pub row: Option<&'a CurrentInstance>,
    pub changes: &'a [Change],
    pub skip_drain: bool,
    pub watch: WatchTime,
}

impl Work<'_> {
    fn has(&self, kind: Kind) -> bool {
        self.changes.iter().any(|c| c.kind == kind)
    }

    fn has_vm(&self) -> bool {
        self.row.is_some_and(|row| !row.vms.is_empty())
    }

    /// No VM, and one is wanted: made before any update.
    pub fn needs_vm(&self) -> bool {
        !self.has_vm()
            && !self.group.dormant
            && !self.instance.ignore
            && self.instance.state != InstanceState::Detached
    }

    /// It has a VM that must be replaced. A stopped instance waits until it is started.
    pub fn recreates(&self) -> bool {
        self.has_vm()
            && self.instance.state == InstanceState::Started
            && self.changes.iter().any(|c| c.kind.recreates_vm())
    }

    /// Only DNS records or metadata (§4.2, with the original's rule for two entries).
    pub fn is_refresh(&self) -> bool {
        let mut kinds: Vec<Kind> = self.changes.iter().map(|c| c.kind).collect();
        kinds.dedup();
        match kinds.as_slice() {
            [] => false,
            [Kind::Dns, Kind::Tags] => true,
            [first] | [first, _] => matches!(first, Kind::Dns | Kind::Tags),
            _ => false,
        }
    }

    fn unresponsive(&self) -> bool {
        self.row
            .is_some_and(|row| row.agent == AgentObservation::Unresponsive)
    }

    /// The disks that are attached (or would be), oldest spelling first.
    fn active_disks(&self) -> Vec<(DiskRef, bool)> {
        let disks = self.row.map(|row| row.disks.as_slice()).unwrap_or_default();
        disks
            .iter()
            .filter(|d| d.active)
            .filter_map(|d| Some((DiskRef::Cid(d.cid.clone()?), d.name.is_empty())))
            .collect()
    }

    /// The missing VM.
    pub fn create(&self) -> Vec<Step> {
        if !self.needs_vm() {
            return Vec::new();
        }
        let mut steps = Vec::new();
        self.new_vm(&mut steps);
        steps
    }

    fn new_vm(&self, steps: &mut Vec<Step>) {
        steps.extend([
            Step::CreateVm { duplicate: false },
            Step::SetVmMetadata,
            Step::WaitForAgent,
        ]);
        for (disk, managed) in self.active_disks() {
            attach(disk, managed, steps);
        }
        steps.extend([Step::UpdateSettings, Step::ApplyIdentity]);
    }

    /// The update in the group's turn; empty when nothing differs.
    pub fn update(&self) -> Vec<Step> {
        if self.changes.is_empty() || self.instance.ignore || self.group.dormant {
            return Vec::new();
        }
        let mut steps = vec![Step::BeginUpdate];
        if self.is_refresh() {
            if self.has(Kind::Dns) {
                steps.push(Step::SyncDns);
            }
            if self.has(Kind::Tags) && self.has_vm() {
                steps.push(Step::SetVmMetadata);
            }
            steps.push(Step::EndUpdate { completed: true });
            return steps;
        }
        let target = self.instance.state;
        let recreates = self.recreates();
        let was_detached = self
            .row
            .is_some_and(|row| row.state == InstanceState::Detached);
        let still_detached = was_detached && target == InstanceState::Detached;
        if !still_detached {
            steps.push(Step::StoreTemplates);
            if !recreates && target != InstanceState::Detached {
                steps.push(Step::Prepare {
                    packages_only: false,
                });
            }
        }
        self.stop_cycle(recreates, &mut steps);
        match target {
            InstanceState::Stopped => {
                self.release(&mut steps);
                steps.push(Step::EndUpdate { completed: true });
                return steps;
            }
            InstanceState::Detached => {
                if self.has_vm() {
                    self.remove_vm(&mut steps);
                }
                self.release(&mut steps);
                steps.extend([Step::SyncDns, Step::EndUpdate { completed: true }]);
                return steps;
            }
            InstanceState::Started => {}
        }
        if recreates {
            self.remove_vm(&mut steps);
            self.new_vm(&mut steps);
        }
        self.change_disks(&mut steps);
        if !recreates && !self.needs_vm() {
            steps.push(Step::UpdateSettings);
        }
        self.release(&mut steps);
        steps.push(Step::SyncDns);
        if self.has(Kind::Tags) && !recreates && !self.needs_vm() {
            steps.push(Step::SetVmMetadata);
        }
        steps.extend([
            Step::Apply,
            Step::PreStart,
            Step::Start,
            Step::WatchRunning { watch: self.watch },
            Step::PostStart,
            Step::EndUpdate { completed: true },
        ]);
        steps
    }

    /// Skipped when there is nothing that runs or nobody who would answer.
    fn stop_cycle(&self, recreates: bool, steps: &mut Vec<Step>) {
        let running = self
            .row
            .is_some_and(|row| row.state == InstanceState::Started);
        if !running || !self.has_vm() || self.unresponsive() {
            return;
        }
        let vm_deleted = recreates || self.instance.state == InstanceState::Detached;
        let next = NextStates {
            vm_deleted,
            instance_deleted: false,
            deployment_deleted: false,
        };
        let shutdown = vm_deleted
            || self.instance.state != InstanceState::Started
            || self.has(Kind::PersistentDisk)
            || self.has(Kind::RecreatePersistentDisks);
        let kind = if shutdown {
            DrainKind::Shutdown
        } else {
            DrainKind::Update
        };
        stop(next, kind, self.skip_drain, steps);
        if self.director.snapshots && !self.active_disks().is_empty() {
            steps.push(Step::Snapshot);
        }
    }

    fn remove_vm(&self, steps: &mut Vec<Step>) {
        // Nobody is there to unmount: the CPI detaches with the VM.
        if !self.unresponsive() {
            for (disk, managed) in self.active_disks() {
                detach(disk, managed, steps);
            }
        }
        steps.push(Step::DeleteVm { all: false });
    }

    fn release(&self, steps: &mut Vec<Step>) {
        if !self.instance.released.is_empty() {
            steps.push(Step::ReleaseAddresses);
        }
    }

    fn change_disks(&self, steps: &mut Vec<Step>) {
        self.drop_left_over_disks(steps);
        let anew = self.has(Kind::RecreatePersistentDisks);
        for (wanted, key) in self.group.disks.iter().zip(&self.instance.disk_keys) {
            let old = self.row.and_then(|row| find_disk(row, &wanted.name));
            let same = old.is_some_and(|disk| disk_differences(disk, wanted).is_empty());
            if same && !anew {
                continue;
            }
            let managed = wanted.name.is_empty();
            let old_ref = old.and_then(|disk| disk.cid.clone()).map(DiskRef::Cid);
            if let (Some(disk), Some(old_ref)) = (old, &old_ref)
                && !anew
                && self.director.cpi_resize_disk
                && disk.size < wanted.size
                && disk.cloud_properties == wanted.cloud_properties
            {
                detach(old_ref.clone(), managed, steps);
                steps.push(Step::ResizeDisk {
                    disk: old_ref.clone(),
                    size: wanted.size,
                });
                attach(old_ref.clone(), managed, steps);
                continue;
            }
            replace_disk(wanted, old_ref, key, steps);
        }
        let Some(row) = self.row else {
            return;
        };
        for disk in row.disks.iter().filter(|disk| disk.active) {
            let Some(cid) = disk.cid.clone() else {
                continue;
            };
            if !self.group.disks.iter().any(|w| w.name == disk.name) {
                detach(DiskRef::Cid(cid.clone()), disk.name.is_empty(), steps);
                steps.push(Step::OrphanDisk {
                    disk: DiskRef::Cid(cid),
                });
            }
        }
    }

    /// Disks left over from a failed change go first: one may still be mounted where the next one belongs.
    fn drop_left_over_disks(&self, steps: &mut Vec<Step>) {
        let rows = self.row.map(|row| row.disks.as_slice()).unwrap_or_default();
        for disk in rows.iter().filter(|disk| !disk.active) {
            let Some(cid) = disk.cid.clone() else {
                continue;
            };
            if self.has_vm() && !self.unresponsive() {
                detach(DiskRef::Cid(cid.clone()), disk.name.is_empty(), steps);
            }
            steps.push(Step::OrphanDisk {
                disk: DiskRef::Cid(cid),
            });
        }
    }
}

fn attach(disk: DiskRef, managed: bool, steps: &mut Vec<Step>) {
    steps.push(Step::AttachDisk { disk: disk.clone() });
    if managed {
        steps.push(Step::MountDisk { disk });
    }
}

fn detach(disk: DiskRef, managed: bool, steps: &mut Vec<Step>) {
    if managed {
        steps.push(Step::UnmountDisk { disk: disk.clone() });
    }
    steps.push(Step::DetachDisk { disk });
}

fn replace_disk(wanted: &DiskSpec, old: Option<DiskRef>, key: &str, steps: &mut Vec<Step>) {
    let managed = wanted.name.is_empty();
    let new = DiskRef::Created(key.to_string());
    steps.push(Step::CreateDisk {
        key: key.to_string(),
        name: wanted.name.clone(),
        size: wanted.size,
        cloud_properties: wanted.cloud_properties.clone(),
    });
    attach(new.clone(), managed, steps);
    if let (Some(old), true) = (&old, managed) {
        steps.push(Step::MigrateDisk {
            from: old.clone(),
            to: new.clone(),
        });
    }
    steps.push(Step::ActivateDisk { disk: new });
    if let Some(old) = old {
        detach(old.clone(), managed, steps);
        steps.push(Step::OrphanDisk { disk: old });
    }
}

fn stop(next: NextStates, kind: DrainKind, skip_drain: bool, steps: &mut Vec<Step>) {
    if !skip_drain {
        steps.extend([Step::PreStop { next }, Step::Drain { kind }]);
    }
    steps.extend([Step::Stop, Step::PostStop { next }]);
}

/// The end of an instance: stop, VM away without unmounting, disks kept as orphans, rows away.
pub(super) fn delete(row: &CurrentInstance, skip_drain: bool, with_deployment: bool) -> Vec<Step> {
    let mut steps = Vec::new();
    let answers = !row.vms.is_empty() && row.agent != AgentObservation::Unresponsive;
    if answers && row.state == InstanceState::Started {
        let next = NextStates {
            vm_deleted: true,
            instance_deleted: true,
            deployment_deleted: with_deployment,
        };
        stop(next, DrainKind::Shutdown, skip_drain, &mut steps);
    }
    if !row.vms.is_empty() {
        steps.push(Step::DeleteVm { all: true });
    }
    let disks = row.disks.iter().filter_map(|d| d.cid.clone());
    steps.extend(disks.map(|cid| Step::OrphanDisk {
        disk: DiskRef::Cid(cid),
    }));
    if !row.addresses.is_empty() {
        steps.push(Step::ReleaseAddresses);
    }
    steps.extend([Step::SyncDns, Step::DeleteInstance]);
    steps
}
