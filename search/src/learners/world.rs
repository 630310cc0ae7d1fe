//! The world the agent walks: a plan chosen layer by layer, seen through the paper's numbers.

use crate::agent::{AgentError, EpisodeEnv, Step};
use crate::ledger::Stop;
use crate::plan::BitPlan;
use crate::searcher::Problem;
use crate::state::States;

/// What an action means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Actions {
    /// Each action is a width; every choice is made once.
    #[default]
    Flexible,
    /// One step narrower, none, or one wider. Choices are made as often as it takes to get from any width to any other.
    Restricted,
}

/// When an episode pays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pay {
    /// After every step, for the plan as it is then, what is not yet chosen at its widest.
    Steps,
    /// Once, for the whole plan.
    #[default]
    Whole,
}

/// Says what a plan is worth: the ledger's answer, or a surrogate's imagination.
pub trait Judge {
    /// State of Accuracy of an unfinished plan, which the agent sees before it acts.
    ///
    /// # Errors
    /// [`Stop`], as the ledger said it.
    fn relative_accuracy(&mut self, plan: &BitPlan) -> Result<f64, Stop>;

    /// What choosing `plan` earns.
    ///
    /// # Errors
    /// As [`relative_accuracy`](Self::relative_accuracy).
    fn reward(&mut self, plan: &BitPlan) -> Result<f64, Stop>;

    /// Said before `plans` are judged one after the other.
    ///
    /// # Errors
    /// As [`relative_accuracy`](Self::relative_accuracy).
    fn foresee(&mut self, _plans: &[BitPlan]) -> Result<(), Stop> {
        Ok(())
    }
}

/// What all episodes over one problem share.
#[derive(Clone, Debug)]
pub struct Rules<'a> {
    problem: Problem<'a>,
    states: States,
    actions: Actions,
    pay: Pay,
    /// Every width of the space, ascending: what flexible actions mean.
    widths: Vec<u8>,
    /// The choices in the order of the episode's steps.
    visits: Vec<usize>,
}

impl<'a> Rules<'a> {
    /// Episodes that make the free choices of `problem` in their order; pinned ones are none.
    pub fn new(problem: &Problem<'a>, actions: Actions, pay: Pay) -> Self {
        let space = problem.space;
        let choices = 0..space.choices().len();
        let mut widths: Vec<u8> = choices.clone().flat_map(|choice| space.widths(choice).to_vec()).collect();
        widths.sort_unstable();
        widths.dedup();
        let longest = choices.map(|choice| space.widths(choice).len()).max().unwrap_or(1);
        let passes = if actions == Actions::Flexible { 1 } else { longest - 1 };
        let visits = (0..passes).flat_map(|_| space.free()).collect();
        let states = States::new(problem.objective.network(), space);
        Self { problem: *problem, states, actions, pay, widths, visits }
    }

    /// Numbers in an observation.
    pub fn features(&self) -> usize {
        self.states.features()
    }

    /// How many actions there are.
    pub fn count(&self) -> usize {
        match self.actions {
            Actions::Flexible => self.widths.len(),
            Actions::Restricted => 3,
        }
    }

    /// What is searched, and for what.
    pub fn problem(&self) -> &Problem<'a> {
        &self.problem
    }

    /// Whether there is nothing to choose.
    pub fn is_empty(&self) -> bool {
        self.visits.is_empty()
    }

    fn widest(&self) -> Vec<usize> {
        let space = self.problem.space;
        (0..space.choices().len()).map(|choice| space.widths(choice).len() - 1).collect()
    }

    /// Where `action` takes a choice that stands at `step` of its widths; none where it does not lead.
    fn destination(&self, choice: usize, step: usize, action: usize) -> Option<usize> {
        let set = self.problem.space.widths(choice);
        match self.actions {
            Actions::Flexible => set.iter().position(|bits| self.widths.get(action) == Some(bits)),
            Actions::Restricted => (step + action).checked_sub(1).filter(|&to| to < set.len() && action < 3),
        }
    }
}

