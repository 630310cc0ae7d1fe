//! The agent as published: model-free, learning from nothing but evaluations.

use std::cell::RefCell;

use super::world::{Actions, Judge, Pay, Rules, World};
use crate::agent::{Agent, PpoConfig};
use crate::ledger::{Ledger, Stop};
use crate::plan::BitPlan;
use crate::searcher::{Problem, Searcher};

/// How the published agent searches.
#[derive(Clone, Debug, PartialEq)]
pub struct PlainSettings {
    /// How the policy learns.
    pub ppo: PpoConfig,
    /// Episodes before each update; at least as many as are evaluated side by side.
    pub episodes: usize,
    /// Updates after which it stops, though its budget be unspent: a settled policy asks for known plans for ever.
    pub updates: usize,
    /// When episodes pay; left open, after every step on up to ten layers, and for whole plans beyond.
    pub pay: Option<Pay>,
    /// What an action means.
    pub actions: Actions,
}

impl PlainSettings {
    /// The paper's settings, with an update after every episode and the 2,000 episodes of its authors' scripts.
    pub fn paper() -> Self {
        Self { ppo: PpoConfig::paper(), episodes: 1, updates: 2_000, pay: None, actions: Actions::Flexible }
    }
}

/// Proximal policy optimisation on real evaluations.
///
/// With a reward after every step, each prefix of an episode, the layers behind it at their widest, is looked up and
/// charged: on four layers up to five plans an episode, the widest included. With one reward for the whole plan, the State
/// of Accuracy within the episode stays 1, since nobody measured it.
#[derive(Clone, Debug)]
pub struct Plain {
    settings: PlainSettings,
    greedy: Option<BitPlan>,
}

/// Layers up to which the paper evaluates after every step.
const DEEP: usize = 10;

impl Plain {
    /// As published, or with other settings.
    pub fn with(settings: PlainSettings) -> Self {
        Self { settings, greedy: None }
    }

    fn learn(&self, agent: &mut Agent, rules: &Rules<'_>, pay: Pay, ledger: &mut Ledger<'_>) -> Result<(), Stop> {
        let actors = self.settings.episodes.max(ledger.side_by_side());
        for _ in 0..self.settings.updates {
            let shared = RefCell::new(&mut *ledger);
            let mut worlds: Vec<_> = (0..actors).map(|_| World::new(rules, Looking { ledger: &shared, pay })).collect();
            let episodes = agent.sample_batch(&mut worlds)?;
            let plans: Vec<BitPlan> = worlds.iter().map(World::plan).collect();
            drop(worlds);
            for (plan, episode) in plans.iter().zip(&episodes) {
                let rewards = episode.steps.iter().map(|step| step.reward).collect();
                ledger.tell(plan, rewards, episode.policy())?;
            }
            agent.update(&episodes)?;
        }
        Ok(())
    }
}

impl Searcher for Plain {
    fn name(&self) -> &str {
        "ppo"
    }

    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, seed: u64) -> Result<(), Stop> {
        let shallow = problem.space.layers() <= DEEP;
        let pay = self.settings.pay.unwrap_or(if shallow { Pay::Steps } else { Pay::Whole });
        let rules = Rules::new(problem, self.settings.actions, pay);
        self.greedy = Some(problem.space.widest());
        if rules.is_empty() {
            return ledger.look_up(&problem.space.widest()).map(|_| ());
        }
        let mut agent = Agent::new(self.settings.ppo.clone(), rules.features(), rules.count(), seed)?;
        ledger.tells();
        let end = self.learn(&mut agent, &rules, pay, ledger);
        let mut world = World::new(&rules, Remembering { ledger, last: 1.0 });
        agent.greedy(&mut world)?;
        self.greedy = Some(world.plan());
        end
    }

    fn greedy(&self) -> Option<BitPlan> {
        self.greedy.clone()
    }
}

/// Judges by looking up, and pays for it. Worlds walked side by side share one ledger.
#[derive(Debug)]
struct Looking<'l, 'a> {
    ledger: &'l RefCell<&'l mut Ledger<'a>>,
    pay: Pay,
}

impl Judge for Looking<'_, '_> {
    fn relative_accuracy(&mut self, plan: &BitPlan) -> Result<f64, Stop> {
        if self.pay == Pay::Whole {
            return Ok(1.0);
        }
        let mut ledger = self.ledger.borrow_mut();
        let seen = ledger.look_up(plan)?;
        Ok(ledger.objective().relative(seen.accuracy))
    }

    fn reward(&mut self, plan: &BitPlan) -> Result<f64, Stop> {
        Ok(self.ledger.borrow_mut().look_up(plan)?.value)
    }

    fn foresee(&mut self, plans: &[BitPlan]) -> Result<(), Stop> {
        self.ledger.borrow_mut().pay_ahead(plans)
    }
}

/// Shows the settled policy what is known and asks for nothing more: a plan never looked up seems as accurate as the last.
#[derive(Debug)]
struct Remembering<'l, 'a> {
    ledger: &'l Ledger<'a>,
    last: f64,
}

impl Judge for Remembering<'_, '_> {
    fn relative_accuracy(&mut self, plan: &BitPlan) -> Result<f64, Stop> {
        if let Some(seen) = self.ledger.known(plan) {
            self.last = self.ledger.objective().relative(seen.accuracy);
        }
        Ok(self.last)
    }

    fn reward(&mut self, _: &BitPlan) -> Result<f64, Stop> {
        Ok(0.0)
    }
}
