//! The planner: from documents, uploads and rows to a plan, as a pure function.
//!
//! Called by the director for every deploy, dry run and state change:
//!
//! ```text
//!  director (I/O)                     planner (pure)
//!  load documents and rows    --->    place(&input, ids)          who, where, addresses, links, properties
//!  reserve new addresses      <---    Placement
//!  render templates           --->    plan(&input, placement, &rendered)   what changes, why, in which order
//!  store the plan, show it,   <---    DeploymentPlan + Report
//!  carry it out
//! ```
//!
//! Guarantees: the same input and ids give the same result; all problems are returned, not the first; no address
//! is used twice; an instance without a difference is not touched; every change has a reason a person can read.
//! It knows no clock, no database and no network: what it must know is in [`PlanningInput`].

mod catalogue;
mod change;
mod ids;
mod input;
mod links;
mod packages;
mod place;
mod placement;
mod plan;
mod planning;
mod render;
mod report;
mod resolve;
mod spec;
mod step;

pub use catalogue::{
    Catalogue, CompiledPackage, Hash, JobSpec, LinkSpec, PackageGraph, PackageSource, PackageSpec,
    Release, Stemcell,
};
pub use change::{Action, Change, ChangeKind};
pub use ids::{CountedIds, IdKind, IdSource, RandomIds};
pub use input::{
    AgentObservation, Calculated, CurrentDeployment, CurrentDisk, CurrentInstance, CurrentVm,
    DeployOptions, DesiredDeployment, DirectorFacts, DnsGroup, DnsIds, Fingerprints,
    ForeignAddress, ForeignProvider, HeldAddress, InstanceState, PlanningInput, SkipDrain,
    StateChange,
};
pub use manifest::documents::{Problem, Problems};
pub use packages::dependency_key;
pub use place::{needed_vm_resources, place};
pub use placement::{
    CompiledRef, PackageNeed, PlacedGroup, PlacedInstance, PlacedJob, PlacedNetwork, Placement,
    ProvidedLink, RenderInstance, RenderedInstance, Reservation,
};
pub use plan::{
    AddressPlan, Batch, CompilationPlan, CompilePackage, DeletionPlan, Dependency, DeploymentPlan,
    ExportPlan, GroupPlan, InstancePlan, PLANNER_VERSION, Phase, Wave, WorkerNetwork,
};
pub use planning::{plan, plan_deletion, plan_export};
pub use report::{GroupLines, InstanceLine, Report};
pub use resolve::resolve_versions;
pub use spec::{ArchiveRef, DiskSpec, InstanceSpec, JobRef, PackageRef, StemcellRef};
pub use step::{DiskRef, DrainKind, NextStates, Step};
