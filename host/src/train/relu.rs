//! ReLU, with a ceiling or without, as one Candle op: one pass forward, one back.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::stock;
use super::storage::{floats, with_floats};
use super::vectors::{mapped, zipped};

/// `min(max(x, 0), ceiling)`, with gradient 0 at both ends.
#[derive(Clone, Debug)]
pub struct Relu {
    /// The largest output; infinite for a plain ReLU.
    pub ceiling: f32,
}

impl Relu {
    /// `max(x, 0)`.
    pub const PLAIN: Self = Self { ceiling: f32::INFINITY };

    /// The rectified tensor, of the same shape.
    ///
    /// # Errors
    /// Only Candle's own.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        if x.device().is_cpu() { x.contiguous()?.apply_op1(self) } else { stock::relu(x, self.ceiling) }
    }
}

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "releq-relu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = mapped(floats(x, layout)?, |x| x.max(0.0).min(self.ceiling));
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let passed = |x: f32, gradient: f32| if x > 0.0 && x < self.ceiling { gradient } else { 0.0 };
        let dx = with_floats(x, |x| with_floats(gradient, |gradient| zipped(x, gradient, passed)))??;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}
