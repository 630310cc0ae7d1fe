//! The learners as a whole: the published code's bugs one by one, what is charged, and that imagination pays.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::world::{Actions, Judge, Pay, Rules, World};
use super::*;
use crate::agent::{Agent, EpisodeEnv, PpoConfig};
use crate::evaluate::Score;
use crate::ledger::Ledger;
use crate::network::tests::lenet;
use crate::network::{LayerFeatures, Network};
use crate::objective::{Contest, Objective};
use crate::plan::BitPlan;
use crate::race::{self, Course};
use crate::rivals;
use crate::searcher::Problem;
use crate::space::Space;
use crate::table::Table;
use crate::table::tests::recorded;

const WIDTHS: [u8; 4] = [2, 3, 4, 8];

fn plan(text: &str) -> BitPlan {
    text.parse().unwrap()
}

/// A judge that pays a plan's State of Quantization and writes down what it was asked.
struct Clerk<'a> {
    objective: &'a Objective,
    asked: &'a RefCell<Vec<BitPlan>>,
}

impl Judge for Clerk<'_> {
    fn relative_accuracy(&mut self, plan: &BitPlan) -> Result<f64, Stop> {
        Ok(1.0 - self.objective.quantization(plan) / 4.0)
    }

    fn reward(&mut self, plan: &BitPlan) -> Result<f64, Stop> {
        self.asked.borrow_mut().push(plan.clone());
        Ok(self.objective.quantization(plan))
    }
}

fn space() -> Space {
    Space::same(&WIDTHS, 4).unwrap()
}

fn objective() -> Objective {
    Contest::Paper.objective(&space(), lenet(), 1.0)
}

#[test]
fn bits_are_reset_in_each_episode() {
    let (space, objective, asked) = (space(), objective(), RefCell::default());
    let rules = Rules::new(&Problem { space: &space, objective: &objective }, Actions::Flexible, Pay::Steps);
    let mut world = World::new(&rules, Clerk { objective: &objective, asked: &asked });
    let first = world.reset().unwrap();
    for action in [0, 1, 2, 0] {
        world.step(action).unwrap();
    }
    assert_eq!(world.plan(), plan("2,3,4,2"));
    assert_eq!(world.reset().unwrap(), first);
    assert_eq!(first[1..4], [1.0, 1.0, 0.75]);
    world.step(0).unwrap();
    assert_eq!(asked.borrow()[4], plan("2,8,8,8"));
}

#[test]
fn rewards_are_of_the_plan_after_the_action_and_states_of_the_one_before() {
    let (space, objective, asked) = (space(), objective(), RefCell::default());
    let rules = Rules::new(&Problem { space: &space, objective: &objective }, Actions::Flexible, Pay::Steps);
    let mut world = World::new(&rules, Clerk { objective: &objective, asked: &asked });
    let agent = Agent::new(PpoConfig::default(), rules.features(), rules.count(), 1).unwrap();
    let episode = agent.probe(&mut world, &[0, 1, 0, 3]).unwrap();
    // Each layer still has its 8 bits when it is looked at; the State of Quantization knows all actions so far.
    let seen: Vec<[f32; 2]> = episode.steps.iter().map(|step| [step.observation[1], step.observation[2]]).collect();
    let quantization = [1.0, 26.0 / 32.0, 21.0 / 32.0, 15.0 / 32.0];
    assert_eq!(seen, quantization.map(|quantization| [1.0, quantization]));
    let rewards: Vec<f64> = episode.steps.iter().map(|step| step.reward).collect();
    assert_eq!(rewards, [26.0 / 32.0, 21.0 / 32.0, 15.0 / 32.0, 15.0 / 32.0]);
    assert_eq!(asked.borrow()[..], ["2,8,8,8", "2,3,8,8", "2,3,2,8", "2,3,2,8"].map(plan));
}

#[test]
fn whole_plans_pay_once() {
    let (space, objective, asked) = (space(), objective(), RefCell::default());
    let rules = Rules::new(&Problem { space: &space, objective: &objective }, Actions::Flexible, Pay::Whole);
    let mut world = World::new(&rules, Clerk { objective: &objective, asked: &asked });
    let agent = Agent::new(PpoConfig::default(), rules.features(), rules.count(), 1).unwrap();
    let episode = agent.probe(&mut world, &[0]).unwrap();
    assert_eq!(episode.steps.iter().map(|step| step.reward).collect::<Vec<_>>(), [0.0, 0.0, 0.0, 0.25]);
    assert_eq!(asked.borrow()[..], [plan("2,2,2,2")]);
}

