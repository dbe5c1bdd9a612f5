//! A world that plans change: uploads, documents, rows; `steps` carries plans out on it.

mod steps;
mod uploads;

use std::collections::BTreeMap;

use domain::{InstanceUuid, StemcellCid};
use manifest::documents::{ReadOptions, read_documents};
use planner::{
    Catalogue, CountedIds, CurrentDeployment, DeployOptions, DeploymentPlan, DesiredDeployment,
    DirectorFacts, Placement, PlanningInput, Problems, RenderedInstance, Report, Stemcell,
};
use serde_json::{Value as Json, json};
use serde_yaml::Value as Yaml;

use steps::Machine;
use uploads::{list, read_release, scalar};

/// One deployment in its director.
pub struct World {
    pub manifest: Yaml,
    pub cloud: Yaml,
    pub runtime: Vec<Yaml>,
    pub catalogue: Catalogue,
    pub current: CurrentDeployment,
    pub director: DirectorFacts,
    pub ids: CountedIds,
    machines: BTreeMap<InstanceUuid, Machine>,
    disks: u32,
    vms: u32,
    /// Seconds since 1970; moves on with each deploy.
    pub now: i64,
}

impl World {
    pub fn new(manifest: Yaml, cloud: Yaml, runtime: Vec<Yaml>, uploads: &Yaml) -> World {
        let mut world = World {
            manifest,
            cloud,
            runtime,
            catalogue: Catalogue::default(),
            current: CurrentDeployment::default(),
            director: DirectorFacts {
                name: "director".into(),
                root_domain: "bosh".into(),
                max_threads: 32,
                ..DirectorFacts::default()
            },
            ids: CountedIds::default(),
            machines: BTreeMap::new(),
            disks: 0,
            vms: 0,
            now: 1000,
        };
        world.upload(uploads);
        world
    }

    /// `{releases: [{name, version, jobs: {name: job.MF}, packages: {name: {fingerprint, dependencies, compiled}}}],
    /// stemcells: [{name, os, version, cpi}]}`.
    pub fn upload(&mut self, uploads: &Yaml) {
        let uploads: Json = serde_json::to_value(uploads).unwrap();
        for release in list(&uploads, "releases") {
            let release = read_release(release);
            let versions = self.catalogue.release_versions.entry(release.name.clone());
            versions.or_default().push(release.version.clone());
            self.catalogue.releases.push(release);
        }
        for stemcell in list(&uploads, "stemcells") {
            let text = |key: &str| stemcell.get(key).and_then(Json::as_str).unwrap_or_default();
            let version = scalar(&stemcell["version"]);
            self.catalogue.stemcells.push(Stemcell {
                name: text("name").into(),
                cid: StemcellCid::new(format!("{}-{version}", text("name"))),
                version,
                os: text("os").into(),
                cpi: text("cpi").into(),
                api_version: 3,
            });
        }
    }

    pub fn input(&self, options: DeployOptions) -> Result<PlanningInput, Problems> {
        let mut manifest = self.manifest.clone();
        planner::resolve_versions(
            &mut manifest,
            &self.catalogue.release_versions,
            &self.catalogue.stemcells,
        )?;
        let documents = read_documents(
            &manifest,
            std::slice::from_ref(&self.cloud),
            &self.runtime,
            &ReadOptions::default(),
        )?;
        Ok(PlanningInput {
            director: self.director.clone(),
            desired: DesiredDeployment {
                manifest: documents.manifest,
                cloud: documents.cloud,
                runtime: documents.runtime,
                teams: vec!["ops".into()],
                calculated: Vec::new(),
            },
            catalogue: self.catalogue.clone(),
            current: self.current.clone(),
            options,
        })
    }

    pub fn plan(
        &mut self,
        options: DeployOptions,
    ) -> Result<(DeploymentPlan, Report, Placement), Problems> {
        let input = self.input(options)?;
        let placement = planner::place(&input, &mut self.ids)?;
        let rendered = render(&placement);
        let (plan, report) = planner::plan(&input, placement.clone(), &rendered)?;
        Ok((plan, report, placement))
    }

    /// Plans and carries out; afterwards everything is as the plan promised.
    pub fn deploy(&mut self, options: DeployOptions) -> Result<(DeploymentPlan, Report), Problems> {
        let (plan, report, placement) = self.plan(options)?;
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(
            serde_json::from_str::<DeploymentPlan>(&json).unwrap(),
            plan,
            "a plan survives being stored"
        );
        self.carry_out(&plan, &placement);
        Ok((plan, report))
    }
}

/// A stand-in for the template renderer: what it renders depends on properties and links, as templates do.
pub fn render(placement: &Placement) -> BTreeMap<InstanceUuid, RenderedInstance> {
    placement
        .render_jobs()
        .map(|request| {
            let hash = |value: Json| {
                use std::hash::{DefaultHasher, Hash, Hasher};
                let mut hasher = DefaultHasher::new();
                value.to_string().hash(&mut hasher);
                format!("{:016x}", hasher.finish())
            };
            let seen = |job: &str| {
                let context = &request.context;
                json!([context["properties"][job], context["links"][job]])
            };
            let rendered = RenderedInstance {
                configuration_hash: hash(
                    request
                        .jobs
                        .iter()
                        .map(|j| json!([j.version, seen(j.name.as_str())]))
                        .collect(),
                ),
                template_hashes: request
                    .jobs
                    .iter()
                    .map(|j| (j.name.clone(), hash(seen(j.name.as_str()))))
                    .collect(),
            };
            (request.uuid, rendered)
        })
        .collect()
}
