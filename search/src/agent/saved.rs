//! An agent as bytes: everything that decides what it does next, so that a killed search goes on as if it had not been.

use serde::{Deserialize, Serialize};

use super::AgentError;
use super::adam::Adam;
use super::net::Matrices;
use super::policy::Agent;
use super::ppo::PpoConfig;
use super::rollout::RewardScale;

/// Raised with every change of what follows it.
const VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
struct Saved {
    features: usize,
    actions: usize,
    seed: u64,
    /// Where in its stream the next action is drawn.
    drawn: u128,
    scale: RewardScale,
    updates: u64,
    parameters: Matrices<f32>,
    adam: Adam,
}

impl Agent {
    /// Everything it knows, but for its configuration: about 1.5 MB.
    ///
    /// # Errors
    /// None in practice: writing to memory.
    pub fn save(&self) -> Result<Vec<u8>, AgentError> {
        let saved = Saved {
            features: self.network.features,
            actions: self.network.actions,
            seed: self.seed,
            drawn: self.rng.get_word_pos(),
            scale: self.scale,
            updates: self.updates,
            parameters: self.network.parameters.clone(),
            adam: self.adam.clone(),
        };
        postcard::to_allocvec(&(VERSION, saved)).map_err(AgentError::Saved)
    }

    /// The agent that was [saved](Self::save); with the same configuration it goes on bit for bit as that one would.
    ///
    /// # Errors
    /// [`AgentError::Version`], [`AgentError::Saved`] or [`AgentError::Parts`] if `bytes` are not such an agent's.
    pub fn load(config: PpoConfig, bytes: &[u8]) -> Result<Self, AgentError> {
        let (version, rest) = postcard::take_from_bytes::<u16>(bytes).map_err(AgentError::Saved)?;
        if version != VERSION {
            return Err(AgentError::Version { expected: VERSION, found: version });
        }
        let saved: Saved = postcard::from_bytes(rest).map_err(AgentError::Saved)?;
        // Before anything is built: sizes that are nonsense must not be allocated.
        let held: usize = saved.parameters.iter().map(Vec::len).sum();
        if saved.features.saturating_add(saved.actions) > held {
            return Err(AgentError::Parts);
        }
        Self::new(config, saved.features, saved.actions, saved.seed)?.restored(saved)
    }

    fn restored(mut self, saved: Saved) -> Result<Self, AgentError> {
        let lengths = |parameters: &Matrices<f32>| parameters.each_ref().map(Vec::len);
        let own = &self.network.parameters;
        if lengths(own) != lengths(&saved.parameters) || !saved.adam.fits(own) {
            return Err(AgentError::Parts);
        }
        self.network.parameters = saved.parameters;
        self.adam = saved.adam;
        self.rng.set_word_pos(saved.drawn);
        self.scale = saved.scale;
        self.updates = saved.updates;
        Ok(self)
    }
}
