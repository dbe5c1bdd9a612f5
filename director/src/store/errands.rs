//! Which errands a deployment has (director-api.md §13.1).

use super::{Error, Store};

impl Store {
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
               and jsonb_path_exists(j.spec::jsonb, '$.templates.* ? (@ == \"bin/run\" || @ == \"bin/run.ps1\")')
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
