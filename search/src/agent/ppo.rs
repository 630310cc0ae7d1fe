//! Proximal policy optimisation (arXiv 1707.06347): steps that keep the policy near the one that acted.

use candle_core::{D, DType, Device, Result, Tensor, Var};
use serde::{Deserialize, Serialize};

use super::net::{Matrices, Network};
use super::number::Real;
use super::rollout::Batch;

/// How the agent learns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PpoConfig {
    /// Discount of later rewards, a step.
    pub gamma: f64,
    /// Share of later surprises in an advantage; see [`advantages`](super::advantages).
    pub lambda: f64,
    /// How far the probability ratio may depart from 1 before it stops paying.
    pub clip: f64,
    /// Gradient steps on each batch.
    pub epochs: usize,
    /// Adam's step size.
    pub rate: f64,
    /// Adam's guard against division by zero.
    pub epsilon: f64,
    /// Weight of the entropy bonus at the first update.
    pub entropy: f64,
    /// Updates over which that weight falls linearly to 0, where it stays; absent, it does not fall.
    pub anneal: Option<u64>,
    /// Weight of the critic's squared error.
    pub value: f64,
    /// Largest norm of the gradient; absent, any.
    pub largest_gradient: Option<f64>,
    /// Whether returns are put to running mean 0 and deviation 1.
    pub standardise_rewards: bool,
    /// Whether the advantages of each batch are put to mean 0 and deviation 1.
    pub normalise_advantages: bool,
}

impl PpoConfig {
    /// As published: clip 0.1, three epochs, lambda 0.99, step size 1e-4, entropy 0.01, nothing scaled or clipped.
    ///
    /// The paper does not give the discount; 0.9 and Adam's 1e-5 are from its authors' code. At this step size the
    /// policy has not settled after 3,000 episodes.
    pub fn paper() -> Self {
        Self {
            gamma: 0.9,
            lambda: 0.99,
            clip: 0.1,
            epochs: 3,
            rate: 1e-4,
            epsilon: 1e-5,
            entropy: 0.01,
            anneal: None,
            value: 1.0,
            largest_gradient: None,
            standardise_rewards: false,
            normalise_advantages: false,
        }
    }
}

impl Default for PpoConfig {
    /// The one that converges: no discount, twenty times the paper's step size, returns standardised, and an entropy
    /// bonus that starts large and is annealed to nothing. Set `anneal` to the number of updates planned.
    ///
    /// With 32 terminal rewards an update and 200 updates, on the recorded LeNet table, in five seeds: its greedy plan
    /// is the optimum (2,2,3,2) of the paper's reward in all, and the first or second of its authors' reward in all.
    /// Fewest bits within half a point, where the optimum (2,3,3,4) stands among cliffs, it misses in all: it ends at
    /// least two bits above, mostly at (3,4,3,4).
    fn default() -> Self {
        Self {
            gamma: 1.0,
            lambda: 0.95,
            clip: 0.2,
            epochs: 3,
            rate: 2e-3,
            epsilon: 1e-5,
            entropy: 0.2,
            anneal: Some(200),
            value: 0.5,
            largest_gradient: Some(0.5),
            standardise_rewards: true,
            normalise_advantages: false,
        }
    }
}

impl PpoConfig {
    /// The weight of the entropy bonus after `updates` updates.
    pub fn entropy_at(&self, updates: u64) -> f64 {
        match self.anneal {
            Some(span) => self.entropy * (1.0 - updates as f64 / span.max(1) as f64).max(0.0),
            None => self.entropy,
        }
    }
}

/// What one gradient step saw, before it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Mean of the new probability over the old, over the steps.
    pub mean_ratio: f64,
    /// Largest departure of that ratio from 1.
    pub largest_departure: f64,
    /// Share of the steps whose ratio is outside the clip.
    pub clipped: f64,
    /// Estimate of the divergence of the old policy from the new, nats.
    pub divergence: f64,
    /// Mean entropy of the policy, nats.
    pub entropy: f64,
    /// The policy's part of the loss.
    pub policy_loss: f64,
    /// Mean squared error of the critic.
    pub value_loss: f64,
    /// Norm of the gradient before it was clipped.
    pub gradient: f64,
}

/// What an update did.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Diagnostics {
    /// Mean undiscounted return of the episodes, as they were paid.
    pub mean_return: f64,
    /// Weight of the entropy bonus.
    pub entropy_weight: f64,
    /// The gradient steps in order.
    pub epochs: Vec<Epoch>,
}

/// The three parts of the loss, a number a step, `[n]` each.
pub(super) struct Terms {
    /// New probability of the action over the old.
    ratios: Tensor,
    /// Log-probability of the action now, less then.
    log_ratios: Tensor,
    /// The clipped surrogate, to be raised.
    surrogates: Tensor,
    /// Of the policy.
    entropies: Tensor,
    /// Squared errors of the critic.
    pub(super) errors: Tensor,
}

