//! Which package is compiled when: ready ones at once, at most `workers` at a time, dependencies first.

use std::collections::BTreeSet;

use futures_util::stream::{FuturesUnordered, StreamExt};
use planner::{CompilationPlan, CompilePackage, Dependency, PackageRef};

use super::package;
use super::worker::Pool;
use crate::deploy::work::Work;
use crate::error::Error;

/// Compiles all of `needs`; the results in the same order. After the first failure nothing more is
/// begun and what is under way runs to its end; the VMs are deleted in any case.
pub async fn run(
    work: &Work,
    needs: &[CompilePackage],
    compilation: &CompilationPlan,
) -> Result<Vec<PackageRef>, Error> {
    let pool = Pool::new(work, compilation);
    let result = compile_all(work, needs, &pool).await;
    // An interrupted worker leaves its VMs to the next one, which deletes them first.
    if matches!(&result, Err(error) if error.is_interrupted()) {
        return result;
    }
    let closed = pool.close().await;
    let compiled = result?;
    closed?;
    Ok(compiled)
}

async fn compile_all(
    work: &Work,
    needs: &[CompilePackage],
    pool: &Pool<'_>,
) -> Result<Vec<PackageRef>, Error> {
    let stage = work
        .ctx
        .events
        .stage("Compiling packages", &[], needs.len() as u64);
    let mut done: Vec<Option<PackageRef>> = vec![None; needs.len()];
    let mut waiting: BTreeSet<usize> = (0..needs.len()).collect();
    let mut running = FuturesUnordered::new();
    let mut failure: Option<Error> = None;
    loop {
        while failure.is_none() && running.len() < pool.size() {
            let ready = waiting
                .iter()
                .copied()
                .find(|at| is_ready(&needs[*at].dependencies, &done));
            let Some(at) = ready else { break };
            waiting.remove(&at);
            let dependencies = resolve(&needs[at].dependencies, &done);
            let stage = stage.clone();
            running.push(async move {
                let compiling = package::compile(work, pool, &needs[at], dependencies);
                (at, stage.run(needs[at].title(), compiling).await)
            });
        }
        match running.next().await {
            None => break,
            Some((at, Ok(package))) => done[at] = Some(package),
            Some((_, Err(error))) if failure.is_none() || error.is_interrupted() => {
                failure = Some(error)
            }
            Some(_) => {}
        }
    }
    match failure {
        Some(error) => Err(error),
        None => done.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| {
            Error::unclassified(
                "Packages depend on each other in a circle: none of them can be compiled first.",
            )
        }),
    }
}

fn is_ready(dependencies: &[Dependency], done: &[Option<PackageRef>]) -> bool {
    dependencies.iter().all(|dependency| match dependency {
        Dependency::Compiled(_) => true,
        Dependency::Earlier(at) => done[*at].is_some(),
    })
}

fn resolve(dependencies: &[Dependency], done: &[Option<PackageRef>]) -> Vec<PackageRef> {
    dependencies
        .iter()
        .filter_map(|dependency| match dependency {
            Dependency::Compiled(package) => Some(package.clone()),
            Dependency::Earlier(at) => done[*at].clone(),
        })
        .collect()
}
