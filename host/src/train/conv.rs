//! 2-D convolution with bias as one Candle op: im2col per image and packed matrix products, depthwise by plain loops.
//!
//! Candle's own backward is 6 to 11 times slower (naive transposed convolution; a gradient for the first layer's
//! input, which nobody reads). Gradients here are sums in a fixed order, so results do not depend on the thread count.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::columns::{Columns, rows_under, taps};
use super::device::on_processor;
use super::mirror::Mirror;
use super::product::{Accum, Form, product};
use super::stock;
use super::storage::{floats, tensor_floats, with_floats};
use crate::network::Window;

/// Groups of images whose weight gradients are summed apart and then in order.
const GRADIENT_GROUPS: usize = 8;

/// A convolution: `x` `[n, c, h, w]`, weights `[o, c / groups, kh, kw]`, bias `[o]`.
#[derive(Clone, Debug)]
pub struct Conv2d {
    /// Kernel, stride and padding.
    pub window: Window,
    /// 1, or the number of channels.
    pub groups: usize,
    /// Whether anybody reads the gradient of `x`; not for the first layer.
    pub input_gradient: bool,
}

impl Conv2d {
    /// The convolution of `x`, `[n, o, oh, ow]`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub fn forward(self, x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        if x.device().is_cpu() {
            return x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, self);
        }
        match stock::conv2d(&self.window, self.groups, x, weight, bias)? {
            Some(y) => Ok(y),
            None => on_processor(&[x, weight, bias], |all| self.forward(&all[0], &all[1], &all[2])),
        }
    }

    fn sizes(&self, x: &[usize], weight: &[usize]) -> Result<Sizes> {
        let (&[images, channels, height, width], &[out, ..]) = (x, weight) else {
            candle_core::bail!("convolution takes [n, c, h, w] and [o, c, kh, kw], not {x:?} and {weight:?}")
        };
        let [kh, kw] = self.window.kernel;
        if weight[1..] != [channels / self.groups, kh, kw] {
            candle_core::bail!("weights {weight:?} do not fit {channels} channels in {} groups", self.groups)
        }
        match Sizes::of(&self.window, self.groups > 1, images, [channels, height, width], out) {
            Some(sizes) => Ok(sizes),
            None => candle_core::bail!("the kernel does not fit a {height}×{width} input"),
        }
    }
}

/// All extents of one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    images: usize,
    pub(super) channels: usize,
    pub(super) input: [usize; 2],
    pub(super) out: usize,
    pub(super) output: [usize; 2],
    /// Products per output element.
    pub(super) terms: usize,
    depthwise: bool,
}

impl Sizes {
    /// Those of `images` inputs of channels, height and width under `window`; `None` where it does not fit.
    pub(super) fn of(
        window: &Window,
        depthwise: bool,
        images: usize,
        [channels, height, width]: [usize; 3],
        out: usize,
    ) -> Option<Self> {
        let taps = window.kernel[0] * window.kernel[1];
        let terms = if depthwise { taps } else { channels * taps };
        let output = window.output(height, width)?;
        Some(Self { images, channels, input: [height, width], out, output, terms, depthwise })
    }

    /// Those of the way back, from results to inputs; `None` of a depthwise convolution.
    pub(super) fn exchanged(&self) -> Option<Self> {
        let Self { images, channels, input, out, output, terms, depthwise } = *self;
        let back = Self { images, channels: out, input: output, out: channels, output: input, terms, depthwise };
        (!depthwise).then_some(Self { terms: terms / channels * out, ..back })
    }

    fn image(&self) -> usize {
        self.channels * self.plane()
    }

    fn plane(&self) -> usize {
        self.input[0] * self.input[1]
    }

    fn pixels(&self) -> usize {
        self.output[0] * self.output[1]
    }

    fn result(&self) -> usize {
        self.out * self.pixels()
    }
}

/// What the convolution of one image works in.
#[derive(Clone, Debug, Default)]
pub(super) struct Work {
    channel: Vec<f32>,
    matrix: Vec<f32>,
    wide: Vec<f32>,
}

impl Work {
    /// Has room for `sizes` under `window`.
    fn fit(&mut self, window: &Window, sizes: &Sizes) -> Columns {
        let columns = Columns::of(window, sizes.input, sizes.output);
        if !sizes.depthwise {
            self.channel.resize(columns.with_margins(), 0.0);
            self.matrix.resize(sizes.terms * columns.count(), 0.0);
            self.wide.resize(sizes.out * columns.count(), 0.0);
        }
        columns
    }

