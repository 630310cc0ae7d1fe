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

#[cfg(feature = "agent")]
pub(crate) use climb::restart;
pub use descent::{Ascent, Descent};
pub use enumeration::Enumeration;
pub use evolution::Evolution;
pub use exhaustive::Exhaustive;
#[cfg(feature = "agent")]
pub(crate) use imagined::{CLIMBS, climbed, is_listed};
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

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::evaluate::Score;
    use crate::ledger::Ledger;
    use crate::network::{LayerFeatures, Network};
    use crate::objective::{Goal, Objective};
    use crate::plan::BitPlan;
    use crate::race;
    use crate::searcher::Problem;
    use crate::space::Space;

    /// A deep network whose layers differ in how much they lose: too many plans to list.
    pub(crate) fn deep(layers: usize) -> (Space, Objective) {
        let layer = LayerFeatures { weights: 100, macs: 100, inputs: 1, outputs: 1, kernel: 3, deviation: 0.1 };
        let network = Network::new(vec![layer; layers]).unwrap();
        let objective = Objective::new(Goal::Floor(0.01), Default::default(), network, 0.92);
        (Space::same(&[2, 3, 4, 5, 6, 7, 8], layers).unwrap(), objective)
    }

    pub(crate) fn lossy(plan: &BitPlan) -> Result<Score, String> {
        let lost = |(index, bits): (usize, u8)| 0.02 * (index % 4) as f64 * 0.25_f64.powi(i32::from(bits) - 2);
        Ok(Score { accuracy: 0.92 - plan.weights().enumerate().map(lost).sum::<f64>().min(0.9) })
    }

    #[test]
    fn deep_spaces_are_searched_within_the_budget() {
        let (space, objective) = deep(20);
        let problem = Problem { space: &space, objective: &objective };
        let mut values = std::collections::BTreeMap::new();
        for mut rival in ALL.map(|make| make()) {
            let mut evaluator = lossy;
            let mut ledger = Ledger::new(&mut evaluator, &objective, 60);
            race::run(rival.as_mut(), &problem, &mut ledger, 1).unwrap();
            assert!(ledger.distinct() == 60 || rival.name() == "uniform");
            values.insert(rival.name().to_owned(), ledger.best().unwrap().seen.value);
        }
        println!("{values:?}");
        assert!(values["surrogate"] > values["random"] && values["surrogate"] > values["evolution"], "{values:?}");
    }

    /// Whoever searches, the answer is within the limits, and only what a searcher has to know beyond them is evaluated:
    /// the probes of a sensitivity, the unfinished plans of an episode.
    #[test]
    fn every_answer_is_within_the_limits() {
        let (space, objective) = deep(6);
        let objective = objective.within(std::sync::Arc::new(crate::budget::tests::Bits(24.0)));
        let problem = Problem { space: &space, objective: &objective };
        for mut rival in ALL.map(|make| make()) {
            let mut evaluator = lossy;
            let mut ledger = Ledger::new(&mut evaluator, &objective, 80);
            race::run(rival.as_mut(), &problem, &mut ledger, 1).unwrap();
            let beyond = ledger.entries().iter().filter(|entry| !objective.admits(&entry.plan)).count();
            assert!(objective.admits(&ledger.best().unwrap().plan), "{}", rival.name());
            assert!(beyond == 0 || rival.name() == "sensitivity", "{}: {beyond}", rival.name());
        }
    }

    #[test]
    fn names_are_unique_and_found() {
        for make in ALL {
            assert_eq!(named(make().name()).unwrap().name(), make().name());
        }
        assert_eq!(named("exhaustive").unwrap().name(), "exhaustive");
        assert!(named("oracle").is_none());
    }

    #[test]
    fn exhaustive_sees_every_plan_once() {
        let (space, objective) = deep(3);
        let mut evaluator = lossy;
        let mut ledger = Ledger::new(&mut evaluator, &objective, 1000);
        race::run(&mut Exhaustive, &Problem { space: &space, objective: &objective }, &mut ledger, 0).unwrap();
        assert_eq!((ledger.distinct(), ledger.lookups().len()), (343, 343));
    }
}
