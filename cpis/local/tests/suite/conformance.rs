//! The contract's own suite against this CPI.

use cpi::conformance::{self, Profile};
use serde_json::json;

use crate::host::{Host, Isolation, exists};

fn conforms(host: &Host) {
    let networks: Vec<_> = (0..8).map(|n| host.networks(n)).collect();
    let profile: Profile = serde_json::from_value(json!({
        "properties": host.properties(),
        "stemcell": {"image": host.image()},
        "networks": networks,
        "without": ["create_network"],
        "disk_size": 32,
        "timeout": 120,
    }))
    .unwrap();
    let report = conformance::run(&host.executable(), &profile);
    assert!(report.passed(), "\n{report}");
    host.assert_nothing_left();
}

#[test]
fn the_cpi_keeps_the_contract_with_every_oci_runtime_that_is_there() {
    for runtime in ["runc", "crun"].into_iter().filter(|name| exists(name)) {
        let Some(host) = Host::new(Isolation::Namespaces) else {
            return;
        };
        conforms(&host.with_runtime(runtime));
    }
}

#[test]
fn the_cpi_keeps_the_contract_without_the_capabilities_for_namespaces() {
    conforms(&Host::new(Isolation::Plain).unwrap());
}
