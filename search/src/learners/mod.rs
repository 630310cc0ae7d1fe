//! The searchers with a policy: the paper's agent as published, and releq's, which imagines between evaluations.
//!
//! Both walk the same [`world`], one layer a step; they differ in who judges the plans.

use crate::agent::AgentError;
use crate::ledger::Stop;
use crate::rivals::Make;
use crate::searcher::Searcher;

pub mod world;

mod imagining;
mod plain;
#[cfg(test)]
mod tests;

pub use imagining::{Imagining, ImaginingSettings};
pub use plain::{Plain, PlainSettings};

/// Every learner that races, in the order of the published table.
pub const ALL: [Make; 2] = [|| Box::new(Plain::with(PlainSettings::paper())), || Box::new(Imagining::default())];

/// The learner of that name.
pub fn named(name: &str) -> Option<Box<dyn Searcher>> {
    ALL.iter().map(|make| make()).find(|learner| learner.name() == name)
}

impl From<AgentError> for Stop {
    fn from(error: AgentError) -> Self {
        Self::Failed(error.into())
    }
}
