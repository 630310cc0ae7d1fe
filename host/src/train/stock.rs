//! The training ops in Candle's own terms, for devices that ours do not run on; `None` where Candle has no right form.
//!
//! The same functions as ours but for the order of sums, gradients included: on the processor a test compares them. What
//! is `None` crosses over to the processor: strides that differ in height and width, depthwise convolution, whose
//! gradient Candle makes channel by channel, and max pooling, whose gradient Candle 0.11 gives to every tie.

use candle_core::{DType, Result, Tensor};

use crate::network::Window;

/// A convolution with bias, as [`Conv2d`](super::conv::Conv2d).
pub(super) fn conv2d(
    window: &Window,
    groups: usize,
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
) -> Result<Option<Tensor>> {
    if groups != 1 || window.stride[0] != window.stride[1] {
        return Ok(None);
    }
    let [top, left, bottom, right] = window.padding;
    let x = x.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?;
    let y = x.conv2d(weight, 0, window.stride[0], 1, 1)?;
    Ok(Some(y.broadcast_add(&bias.reshape((1, bias.elem_count(), 1, 1))?)?))
}

/// `x · wᵀ + b`.
pub(super) fn dense(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.matmul(&weight.t()?)?.broadcast_add(bias)
}

/// `min(max(x, 0), ceiling)`, with gradient 0 at both ends.
pub(super) fn relu(x: &Tensor, ceiling: f32) -> Result<Tensor> {
    let passes = x.gt(0f64)?.to_dtype(DType::F32)?;
    if ceiling.is_infinite() {
        return x * passes;
    }
    let (below, above) = (x.lt(f64::from(ceiling))?.to_dtype(DType::F32)?, x.ge(f64::from(ceiling))?);
    (x * (passes * below)?)? + (above.to_dtype(DType::F32)? * f64::from(ceiling))?
}

/// The mean of each window, where windows lie side by side or one covers all.
pub(super) fn mean_pool(window: &Window, x: &Tensor) -> Result<Option<Tensor>> {
    let (n, c, h, w) = x.dims4()?;
    let [kh, kw] = window.kernel;
    let tiles = window.stride == window.kernel && h % kh == 0 && w % kw == 0;
    if window.padding != [0; 4] || !(tiles || [h, w] == [kh, kw]) {
        return Ok(None);
    }
    let tiles = x.reshape(&[n, c, h / kh, kh, w / kw, kw])?;
    Ok(Some(tiles.mean(5)?.mean(3)?))
}

/// Pixels picked at `stride`, between `before` and `after` channels of zeros.
pub(super) fn shortcut(stride: [usize; 2], before: usize, after: usize, x: &Tensor) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let every = |size: usize, step: usize| {
        let places: Vec<u32> = (0..size).step_by(step).map(|place| place as u32).collect();
        Tensor::new(places, x.device())
    };
    let picked = x.index_select(&every(h, stride[0])?, 2)?.index_select(&every(w, stride[1])?, 3)?;
    picked.pad_with_zeros(1, before, after)
}

/// A normalised batch `[n, c, h, w]`, with each channel's mean and variance.
pub(super) fn batch_norm(x: &Tensor, gamma: &Tensor, beta: &Tensor, eps: f32) -> Result<(Tensor, Vec<(f32, f32)>)> {
    let channels = (1, gamma.elem_count(), 1, 1);
    let over = |x: &Tensor| x.mean_keepdim(3)?.mean_keepdim(2)?.mean_keepdim(0);
    let mean = over(x)?;
    let centred = x.broadcast_sub(&mean)?;
    let variance = over(&centred.sqr()?)?;
    let normal = centred.broadcast_div(&(&variance + f64::from(eps))?.sqrt()?)?;
    let y = normal.broadcast_mul(&gamma.reshape(channels)?)?.broadcast_add(&beta.reshape(channels)?)?;
    let floats = |x: Tensor| x.flatten_all()?.to_vec1::<f32>();
    Ok((y, floats(mean)?.into_iter().zip(floats(variance)?).collect()))
}

