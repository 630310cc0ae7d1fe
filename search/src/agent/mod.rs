//! The paper's agent: an actor and critic with a memory, trained by proximal policy optimisation.
//!
//! It knows nothing of plans or networks: an [`EpisodeEnv`] shows it observations and takes its actions, whether those
//! are bit-widths or steps up and down. [`Agent::sample_batch`] walks worlds, [`Agent::update`] learns from the walks.
//! In reading order: `episode` (what both sides say), `net` with its layers `lstm` and `dense`, `gae`, `rollout`
//! (episodes to a batch), `ppo` (the loss, through Candle), `adam`, `policy` (the agent) and `saved` (it as bytes).

mod adam;
mod dense;
mod episode;
mod gae;
mod lstm;
mod net;
mod number;
mod policy;
mod ppo;
mod rollout;
mod saved;
#[cfg(test)]
mod tests;

pub use episode::{Episode, EpisodeEnv, Step, Transition};
pub use gae::advantages;
pub use policy::Agent;
pub use ppo::{Diagnostics, Epoch, PpoConfig};

/// Why the agent stopped.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// An observation does not have the width the agent was made for.
    #[error("the agent was made for observations of {expected} numbers and was shown {found}; make it for {found}")]
    Features {
        /// Width it was made for.
        expected: usize,
        /// Width it was shown.
        found: usize,
    },
    /// A step allows nothing.
    #[error("step {step} of the episode allows no action; allow at least one")]
    NoAction {
        /// The step, from 0.
        step: usize,
    },
    /// An action that the step does not allow was asked for.
    #[error("step {step} of the episode does not allow action {action}")]
    Forbidden {
        /// The step, from 0.
        step: usize,
        /// The action.
        action: usize,
    },
    /// There is no step to learn from.
    #[error("an update needs at least one episode, and each at least one step")]
    NothingToLearn,
    /// The loss is no number any more.
    #[error("the agent diverged in update {update}: the loss is {loss}; lower its learning rate")]
    Diverged {
        /// Updates done before.
        update: u64,
        /// The loss.
        loss: f64,
    },
    /// Bytes of another version.
    #[error("the saved agent has version {found}, this build reads {expected}; start the search anew")]
    Version {
        /// What this build reads.
        expected: u16,
        /// What was found.
        found: u16,
    },
    /// Bytes that are no saved agent.
    #[error("the saved agent cannot be read: {0}; start the search anew")]
    Saved(postcard::Error),
    /// A saved agent whose parts do not fit each other.
    #[error("the saved agent's parts do not fit together; start the search anew")]
    Parts,
    /// An agent that sees or does nothing.
    #[error("an agent for {features} features and {actions} actions sees or does nothing; both must be at least 1")]
    Sizes {
        /// Numbers of an observation.
        features: usize,
        /// Actions.
        actions: usize,
    },
    /// Candle failed.
    #[error("the agent's arithmetic failed: {0}")]
    Candle(#[from] candle_core::Error),
}
