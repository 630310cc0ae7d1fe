//! The front door: an agent that walks worlds and learns from its walks.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::AgentError;
use super::adam::{Adam, norm};
use super::episode::{Episode, EpisodeEnv, Transition};
use super::lstm::Memory;
use super::net::Network;
use super::ppo::{Diagnostics, Epoch, PpoConfig, slope};
use super::rollout::{Batch, FORBIDDEN, RewardScale};
use crate::seed;

/// A recurrent actor and critic, trained by proximal policy optimisation.
///
/// One thread; everything random comes from one seed, so equal seeds and worlds give equal agents.
#[derive(Debug)]
pub struct Agent {
    pub(super) config: PpoConfig,
    pub(super) network: Network<f32>,
    pub(super) adam: Adam,
    pub(super) seed: u64,
    pub(super) rng: ChaCha8Rng,
    pub(super) scale: RewardScale,
    pub(super) updates: u64,
}

impl Agent {
    /// An agent for observations of `features` numbers and `actions` actions, its policy uniform to 1 %.
    ///
    /// # Errors
    /// [`AgentError::Sizes`] if `features` or `actions` is 0.
    pub fn new(config: PpoConfig, features: usize, actions: usize, seed: u64) -> Result<Self, AgentError> {
        if features == 0 || actions == 0 {
            return Err(AgentError::Sizes { features, actions });
        }
        let network = Network::new(features, actions, &mut seed::stream(seed, "agent: parameters"));
        let adam = Adam::new(&network.parameters);
        let rng = seed::stream(seed, "agent: actions");
        Ok(Self { config, network, adam, seed, rng, scale: RewardScale::default(), updates: 0 })
    }

    /// How it learns.
    pub fn config(&self) -> &PpoConfig {
        &self.config
    }

    /// Sets the weight of the entropy bonus from now on, not annealed: for worlds that change between updates.
    pub fn set_entropy(&mut self, weight: f64) {
        self.config.entropy = weight;
        self.config.anneal = None;
    }

    /// Updates done so far.
    pub fn updates(&self) -> u64 {
        self.updates
    }

    /// One episode, its actions drawn from the policy.
    ///
    /// # Errors
    /// The world's own, and [`AgentError`] for observations of the wrong width or a step without an allowed action.
    pub fn sample<E: EpisodeEnv + ?Sized>(&mut self, env: &mut E) -> Result<Episode, E::Error> {
        Ok(self.sample_batch(&mut [env])?.swap_remove(0))
    }

    /// One episode of each world, side by side: much cheaper than one after the other.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub fn sample_batch<E: EpisodeEnv>(&mut self, envs: &mut [E]) -> Result<Vec<Episode>, E::Error> {
        let Self { network, rng, .. } = self;
        walk(network, envs, |_, probabilities| draw(probabilities, rng.random()))
    }

    /// The episode of the policy's likeliest actions; the lowest on a tie.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    pub fn greedy<E: EpisodeEnv + ?Sized>(&self, env: &mut E) -> Result<Episode, E::Error> {
        Ok(walk(&self.network, &mut [env], |_, probabilities| largest(probabilities))?.swap_remove(0))
    }

    /// The episode of given actions, as the policy sees it: what it thinks of each layer of a plan.
    ///
    /// Past the end of `actions` the last one is repeated.
    ///
    /// # Errors
    /// As [`sample`](Self::sample), and [`AgentError::Forbidden`] for an action that is not allowed.
    pub fn probe<E: EpisodeEnv + ?Sized>(&self, env: &mut E, actions: &[usize]) -> Result<Episode, E::Error> {
        let given = |step: usize, _: &[f32]| actions.get(step).or(actions.last()).copied().unwrap_or(0);
        Ok(walk(&self.network, &mut [env], given)?.swap_remove(0))
    }

    /// Learns from `episodes`, which this policy should have sampled since its last update.
    ///
    /// # Errors
    /// [`AgentError::NothingToLearn`] without steps, [`AgentError::Diverged`] if the loss is no number; then nothing
    /// more is learnt.
    pub fn update(&mut self, episodes: &[Episode]) -> Result<Diagnostics, AgentError> {
        if episodes.is_empty() || episodes.iter().any(|episode| episode.steps.is_empty()) {
            return Err(AgentError::NothingToLearn);
        }
        let returns: Vec<f64> = episodes.iter().map(Episode::total_reward).collect();
        self.scale.observe(&returns);
        let batch = Batch::new(episodes, &self.scale, &self.config)?;
        let entropy = self.config.entropy_at(self.updates);
        let epochs = (0..self.config.epochs).map(|_| self.descend(&batch, entropy)).collect::<Result<_, _>>()?;
        self.updates += 1;
        let mean_return = returns.iter().sum::<f64>() / returns.len() as f64;
        Ok(Diagnostics { mean_return, entropy_weight: entropy, epochs })
    }

    /// One gradient step.
    fn descend(&mut self, batch: &Batch<f32>, entropy: f64) -> Result<Epoch, AgentError> {
        let slope = slope(&self.network, batch, &self.config, entropy)?;
        let norm = norm(&slope.gradients);
        if !(slope.loss.is_finite() && norm.is_finite()) {
            return Err(AgentError::Diverged { update: self.updates, loss: slope.loss });
        }
        let share = self.config.largest_gradient.map_or(1.0, |largest| largest / norm.max(largest));
        let (rate, epsilon) = (self.config.rate, self.config.epsilon);
        self.adam.step(&mut self.network.parameters, &slope.gradients, share, rate, epsilon);
        Ok(Epoch { gradient: norm, ..slope.epoch })
    }
}

