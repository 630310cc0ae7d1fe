//! Batch normalisation over channels as one Candle op that keeps its running statistics.

use std::sync::{Arc, Mutex};

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::storage::{floats, tensor_floats};

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
    /// Added to the variance.
    pub eps: f32,
    /// How far one batch moves the running statistics; 0.1 in most frameworks.
    pub momentum: f32,
    /// What inference will use; updated by each forward pass in training.
    pub running: Arc<Mutex<Statistics>>,
}

/// Mean and biased variance of each channel over images and pixels, summed in f64 and in order.
fn batch_statistics(x: &[f32], channels: usize, plane: usize) -> Vec<(f32, f32)> {
    let of_channel = |channel: usize| {
        let planes = || x.chunks_exact(plane).skip(channel).step_by(channels);
        let count = (x.len() / channels) as f64;
        let mean = planes().flatten().map(|&x| f64::from(x)).sum::<f64>() / count;
        let square = |&x: &f32| (f64::from(x) - mean) * (f64::from(x) - mean);
        let variance = planes().flatten().map(square).sum::<f64>() / count;
        (mean as f32, variance as f32)
    };
    (0..channels).into_par_iter().map(of_channel).collect()
}

impl BatchNorm {
    /// The normalised tensor, by the batch's statistics (`training`) or the running ones.
    ///
    /// # Errors
    /// Shapes that do not fit, or a device other than the CPU.
    pub fn forward(self, x: &Tensor, gamma: &Tensor, beta: &Tensor, training: bool) -> Result<Tensor> {
        if x.rank() == 2 {
            return self.forward(&x.unsqueeze(2)?.unsqueeze(3)?, gamma, beta, training)?.flatten_from(1);
        }
        if training {
            return x.contiguous()?.apply_op3(gamma, beta, self);
        }
        let channels = gamma.elem_count();
        let running = self.running.lock().expect("no panic while holding the lock").clone();
        let scale: Vec<f32> = running.variance.iter().map(|variance| 1.0 / (variance + self.eps).sqrt()).collect();
        let column = |values: Vec<f32>| Tensor::from_vec(values, (1, channels, 1, 1), x.device());
        let normal = x.broadcast_sub(&column(running.mean)?)?.broadcast_mul(&column(scale)?)?;
        let shape = (1, channels, 1, 1);
        normal.broadcast_mul(&gamma.reshape(shape)?)?.broadcast_add(&beta.reshape(shape)?)
    }

    fn sizes(&self, x: &[usize]) -> Result<(usize, usize)> {
        match x {
            &[_, channels, height, width] => Ok((channels, height * width)),
            _ => candle_core::bail!("batch normalisation takes [n, c, h, w], not {x:?}"),
        }
    }

    fn keep(&self, batch: &[(f32, f32)], count: usize) {
        let unbiased = count as f32 / (count.max(2) - 1) as f32;
        let mut running = self.running.lock().expect("no panic while holding the lock");
        let move_to = |running: &mut f32, batch: f32| *running += self.momentum * (batch - *running);
        let Statistics { mean, variance } = &mut *running;
        mean.iter_mut().zip(batch).for_each(|(mean, batch)| move_to(mean, batch.0));
        variance.iter_mut().zip(batch).for_each(|(variance, batch)| move_to(variance, batch.1 * unbiased));
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
        let (channels, plane) = self.sizes(layout.dims())?;
        let (x, gamma, beta) = (floats(x, layout)?, floats(gamma, gamma_layout)?, floats(beta, beta_layout)?);
        let batch = batch_statistics(x, channels, plane);
        self.keep(&batch, x.len() / channels);
        let mut y = vec![0f32; x.len()];
        y.par_chunks_exact_mut(plane).zip(x.par_chunks_exact(plane)).enumerate().for_each(|(index, (y, x))| {
            let channel = index % channels;
            let (mean, variance) = batch[channel];
            let scale = gamma[channel] / (variance + self.eps).sqrt();
            y.iter_mut().zip(x).for_each(|(y, x)| *y = (x - mean) * scale + beta[channel]);
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
        let (channels, plane) = self.sizes(x.dims())?;
        let (inputs, gradients, gammas) = (tensor_floats(x)?, tensor_floats(gradient)?, tensor_floats(gamma)?);
        let batch = batch_statistics(&inputs, channels, plane);
        let count = (inputs.len() / channels) as f32;
        // Σ g and Σ g·x̂ of each channel: the gradients of beta and gamma, and all that dx needs.
        let sums = |channel: usize| {
            let (mean, variance) = batch[channel];
            let scale = 1.0 / (variance + self.eps).sqrt();
            let planes = inputs.chunks_exact(plane).zip(gradients.chunks_exact(plane));
            let mut sums = (0f64, 0f64);
            for (x, gradient) in planes.skip(channel).step_by(channels) {
                for (x, gradient) in x.iter().zip(gradient) {
                    sums.0 += f64::from(*gradient);
                    sums.1 += f64::from(gradient * (x - mean) * scale);
                }
            }
            (sums.0 as f32, sums.1 as f32)
        };
        let sums: Vec<(f32, f32)> = (0..channels).into_par_iter().map(sums).collect();
        let mut dx = gradients;
        dx.par_chunks_exact_mut(plane).zip(inputs.par_chunks_exact(plane)).enumerate().for_each(|(index, (dx, x))| {
            let channel = index % channels;
            let (mean, variance) = batch[channel];
            let (sum, sum_normal) = sums[channel];
            let scale = 1.0 / (variance + self.eps).sqrt();
            for (dx, x) in dx.iter_mut().zip(x) {
                let normal = (x - mean) * scale;
                *dx = gammas[channel] * scale * (*dx - sum / count - normal * sum_normal / count);
            }
        });
        let (dbeta, dgamma): (Vec<f32>, Vec<f32>) = sums.into_iter().unzip();
        let device = x.device();
        Ok((
            Some(Tensor::from_vec(dx, x.shape(), device)?),
            Some(Tensor::from_vec(dgamma, gamma.shape(), device)?),
            Some(Tensor::from_vec(dbeta, beta.shape(), device)?),
        ))
    }
}