#[test]
fn only_a_layers_own_widths_are_allowed_and_pinned_layers_are_passed_over() {
    let space = Space::new(vec![vec![8], vec![2, 4], vec![3, 4, 8], vec![8]]).unwrap();
    let (objective, asked) = (objective(), RefCell::default());
    let rules = Rules::new(&Problem { space: &space, objective: &objective }, Actions::Flexible, Pay::Whole);
    let mut world = World::new(&rules, Clerk { objective: &objective, asked: &asked });
    let allowed = |world: &World<'_, _>| (0..5).filter(|&action| world.allowed(action)).collect::<Vec<_>>();
    // The widths of any layer are 2, 3, 4 and 8.
    assert_eq!(rules.count(), 4);
    world.reset().unwrap();
    assert_eq!(allowed(&world), [0, 2]);
    assert!(world.step(1).is_err());
    world.step(0).unwrap();
    assert_eq!(allowed(&world), [1, 2, 3]);
    assert!(world.step(2).unwrap().done);
    assert_eq!(world.plan(), plan("8,2,4,8"));
}

#[test]
fn activations_are_steps_behind_their_layers_weights() {
    let space = Space::same(&[2, 8], 4).unwrap().with_activations(&[4, 8]).unwrap();
    let (objective, asked) = (objective(), RefCell::default());
    let rules = Rules::new(&Problem { space: &space, objective: &objective }, Actions::Flexible, Pay::Whole);
    let mut world = World::new(&rules, Clerk { objective: &objective, asked: &asked });
    // The widths of any choice are 2, 4 and 8.
    assert_eq!((rules.count(), rules.features()), (3, 11));
    let mut seen = world.reset().unwrap();
    for (step, action) in [0, 1, 2, 1, 0, 2, 2].into_iter().enumerate() {
        let activations = step % 2 == 1;
        let allowed: Vec<usize> = (0..3).filter(|&action| world.allowed(action)).collect();
        assert_eq!(allowed, if activations { [1, 2] } else { [0, 2] });
        assert_eq!((seen.len(), seen[8]), (11, if activations { 1.0 } else { 0.0 }));
        seen = world.step(action).unwrap().observation;
    }
    assert_eq!((world.plan(), seen.len()), (plan("2:4,8:4,2:8,8:8"), 0));
}

/// Every searcher looks up plans of a space with activations, and all that can see every plan find the best.
#[test]
fn activations_are_searched_like_weights() {
    let space = Space::same(&[2, 4, 8], 2).unwrap().with_activations(&[2, 8]).unwrap();
    let layer = LayerFeatures { weights: 1, macs: 1, inputs: 1, outputs: 1, kernel: 0, deviation: 0.1 };
    let objective = Contest::Floor.objective(&space, Network::new(vec![layer; 2]).unwrap(), 0.99);
    // Codes of the first layer matter, and so do weights of the second.
    let mut formula = |plan: &BitPlan| {
        let [first, second] = *plan.layers() else { return Err("two layers".to_owned()) };
        let lost = 0.1 * 0.5_f64.powi(first.activations.into()) + 0.02 * 0.5_f64.powi(second.weights.into());
        Ok(Score { accuracy: 0.99 - lost })
    };
    let best = plan("2,4");
    for make in rivals::ALL.iter().chain(&ALL) {
        let (mut searcher, mut ledger) = (make(), Ledger::new(&mut formula, &objective, 18));
        race::run(searcher.as_mut(), &Problem { space: &space, objective: &objective }, &mut ledger, 1).unwrap();
        assert!(ledger.entries().iter().all(|entry| space.contains(&entry.plan)), "{}", searcher.name());
        let sure = !matches!(searcher.name(), "uniform" | "ppo");
        assert!(!sure || ledger.best().unwrap().plan == best, "{}: {:?}", searcher.name(), ledger.best());
    }
}

#[test]
fn restricted_actions_reach_every_plan() {
    let space = Space::new(vec![vec![2, 4, 8], vec![8], vec![4, 8]]).unwrap().handing_on(2, &[2, 4]).unwrap();
    let layer = LayerFeatures { weights: 1, macs: 1, inputs: 1, outputs: 1, kernel: 0, deviation: 0.1 };
    let network = Network::new(vec![layer; 3]).unwrap();
    let (objective, asked) = (Contest::Paper.objective(&space, network, 1.0), RefCell::default());
    let rules = Rules::new(&Problem { space: &space, objective: &objective }, Actions::Restricted, Pay::Whole);
    let mut agent = Agent::new(PpoConfig::default(), rules.features(), rules.count(), 1).unwrap();
    let mut world = World::new(&rules, Clerk { objective: &objective, asked: &asked });
    for _ in 0..300 {
        let episode = agent.sample(&mut world).unwrap();
        assert_eq!(episode.steps.len(), 6);
        // From the widest there is no way up.
        assert_eq!(episode.steps[0].allowed, [true, true, false]);
    }
    let reached: BTreeSet<BitPlan> = asked.borrow().iter().cloned().collect();
    assert_eq!(reached, space.plans().collect());
}