/// Walks every world to its end in step, with `choose` picking each action from the step's number and probabilities.
fn walk<E: EpisodeEnv>(
    network: &Network<f32>,
    envs: &mut [E],
    mut choose: impl FnMut(usize, &[f32]) -> usize,
) -> Result<Vec<Episode>, E::Error> {
    let mut memory = Memory::new(envs.len());
    let mut episodes = vec![Episode::default(); envs.len()];
    let mut seen = envs.iter_mut().map(|env| env.reset().map(Some)).collect::<Result<Vec<_>, _>>()?;
    for step in 0.. {
        if seen.iter().all(Option::is_none) {
            break;
        }
        let (logits, values) = network.step(&rows(&seen, network.features)?, &mut memory);
        let views = logits.chunks_exact(network.actions).zip(values);
        let mut chosen: Vec<Option<Transition>> = Vec::with_capacity(envs.len());
        for (env, (observation, (logits, value))) in envs.iter().zip(seen.iter_mut().zip(views)) {
            let choice = observation.take().map(|observation| {
                let allowed: Vec<bool> = (0..logits.len()).map(|action| env.allowed(action)).collect();
                decide(step, observation, allowed, logits, value, &mut choose)
            });
            chosen.push(choice.transpose()?);
        }
        let actions: Vec<Option<usize>> = chosen.iter().map(|choice| choice.as_ref().map(|one| one.action)).collect();
        E::foresee(envs, &actions)?;
        for ((env, episode), (seen, choice)) in envs.iter_mut().zip(&mut episodes).zip(seen.iter_mut().zip(chosen)) {
            let Some(choice) = choice else { continue };
            let answer = env.step(choice.action)?;
            episode.steps.push(Transition { reward: answer.reward, ..choice });
            *seen = (!answer.done).then_some(answer.observation);
        }
    }
    Ok(episodes)
}

/// The choice of one action, not yet paid.
fn decide(
    step: usize,
    observation: Vec<f32>,
    allowed: Vec<bool>,
    logits: &[f32],
    value: f32,
    choose: &mut impl FnMut(usize, &[f32]) -> usize,
) -> Result<Transition, AgentError> {
    if allowed.iter().all(|allowed| !allowed) {
        return Err(AgentError::NoAction { step });
    }
    let log_probabilities = log_softmax(logits, &allowed);
    let probabilities: Vec<f32> = log_probabilities.iter().map(|each| each.exp()).collect();
    let action = choose(step, &probabilities);
    if !allowed.get(action).is_some_and(|allowed| *allowed) {
        return Err(AgentError::Forbidden { step, action });
    }
    let log_probability = log_probabilities[action];
    Ok(Transition { observation, probabilities, allowed, action, log_probability, value, reward: 0.0 })
}

/// The observations row by row, zeros where an episode is over.
fn rows(seen: &[Option<Vec<f32>>], features: usize) -> Result<Vec<f32>, AgentError> {
    let mut rows = Vec::with_capacity(seen.len() * features);
    for observation in seen {
        match observation {
            Some(observation) if observation.len() == features => rows.extend_from_slice(observation),
            Some(observation) => return Err(AgentError::Features { expected: features, found: observation.len() }),
            None => rows.resize(rows.len() + features, 0.0),
        }
    }
    Ok(rows)
}

fn log_softmax(logits: &[f32], allowed: &[bool]) -> Vec<f32> {
    let masked = logits.iter().zip(allowed).map(|(logit, allowed)| if *allowed { *logit } else { logit + FORBIDDEN });
    let largest = masked.clone().fold(f32::NEG_INFINITY, f32::max);
    let sum: f32 = masked.clone().map(|logit| (logit - largest).exp()).sum();
    let normaliser = largest + sum.ln();
    masked.map(|logit| logit - normaliser).collect()
}

/// The action whose stretch of the unit line holds `at`.
fn draw(probabilities: &[f32], at: f64) -> usize {
    let mut sum = 0.0;
    let inside = probabilities.iter().position(|probability| {
        sum += f64::from(*probability);
        at < sum
    });
    // The stretches may end a rounding short of 1.
    inside.unwrap_or_else(|| largest(probabilities))
}

fn largest(numbers: &[f32]) -> usize {
    let better = |best: usize, index: usize| if numbers[index] > numbers[best] { index } else { best };
    (0..numbers.len()).fold(0, better)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_probabilities() {
        let probabilities = [0.25, 0.0, 0.75];
        assert_eq!([0.0, 0.249, 0.25, 0.999].map(|at| draw(&probabilities, at)), [0, 0, 2, 2]);
        assert_eq!(draw(&[0.5, 0.499_999], 0.999_999_9), 0);
    }

    #[test]
    fn forbidden_actions_have_no_probability() {
        let probabilities: Vec<f32> =
            log_softmax(&[0.0, 5.0, 0.0], &[true, false, true]).iter().map(|p| p.exp()).collect();
        assert_eq!(probabilities, [0.5, 0.0, 0.5]);
    }
}
