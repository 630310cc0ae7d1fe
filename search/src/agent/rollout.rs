//! From episodes to one batch: rewards scaled, advantages estimated, steps of different episodes side by side.

use candle_core::{Device, Result, Tensor};
use serde::{Deserialize, Serialize};

use super::episode::{Episode, Transition};
use super::gae::advantages;
use super::number::Real;
use super::ppo::PpoConfig;

/// Weight that the running scale keeps of the past at each update: about the last hundred updates count.
const MEMORY: f64 = 0.99;

/// Running mean and deviation of the episodes' returns.
///
/// The shaped reward spans about 0.2, of which one bit is a tenth: unscaled, the entropy bonus outweighs it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct RewardScale {
    weight: f64,
    mean: f64,
    variance: f64,
}

impl RewardScale {
    /// Takes the returns of one update's episodes.
    pub(super) fn observe(&mut self, returns: &[f64]) {
        let count = returns.len() as f64;
        let mean = returns.iter().sum::<f64>() / count;
        let variance = returns.iter().map(|each| (each - mean).powi(2)).sum::<f64>() / count;
        let past = MEMORY * self.weight;
        let (kept, new) = (past / (past + count), count / (past + count));
        let apart = mean - self.mean;
        self.variance = kept * self.variance + new * variance + kept * new * apart * apart;
        self.mean += new * apart;
        self.weight = past + count;
    }

    /// The rewards of one episode in units of the deviation, and its last one less the mean.
    ///
    /// An episode's return is thereby standardised, while which of two episodes of equal length is better stays.
    fn standardised(&self, rewards: &[f64]) -> Vec<f64> {
        let deviation = self.variance.sqrt().max(1e-6);
        let mut scaled: Vec<f64> = rewards.iter().map(|reward| reward / deviation).collect();
        if let Some(last) = scaled.last_mut() {
            *last -= self.mean / deviation;
        }
        scaled
    }
}

/// Episodes as the update reads them: `n` steps, step-major, so that the recurrent layer takes a row of episodes at once.
#[derive(Debug)]
pub(super) struct Batch<T> {
    /// `[steps, episodes, features]`, zeros after an episode's end.
    pub(super) observations: Vec<T>,
    /// Episodes.
    pub(super) rows: usize,
    /// Which of the `steps · episodes` rows are steps; absent if all are.
    pub(super) kept: Option<Vec<usize>>,
    /// `[n, 1]`
    pub(super) actions: Tensor,
    /// What is added to the logits, `[n, actions]`: absent if every action was allowed.
    pub(super) mask: Option<Tensor>,
    /// Of the actions, when they were chosen, `[n]`.
    pub(super) log_probabilities: Tensor,
    /// `[n]`
    pub(super) advantages: Tensor,
    /// The returns the critic should have expected, `[n]`.
    pub(super) targets: Tensor,
}

/// Added to the logit of an action that is not allowed. Finite: minus infinity times its probability would be no number.
pub(super) const FORBIDDEN: f32 = -1e9;

/// Advantages and targets of one episode.
struct Judged {
    advantages: Vec<f64>,
    targets: Vec<f64>,
}

fn judge(episode: &Episode, scale: &RewardScale, config: &PpoConfig) -> Judged {
    let rewards: Vec<f64> = episode.steps.iter().map(|step| step.reward).collect();
    let rewards = if config.standardise_rewards { scale.standardised(&rewards) } else { rewards };
    let values: Vec<f64> = episode.steps.iter().map(|step| f64::from(step.value)).collect();
    let advantages = advantages(&rewards, &values, config.gamma, config.lambda);
    let targets = advantages.iter().zip(&values).map(|(advantage, value)| advantage + value).collect();
    Judged { advantages, targets }
}

