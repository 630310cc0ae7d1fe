//! Fake quantization, fused: round to what the integer engine will hold, pass gradients straight through.
//!
//! Scales may learn (LSQ, arXiv 1902.08153): the gradient of the scale is Σ g · (q − w/s) inside the level set and
//! Σ g · q outside, times 1 / √(n · q_max).

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor};
use rayon::prelude::*;
use releq_format::bits::{BitWidth, Levels};

use super::stock::{self, Grid};
use super::storage::{floats, tensor_floats, with_floats};
use super::vectors::{CHUNK, Sums, mapped, zipped};
use crate::quantized::{ActivationQuant, WeightQuant};

/// Rounds weights `[out, …]` to `integer · scale`, with scales `[out]`, or `[1]` for all of them.
#[derive(Clone, Debug)]
pub struct FakeQuantWeight {
    /// Bits of each code.
    pub bits: BitWidth,
    /// The integers a code may stand for.
    pub levels: Levels,
    /// Whether the scales get a gradient.
    pub learn: bool,
}

impl FakeQuantWeight {
    /// The rounded weights.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(self, weight: &Tensor, scales: &Tensor) -> Result<Tensor> {
        match weight.device().is_cpu() {
            true => weight.contiguous()?.apply_op2(&scales.contiguous()?, self),
            false => self.stock(weight, scales),
        }
    }

    /// The same in Candle's terms.
    pub(super) fn stock(&self, weight: &Tensor, scales: &Tensor) -> Result<Tensor> {
        let rounder = self.quant(&[]).rounder();
        let (smallest, largest) = rounder.limits();
        let (gain, _) = self.levels.affine(self.bits);
        let grid = Grid { smallest, gain, steps: (largest - smallest) / gain };
        let row = (weight.elem_count() / scales.elem_count().max(1)).max(1);
        let damping = 1.0 / (row as f64 * f64::from(largest.max(1))).sqrt();
        let mut over = vec![1; weight.rank()];
        over[0] = scales.elem_count();
        stock::rounded(grid, weight, &scales.reshape(over)?, self.learn, damping)
    }

    fn quant(&self, scales: &[f32]) -> WeightQuant {
        WeightQuant { bits: self.bits, levels: self.levels, scales: scales.to_vec() }
    }
}

impl CustomOp2 for FakeQuantWeight {
    fn name(&self) -> &'static str {
        "releq-fake-quant-weight"
    }

    fn cpu_fwd(
        &self,
        w: &CpuStorage,
        layout: &Layout,
        s: &CpuStorage,
        s_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (weights, scales) = (floats(w, layout)?, floats(s, s_layout)?);
        let rounder = self.quant(scales).rounder();
        let row = (weights.len() / scales.len().max(1)).max(1);
        let mut rounded = vec![0f32; weights.len()];
        rounded.par_chunks_mut(row).zip(weights.par_chunks(row)).enumerate().for_each(|(channel, (to, from))| {
            let scale = scales[channel];
            to.iter_mut().zip(from).for_each(|(to, w)| *to = rounder.integer(w / scale) as f32 * scale);
        });
        Ok((CpuStorage::F32(rounded), layout.shape().clone()))
    }

    fn bwd(&self, w: &Tensor, s: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (scales, mut dw) = (tensor_floats(s)?, tensor_floats(gradient)?);
        let ds = with_floats(w, |weights| self.gradients(weights, &scales, &mut dw))?;
        let dw = Tensor::from_vec(dw, w.shape(), w.device())?;
        let ds = if self.learn { Some(Tensor::from_vec(ds, s.shape(), s.device())?) } else { None };
        Ok((Some(dw), ds))
    }
}

impl FakeQuantWeight {
    /// Stops the gradient of weights that were clamped, and gives that of each scale.
    fn gradients(&self, weights: &[f32], scales: &[f32], dw: &mut [f32]) -> Vec<f32> {
        let rounder = self.quant(scales).rounder();
        let (smallest, largest) = rounder.limits();
        let (smallest, largest) = (smallest as f32, largest as f32);
        let row = (weights.len() / scales.len().max(1)).max(1);
        let damping = 1.0 / ((row as f32) * largest.max(1.0)).sqrt();
        let mut ds = vec![0f32; scales.len()];
        let rows = dw.par_chunks_mut(row).zip(weights.par_chunks(row)).zip(ds.par_iter_mut()).enumerate();
        rows.for_each(|(channel, ((dw, weights), ds))| {
            let mut sum = 0f32;
            for (dw, &weight) in dw.iter_mut().zip(weights) {
                let ratio = weight / scales[channel];
                let inside = ratio >= smallest && ratio <= largest;
                sum += *dw * (rounder.integer(ratio) as f32 - if inside { ratio } else { 0.0 });
                *dw = if inside { *dw } else { 0.0 };
            }
            *ds = sum * damping;
        });
        ds
    }
}

