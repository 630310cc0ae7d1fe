//! Batch normalisation over channels as one Candle op that keeps its running statistics.

use std::sync::{Arc, Mutex, OnceLock};

use candle_core::{CpuStorage, CustomOp1, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::stock;
use super::storage::{floats, tensor_floats, with_floats};
use super::vectors::{Sums, widest};

/// Mean and variance of each channel, as inference uses them.
#[derive(Clone, Debug, PartialEq)]
pub struct Statistics {
    /// Running mean.
    pub mean: Vec<f32>,
    /// Running variance, unbiased.
    pub variance: Vec<f32>,
}

/// Normalisation of `x` `[n, c, h, w]`, or of features `[n, c]`, by the batch's own statistics, scaled by `gamma` `[c]` and moved by `beta` `[c]`.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    eps: f32,
    momentum: f32,
    running: Arc<Mutex<Statistics>>,
    /// What the forward pass found, which the backward pass needs; clones have it too.
    batch: Arc<OnceLock<Vec<Moments>>>,
}

/// Channels, and pixels of a plane.
fn sizes(x: &[usize]) -> Result<(usize, usize)> {
    match x {
        &[_, channels, height, width] => Ok((channels, height * width)),
        _ => candle_core::bail!("batch normalisation takes [n, c, h, w], not {x:?}"),
    }
}

/// Mean and biased variance of one channel of a batch.
type Moments = (f32, f32);

/// Mean and variance of each channel over images and pixels.
fn moments(x: &[f32], channels: usize, plane: usize) -> Vec<Moments> {
    let of_channel = |channel: usize| {
        let planes = || x.chunks_exact(plane).skip(channel).step_by(channels);
        let count = (x.len() / channels) as f64;
        let mean = sum(planes(), |x| x) / count;
        (mean as f32, (sum(planes(), |x| (x - mean) * (x - mean)) / count) as f32)
    };
    (0..channels).into_par_iter().map(of_channel).collect()
}

fn sum<'a>(planes: impl Iterator<Item = &'a [f32]>, term: impl Fn(f64) -> f64) -> f64 {
    let mut sums = Sums::ZERO;
    planes.for_each(|plane| sums.add(plane, plane, |x, _| [term(f64::from(x))]));
    sums.totals()[0]
}

impl BatchNorm {
    /// Adds `eps` to each variance; in training each forward pass moves what inference will use, `running`, by
    /// `momentum`, 0.1 in most frameworks.
    pub fn new(eps: f32, momentum: f32, running: Arc<Mutex<Statistics>>) -> Self {
        Self { eps, momentum, running, batch: Arc::default() }
    }

    /// The normalised tensor, by the batch's statistics (`training`) or the running ones.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(self, x: &Tensor, gamma: &Tensor, beta: &Tensor, training: bool) -> Result<Tensor> {
        if x.rank() == 2 {
            return self.forward(&x.unsqueeze(2)?.unsqueeze(3)?, gamma, beta, training)?.flatten_from(1);
        }
        if training && x.device().is_cpu() {
            return x.contiguous()?.apply_op3(gamma, beta, self);
        }
        if training {
            let (y, batch) = stock::batch_norm(x, gamma, beta, self.eps)?;
            self.keep(&batch, x.elem_count() / batch.len().max(1));
            return Ok(y);
        }
        let running = self.running.lock().expect("no panic while holding the lock").clone();
        let scale = running.variance.iter().map(|variance| 1.0 / (variance + self.eps).sqrt()).collect();
        let fixed = Fixed { mean: running.mean, scale, gamma: gamma.to_vec1()?, beta: beta.to_vec1()? };
        if x.device().is_cpu() {
            return x.contiguous()?.apply_op1_no_bwd(&fixed);
        }
        let [mean, scale, gamma, beta] = [fixed.mean, fixed.scale, fixed.gamma, fixed.beta]
            .map(|values| Tensor::from_vec(values, (1, gamma.elem_count(), 1, 1), x.device()));
        x.broadcast_sub(&mean?)?.broadcast_mul(&scale?)?.broadcast_mul(&gamma?)?.broadcast_add(&beta?)
    }

    fn keep(&self, batch: &[Moments], count: usize) {
        let unbiased = count as f32 / (count.max(2) - 1) as f32;
        let mut running = self.running.lock().expect("no panic while holding the lock");
        let move_to = |running: &mut f32, batch: f32| *running += self.momentum * (batch - *running);
        let Statistics { mean, variance } = &mut *running;
        mean.iter_mut().zip(batch).for_each(|(mean, batch)| move_to(mean, batch.0));
        variance.iter_mut().zip(batch).for_each(|(variance, batch)| move_to(variance, batch.1 * unbiased));
    }
}

