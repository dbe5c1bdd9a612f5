//! Carrying plans out step by step. Impossible steps are refused; at the end rows and machines must agree.

use std::collections::{BTreeMap, BTreeSet};

use domain::{BlobId, DiskCid, InstanceUuid, VmCid};
use planner::{
    AgentObservation, CompilePackage, CompiledPackage, CurrentDisk, CurrentInstance, CurrentVm,
    DeploymentPlan, DiskRef, Fingerprints, HeldAddress, InstancePlan, PackageRef, Placement, Step,
};

use super::World;

/// What a VM really is like.
#[derive(Debug, Default)]
pub(super) struct Machine {
    attached: BTreeSet<DiskCid>,
    mounted: BTreeSet<DiskCid>,
    running: bool,
    prepared: bool,
    applied: Option<String>,
    reached: bool,
}

impl World {
    pub fn carry_out(&mut self, plan: &DeploymentPlan, placement: &Placement) {
        self.now += 1000;
        for package in &plan.compile {
            self.compiled(package);
        }
        self.insert_rows(plan);
        for i in &plan.delete_first {
            self.run(&plan.instances[*i], placement, &plan.instances[*i].update);
        }
        for i in &plan.create {
            self.run(&plan.instances[*i], placement, &plan.instances[*i].create);
        }
        for group in plan.batches.iter().flat_map(|b| &b.groups) {
            let waves = group
                .waves
                .iter()
                .flat_map(|w| w.canaries.iter().chain(&w.rest));
            for i in group.delete.iter().chain(waves) {
                self.run(&plan.instances[*i], placement, &plan.instances[*i].update);
            }
        }
        self.refresh_rows(plan, placement);
        self.current.deployed_before = true;
        self.current.tags = plan.tags.clone();
        self.current.deployments.insert(plan.deployment.clone());
        self.check();
    }

    fn insert_rows(&mut self, plan: &DeploymentPlan) {
        for instance in &plan.instances {
            if instance.is_new {
                self.current.instances.push(CurrentInstance {
                    uuid: instance.spec.id.clone(),
                    group: instance.spec.name.clone(),
                    index: instance.spec.index,
                    az: instance.spec.az.clone(),
                    state: instance.state,
                    bootstrap: instance.spec.bootstrap,
                    ignore: false,
                    update_completed: false,
                    spec: None,
                    vms: Vec::new(),
                    disks: Vec::new(),
                    addresses: Vec::new(),
                    agent: AgentObservation::NotAsked,
                });
            }
            for address in instance.addresses.iter().filter(|a| a.is_new) {
                let taken = self
                    .current
                    .instances
                    .iter()
                    .flat_map(|i| &i.addresses)
                    .any(|a| a.address == address.address);
                assert!(!taken, "{} is given out twice", address.address);
                self.row(&instance.spec.id).addresses.push(HeldAddress {
                    address: address.address,
                    network: address.network.clone(),
                    is_static: address.is_static,
                });
            }
        }
    }

    fn refresh_rows(&mut self, plan: &DeploymentPlan, placement: &Placement) {
        for (_, placed) in placement.instances() {
            let instance = plan
                .instances
                .iter()
                .find(|i| i.spec.id == placed.uuid)
                .unwrap();
            let row = self.row(&placed.uuid);
            row.bootstrap = instance.spec.bootstrap;
            row.index = instance.spec.index;
            row.group = instance.spec.name.clone();
            row.az = instance.spec.az.clone();
        }
    }

    pub fn row(&mut self, uuid: &InstanceUuid) -> &mut CurrentInstance {
        self.current
            .instances
            .iter_mut()
            .find(|row| row.uuid == *uuid)
            .expect("the row is there")
    }

    fn machine(&mut self, uuid: &InstanceUuid) -> &mut Machine {
        self.machines.get_mut(uuid).expect("the step needs a VM")
    }

