//! The searchers without a policy, each an honest rival: an agent that loses to one of them is not worth its training.

use crate::searcher::Searcher;

mod climb;
mod descent;
mod enumeration;
mod evolution;
mod exhaustive;
mod imagined;
mod improvement;
mod local;
mod random;
mod sensitivity;
mod thompson;
mod uniform;

pub use descent::{Ascent, Descent};
pub use enumeration::Enumeration;
pub use evolution::Evolution;
pub use exhaustive::Exhaustive;
pub use improvement::Improvement;
pub use local::Local;
pub use random::Random;
pub use sensitivity::Sensitivity;
pub use thompson::Thompson;
pub use uniform::Uniform;

/// Makes a searcher afresh, so that runs in parallel share nothing.
pub type Make = fn() -> Box<dyn Searcher>;

/// Every rival that races, in the order of the published table. [`Exhaustive`] does not: it knows its answer only when it
/// has seen every plan, so when it happened to pass the optimum says nothing.
pub const ALL: [Make; 10] = [
    || Box::new(Uniform),
    || Box::new(Random),
    || Box::new(Enumeration),
    || Box::new(Descent),
    || Box::new(Ascent),
    || Box::new(Local),
    || Box::new(Evolution),
    || Box::new(Thompson::default()),
    || Box::new(Sensitivity),
    || Box::new(Improvement::default()),
];

/// The rival of that name.
pub fn named(name: &str) -> Option<Box<dyn Searcher>> {
    let exhaustive: Make = || Box::new(Exhaustive);
    ALL.iter().chain([&exhaustive]).map(|make| make()).find(|rival| rival.name() == name)
}
