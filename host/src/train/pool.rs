//! Max and average pooling as Candle ops.
//!
//! Candle 0.11's max-pool gradient is wrong (it multiplies by the mean of the mask where it should divide by the
//! count of ties, and a tie of four gets four times the gradient); here the first maximum takes all of it.

use std::ops::Range;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::device::on_processor;
use super::stock;
use super::storage::{floats, tensor_floats, with_floats};
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
    /// Shapes that do not fit.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        if x.device().is_cpu() {
            return x.contiguous()?.apply_op1(self);
        }
        let stock = if self.reduce == Reduce::Mean { stock::mean_pool(&self.window, x)? } else { None };
        stock.map_or_else(|| on_processor(&[x], |all| self.forward(&all[0])), Ok)
    }

    fn sizes(&self, x: &[usize]) -> Result<([usize; 4], [usize; 2])> {
        let &[n, c, h, w] = x else { candle_core::bail!("pooling takes [n, c, h, w], not {x:?}") };
        match self.window.output(h, w) {
            Some(output) => Ok(([n, c, h, w], output)),
            None => candle_core::bail!("the pooling window does not fit a {h}×{w} input"),
        }
    }

    /// Calls `visit(output index, rows, columns)` for every window of a plane, with the input rows and columns under
    /// it, padding left out.
    pub(super) fn windows(
        &self,
        [height, width]: [usize; 2],
        [rows, columns]: [usize; 2],
        mut visit: impl FnMut(usize, Range<usize>, Range<usize>),
    ) {
        let span = |at: usize, stride: usize, before: usize, kernel: usize, size: usize| {
            let start = at * stride;
            start.saturating_sub(before)..(start + kernel).saturating_sub(before).min(size)
        };
        let Window { kernel, stride, padding } = self.window;
        for y in 0..rows {
            let under = span(y, stride[0], padding[0], kernel[0], height);
            for x in 0..columns {
                visit(y * columns + x, under.clone(), span(x, stride[1], padding[1], kernel[1], width));
            }
        }
    }

    /// Pools one plane of height and width into one of rows and columns.
    pub(super) fn plane(&self, plane: &[f32], [h, w]: [usize; 2], y: &mut [f32], [rows, columns]: [usize; 2]) {
        if self.halves() && self.reduce == Reduce::Max {
            return halved(plane, w, y, columns);
        }
        self.windows([h, w], [rows, columns], |index, under, across| {
            y[index] = match self.reduce {
                Reduce::Max => largest(plane, w, under, across),
                Reduce::Mean => {
                    let row = |y: usize| plane[y * w + across.start..y * w + across.end].iter().sum::<f32>();
                    under.map(row).sum::<f32>() * self.share()
                }
            };
        });
    }

    /// Whether windows of 2×2 lie side by side, as in most networks.
    fn halves(&self) -> bool {
        self.window == Window { kernel: [2; 2], stride: [2; 2], padding: [0; 4] }
    }

    /// The share of each output's gradient that every tap of its window gets, for means.
    fn share(&self) -> f32 {
        1.0 / (self.window.kernel[0] * self.window.kernel[1]) as f32
    }
}

/// The largest element under a window; a selection without branches, since which of them wins cannot be predicted.
fn largest(plane: &[f32], width: usize, rows: Range<usize>, columns: Range<usize>) -> f32 {
    let first = plane[rows.start * width + columns.start];
    let row = |y: usize| &plane[y * width + columns.start..y * width + columns.end];
    rows.flat_map(row).fold(first, |best, &x| if x > best { x } else { best })
}

/// The largest element of every 2×2 window.
fn halved(plane: &[f32], width: usize, y: &mut [f32], columns: usize) {
    for (pair, y) in plane.chunks(2 * width).zip(y.chunks_exact_mut(columns)) {
        let (above, below) = pair.split_at(width);
        let windows = above.as_chunks::<2>().0.iter().zip(below.as_chunks::<2>().0);
        for (y, ([a, b], [c, d])) in y.iter_mut().zip(windows) {
            let larger = |best: f32, x: f32| if x > best { x } else { best };
            *y = larger(larger(larger(*a, *b), *c), *d);
        }
    }
}

/// Gives each gradient to the first largest element of its 2×2 window.
fn spread(plane: &[f32], width: usize, dx: &mut [f32], gradient: &[f32], columns: usize) {
    let rows = plane.chunks(2 * width).zip(dx.chunks_mut(2 * width));
    for ((pair, dx), gradient) in rows.zip(gradient.chunks_exact(columns)) {
        let ((above, below), (up, down)) = (pair.split_at(width), dx.split_at_mut(width));
        let windows = above.as_chunks::<2>().0.iter().zip(below.as_chunks::<2>().0);
        let slopes = up.as_chunks_mut::<2>().0.iter_mut().zip(down.as_chunks_mut::<2>().0);
        for (((&[a, b], &[c, d]), (up, down)), gradient) in windows.zip(slopes).zip(gradient) {
            let (right_above, right_below) = (b > a, d > c);
            let lower = if right_below { d } else { c } > if right_above { b } else { a };
            let to = |wins: bool| if wins { *gradient } else { 0.0 };
            *up = [to(!lower && !right_above), to(!lower && right_above)];
            *down = [to(lower && !right_below), to(lower && right_below)];
        }
    }
}

/// Index of the first largest element under a window, which meets the input since padding is less than the kernel.
fn first_largest(plane: &[f32], width: usize, rows: Range<usize>, columns: Range<usize>) -> usize {
    let mut best = rows.start * width + columns.start;
    for y in rows {
        for index in y * width + columns.start..y * width + columns.end {
            if plane[index] > plane[best] {
                best = index;
            }
        }
    }
    best
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
            self.plane(plane, [h, w], y, [rows, columns]);
        });
        Ok((CpuStorage::F32(y), Shape::from((n, c, rows, columns))))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let ([_, _, h, w], [rows, columns]) = self.sizes(x.dims())?;
        let gradients = tensor_floats(gradient)?;
        let mut dx = vec![0f32; x.elem_count()];
        with_floats(x, |inputs| {
            let planes = dx.par_chunks_exact_mut(h * w).zip(inputs.par_chunks_exact(h * w));
            planes.zip(gradients.par_chunks_exact(rows * columns)).for_each(|((dx, plane), gradient)| {
                if self.halves() && self.reduce == Reduce::Max {
                    return spread(plane, w, dx, gradient, columns);
                }
                self.windows([h, w], [rows, columns], |index, under, across| match self.reduce {
                    Reduce::Max => dx[first_largest(plane, w, under, across)] += gradient[index],
                    Reduce::Mean => under.for_each(|y| {
                        let row = &mut dx[y * w + across.start..y * w + across.end];
                        row.iter_mut().for_each(|dx| *dx += gradient[index] * self.share());
                    }),
                });
            });
        })?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}