/// A formula with one answer: two layers lose much below 4 bits, the others nothing.
fn two_matter(plan: &BitPlan) -> Result<Score, String> {
    let lost = |(index, bits): (usize, u8)| if index % 2 == 0 { 0.0 } else { 0.2 * 0.5_f64.powi(i32::from(bits)) };
    Ok(Score { accuracy: 0.99 - plan.weights().enumerate().map(lost).sum::<f64>() })
}

#[test]
fn prefix_plans_are_looked_up_and_charged() {
    let (space, objective, mut formula) = (space(), objective(), two_matter);
    let problem = Problem { space: &space, objective: &objective };
    let mut ledger = Ledger::new(&mut formula, &objective, 100);
    let mut learner = Plain::with(PlainSettings { updates: 1, ..PlainSettings::paper() });
    learner.search(&problem, &mut ledger, 3).unwrap();
    let steps: Vec<Vec<usize>> = ledger.entries().iter().map(|entry| space.steps(&entry.plan).unwrap()).collect();
    assert_eq!(ledger.entries()[0].plan, space.widest());
    let last = steps.last().unwrap();
    for at in 0..4 {
        let prefix: Vec<usize> = (0..4).map(|layer| if layer <= at { last[layer] } else { 3 }).collect();
        assert!(steps.contains(&prefix), "{steps:?}");
    }
    // With one reward, an episode is one plan.
    let mut again = two_matter;
    let mut whole = Ledger::new(&mut again, &objective, 100);
    let mut learner = Plain::with(PlainSettings { updates: 1, pay: Some(Pay::Whole), ..PlainSettings::paper() });
    learner.search(&problem, &mut whole, 3).unwrap();
    assert_eq!(whole.distinct(), 1);
}

#[test]
fn a_spent_budget_is_an_ordinary_end_and_the_policy_still_chooses() {
    let (space, objective, mut formula) = (space(), objective(), two_matter);
    let problem = Problem { space: &space, objective: &objective };
    for make in ALL {
        let mut ledger = Ledger::new(&mut formula, &objective, 3);
        let mut learner = make();
        assert!(learner.greedy().is_none());
        assert!(matches!(learner.search(&problem, &mut ledger, 1), Err(Stop::Exhausted)));
        assert_eq!(ledger.distinct(), 3);
        assert!(space.contains(&learner.greedy().unwrap()), "{}", learner.name());
    }
}

#[test]
fn a_space_without_a_choice_is_its_only_plan() {
    let space = Space::same(&[4], 4).unwrap();
    let (objective, mut formula) = (objective(), two_matter);
    for make in ALL {
        let mut ledger = Ledger::new(&mut formula, &objective, 9);
        let mut learner = make();
        learner.search(&Problem { space: &space, objective: &objective }, &mut ledger, 1).unwrap();
        assert_eq!((ledger.distinct(), learner.greedy()), (1, Some(plan("4,4,4,4"))));
    }
}

#[test]
fn imagining_sees_every_plan_once_if_it_may() {
    let space = Space::same(&[2, 8], 3).unwrap();
    let layer = LayerFeatures { weights: 1, macs: 1, inputs: 1, outputs: 1, kernel: 0, deviation: 0.1 };
    let objective = Contest::Floor.objective(&space, Network::new(vec![layer; 3]).unwrap(), 0.99);
    let mut formula = two_matter;
    let mut ledger = Ledger::new(&mut formula, &objective, 100);
    let mut learner = Imagining::with(ImaginingSettings { updates: 2, settling: 2, ..ImaginingSettings::default() });
    learner.search(&Problem { space: &space, objective: &objective }, &mut ledger, 1).unwrap();
    assert_eq!((ledger.distinct(), ledger.lookups().len()), (8, 8));
}

#[test]
fn an_evaluation_that_fails_ends_the_search_with_its_error() {
    let (space, objective) = (space(), objective());
    let mut broken = |_: &BitPlan| Err::<Score, _>("the disk is full".to_owned());
    for make in ALL {
        let mut ledger = Ledger::new(&mut broken, &objective, 9);
        let stop = make().search(&Problem { space: &space, objective: &objective }, &mut ledger, 1).unwrap_err();
        assert!(matches!(stop, Stop::Failed(failure) if failure.to_string() == "the disk is full"));
    }
}

/// The formula as a table.
fn formula() -> Table {
    let row = |plan: BitPlan| format!("{plan},{}\n", 100.0 * two_matter(&plan).unwrap().accuracy);
    Table::parse(&format!("b1,b2,b3,b4,top1\n{}", space().plans().map(row).collect::<String>())).unwrap()
}

