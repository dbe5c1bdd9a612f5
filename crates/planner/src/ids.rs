//! Where new ids come from: the planner itself has no randomness.

use domain::InstanceUuid;

/// What an id is for. Each kind is a stream of its own, so that one more disk doesn't renumber instances.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IdKind {
    Instance,
    /// The idempotency key of a persistent disk, written to its row before the CPI is called.
    Disk,
    /// `randomize_az_placement`: the low bits of an id decide a tie.
    Tie,
}

/// A source of fresh uuids.
pub trait IdSource {
    /// A new uuid as text.
    fn next(&mut self, kind: IdKind) -> String;
}

/// Random ids, for the director.
#[derive(Debug, Default, Clone, Copy)]
pub struct RandomIds;

impl IdSource for RandomIds {
    fn next(&mut self, _kind: IdKind) -> String {
        InstanceUuid::random().into_string()
    }
}

/// Counted ids, for tests and for showing a plan before it exists: the same input gives the same plan.
#[derive(Debug, Default, Clone)]
pub struct CountedIds(std::collections::BTreeMap<IdKind, u32>);

impl IdSource for CountedIds {
    fn next(&mut self, kind: IdKind) -> String {
        let n = self.0.entry(kind).or_default();
        *n += 1;
        let stream = match kind {
            IdKind::Instance => 1,
            IdKind::Disk => 2,
            IdKind::Tie => 3,
        };
        format!("{n:08x}-0000-4000-800{stream}-000000000000")
    }
}
