//! What an export of a release compiles (docs/spec/releases-and-templates.md §11).

use std::collections::BTreeMap;

use domain::{InstanceGroupName, JobName, ReleaseName};
use manifest::documents::{Problem, Problems};

use super::compile;
use crate::input::PlanningInput;
use crate::packages::{self, Needs};
use crate::place::BoundRelease;
use crate::plan::{ExportPlan, PLANNER_VERSION};
use crate::spec::StemcellRef;

/// Plans the compilation of all packages that these jobs need on the catalogue's stemcell. `input` holds one release
/// and the rows of one stemcell; nothing else of its manifest counts.
///
/// # Errors
/// 60001 when packages have no source and are not compiled for the stemcell; 130011 without a free address.
pub fn plan_export(
    input: &PlanningInput,
    release: &ReleaseName,
    jobs: &[JobName],
) -> Result<ExportPlan, Problems> {
    let found = input.catalogue.releases.iter().find(|r| r.name == *release);
    let (Some(release), Some(stemcell)) = (found, input.catalogue.stemcells.first()) else {
        return Err(Problem::new(
            100,
            format!("Release '{release}' or its stemcell is not there"),
        )
        .into());
    };
    let bound = BoundRelease {
        release,
        version: &release.version,
        exported_from: &[],
    };
    let stemcell = StemcellRef {
        name: stemcell.name.clone(),
        version: stemcell.version.clone(),
        os: stemcell.os.clone(),
    };
    let mut needs = Needs::new(input);
    for job in jobs.iter().filter_map(|job| release.jobs.get(job)) {
        needs.add_job(bound, &job.packages, &stemcell)?;
    }
    // The whole chain is exported, so what compiled packages depend on is needed too.
    let places = needs.list.iter().enumerate();
    let runtime: BTreeMap<_, _> = places.map(|(at, need)| (need.name.clone(), at)).collect();
    let wanted = packages::to_compile(&needs.list, [&runtime]);
    packages::check_sources(&needs.list, &wanted, &[])?;
    // compat: the original's name of it.
    let group = InstanceGroupName::new("dummy-job-for-compilation");
    let compile = compile::plan_compilation(input, &needs.list, &[(&group, &runtime)]);
    Ok(ExportPlan {
        planner_version: PLANNER_VERSION,
        compilation: compile::workers(input, [], compile.len())?,
        compile,
    })
}