impl<T: Real> Batch<T> {
    /// The batch of `episodes`, none of them empty.
    ///
    /// # Errors
    /// Only Candle's own.
    pub(super) fn new(episodes: &[Episode], scale: &RewardScale, config: &PpoConfig) -> Result<Self> {
        let judged: Vec<Judged> = episodes.iter().map(|episode| judge(episode, scale, config)).collect();
        let longest = episodes.iter().map(|episode| episode.steps.len()).max().unwrap_or(0);
        let order: Vec<(usize, usize)> = (0..longest)
            .flat_map(|step| (0..episodes.len()).map(move |row| (step, row)))
            .filter(|&(step, row)| step < episodes[row].steps.len())
            .collect();
        let steps: Vec<&Transition> = order.iter().map(|&(step, row)| &episodes[row].steps[step]).collect();
        let mut advantages: Vec<f64> = order.iter().map(|&(step, row)| judged[row].advantages[step]).collect();
        if config.normalise_advantages {
            normalise(&mut advantages);
        }
        let actions: Vec<u32> = steps.iter().map(|step| step.action as u32).collect();
        let rows: Vec<usize> = order.iter().map(|(step, row)| step * episodes.len() + row).collect();
        Ok(Self {
            observations: observations(episodes, longest),
            rows: episodes.len(),
            kept: (order.len() < longest * episodes.len()).then_some(rows),
            actions: Tensor::from_vec(actions, (order.len(), 1), &Device::Cpu)?,
            mask: mask::<T>(&steps)?,
            log_probabilities: vector::<T>(steps.iter().map(|step| f64::from(step.log_probability)))?,
            advantages: vector::<T>(advantages.into_iter())?,
            targets: vector::<T>(order.iter().map(|&(step, row)| judged[row].targets[step]))?,
        })
    }
}

fn vector<T: Real>(numbers: impl ExactSizeIterator<Item = f64>) -> Result<Tensor> {
    let count = numbers.len();
    Tensor::from_vec(numbers.map(T::from_f64).collect::<Vec<T>>(), count, &Device::Cpu)
}

fn observations<T: Real>(episodes: &[Episode], longest: usize) -> Vec<T> {
    let features = episodes[0].steps[0].observation.len();
    let mut numbers = Vec::with_capacity(longest * episodes.len() * features);
    for step in 0..longest {
        for episode in episodes {
            match episode.steps.get(step) {
                Some(seen) => numbers.extend(seen.observation.iter().map(|number| T::from_f64(f64::from(*number)))),
                None => numbers.resize(numbers.len() + features, T::from_f64(0.0)),
            }
        }
    }
    numbers
}

fn mask<T: Real>(steps: &[&Transition]) -> Result<Option<Tensor>> {
    if steps.iter().all(|step| step.allowed.iter().all(|allowed| *allowed)) {
        return Ok(None);
    }
    let actions = steps[0].allowed.len();
    let added = |allowed: &bool| T::from_f64(if *allowed { 0.0 } else { FORBIDDEN.into() });
    let numbers: Vec<T> = steps.iter().flat_map(|step| step.allowed.iter().map(added)).collect();
    Tensor::from_vec(numbers, (steps.len(), actions), &Device::Cpu).map(Some)
}

/// To mean 0 and deviation 1, unless all are alike.
fn normalise(advantages: &mut [f64]) {
    let count = advantages.len() as f64;
    let mean = advantages.iter().sum::<f64>() / count;
    let variance = advantages.iter().map(|each| (each - mean).powi(2)).sum::<f64>() / count;
    let deviation = variance.sqrt() + 1e-8;
    advantages.iter_mut().for_each(|each| *each = (*each - mean) / deviation);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn returns_are_standardised() {
        let mut scale = RewardScale::default();
        scale.observe(&[1.0, 2.0, 3.0, 4.0]);
        let returns: Vec<f64> = [1.0, 2.0, 3.0, 4.0].iter().map(|last| scale.standardised(&[0.0, *last])[1]).collect();
        assert!(returns.iter().sum::<f64>().abs() < 1e-12);
        assert!((returns.iter().map(|each| each * each).sum::<f64>() / 4.0 - 1.0).abs() < 1e-12);
    }

    #[test]
    fn the_scale_forgets_slowly() {
        let mut scale = RewardScale::default();
        scale.observe(&[0.0, 2.0]);
        assert_eq!((scale.mean, scale.variance), (1.0, 1.0));
        scale.observe(&[2.0, 4.0]);
        // Weights .99 · 2 of the past and 2 of the new.
        assert!((scale.mean - (0.99 + 3.0) / 1.99).abs() < 1e-12);
        for _ in 0..2_000 {
            scale.observe(&[10.0, 10.0]);
        }
        assert!((scale.mean - 10.0).abs() < 1e-6 && scale.variance < 1e-6);
    }

    #[test]
    fn equal_returns_stay_finite() {
        let mut scale = RewardScale::default();
        scale.observe(&[0.2, 0.2]);
        assert!(scale.standardised(&[0.2])[0].abs() < 1e-6);
        let mut alike = [3.0, 3.0];
        normalise(&mut alike);
        assert_eq!(alike, [0.0, 0.0]);
    }
}
