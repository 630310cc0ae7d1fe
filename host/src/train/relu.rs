//! ReLU as one Candle op: one pass forward, one back.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::storage::{floats, tensor_floats};

/// `max(x, 0)`, with gradient 0 at 0.
#[derive(Clone, Debug)]
pub struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "releq-relu"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let y = floats(x, layout)?.iter().map(|x| x.max(0.0)).collect();
        Ok((CpuStorage::F32(y), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (inputs, mut dx) = (tensor_floats(x)?, tensor_floats(gradient)?);
        for (dx, x) in dx.iter_mut().zip(inputs) {
            if x <= 0.0 {
                *dx = 0.0;
            }
        }
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}
