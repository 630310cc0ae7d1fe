//! The fully connected layer with bias as one Candle op, split over rows so that sums keep their order.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::product::{Accum, Form, product};
use super::stock;
use super::storage::{floats, tensor_floats};

/// Rows of a result that one task computes.
const ROWS: usize = 32;

/// `y = x · wᵀ + b`: `x` `[n, k]`, weights `[o, k]`, bias `[o]`.
#[derive(Clone, Debug)]
pub struct Dense;

impl Dense {
    /// The layer's output, `[n, o]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        match x.device().is_cpu() {
            true => x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, self),
            false => stock::dense(x, weight, bias),
        }
    }
}

fn sizes(x: &[usize], weight: &[usize]) -> Result<[usize; 3]> {
    match (x, weight) {
        (&[n, k], &[o, terms]) if k == terms => Ok([n, k, o]),
        _ => candle_core::bail!("a dense layer takes [n, k] and [o, k], not {x:?} and {weight:?}"),
    }
}

impl CustomOp3 for Dense {
    fn name(&self) -> &'static str {
        "releq-dense"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let [n, k, o] = sizes(x_layout.dims(), weight_layout.dims())?;
        let (x, weight, bias) = (floats(x, x_layout)?, floats(weight, weight_layout)?, floats(bias, bias_layout)?);
        let mut y = vec![0f32; n * o];
        y.par_chunks_mut(ROWS * o).zip(x.par_chunks(ROWS * k)).for_each(|(y, x)| {
            y.chunks_exact_mut(o).for_each(|row| row.copy_from_slice(bias));
            product(Form::RightTransposed, x, weight, Accum::Add, y, [x.len() / k, k, o]);
        });
        Ok((CpuStorage::F32(y), Shape::from((n, o))))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [n, k, o] = sizes(x.dims(), weight.dims())?;
        let (inputs, weights, gradients) = (tensor_floats(x)?, tensor_floats(weight)?, tensor_floats(gradient)?);
        let mut dx = vec![0f32; n * k];
        dx.par_chunks_mut(ROWS * k).zip(gradients.par_chunks(ROWS * o)).for_each(|(dx, gradient)| {
            product(Form::Plain, gradient, &weights, Accum::Replace, dx, [gradient.len() / o, o, k]);
        });
        let transposed: Vec<f32> = (0..o).flat_map(|row| gradients.iter().skip(row).step_by(o).copied()).collect();
        let mut dw = vec![0f32; o * k];
        dw.par_chunks_mut(ROWS * k).zip(transposed.par_chunks(ROWS * n)).for_each(|(dw, gradient)| {
            product(Form::Plain, gradient, &inputs, Accum::Replace, dw, [gradient.len() / n, n, k]);
        });
        let db: Vec<f32> = transposed.chunks_exact(n.max(1)).map(|row| row.iter().sum()).collect();
        let device = x.device();
        Ok((
            Some(Tensor::from_vec(dx, x.shape(), device)?),
            Some(Tensor::from_vec(dw, weight.shape(), device)?),
            Some(Tensor::from_vec(db, bias.shape(), device)?),
        ))
    }
}