/// The integers that a value over its scale is rounded to: `smallest + gain · 0..=steps`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) smallest: i32,
    pub(super) gain: i32,
    pub(super) steps: i32,
}

/// `x` rounded to `grid · scale`, gradients straight through; the scale's, if it learns, is multiplied by `damping`.
///
/// `scale` has one element or broadcasts over `x`.
pub(super) fn rounded(grid: Grid, x: &Tensor, scale: &Tensor, learn: bool, damping: f64) -> Result<Tensor> {
    let scale = match learn {
        true => ((scale * damping)? + (scale * (1.0 - damping))?.detach())?,
        false => scale.detach(),
    };
    let [smallest, gain, steps] = [grid.smallest, grid.gain, grid.steps].map(f64::from);
    let ratio = x.broadcast_div(&scale)?;
    let inside = ratio.clamp(smallest, smallest + gain * steps)?;
    let step = ((((ratio - smallest)? / gain)? + 0.5)?.clamp(0.0, steps)?).floor()?;
    let level = ((step * gain)? + smallest)?;
    let through = (&inside + (level - &inside)?.detach())?;
    through.broadcast_mul(&scale)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use candle_core::{Device, Var};
    use rand::RngExt;
    use releq_format::bits::{BitWidth, Levels};
    use releq_search::seed;

    use super::super::batch_norm::{BatchNorm, Statistics};
    use super::super::conv::Conv2d;
    use super::super::dense::Dense;
    use super::super::fake_quant::{FakeQuantActivation, FakeQuantWeight};
    use super::super::pool::{Pool, Reduce};
    use super::super::relu::Relu;
    use super::super::shortcut::Shortcut;
    use super::*;

    fn var(shape: &[usize], name: &str) -> Var {
        let mut rng = seed::stream(7, name);
        let floats: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
        Var::from_tensor(&Tensor::from_vec(floats, shape, &Device::Cpu).unwrap()).unwrap()
    }

    fn floats(x: &Tensor) -> Vec<f32> {
        x.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn apart(one: &[f32], other: &[f32]) -> f32 {
        assert_eq!(one.len(), other.len());
        one.iter().zip(other).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    /// Our op and Candle's terms on the same inputs: values, and the gradient of each variable.
    fn same(ours: &Tensor, stock: &Tensor, variables: &[&Var]) {
        assert_eq!(ours.dims(), stock.dims());
        assert!(apart(&floats(ours), &floats(stock)) < 1e-4);
        let weights = var(ours.dims(), "weights of the sum");
        let gradients = |y: &Tensor| (y * weights.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
        let (ours, stock) = (gradients(ours), gradients(stock));
        for (number, var) in variables.iter().enumerate() {
            let of = |gradients: &candle_core::backprop::GradStore| floats(gradients.get(var).expect("a gradient"));
            assert!(apart(&of(&ours), &of(&stock)) < 2e-4, "variable {number}");
        }
    }

    #[test]
    fn convolutions_are_the_same() {
        let shapes =
            [([3, 3], 1, [1, 1, 1, 1]), ([3, 3], 2, [0, 0, 1, 1]), ([1, 1], 1, [0; 4]), ([5, 3], 1, [2, 1, 2, 1])];
        for (kernel, stride, padding) in shapes {
            let window = Window { kernel, stride: [stride; 2], padding };
            let (x, w, b) = (var(&[2, 3, 8, 8], "x"), var(&[4, 3, kernel[0], kernel[1]], "w"), var(&[4], "b"));
            let ours = Conv2d { window, groups: 1, input_gradient: true }.forward(&x, &w, &b).unwrap();
            let stock = conv2d(&window, 1, &x, &w, &b).unwrap().expect("it has a form");
            same(&ours, &stock, &[&x, &w, &b]);
        }
        let window = Window { kernel: [3, 3], stride: [1, 1], padding: [1; 4] };
        let (x, w, b) = (var(&[1, 2, 4, 4], "x"), var(&[2, 1, 3, 3], "w"), var(&[2], "b"));
        assert!(conv2d(&window, 2, &x, &w, &b).unwrap().is_none(), "depthwise crosses over");
    }

    #[test]
    fn dense_layers_rectifiers_means_and_shortcuts_are_the_same() {
        let (x, w, b) = (var(&[5, 7], "x"), var(&[3, 7], "w"), var(&[3], "b"));
        same(&Dense.forward(&x, &w, &b).unwrap(), &dense(&x, &w, &b).unwrap(), &[&x, &w, &b]);
        let x = var(&[2, 3, 6, 6], "x");
        for ceiling in [f32::INFINITY, 0.5] {
            same(&Relu { ceiling }.forward(&x).unwrap(), &relu(&x, ceiling).unwrap(), &[&x]);
        }
        for kernel in [[2, 2], [3, 2], [6, 6]] {
            let window = Window { kernel, stride: kernel, padding: [0; 4] };
            let ours = Pool { reduce: Reduce::Mean, window }.forward(&x).unwrap();
            same(&ours, &mean_pool(&window, &x).unwrap().expect("it has a form"), &[&x]);
        }
        let sliding = Window { kernel: [3, 3], stride: [1, 1], padding: [0; 4] };
        assert!(mean_pool(&sliding, &x).unwrap().is_none());
        let ours = Shortcut { stride: [2, 2], before: 1, after: 2 }.forward(&x).unwrap();
        same(&ours, &shortcut([2, 2], 1, 2, &x).unwrap(), &[&x]);
    }

    #[test]
    fn batch_normalisation_is_the_same() {
        let (x, gamma, beta) = (var(&[4, 3, 5, 5], "x"), var(&[3], "gamma"), var(&[3], "beta"));
        let running = Arc::new(Mutex::new(Statistics { mean: vec![0.0; 3], variance: vec![0.0; 3] }));
        let ours = BatchNorm::new(1e-5, 1.0, running.clone());
        let ours = ours.forward(&x, &gamma, &beta, true).unwrap();
        let (stock, batch) = batch_norm(&x, &gamma, &beta, 1e-5).unwrap();
        same(&ours, &stock, &[&x, &gamma, &beta]);
        let means: Vec<f32> = batch.iter().map(|(mean, _)| *mean).collect();
        assert!(apart(&running.lock().unwrap().mean, &means) < 1e-6);
    }

    #[test]
    fn fake_quantization_is_the_same() {
        for (bits, levels) in [(2, Levels::MidTread), (2, Levels::MidRise), (3, Levels::MidRise), (8, Levels::MidTread)]
        {
            let bits = BitWidth::new(bits).unwrap();
            for learn in [false, true] {
                let (w, s) = (var(&[4, 3, 3, 3], "w"), var(&[4], "s"));
                s.set(&Tensor::new(&[0.2f32, 0.3, 0.4, 0.7], &Device::Cpu).unwrap()).unwrap();
                let op = FakeQuantWeight { bits, levels, learn };
                let stock = op.stock(&w, &s).unwrap();
                let variables: &[&Var] = if learn { &[&w, &s] } else { &[&w] };
                same(&op.forward(&w, &s).unwrap(), &stock, variables);

                let (x, s) = (var(&[2, 3, 4, 4], "x"), Var::new(&[0.3f32], &Device::Cpu).unwrap());
                let op = FakeQuantActivation { bits, zero_point: 1, learn };
                let stock = op.stock(&x, &s).unwrap();
                let variables: &[&Var] = if learn { &[&x, &s] } else { &[&x] };
                same(&op.forward(&x, &s).unwrap(), &stock, variables);
            }
        }
    }
}
