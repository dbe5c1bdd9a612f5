//! Deploys on a real database, a real message bus and real template rendering; the cloud and the agents are
//! models that speak the real contracts.

mod artifacts;
mod bench;
mod conversations;
mod crashes;
mod errands;
mod failures;
mod life;
mod recorded;
mod replay;
mod same;
mod traffic;

/// A deployment `demo`: `web` instances over two AZs, one `store` with a persistent disk.
pub struct Manifest {
    pub web: u32,
    pub greeting: &'static str,
    pub stemcell: &'static str,
    pub disk: &'static str,
    pub vm_type: &'static str,
}

impl Default for Manifest {
    fn default() -> Manifest {
        Manifest {
            web: 2,
            greeting: "hello",
            stemcell: "1",
            disk: "data",
            vm_type: "small",
        }
    }
}

impl Manifest {
    pub fn text(&self) -> String {
        let Manifest {
            web,
            greeting,
            stemcell,
            disk,
            vm_type,
        } = self;
        format!(
            "
name: demo
releases: [{{name: demo, version: latest}}]
stemcells: [{{alias: default, os: fake-os, version: '{stemcell}'}}]
update: {{canaries: 1, max_in_flight: 2, canary_watch_time: 5-2000, update_watch_time: 5-2000}}
instance_groups:
- name: store
  instances: 1
  azs: [z1]
  vm_type: small
  stemcell: default
  persistent_disk_type: {disk}
  networks: [{{name: default, static_ips: [10.9.1.100]}}]
  jobs: [{{name: store, release: demo}}]
- name: web
  instances: {web}
  azs: [z1, z2]
  vm_type: {vm_type}
  stemcell: default
  networks: [{{name: default}}]
  jobs: [{{name: web, release: demo, properties: {{greeting: {greeting}}}}}]
- name: smoke
  lifecycle: errand
  instances: 1
  azs: [z1]
  vm_type: small
  stemcell: default
  networks: [{{name: default}}]
  jobs: [{{name: check, release: demo}}]
"
        )
    }
}
