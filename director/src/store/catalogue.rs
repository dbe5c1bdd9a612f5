//! What is uploaded, as the listings of the API show it.

use serde_json::Value;

use super::{Error, Store};

/// A version of a release.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct ReleaseListing {
    pub name: String,
    pub version_id: i64,
    pub version: String,
    pub commit_hash: Option<String>,
    pub uncommitted_changes: bool,
    pub currently_deployed: bool,
    pub job_names: Vec<String>,
}

/// A stemcell of one CPI, with the deployments that use it.
#[derive(Clone, Debug, sqlx::FromRow)]
pub struct StemcellListing {
    pub id: i64,
    pub name: String,
    pub version: String,
    pub operating_system: String,
    pub cid: Option<String>,
    pub cpi: String,
    pub api_version: Option<i32>,
    pub deployments: Vec<String>,
}

impl Store {
    /// All versions, by release name.
    pub async fn release_listing(&self) -> Result<Vec<ReleaseListing>, Error> {
        sqlx::query_as(
            "select r.name, v.id as version_id, v.version, v.commit_hash, v.uncommitted_changes,
               exists (select 1 from deployment_release_versions d where d.release_version_id = v.id) as currently_deployed,
               array(select j.name from release_version_jobs rj join jobs j on j.id = rj.job_id
                     where rj.release_version_id = v.id order by j.name) as job_names
             from releases r join release_versions v on v.release_id = r.id order by r.name, v.id",
        )
        .fetch_all(self.pool())
        .await
    }

    /// Jobs and packages of all versions of a release.
    pub async fn release_summary(&self, name: &str) -> Result<(Value, Value), Error> {
        sqlx::query_as(
            "select
               coalesce((select jsonb_agg(jsonb_build_object('name', j.name, 'sha1', j.sha1, 'version', j.version,
                           'packages', coalesce(j.spec -> 'packages', '[]')) order by j.name, j.id)
                         from jobs j join releases r on r.id = j.release_id where r.name = $1), '[]'),
               coalesce((select jsonb_agg(jsonb_build_object('name', p.name, 'sha1', p.sha1, 'version', p.version,
                           'dependencies', p.dependencies) order by p.name, p.id)
                         from packages p join releases r on r.id = p.release_id where r.name = $1), '[]')",
        )
        .bind(name)
        .fetch_one(self.pool())
        .await
    }

    /// Jobs and packages of one version, with compiled packages.
    pub async fn release_contents(&self, version_id: i64) -> Result<(Value, Value), Error> {
        sqlx::query_as(
            "select
               coalesce((select json_agg(json_build_object('name', j.name, 'blobstore_id', j.blob_id, 'sha1', j.sha1,
                           'fingerprint', j.fingerprint, 'consumes', coalesce(j.spec -> 'consumes', '[]'),
                           'provides', coalesce(j.spec -> 'provides', '[]')) order by j.name)
                         from jobs j join release_version_jobs v on v.job_id = j.id
                         where v.release_version_id = $1), '[]')::jsonb,
               coalesce((select json_agg(json_build_object('name', p.name, 'blobstore_id', p.blob_id, 'sha1', p.sha1,
                           'fingerprint', p.fingerprint, 'compiled_packages',
                           coalesce((select json_agg(json_build_object(
                               'stemcell', c.stemcell_os || '/' || c.stemcell_version, 'sha1', c.sha1,
                               'blobstore_id', c.blob_id) order by c.stemcell_os, c.stemcell_version, c.id)
                             from compiled_packages c where c.package_id = p.id), '[]')) order by p.name)
                         from packages p join release_version_packages v on v.package_id = p.id
                         where v.release_version_id = $1), '[]')::jsonb",
        )
        .bind(version_id)
        .fetch_one(self.pool())
        .await
    }

    /// By name, then version as text.
    pub async fn stemcell_listing(&self) -> Result<Vec<StemcellListing>, Error> {
        sqlx::query_as(
            "select s.id, s.name, s.version, s.operating_system, s.cid, s.cpi, s.api_version,
               array(select d.name from deployment_stemcells ds join deployments d on d.id = ds.deployment_id
                     where ds.stemcell_id = s.id order by d.name) as deployments
             from stemcells s order by s.name, s.id",
        )
        .fetch_all(self.pool())
        .await
    }

    /// The version exists, but its upload never came to its end.
    pub async fn release_upload_incomplete(
        &self,
        name: &str,
        version: &str,
    ) -> Result<bool, Error> {
        sqlx::query_scalar(
            "select exists (select 1 from release_versions v join releases r on r.id = v.release_id
                            where r.name = $1 and v.version = $2 and not v.update_completed)",
        )
        .bind(name)
        .bind(version)
        .fetch_one(self.pool())
        .await
    }

    /// Those of the fingerprints whose source is stored, sorted.
    pub async fn stored_packages(&self, fingerprints: &[String]) -> Result<Vec<String>, Error> {
        sqlx::query_scalar(
            "select distinct fingerprint from packages where fingerprint = any($1) and blob_id is not null order by 1",
        )
        .bind(fingerprints)
        .fetch_all(self.pool())
        .await
    }

    /// Names of a deployment's errands: errand groups first, then jobs with a `bin/run` template, each once.
    pub async fn errand_names(&self, deployment: i64) -> Result<Vec<String>, Error> {
        let mut names: Vec<String> = sqlx::query_scalar(
            "select distinct group_name from instances
             where deployment_id = $1 and lifecycle = 'errand' and not compilation order by 1",
        )
        .bind(deployment)
        .fetch_all(self.pool())
        .await?;
        let jobs: Vec<String> = sqlx::query_scalar(
            "select distinct j.name from deployment_release_versions d
             join release_version_jobs rj on rj.release_version_id = d.release_version_id
             join jobs j on j.id = rj.job_id
             join deployments on deployments.id = d.deployment_id
             where d.deployment_id = $1
               and exists (select 1 from jsonb_each_text(coalesce(j.spec -> 'templates', '{}')) t
                           where t.value in ('bin/run', 'bin/run.ps1'))
               and jsonb_path_exists(deployments.manifest, '$.instance_groups[*].jobs[*] ? (@.name == $name)',
                                     jsonb_build_object('name', j.name))
             order by 1",
        )
        .bind(deployment)
        .fetch_all(self.pool())
        .await?;
        names.extend(
            jobs.into_iter()
                .filter(|job| !names.contains(job))
                .collect::<Vec<_>>(),
        );
        Ok(names)
    }
}
