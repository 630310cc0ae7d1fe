//! Max and average pooling as Candle ops.
//!
//! Candle 0.11's max-pool gradient is wrong (it multiplies by the mean of the mask where it should divide by the
//! count of ties, and a tie of four gets four times the gradient); here the first maximum takes all of it.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::storage::{floats, tensor_floats};
use crate::network::Window;

/// What a window is reduced to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduce {
    /// Its largest element; padding never wins.
    Max,
    /// Its sum over kernel height × width, padding counted as zeros.
    Mean,
}

/// Pooling of `x` `[n, c, h, w]`.
#[derive(Clone, Debug)]
pub struct Pool {
    /// What a window is reduced to.
    pub reduce: Reduce,
    /// Kernel, stride and padding.
    pub window: Window,
}

impl Pool {
    /// The mean over height and width.
    pub fn global(height: usize, width: usize) -> Self {
        let window = Window { kernel: [height, width], stride: [1; 2], padding: [0; 4] };
        Self { reduce: Reduce::Mean, window }
    }

    /// The pooled tensor, `[n, c, oh, ow]`.
    ///
    /// # Errors
    /// Shapes that do not fit, or a device other than the CPU.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        x.contiguous()?.apply_op1(self)
    }

    fn sizes(&self, x: &[usize]) -> Result<([usize; 4], [usize; 2])> {
        let &[n, c, h, w] = x else { candle_core::bail!("pooling takes [n, c, h, w], not {x:?}") };
        match self.window.output(h, w) {
            Some(output) => Ok(([n, c, h, w], output)),
            None => candle_core::bail!("the pooling window does not fit a {h}×{w} input"),
        }
    }

    /// Indices into a plane under the window at output (y, x), padding left out.
    fn under(&self, [height, width]: [usize; 2], y: usize, x: usize) -> impl Iterator<Item = usize> + Clone + use<> {
        let span = |at: usize, stride: usize, before: usize, kernel: usize, size: usize| {
            let start = at * stride;
            start.saturating_sub(before)..(start + kernel).saturating_sub(before).min(size)
        };
        let Window { kernel, stride, padding } = self.window;
        let rows = span(y, stride[0], padding[0], kernel[0], height);
        let columns = span(x, stride[1], padding[1], kernel[1], width);
        rows.flat_map(move |y| columns.clone().map(move |x| y * width + x))
    }

    /// The share of each output's gradient that every tap of its window gets, for means.
    fn share(&self) -> f32 {
        1.0 / (self.window.kernel[0] * self.window.kernel[1]) as f32
    }
}

/// Index of the first largest element under a window.
fn first_largest(plane: &[f32], under: impl Iterator<Item = usize>) -> usize {
    let better = |best: usize, index: usize| if plane[index] > plane[best] { index } else { best };
    under.reduce(better).expect("every window meets the input, since padding is smaller than the kernel")
}

impl CustomOp1 for Pool {
    fn name(&self) -> &'static str {
        "releq-pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let ([n, c, h, w], [rows, columns]) = self.sizes(layout.dims())?;
        let x = floats(x, layout)?;
        let mut y = vec![0f32; n * c * rows * columns];
        y.par_chunks_exact_mut(rows * columns).zip(x.par_chunks_exact(h * w)).for_each(|(y, plane)| {
            for (index, y) in y.iter_mut().enumerate() {
                let under = self.under([h, w], index / columns, index % columns);
                *y = match self.reduce {
                    Reduce::Max => plane[first_largest(plane, under)],
                    Reduce::Mean => under.map(|index| plane[index]).sum::<f32>() * self.share(),
                };
            }
        });
        Ok((CpuStorage::F32(y), Shape::from((n, c, rows, columns))))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let ([_, _, h, w], [rows, columns]) = self.sizes(x.dims())?;
        let (inputs, gradients) = (tensor_floats(x)?, tensor_floats(gradient)?);
        let mut dx = vec![0f32; inputs.len()];
        let planes = dx.par_chunks_exact_mut(h * w).zip(inputs.par_chunks_exact(h * w));
        planes.zip(gradients.par_chunks_exact(rows * columns)).for_each(|((dx, plane), gradient)| {
            for (index, gradient) in gradient.iter().enumerate() {
                let under = self.under([h, w], index / columns, index % columns);
                match self.reduce {
                    Reduce::Max => dx[first_largest(plane, under)] += gradient,
                    Reduce::Mean => under.for_each(|index| dx[index] += gradient * self.share()),
                }
            }
        });
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}