/// Compares logits `[n, actions]` and values `[n]` of the network with what the batch holds.
///
/// Values have no second axis, or their difference to `[n]` targets would silently become `[n, n]`.
///
/// # Errors
/// Only Candle's own.
pub(super) fn terms<T: Real>(logits: &Tensor, values: &Tensor, batch: &Batch<T>, clip: f64) -> Result<Terms> {
    let logits = match &batch.mask {
        Some(mask) => (logits + mask)?,
        None => logits.clone(),
    };
    let log_probabilities = candle_nn::ops::log_softmax(&logits, D::Minus1)?;
    let chosen = log_probabilities.gather(&batch.actions, 1)?.squeeze(1)?;
    let log_ratios = (chosen - &batch.log_probabilities)?;
    let ratios = log_ratios.exp()?;
    let near = ratios.clamp(1.0 - clip, 1.0 + clip)?;
    let surrogates = (&ratios * &batch.advantages)?.minimum(&(near * &batch.advantages)?)?;
    let entropies = (log_probabilities.exp()? * &log_probabilities)?.sum(1)?.neg()?;
    let errors = (values - &batch.targets)?.sqr()?;
    Ok(Terms { ratios, log_ratios, surrogates, entropies, errors })
}

impl Terms {
    /// The loss to descend.
    ///
    /// # Errors
    /// Only Candle's own.
    pub(super) fn loss(&self, value: f64, entropy: f64) -> Result<Tensor> {
        let pushed = (self.surrogates.mean_all()? + (self.entropies.mean_all()? * entropy)?)?;
        (self.errors.mean_all()? * value)? - pushed
    }

    /// The same in numbers for people.
    fn epoch(&self, clip: f64) -> Result<Epoch> {
        let numbers = |tensor: &Tensor| tensor.to_dtype(DType::F64)?.to_vec1::<f64>();
        let mean = |numbers: &[f64]| numbers.iter().sum::<f64>() / numbers.len() as f64;
        let (ratios, log_ratios) = (numbers(&self.ratios)?, numbers(&self.log_ratios)?);
        let departures: Vec<f64> = ratios.iter().map(|ratio| (ratio - 1.0).abs()).collect();
        let divergence: Vec<f64> = ratios.iter().zip(&log_ratios).map(|(ratio, log)| ratio - 1.0 - log).collect();
        Ok(Epoch {
            mean_ratio: mean(&ratios),
            largest_departure: departures.iter().copied().fold(0.0, f64::max),
            clipped: departures.iter().filter(|departure| **departure > clip).count() as f64 / ratios.len() as f64,
            divergence: mean(&divergence),
            entropy: mean(&numbers(&self.entropies)?),
            policy_loss: -mean(&numbers(&self.surrogates)?),
            value_loss: mean(&numbers(&self.errors)?),
            gradient: 0.0,
        })
    }
}

/// A look at the loss from where the network stands.
pub(super) struct Slope<T> {
    /// The loss.
    pub(super) loss: f64,
    /// What it is made of.
    pub(super) epoch: Epoch,
    /// Which way it rises.
    pub(super) gradients: Matrices<T>,
}

/// The loss of `network` on `batch` with its gradient: Candle's through the loss, our own through the network.
///
/// # Errors
/// Only Candle's own.
pub(super) fn slope<T: Real>(
    network: &Network<T>,
    batch: &Batch<T>,
    config: &PpoConfig,
    entropy: f64,
) -> Result<Slope<T>> {
    let kept = batch.kept.as_deref();
    let mut pass = network.forward(&batch.observations, batch.rows, kept);
    let count = pass.values.len();
    let logits = variable(std::mem::take(&mut pass.logits), &[count, network.actions])?;
    let values = variable(std::mem::take(&mut pass.values), &[count])?;
    let terms = terms(logits.as_tensor(), values.as_tensor(), batch, config.clip)?;
    let loss = terms.loss(config.value, entropy)?;
    let rises = loss.backward()?;
    let rise = |variable: &Var| match rises.get(variable.as_tensor()) {
        Some(rise) => rise.flatten_all()?.to_vec1::<T>(),
        None => Ok(vec![T::from_f64(0.0); variable.elem_count()]),
    };
    let gradients = network.backward(&pass, &rise(&logits)?, &rise(&values)?, kept);
    Ok(Slope { loss: loss.to_scalar::<T>()?.to_f64(), epoch: terms.epoch(config.clip)?, gradients })
}

fn variable<T: Real>(numbers: Vec<T>, shape: &[usize]) -> Result<Var> {
    Var::from_tensor(&Tensor::from_vec(numbers, shape, &Device::Cpu)?)
}