#[test]
fn imagining_learns_a_closed_form_and_both_answers_are_reported() {
    let table = formula();
    let mut course = Course::new(Contest::Floor, &table, lenet(), 0.99);
    (course.budget, course.to_optimum) = (40, false);
    let outcome = course.run(|| Box::new(Imagining::default()), &[1, 2, 3]).unwrap();
    for run in &outcome.runs {
        assert_eq!(run.best.as_ref().map(|best| &best.plan), Some(&outcome.optimum), "seed {}", run.seed);
        assert_eq!(run.greedy.as_ref(), Some(&outcome.optimum), "seed {}", run.seed);
        assert_eq!(run.distinct_evaluations, 40);
    }
}

#[test]
fn seeds_and_only_seeds_decide() {
    let table = formula();
    let mut course = Course::new(Contest::Paper, &table, lenet(), 0.99);
    (course.budget, course.to_optimum) = (8, false);
    for make in ALL {
        let twice = [course.run(make, &[5, 6]).unwrap(), course.run(make, &[5, 6]).unwrap()];
        assert_eq!(twice[0], twice[1]);
        assert_ne!(twice[0].runs[0].lookups, twice[0].runs[1].lookups);
    }
}

#[test]
fn names_are_unique_and_found() {
    for make in ALL {
        assert_eq!(named(make().name()).unwrap().name(), make().name());
        assert!(rivals::named(make().name()).is_none());
    }
    assert!(named("oracle").is_none());
}

/// The promise of the published table, on few seeds; counts of all sixteen are in the documentation.
#[test]
fn imagining_keeps_its_promise_on_the_authors_table() {
    let Some((table, sidecar)) = recorded("lenet") else { return };
    for (contest, most) in Contest::ALL.into_iter().zip([15.0, 60.0, 20.0]) {
        let course = Course::new(contest, &table, sidecar.layers.clone(), sidecar.float_accuracy);
        let quick = || -> Box<dyn Searcher> {
            Box::new(Imagining::with(ImaginingSettings { settling: 1, ..ImaginingSettings::default() }))
        };
        let outcome = course.run(quick, &[0, 1, 2, 3]).unwrap();
        assert!(outcome.median_evaluations <= most, "{contest}: {}", outcome.median_evaluations);
    }
}

/// What the policy chooses is brought within the limits, so it learns which intentions are worth something there.
#[test]
fn imagining_answers_within_the_limits() {
    let (space, objective) = rivals::tests::deep(6);
    let objective = objective.within(std::sync::Arc::new(crate::budget::tests::Bits(24.0)));
    let problem = Problem { space: &space, objective: &objective };
    let mut searcher = Imagining::with(ImaginingSettings { settling: 1, ..ImaginingSettings::default() });
    let mut evaluator = rivals::tests::lossy;
    let mut ledger = Ledger::new(&mut evaluator, &objective, 12);
    race::run(&mut searcher, &problem, &mut ledger, 1).unwrap();
    assert_eq!(ledger.distinct(), 12);
    assert!(ledger.entries().iter().all(|entry| objective.admits(&entry.plan)));
    assert!(objective.admits(&searcher.greedy().unwrap()));
}

/// A policy that has hardly learned is lost among 7^20 plans; where it proposes, a hill begins.
#[test]
fn among_too_many_plans_to_list_proposals_are_climbed_from() {
    let (space, objective) = rivals::tests::deep(20);
    let problem = Problem { space: &space, objective: &objective };
    let [climbed, alone] = [true, false].map(|climbs| {
        let settings = ImaginingSettings { updates: 1, settling: 1, climbs, ..ImaginingSettings::default() };
        let mut evaluator = rivals::tests::lossy;
        let mut ledger = Ledger::new(&mut evaluator, &objective, 24);
        race::run(&mut Imagining::with(settings), &problem, &mut ledger, 1).unwrap();
        ledger.best().unwrap().seen.value
    });
    assert!(climbed > alone + 0.05, "{climbed} {alone}");
}

/// Run it with `--ignored --nocapture`: best values of three seeds after 60 evaluations of 20 layers.
#[test]
#[ignore = "prints values, for minutes"]
fn deep() {
    let (space, objective) = rivals::tests::deep(20);
    let problem = Problem { space: &space, objective: &objective };
    for name in ["random", "evolution", "local", "surrogate", "ppo-surrogate"] {
        let value = |seed: u64| {
            let mut searcher = rivals::named(name).or_else(|| named(name)).unwrap();
            let mut evaluator = rivals::tests::lossy;
            let mut ledger = Ledger::new(&mut evaluator, &objective, 60);
            race::run(searcher.as_mut(), &problem, &mut ledger, seed).unwrap();
            let greedy =
                searcher.greedy().map(|plan| objective.value(&plan, rivals::tests::lossy(&plan).unwrap().accuracy));
            (ledger.best().unwrap().seen.value, greedy)
        };
        println!("{name}: {:?}", [1, 2, 3].map(value));
    }
}
