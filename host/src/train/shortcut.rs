//! The shortcut without parameters as one Candle op: pixels picked at a stride, channels of zeros around them.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::stock;
use super::storage::{floats, tensor_floats};

/// Every `stride`-th pixel of `x` `[n, c, h, w]`, with `before` and `after` channels of zeros around.
#[derive(Clone, Debug)]
pub struct Shortcut {
    /// Steps down and right.
    pub stride: [usize; 2],
    /// Channels of zeros before the input's.
    pub before: usize,
    /// Channels of zeros after them.
    pub after: usize,
}

impl Shortcut {
    /// The picked pixels, `[n, before + c + after, ⌈h / stride⌉, ⌈w / stride⌉]`.
    ///
    /// # Errors
    /// A tensor that is not `[n, c, h, w]`.
    pub fn forward(self, x: &Tensor) -> Result<Tensor> {
        match x.device().is_cpu() {
            true => x.contiguous()?.apply_op1(self),
            false => stock::shortcut(self.stride, self.before, self.after, x),
        }
    }

    fn output(&self, x: &[usize]) -> Result<[usize; 4]> {
        let &[n, c, h, w] = x else { candle_core::bail!("a shortcut takes [n, c, h, w], not {x:?}") };
        Ok([n, self.before + c + self.after, h.div_ceil(self.stride[0]), w.div_ceil(self.stride[1])])
    }

    /// Calls `visit(input index, output index)` for every element that passes.
    fn pairs(&self, input: &[usize], mut visit: impl FnMut(usize, usize)) -> Result<()> {
        let [n, channels, rows, columns] = self.output(input)?;
        let (c, h, w) = (input[1], input[2], input[3]);
        for (image, channel) in (0..n).flat_map(|image| (0..c).map(move |channel| (image, channel))) {
            let from = (image * c + channel) * h * w;
            let to = (image * channels + self.before + channel) * rows * columns;
            for (y, x) in (0..rows).flat_map(|y| (0..columns).map(move |x| (y, x))) {
                visit(from + y * self.stride[0] * w + x * self.stride[1], to + y * columns + x);
            }
        }
        Ok(())
    }
}

impl CustomOp1 for Shortcut {
    fn name(&self) -> &'static str {
        "releq-shortcut"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(x, layout)?;
        let shape = self.output(layout.dims())?;
        let mut y = vec![0f32; shape.iter().product()];
        self.pairs(layout.dims(), |from, to| y[to] = x[from])?;
        Ok((CpuStorage::F32(y), Shape::from(shape.to_vec())))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let dy = tensor_floats(gradient)?;
        let mut dx = vec![0f32; x.elem_count()];
        self.pairs(x.dims(), |from, to| dx[from] = dy[to])?;
        Ok(Some(Tensor::from_vec(dx, x.shape(), x.device())?))
    }
}
