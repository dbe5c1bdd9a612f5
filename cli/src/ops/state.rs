//! Start, stop, restart, recreate, ignore, delete-vm, resurrection (spec cli §13).

use super::Session;
use crate::commands::slugs::PoolOrInstanceSlug;
use crate::commands::{
    CidArgs, ConvergeArgs, InstanceArgs, RecreateArgs, RestartArgs, StartArgs, StopArgs,
    UpdateResurrectionArgs,
};
use crate::error::{Error, Result};
use director_client::{ChangeState, InstanceTarget, Query};

pub async fn start(session: &Session, args: StartArgs) -> Result<()> {
    let change = ChangeState {
        state: "started".to_owned(),
        ..ChangeState::default()
    };
    act(session, args.common, "start", change, Query::new()).await
}

pub async fn stop(session: &Session, args: StopArgs) -> Result<()> {
    let state = if args.hard { "detached" } else { "stopped" };
    let change = ChangeState {
        state: state.to_owned(),
        skip_drain: args.skip_drain,
        force: args.force,
        ..ChangeState::default()
    };
    let query = Query::new()
        .with_flag("skip_drain", args.skip_drain)
        .with_flag("hard", args.hard);
    act(session, args.common, "stop", change, query).await
}

pub async fn restart(session: &Session, args: RestartArgs) -> Result<()> {
    let change = ChangeState {
        state: "restart".to_owned(),
        skip_drain: args.skip_drain,
        force: args.force,
        ..ChangeState::default()
    };
    let query = Query::new().with_flag("skip_drain", args.skip_drain);
    act(session, args.common, "restart", change, query).await
}

pub async fn recreate(session: &Session, args: RecreateArgs) -> Result<()> {
    let change = ChangeState {
        state: "recreate".to_owned(),
        skip_drain: args.skip_drain,
        force: args.force,
        fix: args.fix,
        dry_run: args.dry_run,
        recreate_vms_created_before: args.vms_created_before.map(|at| at.0),
        ..ChangeState::default()
    };
    let query = Query::new()
        .with_flag("skip_drain", args.skip_drain)
        .with_flag("ignore_unresponsive_agent", args.fix);
    act(session, args.common, "recreate", change, query).await
}

async fn act(
    session: &Session,
    args: ConvergeArgs,
    verb: &str,
    change: ChangeState,
    isolated_query: Query,
) -> Result<()> {
    session.ui.confirm()?;
    let refuse = |what: &str| Err(Error::message(format!("Can't set {what} and no-converge")));
    if args.no_converge {
        if args.converge {
            return refuse("converge");
        }
        if args.canaries.is_some() {
            return refuse("canaries");
        }
        if args.max_in_flight.is_some() {
            return refuse("max-in-flight");
        }
        if change.dry_run {
            return refuse("dry-run");
        }
    }
    let deployment = session.deployment()?;
    let client = session
        .client
        .with_context_id(uuid::Uuid::new_v4().to_string());
    let slugs = PoolOrInstanceSlug::or_all(args.slugs);
    if !args.no_converge {
        let change = ChangeState {
            canaries: args.canaries,
            max_in_flight: args.max_in_flight,
            ..change
        };
        for slug in slugs {
            let target = InstanceTarget {
                group: slug.group,
                id: slug.id,
            };
            client
                .change_state(deployment, &target, &change, &session.reporter)
                .await?;
        }
        return Ok(());
    }
    // All are checked before the first is touched.
    let mut instances = Vec::new();
    for slug in slugs {
        let (Some(group), Some(id)) = (slug.group, slug.id) else {
            return Err(Error::message(format!(
                "You are trying to run {verb} with --no-converge on an entire instance group. This operation is not allowed. Trying using the --converge flag or running it against a specific instance."
            )));
        };
        instances.push((group, id));
    }
    for (group, id) in &instances {
        client
            .instance_action(
                deployment,
                (group, id),
                verb,
                isolated_query.clone(),
                &session.reporter,
            )
            .await?;
    }
    Ok(())
}

pub async fn ignore(session: &Session, args: InstanceArgs, ignore: bool) -> Result<()> {
    Ok(session
        .client
        .ignore_instance(session.deployment()?, args.slug.pair(), ignore)
        .await?)
}

pub async fn delete_vm(session: &Session, args: CidArgs) -> Result<()> {
    session.ui.confirm()?;
    Ok(session
        .client
        .delete_vm(&args.cid, &session.reporter)
        .await?)
}

pub async fn update_resurrection(session: &Session, args: UpdateResurrectionArgs) -> Result<()> {
    Ok(session.client.enable_resurrection(args.enabled).await?)
}