    fn run(&mut self, plan: &InstancePlan, placement: &Placement, steps: &[Step]) {
        let mut created: BTreeMap<String, DiskCid> = BTreeMap::new();
        for step in steps {
            self.step(plan, placement, step, &mut created);
        }
    }

    fn step(
        &mut self,
        plan: &InstancePlan,
        placement: &Placement,
        step: &Step,
        created: &mut BTreeMap<String, DiskCid>,
    ) {
        let uuid = &plan.spec.id;
        let cid = |disk: &DiskRef, created: &BTreeMap<String, DiskCid>| match disk {
            DiskRef::Cid(cid) => cid.clone(),
            DiskRef::Created(key) => created[key].clone(),
        };
        match step {
            Step::CreateVm { duplicate } => {
                assert!(
                    !duplicate && !self.machines.contains_key(uuid),
                    "{uuid} has a VM already"
                );
                self.vms += 1;
                self.machines.insert(uuid.clone(), Machine::default());
                let vm = CurrentVm {
                    cid: VmCid::new(format!("vm-{}", self.vms)),
                    agent_id: format!("agent-{}", self.vms).as_str().into(),
                    cpi: plan.cpi.clone(),
                    active: true,
                    created_at: Some(self.now),
                    stemcell_name: Some(plan.spec.stemcell.name.clone()),
                    stemcell_version: Some(plan.spec.stemcell.version.clone()),
                    fingerprints: Fingerprints::default(),
                };
                let row = self.row(uuid);
                row.vms.push(vm);
                let mut spec = row.spec.clone().unwrap_or_else(|| {
                    let mut spec = plan.spec.clone();
                    spec.jobs.clear();
                    spec.packages.clear();
                    spec.configuration_hash.clear();
                    spec
                });
                spec.stemcell = plan.spec.stemcell.clone();
                spec.cloud_properties = plan.spec.cloud_properties.clone();
                spec.env = plan.spec.env.clone();
                spec.networks = plan.spec.networks.clone();
                row.spec = Some(spec);
            }
            Step::WaitForAgent => self.machine(uuid).reached = true,
            Step::SetVmMetadata => {
                self.machine(uuid);
            }
            Step::AttachDisk { disk } => {
                let cid = cid(disk, created);
                assert!(self.machine(uuid).attached.insert(cid), "attached twice");
            }
            Step::MountDisk { disk } => {
                let cid = cid(disk, created);
                let machine = self.machine(uuid);
                assert!(machine.attached.contains(&cid) && machine.mounted.insert(cid));
            }
            Step::UnmountDisk { disk } => {
                let cid = cid(disk, created);
                assert!(
                    self.machine(uuid).mounted.remove(&cid),
                    "unmounted, but not mounted"
                );
            }
            Step::DetachDisk { disk } => {
                let cid = cid(disk, created);
                let machine = self.machine(uuid);
                assert!(!machine.mounted.contains(&cid) && machine.attached.remove(&cid));
            }
            Step::UpdateSettings | Step::ApplyIdentity => {
                assert!(self.machine(uuid).reached, "the agent was not waited for");
                let fingerprints = self.director.fingerprints.clone();
                for vm in &mut self.row(uuid).vms {
                    vm.fingerprints = fingerprints.clone();
                }
            }
            Step::BeginUpdate => self.row(uuid).update_completed = false,
            Step::StoreTemplates | Step::SyncDns | Step::Snapshot => {}
            Step::Prepare { .. } => self.machine(uuid).prepared = true,
            Step::PreStop { .. } | Step::Drain { .. } => {
                assert!(self.machine(uuid).running, "drained, but not running");
            }
            Step::Stop => self.machine(uuid).running = false,
            Step::PostStop { .. } => assert!(!self.machine(uuid).running),
            Step::DeleteVm { .. } => {
                self.machines.remove(uuid).expect("there is a VM to delete");
                self.row(uuid).vms.clear();
            }
            Step::ActivateVm | Step::OrphanVm => panic!("no duplicates are made yet"),
            Step::CreateDisk {
                key,
                name,
                size,
                cloud_properties,
            } => {
                self.disks += 1;
                let cid = DiskCid::new(format!("disk-{}", self.disks));
                created.insert(key.clone(), cid.clone());
                self.row(uuid).disks.push(CurrentDisk {
                    cid: Some(cid),
                    size: *size,
                    name: name.clone(),
                    cloud_properties: cloud_properties.clone(),
                    active: false,
                });
            }
            Step::MigrateDisk { from, to } => {
                let (from, to) = (cid(from, created), cid(to, created));
                let machine = self.machine(uuid);
                assert!(machine.mounted.contains(&from) && machine.mounted.contains(&to));
            }
            Step::ActivateDisk { disk } => {
                let cid = cid(disk, created);
                let row = self.row(uuid);
                let name = row
                    .disks
                    .iter()
                    .find(|d| d.cid.as_ref() == Some(&cid))
                    .unwrap()
                    .name
                    .clone();
                for disk in row.disks.iter_mut().filter(|d| d.name == name) {
                    disk.active = disk.cid.as_ref() == Some(&cid);
                }
            }
            Step::ResizeDisk { disk, size } => {
                let cid = cid(disk, created);
                assert!(!self.machine(uuid).attached.contains(&cid));
                let row = self.row(uuid);
                row.disks
                    .iter_mut()
                    .find(|d| d.cid.as_ref() == Some(&cid))
                    .unwrap()
                    .size = *size;
            }
            Step::OrphanDisk { disk } => {
                let cid = cid(disk, created);
                let attached = self
                    .machines
                    .get(uuid)
                    .is_some_and(|m| m.attached.contains(&cid));
                assert!(!attached, "orphaned while attached");
                self.row(uuid)
                    .disks
                    .retain(|d| d.cid.as_ref() != Some(&cid));
            }
            Step::ReleaseAddresses => {
                let released = plan.released.clone();
                self.row(uuid)
                    .addresses
                    .retain(|a| !released.iter().any(|(_, ip)| *ip == a.address));
            }
            Step::Apply => {
                let machine = self.machine(uuid);
                assert!(!machine.running, "applied while jobs run");
                machine.applied = Some(plan.spec.configuration_hash.clone());
                let mut spec = plan.spec.clone();
                spec.packages = self.packages(placement, plan);
                self.row(uuid).spec = Some(spec);
            }
            Step::PreStart => assert!(self.machine(uuid).applied.is_some()),
            Step::Start => self.machine(uuid).running = true,
            Step::WatchRunning { .. } | Step::PostStart => assert!(self.machine(uuid).running),
            Step::EndUpdate { completed } => {
                let (completed, state) = (*completed, plan.state);
                let row = self.row(uuid);
                if !plan.update.iter().any(|s| matches!(s, Step::Apply)) {
                    row.spec = Some(plan.settled_spec(row.spec.take()));
                }
                row.update_completed = completed;
                row.state = state;
            }
            Step::DeleteInstance => {
                assert!(!self.machines.contains_key(uuid));
                let row = self.row(uuid);
                assert!(row.disks.is_empty() && row.addresses.is_empty());
                self.current.instances.retain(|row| row.uuid != *uuid);
            }
        }
    }