/// Normalisation by statistics that stay, which nobody learns through; of each channel.
struct Fixed {
    mean: Vec<f32>,
    scale: Vec<f32>,
    gamma: Vec<f32>,
    beta: Vec<f32>,
}

impl CustomOp1 for Fixed {
    fn name(&self) -> &'static str {
        "releq-fixed-norm"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (channels, plane) = sizes(layout.dims())?;
        let x = floats(x, layout)?;
        let mut y = vec![0f32; x.len()];
        y.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(plane)).enumerate().for_each(|(index, (y, x))| {
            let at = index % channels;
            let (mean, scale, gamma, beta) = (self.mean[at], self.scale[at], self.gamma[at], self.beta[at]);
            widest(|| y.iter_mut().zip(x).for_each(|(y, x)| *y = (x - mean) * scale * gamma + beta));
        });
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        "releq-batch-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        gamma: &CpuStorage,
        gamma_layout: &Layout,
        beta: &CpuStorage,
        beta_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (channels, plane) = sizes(layout.dims())?;
        let (x, gamma, beta) = (floats(x, layout)?, floats(gamma, gamma_layout)?, floats(beta, beta_layout)?);
        let batch = self.batch.get_or_init(|| moments(x, channels, plane));
        self.keep(batch, x.len() / channels);
        let mut y = vec![0f32; x.len()];
        y.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(plane)).enumerate().for_each(|(index, (y, x))| {
            let channel = index % channels;
            let ((mean, variance), beta) = (batch[channel], beta[channel]);
            let scale = gamma[channel] / (variance + self.eps).sqrt();
            widest(|| y.iter_mut().zip(x).for_each(|(y, x)| *y = (x - mean) * scale + beta));
        });
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gamma: &Tensor,
        beta: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let gammas = tensor_floats(gamma)?;
        let shape = x.dims();
        let of = |x: &[f32], gradient: &[f32]| self.gradients(shape, x, &gammas, gradient);
        let (dx, sums) = with_floats(x, |x| with_floats(gradient, |gradient| of(x, gradient)))???;
        let (dbeta, dgamma): (Vec<f32>, Vec<f32>) = sums.into_iter().unzip();
        let device = x.device();
        Ok((
            Some(Tensor::from_vec(dx, x.shape(), device)?),
            Some(Tensor::from_vec(dgamma, gamma.shape(), device)?),
            Some(Tensor::from_vec(dbeta, beta.shape(), device)?),
        ))
    }
}

/// The gradients of one channel's beta and gamma.
type Sensitivity = (f32, f32);

impl BatchNorm {
    /// The gradient of `inputs`, and of each channel those of beta and gamma.
    fn gradients(
        &self,
        shape: &[usize],
        inputs: &[f32],
        gammas: &[f32],
        gradients: &[f32],
    ) -> Result<(Vec<f32>, Vec<Sensitivity>)> {
        let (channels, plane) = sizes(shape)?;
        let batch = self.batch.get_or_init(|| moments(inputs, channels, plane));
        let count = (inputs.len() / channels) as f32;
        // Σ g and Σ g·x̂ of each channel: the gradients of beta and gamma, and all that dx needs.
        let sums = |channel: usize| {
            let (mean, variance) = batch[channel];
            let scale = 1.0 / (variance + self.eps).sqrt();
            let planes = inputs.chunks_exact(plane).zip(gradients.chunks_exact(plane)).skip(channel).step_by(channels);
            let mut sums = Sums::ZERO;
            let terms = |x: f32, gradient: f32| [f64::from(gradient), f64::from(gradient * (x - mean) * scale)];
            planes.for_each(|(x, gradient)| sums.add(x, gradient, terms));
            let [sum, sum_normal] = sums.totals();
            (sum as f32, sum_normal as f32)
        };
        let sums: Vec<Sensitivity> = (0..channels).into_par_iter().map(sums).collect();
        let mut dx = vec![0f32; inputs.len()];
        let planes = inputs.par_chunks_exact(plane).zip(gradients.par_chunks_exact(plane));
        dx.par_chunks_exact_mut(plane).zip(planes).enumerate().for_each(|(index, (dx, (x, gradient)))| {
            let channel = index % channels;
            let (mean, variance) = batch[channel];
            let (sum, sum_normal) = sums[channel];
            let scale = 1.0 / (variance + self.eps).sqrt();
            let (gain, offset, slope) = (gammas[channel] * scale, sum / count, sum_normal / count);
            let of = |(x, gradient): (&f32, &f32)| gain * (gradient - offset - (x - mean) * scale * slope);
            widest(|| dx.iter_mut().zip(x.iter().zip(gradient)).for_each(|(dx, pair)| *dx = of(pair)));
        });
        Ok((dx, sums))
    }
}