/// One episode after another, each from the widest plan on.
#[derive(Debug)]
pub struct World<'a, J> {
    rules: &'a Rules<'a>,
    judge: J,
    /// The plan so far, as each choice's place in its widths.
    steps: Vec<usize>,
    visited: usize,
}

impl<'a, J: Judge> World<'a, J> {
    /// A world under `rules`, judged by `judge`.
    pub fn new(rules: &'a Rules<'a>, judge: J) -> Self {
        Self { rules, judge, steps: rules.widest(), visited: 0 }
    }

    /// The plan as it stands: once an episode is over, the one it chose.
    pub fn plan(&self) -> BitPlan {
        self.rules.problem.space.at(&self.steps)
    }

    /// The steps of the plan after `action`.
    fn after(&self, action: usize) -> Result<Vec<usize>, Stop> {
        let choice = self.rules.visits[self.visited];
        let forbidden = AgentError::Forbidden { step: self.visited, action };
        let mut steps = self.steps.clone();
        steps[choice] = self.rules.destination(choice, steps[choice], action).ok_or(forbidden)?;
        Ok(if self.visited + 1 == self.rules.visits.len() { self.admitted(steps) } else { steps })
    }

    /// A whole plan brought within the limits where there are any: what the policy chose is then an intention.
    fn admitted(&self, steps: Vec<usize>) -> Vec<usize> {
        let Problem { space, objective } = self.rules.problem;
        if !objective.is_limited() {
            return steps;
        }
        let admitted = objective.admitted(space, space.at(&steps));
        admitted.and_then(|plan| space.steps(&plan)).unwrap_or(steps)
    }

    /// Whether the plan as it stands after one more action is judged.
    fn judged_next(&self) -> bool {
        self.visited + 1 == self.rules.visits.len() || self.rules.pay == Pay::Steps
    }

    /// What the agent sees before it makes the next choice.
    fn look(&mut self) -> Result<Vec<f32>, Stop> {
        let (rules, plan) = (self.rules, self.plan());
        let choice = rules.visits[self.visited];
        let quantization = rules.problem.objective.quantization(&plan);
        let accuracy = self.judge.relative_accuracy(&plan)?;
        let state = rules.states.at(choice, &plan, quantization, accuracy);
        Ok(state.into_iter().map(|number| number as f32).collect())
    }
}

impl<J: Judge> EpisodeEnv for World<'_, J> {
    type Error = Stop;

    /// Every choice is at its widest again, whatever the last episode chose.
    fn reset(&mut self) -> Result<Vec<f32>, Stop> {
        self.steps = self.rules.widest();
        self.visited = 0;
        self.look()
    }

    fn step(&mut self, action: usize) -> Result<Step, Stop> {
        let paid = self.judged_next();
        self.steps = self.after(action)?;
        self.visited += 1;
        // The plan is whole before it is judged, so no reward is of a State of Quantization from before the action.
        let plan = self.plan();
        let done = self.visited == self.rules.visits.len();
        let reward = if paid { self.judge.reward(&plan)? } else { 0.0 };
        if done {
            return Ok(Step { observation: Vec::new(), reward, done });
        }
        Ok(Step { observation: self.look()?, reward, done })
    }

    fn allowed(&self, action: usize) -> bool {
        let choice = self.rules.visits[self.visited];
        self.rules.destination(choice, self.steps[choice], action).is_some()
    }

    fn foresee(worlds: &mut [Self], actions: &[Option<usize>]) -> Result<(), Stop> {
        let acting = worlds.iter().zip(actions).filter(|(world, _)| world.judged_next());
        let next = acting.filter_map(|(world, action)| action.map(|action| world.after(action)));
        let plans: Vec<BitPlan> =
            next.map(|steps| steps.map(|steps| worlds[0].rules.problem.space.at(&steps))).collect::<Result<_, _>>()?;
        match worlds.first_mut() {
            Some(world) if !plans.is_empty() => world.judge.foresee(&plans),
            _ => Ok(()),
        }
    }
}