    /// What the last convolution has gathered, and room for an image as wide.
    pub(super) fn gathered(&mut self, window: &Window, sizes: &Sizes) -> (Columns, &[f32], &mut [f32]) {
        (self.fit(window, sizes), &self.matrix, &mut self.wide)
    }
}

/// Adds the convolution of one image, without a bias, to `y`.
pub(super) fn convolve(window: &Window, sizes: &Sizes, image: &[f32], weight: &[f32], work: &mut Work, y: &mut [f32]) {
    if sizes.depthwise {
        return depthwise(window, sizes, image, weight, y);
    }
    let columns = work.fit(window, sizes);
    let Work { channel, matrix, wide } = work;
    columns.gather(image, channel, matrix);
    let extents = [sizes.out, sizes.terms, columns.count()];
    columns.narrowed(y, wide, |y, accum| product(Form::Plain, weight, matrix, accum, y, extents));
}

impl CustomOp3 for Conv2d {
    fn name(&self) -> &'static str {
        "releq-conv2d"
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
        let sizes = self.sizes(x_layout.dims(), weight_layout.dims())?;
        let (x, weight, bias) = (floats(x, x_layout)?, floats(weight, weight_layout)?, floats(bias, bias_layout)?);
        let mut y = vec![0f32; sizes.images * sizes.result()];
        y.par_chunks_exact_mut(sizes.result()).zip(x.par_chunks_exact(sizes.image())).for_each_init(
            Work::default,
            |work, (y, image)| {
                for (plane, bias) in y.chunks_exact_mut(sizes.pixels()).zip(bias) {
                    plane.fill(*bias);
                }
                convolve(&self.window, &sizes, image, weight, work, y);
            },
        );
        let shape = Shape::from((sizes.images, sizes.out, sizes.output[0], sizes.output[1]));
        Ok((CpuStorage::F32(y), shape))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let sizes = self.sizes(x.dims(), weight.dims())?;
        let weights = tensor_floats(weight)?;
        let of = |x: &[f32], gradient: &[f32]| self.gradients(&sizes, x, &weights, gradient);
        let (dx, dw, db) = with_floats(x, |x| with_floats(gradient, |gradient| of(x, gradient)))??;
        let dx = if self.input_gradient { Some(Tensor::from_vec(dx, x.shape(), x.device())?) } else { None };
        let dw = Tensor::from_vec(dw, weight.shape(), x.device())?;
        Ok((dx, Some(dw), Some(Tensor::from_vec(db, bias.shape(), x.device())?)))
    }
}

impl Conv2d {
    /// The gradients of input (empty where nobody reads it), weights and biases.
    fn gradients(&self, sizes: &Sizes, x: &[f32], weight: &[f32], gradient: &[f32]) -> (Vec<f32>, Vec<f32>, Vec<f32>) {
        let group = sizes.images.div_ceil(GRADIENT_GROUPS).max(1);
        let mirror = if self.input_gradient { Mirror::of(&self.window, sizes, weight) } else { None };
        let mut dx = vec![0f32; if self.input_gradient { x.len() } else { 0 }];
        // One slice of the input's gradient per group; none where nobody reads it.
        let dx_groups: Vec<&mut [f32]> = match self.input_gradient {
            true => dx.chunks_mut(group * sizes.image()).collect(),
            false => (0..sizes.images.div_ceil(group)).map(|_| &mut [][..]).collect(),
        };
        let partial: Vec<(Vec<f32>, Vec<f32>)> = x
            .par_chunks(group * sizes.image())
            .zip(gradient.par_chunks(group * sizes.result()))
            .zip(dx_groups)
            .map(|((x, gradient), dx)| self.group_gradients(sizes, mirror.as_ref(), x, weight, gradient, dx))
            .collect();
        let (mut dw, mut db) = (vec![0f32; weight.len()], vec![0f32; sizes.out]);
        for (part_w, part_b) in partial {
            dw.iter_mut().zip(part_w).for_each(|(sum, part)| *sum += part);
            db.iter_mut().zip(part_b).for_each(|(sum, part)| *sum += part);
        }
        let dw = match mirror {
            Some(mirror) => mirror.weights(&dw),
            None => dw,
        };
        (dx, dw, db)
    }