/// Rounds activations to codes and back, with the scale `[1]`; a ReLU is the clamp at code 0 of zero point 0.
#[derive(Clone, Debug)]
pub struct FakeQuantActivation {
    /// Bits of each code.
    pub bits: BitWidth,
    /// The code of 0.0.
    pub zero_point: u8,
    /// Whether the scale gets a gradient.
    pub learn: bool,
}

impl FakeQuantActivation {
    /// The rounded activations.
    ///
    /// # Errors
    /// A scale that is not one number.
    pub fn forward(self, x: &Tensor, scale: &Tensor) -> Result<Tensor> {
        if x.device().is_cpu() { x.contiguous()?.apply_op2(scale, self) } else { self.stock(x, scale) }
    }

    /// The same in Candle's terms.
    pub(super) fn stock(&self, x: &Tensor, scale: &Tensor) -> Result<Tensor> {
        let largest = i32::from(self.bits.max_code());
        let grid = Grid { smallest: -i32::from(self.zero_point), gain: 1, steps: largest };
        let damping = 1.0 / (x.elem_count() as f64 * f64::from(largest)).sqrt();
        stock::rounded(grid, x, scale, self.learn, damping)
    }

    fn quant(&self, scale: &[f32]) -> Result<ActivationQuant> {
        match scale {
            &[scale] => Ok(ActivationQuant { bits: self.bits, scale, zero_point: self.zero_point }),
            _ => candle_core::bail!("an activation has one scale, not {}", scale.len()),
        }
    }
}

impl CustomOp2 for FakeQuantActivation {
    fn name(&self) -> &'static str {
        "releq-fake-quant-activation"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        s: &CpuStorage,
        s_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let quant = self.quant(floats(s, s_layout)?)?;
        let y = mapped(floats(x, layout)?, |x| quant.round(x));
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, s: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let quant = self.quant(&tensor_floats(s)?)?;
        let limits = [quant.real(0), quant.real(self.bits.max_code())];
        let of = |x: &[f32], gradient: &[f32]| {
            let sum = self.learn.then(|| self.scale_gradient(&quant, limits, x, gradient));
            (zipped(x, gradient, |x, gradient| if inside(limits, x) { gradient } else { 0.0 }), sum)
        };
        let (dx, ds) = with_floats(x, |x| with_floats(gradient, |gradient| of(x, gradient)))??;
        let dx = Tensor::from_vec(dx, x.shape(), x.device())?;
        let ds = ds.map(|ds| Tensor::from_vec(vec![ds], s.shape(), s.device()));
        Ok((Some(dx), ds.transpose()?))
    }
}

impl FakeQuantActivation {
    /// The sum over elements of gradient times the code's derivative in the scale, damped.
    fn scale_gradient(&self, quant: &ActivationQuant, limits: [f32; 2], x: &[f32], gradient: &[f32]) -> f32 {
        let term = |x: f32, gradient: f32| {
            let within = if inside(limits, x) { x / quant.scale } else { 0.0 };
            [f64::from(gradient * (quant.steps(x) - within))]
        };
        let chunks = x.par_chunks(CHUNK).zip(gradient.par_chunks(CHUNK)).map(|(x, gradient)| {
            let mut sum = Sums::ZERO;
            sum.add(x, gradient, term);
            sum.totals()[0]
        });
        let partial: Vec<f64> = chunks.collect();
        let damping = 1.0 / (x.len() as f32 * f32::from(self.bits.max_code())).sqrt();
        partial.iter().sum::<f64>() as f32 * damping
    }
}

/// Whether an activation was not clamped.
#[inline(always)]
fn inside([low, high]: [f32; 2], x: f32) -> bool {
    x >= low && x <= high
}