    /// What the agent gets once everything is compiled.
    fn packages(
        &self,
        placement: &Placement,
        plan: &InstancePlan,
    ) -> BTreeMap<domain::PackageName, PackageRef> {
        let group = placement
            .groups
            .iter()
            .find(|g| g.name == plan.spec.name)
            .unwrap();
        let needs = group
            .runtime_packages
            .iter()
            .map(|(name, at)| (name, &placement.packages[*at]));
        needs
            .map(|(name, need)| {
                let compiled = self
                    .catalogue
                    .compiled
                    .iter()
                    .find(|c| {
                        c.name == *name
                            && c.fingerprint == need.fingerprint
                            && c.stemcell_version == need.stemcell.version
                            && c.dependency_key == need.dependency_key
                    })
                    .expect("it was compiled");
                let reference = PackageRef {
                    name: name.clone(),
                    version: format!("{}.{}", need.fingerprint, compiled.build),
                    sha1: compiled.sha1.clone(),
                    blobstore_id: compiled.blob_id.clone(),
                };
                (name.clone(), reference)
            })
            .collect()
    }

    /// The rows and the machines agree.
    fn check(&self) {
        let mut bootstraps: BTreeMap<&str, usize> = BTreeMap::new();
        for row in &self.current.instances {
            *bootstraps.entry(row.group.as_str()).or_default() += usize::from(row.bootstrap);
            let machine = self.machines.get(&row.uuid);
            assert_eq!(
                machine.is_some(),
                !row.vms.is_empty(),
                "{}: rows and VMs differ",
                row.uuid
            );
            let Some(machine) = machine else { continue };
            if row.ignore {
                continue;
            }
            assert_eq!(
                machine.running,
                row.state == planner::InstanceState::Started,
                "{}",
                row.uuid
            );
            let active: BTreeSet<DiskCid> = row
                .disks
                .iter()
                .filter(|d| d.active)
                .filter_map(|d| d.cid.clone())
                .collect();
            assert_eq!(machine.attached, active, "{}: attached disks", row.uuid);
            assert!(
                row.disks.iter().all(|d| d.active),
                "{}: a disk was left over",
                row.uuid
            );
        }
        assert!(
            bootstraps.values().all(|n| *n == 1),
            "one bootstrap instance per group: {bootstraps:?}"
        );
    }
}

