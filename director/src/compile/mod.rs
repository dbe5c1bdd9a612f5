//! Compiling the packages that a plan needs, on VMs made for it (manifests-and-planning §6).
//!
//! `deploy` calls [`run`] before anything else is changed, an export of a release calls [`packages`]. Guarantees: a package is compiled once per
//! stemcell and dependencies, whoever needs it; what is compiled stays for the next try; no compilation VM
//! outlives the stage, whatever happens: those of a dead worker are deleted first.

mod package;
mod schedule;
mod worker;

pub use worker::delete_left_overs;

use planner::{CompilationPlan, CompilePackage, DeploymentPlan, PackageRef};

use crate::deploy::work::Work;
use crate::error::Error;

/// Compiles what is missing and completes the specs in `plan` with the results.
pub async fn run(work: &Work, plan: &mut DeploymentPlan) -> Result<(), Error> {
    let compiled = packages(work, &plan.compile, &plan.compilation).await?;
    fill_in(plan, &compiled);
    Ok(())
}

/// Compiles all of `needs` on VMs as `compilation` says; the results in the same order. Shown as in a deploy.
pub async fn packages(
    work: &Work,
    needs: &[CompilePackage],
    compilation: &CompilationPlan,
) -> Result<Vec<PackageRef>, Error> {
    worker::delete_left_overs(work).await?;
    show_finding(work).await?;
    if needs.is_empty() {
        return Ok(Vec::new());
    }
    schedule::run(work, needs, compilation).await
}

/// The line that people expect to see; the finding itself is part of the plan.
pub async fn show_finding(work: &Work) -> Result<(), Error> {
    let stage = work
        .ctx
        .events
        .stage("Preparing package compilation", &[], 1);
    stage
        .run("Finding packages to compile", async { Ok(()) })
        .await
}

/// Instances of the groups that need a package get it into their spec.
fn fill_in(plan: &mut DeploymentPlan, compiled: &[PackageRef]) {
    for (need, package) in plan.compile.iter().zip(compiled) {
        for instance in &mut plan.instances {
            if need.needed_by_groups.contains(&instance.spec.name)
                && instance.spec.stemcell == need.stemcell
            {
                instance
                    .spec
                    .packages
                    .insert(package.name.clone(), package.clone());
            }
        }
    }
}
