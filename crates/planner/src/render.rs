//! What templates see: the `spec` of releases-and-templates §14, for each instance.

use manifest::documents::DefaultFor;
use serde_json::{Map, Value as Json, json};

use crate::placement::{PlacedGroup, PlacedInstance, Placement, RenderInstance, Reservation};

impl Placement {
    /// One request per instance to render: all groups but dormant errand groups, ignored instances left out.
    /// Made one at a time: contexts with links to large groups are large.
    pub fn render_jobs(&self) -> impl Iterator<Item = RenderInstance> + '_ {
        let dns = self.dns.as_ref().map_or(Json::Null, |ids| json!(ids));
        self.instances()
            .filter(|(group, instance)| !group.dormant && !instance.ignore)
            .map(move |(group, instance)| RenderInstance {
                group: group.name.clone(),
                uuid: instance.uuid.clone(),
                context: self.context(group, instance),
                dns: dns.clone(),
                jobs: group.jobs.iter().map(|j| j.job.clone()).collect(),
            })
    }

    fn context(&self, group: &PlacedGroup, instance: &PlacedInstance) -> Json {
        let mut networks = Map::new();
        for network in &instance.networks {
            let mut settings = network
                .observed
                .clone()
                .unwrap_or_else(|| network.settings.clone());
            if network.reservation == Reservation::None
                && network.settings.get("type") == Some(&json!("dynamic"))
            {
                for key in ["ip", "netmask", "gateway"] {
                    if settings.get(key).is_none() {
                        settings[key] = json!("127.0.0.1");
                    }
                }
            }
            settings["dns_record_name"] = json!(network.dns_record_name);
            networks.insert(network.name.to_string(), settings);
        }
        let ip = [DefaultFor::Addressable, DefaultFor::Gateway]
            .into_iter()
            .find_map(|wanted| {
                instance
                    .networks
                    .iter()
                    .find(|n| n.default.contains(&wanted))
            })
            .and_then(|n| networks[n.name.as_str()].get("ip").cloned());
        let mut properties = Map::new();
        let mut links = Map::new();
        for job in &group.jobs {
            properties.insert(job.job.name.to_string(), job.properties.as_ref().clone());
            let of_job: Map<String, Json> = job
                .links
                .iter()
                .map(|(name, content)| (name.clone(), content.as_ref().clone()))
                .collect();
            links.insert(job.job.name.to_string(), Json::Object(of_job));
        }
        let spec = self.spec(group, instance);
        json!({
            "deployment": self.deployment,
            "job": spec.apply_spec()["job"],
            "index": instance.index,
            "bootstrap": instance.bootstrap,
            "name": group.name,
            "id": instance.uuid,
            "az": instance.az,
            "networks": networks,
            "address": instance.address,
            "ip": ip,
            "dns_domain_name": self.root_domain,
            "persistent_disk": spec.persistent_disk,
            "properties": properties,
            "properties_need_filtering": true,
            "links": links,
        })
    }
}