impl World {
    /// Everything becomes as the plan promises, without going through the steps one by one: for large plans.
    pub fn adopt(&mut self, plan: &DeploymentPlan) {
        assert!(plan.instances.iter().all(|i| i.is_new));
        for package in &plan.compile {
            self.compiled(package);
        }
        for instance in &plan.instances {
            let mut spec = instance.spec.clone();
            spec.packages = plan
                .compile
                .iter()
                .filter(|p| p.needed_by_groups.contains(&spec.name))
                .map(|p| (p.name.clone(), self.reference(p)))
                .collect();
            self.current.instances.push(CurrentInstance {
                uuid: spec.id.clone(),
                group: spec.name.clone(),
                index: spec.index,
                az: spec.az.clone(),
                state: instance.state,
                bootstrap: spec.bootstrap,
                ignore: false,
                update_completed: true,
                spec: Some(spec),
                vms: vec![CurrentVm {
                    cid: VmCid::new("vm"),
                    agent_id: "agent".into(),
                    cpi: instance.cpi.clone(),
                    active: true,
                    created_at: None,
                    stemcell_name: None,
                    stemcell_version: None,
                    fingerprints: Fingerprints::default(),
                }],
                disks: Vec::new(),
                addresses: instance
                    .addresses
                    .iter()
                    .map(|a| HeldAddress {
                        address: a.address,
                        network: a.network.clone(),
                        is_static: a.is_static,
                    })
                    .collect(),
                agent: AgentObservation::JobState("running".into()),
            });
        }
        self.current.deployed_before = true;
        self.current.tags = plan.tags.clone();
    }

    fn compiled(&mut self, package: &CompilePackage) {
        self.catalogue.compiled.push(CompiledPackage {
            name: package.name.clone(),
            fingerprint: package.fingerprint.clone(),
            stemcell_os: package.stemcell.os.clone(),
            stemcell_version: package.stemcell.version.clone(),
            dependency_key: package.dependency_key.clone(),
            build: 1,
            blob_id: BlobId::new(format!("compiled-{}", package.step_key())),
            sha1: format!("sha1-{}", package.name),
        });
    }

    fn reference(&self, package: &CompilePackage) -> PackageRef {
        PackageRef {
            name: package.name.clone(),
            version: format!("{}.1", package.fingerprint),
            sha1: format!("sha1-{}", package.name),
            blobstore_id: BlobId::new(format!("compiled-{}", package.step_key())),
        }
    }
}