    /// Weight and bias gradients of a group of images, one after the other; the input's go to `dx` unless it is empty.
    fn group_gradients(
        &self,
        sizes: &Sizes,
        mirror: Option<&Mirror>,
        x: &[f32],
        weight: &[f32],
        gradient: &[f32],
        dx: &mut [f32],
    ) -> (Vec<f32>, Vec<f32>) {
        let (mut dw, mut db) = (vec![0f32; weight.len()], vec![0f32; sizes.out]);
        let mut work = Work::default();
        let mut dx = dx.chunks_exact_mut(sizes.image());
        for (image, gradient) in x.chunks_exact(sizes.image()).zip(gradient.chunks_exact(sizes.result())) {
            for (sum, plane) in db.iter_mut().zip(gradient.chunks_exact(sizes.pixels())) {
                *sum += plane.iter().sum::<f32>();
            }
            match (mirror, dx.next()) {
                (Some(mirror), Some(dx)) => mirror.gradients(image, gradient, &mut work, &mut dw, dx),
                (_, dx) if sizes.depthwise => {
                    depthwise_gradients(&self.window, sizes, image, weight, gradient, &mut dw, dx);
                }
                (_, dx) => self.image_gradients(sizes, image, weight, gradient, &mut work, &mut dw, dx),
            }
        }
        (dw, db)
    }

    /// Adds the weights' gradient of one image to `dw`; the input's goes to `dx`, which is zeros.
    #[allow(clippy::too_many_arguments, reason = "as many as the op has inputs, outputs and gradients")]
    fn image_gradients(
        &self,
        sizes: &Sizes,
        image: &[f32],
        weight: &[f32],
        gradient: &[f32],
        work: &mut Work,
        dw: &mut [f32],
        dx: Option<&mut [f32]>,
    ) {
        let columns = work.fit(&self.window, sizes);
        let Work { channel, matrix, wide } = work;
        let (out, terms, count) = (sizes.out, sizes.terms, columns.count());
        columns.gather(image, channel, matrix);
        columns.widened(gradient, wide, |gradient| {
            product(Form::RightTransposed, gradient, matrix, Accum::Add, dw, [out, count, terms]);
            if let Some(dx) = dx {
                product(Form::LeftTransposed, weight, gradient, Accum::Replace, matrix, [terms, out, count]);
                columns.scatter(matrix, channel, dx);
            }
        });
    }
}

/// Adds the depthwise convolution of one image to `y`.
fn depthwise(window: &Window, sizes: &Sizes, image: &[f32], weight: &[f32], y: &mut [f32]) {
    let stride = window.stride[1];
    let planes = image.chunks_exact(sizes.plane()).zip(weight.chunks_exact(sizes.terms));
    for ((plane, kernel), y) in planes.zip(y.chunks_exact_mut(sizes.pixels())) {
        for ((ky, kx), &weight) in taps(window).zip(kernel) {
            rows_under(window, sizes.input, sizes.output, [ky, kx], |output, input, count| {
                let from = plane[input..].iter().step_by(stride);
                y[output..output + count].iter_mut().zip(from).for_each(|(y, x)| *y += weight * x);
            });
        }
    }
}

fn depthwise_gradients(
    window: &Window,
    sizes: &Sizes,
    image: &[f32],
    weight: &[f32],
    gradient: &[f32],
    dw: &mut [f32],
    mut dx: Option<&mut [f32]>,
) {
    let stride = window.stride[1];
    for channel in 0..sizes.channels {
        let at = channel * sizes.plane()..(channel + 1) * sizes.plane();
        let plane = &image[at.clone()];
        let gradient = &gradient[channel * sizes.pixels()..(channel + 1) * sizes.pixels()];
        for (tap, (ky, kx)) in taps(window).enumerate() {
            let index = channel * sizes.terms + tap;
            rows_under(window, sizes.input, sizes.output, [ky, kx], |output, input, count| {
                let gradient = &gradient[output..output + count];
                let from = plane[input..].iter().step_by(stride);
                dw[index] += gradient.iter().zip(from).map(|(gradient, x)| gradient * x).sum::<f32>();
                if let Some(dx) = dx.as_deref_mut() {
                    let to = dx[at.clone()][input..].iter_mut().step_by(stride);
                    to.zip(gradient).for_each(|(dx, gradient)| *dx += weight[index] * gradient);
                }
            });
        }
    }
}
