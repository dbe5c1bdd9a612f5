//! What the agents say before a plan is made: all at once, each as long as the original waits.

use agent_protocol::{AgentState, Target};
use domain::AgentId;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use planner::{AgentObservation, CurrentInstance};

use crate::agents;
use crate::deploy::work::Work;
use crate::error::{Error, code};

/// Agents asked at the same time.
const AT_ONCE: usize = 256;

type Answer<'a> = (
    &'a mut CurrentInstance,
    Target,
    Result<AgentState, agent_protocol::Error>,
);

async fn ask<'a>(work: &Work, instance: &'a mut CurrentInstance, agent: AgentId) -> Answer<'a> {
    let to = Target {
        agent,
        instance: format!("{}/{}", instance.group, instance.uuid),
    };
    let answer = work.agents().get_state(&to, false).await;
    (instance, to, answer)
}

/// Asks the agent of every instance with a VM, but not of ignored ones or of groups that go.
///
/// # Errors
/// 450002 naming all that are silent, unless `fix`: then they are noted as unresponsive and will be recreated.
pub async fn agents(
    work: &Work,
    instances: &mut [CurrentInstance],
    kept: impl Fn(&str) -> bool,
    fix: bool,
) -> Result<(), Error> {
    let mut questions: Vec<BoxFuture<'_, Answer<'_>>> = Vec::new();
    for instance in instances.iter_mut() {
        if instance.ignore || !kept(instance.group.as_str()) {
            continue;
        }
        if let Some(vm) = instance.vms.iter().find(|vm| vm.active) {
            let agent = vm.agent_id.clone();
            questions.push(ask(work, instance, agent).boxed());
        }
    }
    let answers = stream::iter(questions)
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>();
    let mut silent = Vec::new();
    for (instance, to, answer) in work.ctx.until_cancelled(answers).await? {
        instance.agent = match answer {
            Ok(state) => AgentObservation::JobState(state.job_state().to_string()),
            Err(error) if error.is_timeout() => {
                silent.push(format!("{}: {error}", to.instance));
                AgentObservation::Unresponsive
            }
            Err(error) => return Err(agents::failed(error)),
        };
    }
    if fix || silent.is_empty() {
        return Ok(());
    }
    silent.sort();
    Err(Error::new(code::RPC_TIMEOUT, silent.join("\n"))
        .hint("Deploy with --fix to recreate instances whose agents don't answer, or look at their VMs first."))
}
