//! Releases written short.

use domain::BlobId;
use planner::{JobSpec, PackageSource, PackageSpec, Release};
use serde_json::{Map, Value as Json};

pub(super) fn read_release(release: &Json) -> Release {
    let name = release["name"].as_str().unwrap();
    let version = scalar(&release["version"]);
    let jobs = map(release, "jobs").into_iter().map(|(job, spec)| {
        let fingerprint = spec
            .get("fingerprint")
            .map_or_else(|| format!("{job}-{version}"), scalar);
        let read = JobSpec::from_manifest(
            job.as_str().into(),
            fingerprint.clone(),
            format!("sha-{fingerprint}"),
            BlobId::new(format!("blob-{fingerprint}")),
            spec,
        );
        (read.name.clone(), read)
    });
    let packages = map(release, "packages").into_iter().map(|(package, spec)| {
        let fingerprint = spec
            .get("fingerprint")
            .map_or_else(|| format!("{package}-fp"), scalar);
        let dependencies = list(spec, "dependencies")
            .filter_map(Json::as_str)
            .map(Into::into);
        let read = PackageSpec {
            name: package.as_str().into(),
            source: (spec.get("compiled").is_none()).then(|| PackageSource {
                blob_id: BlobId::new(format!("source-{fingerprint}")),
                sha1: "sha".into(),
            }),
            fingerprint,
            dependencies: dependencies.collect(),
        };
        (read.name.clone(), read)
    });
    Release {
        name: name.into(),
        jobs: jobs.collect(),
        packages: packages.collect(),
        version,
    }
}

pub(super) fn list<'a>(value: &'a Json, key: &str) -> impl Iterator<Item = &'a Json> {
    value
        .get(key)
        .and_then(Json::as_array)
        .into_iter()
        .flatten()
}

fn map<'a>(value: &'a Json, key: &str) -> Vec<(&'a String, &'a Json)> {
    let map: Option<&Map<String, Json>> = value.get(key).and_then(Json::as_object);
    map.into_iter().flatten().collect()
}

pub(super) fn scalar(value: &Json) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_string)
}
