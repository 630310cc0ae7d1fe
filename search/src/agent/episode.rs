//! What the agent and its world say to each other, and the record of one walk through the layers.

use serde::{Deserialize, Serialize};

use super::AgentError;

/// The world's answer to an action.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What the next layer looks like; ignored when `done`.
    pub observation: Vec<f32>,
    /// What the action earned.
    pub reward: f64,
    /// Whether the episode is over.
    pub done: bool,
}

/// A world of episodes: one observation and one action a step, such as one layer and its bit-width.
///
/// Observations are handed over by value, so what the agent learns from is what it saw when it acted.
pub trait EpisodeEnv {
    /// Why a step may fail.
    type Error: From<AgentError>;

    /// Starts an episode and shows its first observation.
    ///
    /// # Errors
    /// The world's own.
    fn reset(&mut self) -> Result<Vec<f32>, Self::Error>;

    /// Does `action`.
    ///
    /// # Errors
    /// The world's own.
    fn step(&mut self, action: usize) -> Result<Step, Self::Error>;

    /// Whether `action` may be chosen now.
    fn allowed(&self, _action: usize) -> bool {
        true
    }

    /// Said before worlds that are walked side by side do one action each, none where an episode is over.
    ///
    /// A world whose answers take long may prepare all of them at once.
    ///
    /// # Errors
    /// The world's own.
    fn foresee(_worlds: &mut [Self], _actions: &[Option<usize>]) -> Result<(), Self::Error>
    where
        Self: Sized,
    {
        Ok(())
    }
}

impl<E: EpisodeEnv + ?Sized> EpisodeEnv for &mut E {
    type Error = E::Error;

    fn reset(&mut self) -> Result<Vec<f32>, Self::Error> {
        (**self).reset()
    }

    fn step(&mut self, action: usize) -> Result<Step, Self::Error> {
        (**self).step(action)
    }

    fn allowed(&self, action: usize) -> bool {
        (**self).allowed(action)
    }
}

/// One step as it was seen, chosen and paid.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Transition {
    /// What the agent saw when it chose.
    pub observation: Vec<f32>,
    /// The policy's probability of each action; zero where it was not allowed.
    pub probabilities: Vec<f32>,
    /// Which actions were allowed.
    pub allowed: Vec<bool>,
    /// The action chosen.
    pub action: usize,
    /// Log-probability of that action.
    pub log_probability: f32,
    /// The return the agent expected from here.
    pub value: f32,
    /// What the action earned.
    pub reward: f64,
}

/// One walk from the first layer to the last.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// Its steps in order.
    pub steps: Vec<Transition>,
}

impl Episode {
    /// The actions in order.
    pub fn actions(&self) -> Vec<usize> {
        self.steps.iter().map(|step| step.action).collect()
    }

    /// The chance the policy gave each action at each step.
    pub fn policy(&self) -> Vec<Vec<f32>> {
        self.steps.iter().map(|step| step.probabilities.clone()).collect()
    }

    /// Sum of the rewards, undiscounted.
    pub fn total_reward(&self) -> f64 {
        self.steps.iter().map(|step| step.reward).sum()
    }

    /// Pays `reward` for the last step and nothing for the others: for plans that are scored when they are whole.
    pub fn set_terminal_reward(&mut self, reward: f64) {
        self.steps.iter_mut().for_each(|step| step.reward = 0.0);
        if let Some(last) = self.steps.last_mut() {
            last.reward = reward;
        }
    }
}
