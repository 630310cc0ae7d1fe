//! Every op's gradients against central differences, and its results against the definition.

use candle_core::{Device, Result, Tensor, Var};
use proptest::prelude::*;
use rand::RngExt;
use releq_format::bits::{BitWidth, Levels};
use releq_search::seed;
use std::sync::{Arc, Mutex};

use super::batch_norm::{BatchNorm, Statistics};
use super::conv::Conv2d;
use super::dense::Dense;
use super::fake_quant::{FakeQuantActivation, FakeQuantWeight};
use super::pool::{Pool, Reduce};
use super::relu::Relu;
use super::shortcut::Shortcut;
use crate::network::Window;

fn random(shape: &[usize], seed: u64, name: &str) -> Vec<f32> {
    let mut rng = seed::stream(seed, name);
    (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0f32)).collect()
}

fn var(shape: &[usize], seed: u64, name: &str) -> Var {
    Var::from_tensor(&Tensor::from_vec(random(shape, seed, name), shape, &Device::Cpu).unwrap()).unwrap()
}

/// `Σ op(inputs) · weights` for fixed random weights, so that every output has its own gradient.
fn weighed(op: &dyn Fn() -> Result<Tensor>, seed: u64) -> (Tensor, f64) {
    let y = op().unwrap();
    let weights = Tensor::from_vec(random(y.dims(), seed, "weights"), y.dims(), &Device::Cpu).unwrap();
    let sum = (&y * &weights).unwrap().sum_all().unwrap();
    let (y, weights): (Vec<f32>, Vec<f32>) =
        (y.flatten_all().unwrap().to_vec1().unwrap(), weights.flatten_all().unwrap().to_vec1().unwrap());
    let exact = y.iter().zip(weights).map(|(y, weight)| f64::from(*y) * f64::from(weight)).sum();
    (sum, exact)
}

/// Central differences of every element of every variable against the op's own gradient.
fn check_gradients(op: &dyn Fn() -> Result<Tensor>, variables: &[&Var], step: f32, tolerance: f64, seed: u64) {
    let (loss, _) = weighed(op, seed);
    let gradients = loss.backward().unwrap();
    for (number, var) in variables.iter().enumerate() {
        let gradient: Vec<f32> = gradients.get(var).expect("a gradient").flatten_all().unwrap().to_vec1().unwrap();
        let values: Vec<f32> = var.flatten_all().unwrap().to_vec1().unwrap();
        for index in 0..values.len() {
            let at = |value: f32| {
                let mut moved = values.clone();
                moved[index] = value;
                var.set(&Tensor::from_vec(moved, var.dims(), &Device::Cpu).unwrap()).unwrap();
                weighed(op, seed).1
            };
            let difference = (at(values[index] + step) - at(values[index] - step)) / (2.0 * f64::from(step));
            at(values[index]);
            let error = (difference - f64::from(gradient[index])).abs();
            assert!(
                error <= tolerance * difference.abs().max(1.0),
                "variable {number}[{index}]: {difference} {gradient:?}"
            );
        }
    }
}

fn windows() -> impl Strategy<Value = (usize, usize, Window)> {
    let side = || (1usize..7, 1usize..4, 1usize..3, 0usize..2, 0usize..2);
    (side(), side())
        .prop_map(|((h, kh, sh, top, bottom), (w, kw, sw, left, right))| {
            let padding = [top.min(kh - 1), left.min(kw - 1), bottom.min(kh - 1), right.min(kw - 1)];
            (h, w, Window { kernel: [kh, kw], stride: [sh, sw], padding })
        })
        .prop_filter("fits", |(h, w, window)| window.output(*h, *w).is_some())
}

/// The definition of convolution, in f64.
fn naive_conv(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    [n, c, h, w]: [usize; 4],
    groups: usize,
    window: &Window,
) -> Vec<f64> {
    let [rows, columns] = window.output(h, w).unwrap();
    let [kh, kw] = window.kernel;
    let per_group = c / groups;
    let mut y = Vec::new();
    for image in 0..n {
        for (out, bias) in bias.iter().enumerate() {
            for (oy, ox) in (0..rows).flat_map(|oy| (0..columns).map(move |ox| (oy, ox))) {
                let mut sum = f64::from(*bias);
                for (k, ky, kx) in
                    (0..per_group).flat_map(|k| (0..kh).flat_map(move |ky| (0..kw).map(move |kx| (k, ky, kx))))
                {
                    let channel = if groups > 1 { out } else { k };
                    let iy = (oy * window.stride[0] + ky).wrapping_sub(window.padding[0]);
                    let ix = (ox * window.stride[1] + kx).wrapping_sub(window.padding[1]);
                    if iy < h && ix < w {
                        let x = x[((image * c + channel) * h + iy) * w + ix];
                        sum += f64::from(x) * f64::from(weight[((out * per_group + k) * kh + ky) * kw + kx]);
                    }
                }
                y.push(sum);
            }
        }
    }
    y
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn convolution_is_its_definition_and_its_gradients_are_exact(
        (h, w, window) in windows(), n in 1usize..4, c in 1usize..4, out in 1usize..4, depthwise: bool, seed: u64,
    ) {
        let (groups, out) = if depthwise { (c, c) } else { (1, out) };
        let (x, weight) = (var(&[n, c, h, w], seed, "x"), var(&[out, c / groups, window.kernel[0], window.kernel[1]], seed, "w"));
        let bias = var(&[out], seed, "b");
        let conv = Conv2d { window, groups, input_gradient: true };
        let y: Vec<f32> = conv.clone().forward(&x, &weight, &bias).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let floats = |var: &Var| -> Vec<f32> { var.flatten_all().unwrap().to_vec1().unwrap() };
        let naive = naive_conv(&floats(&x), &floats(&weight), &floats(&bias), [n, c, h, w], groups, &window);
        prop_assert_eq!(y.len(), naive.len());
        for (y, naive) in y.iter().zip(naive) {
            prop_assert!((f64::from(*y) - naive).abs() < 1e-5);
        }
        // Linear in each argument, so a large step is exact and keeps f32 noise small.
        check_gradients(&|| conv.clone().forward(&x, &weight, &bias), &[&x, &weight, &bias], 0.5, 1e-4, seed);
    }

    #[test]
    fn dense_gradients_are_exact(n in 1usize..40, k in 1usize..6, out in 1usize..20, seed: u64) {
        let (x, weight, bias) = (var(&[n, k], seed, "x"), var(&[out, k], seed, "w"), var(&[out], seed, "b"));
        check_gradients(&|| Dense.forward(&x, &weight, &bias), &[&weight, &bias], 0.5, 1e-4, seed);
        check_gradients(&|| Dense.forward(&x, &weight, &bias), &[&x], 0.5, 1e-4, seed);
    }

    #[test]
    fn pool_gradients_are_exact((h, w, window) in windows(), n in 1usize..3, c in 1usize..3, seed: u64) {
        // Distinct values with gaps wider than the step, so that no maximum changes within a difference.
        let shape = [n, c, h, w];
        let mut ranks: Vec<f32> = (0..shape.iter().product::<usize>()).map(|rank| rank as f32 * 0.1).collect();
        use rand::seq::SliceRandom;
        ranks.shuffle(&mut seed::stream(seed, "ranks"));
        let x = Var::from_tensor(&Tensor::from_vec(ranks, &shape[..], &Device::Cpu).unwrap()).unwrap();
        for reduce in [Reduce::Max, Reduce::Mean] {
            let pool = Pool { reduce, window };
            check_gradients(&|| pool.clone().forward(&x), &[&x], 0.02, 2e-3, seed);
        }
    }

    /// 2×2 windows side by side have loops of their own, ties and odd extents included.
    #[test]
    fn halving_pools_give_the_first_largest_all_of_it(h in 2usize..8, w in 2usize..8, seed: u64) {
        let mut rng = seed::stream(seed, "ties");
        let numbers: Vec<f32> = (0..2 * h * w).map(|_| rng.random_range(0..3) as f32).collect();
        let x = Var::from_tensor(&Tensor::from_vec(numbers.clone(), (1, 2, h, w), &Device::Cpu).unwrap()).unwrap();
        let window = Window { kernel: [2; 2], stride: [2; 2], padding: [0; 4] };
        let y = Pool { reduce: Reduce::Max, window }.forward(&x).unwrap();
        let gradients = y.sum_all().unwrap().backward().unwrap();
        let dx: Vec<f32> = gradients.get(&x).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let (mut largest, mut expected) = (Vec::new(), vec![0f32; dx.len()]);
        for (plane, row, column) in (0..2).flat_map(|p| (0..h / 2).flat_map(move |r| (0..w / 2).map(move |c| (p, r, c)))) {
            let taps = [[0, 0], [0, 1], [1, 0], [1, 1]].map(|[y, x]| plane * h * w + (2 * row + y) * w + 2 * column + x);
            let first = taps.into_iter().reduce(|best, tap| if numbers[tap] > numbers[best] { tap } else { best }).unwrap();
            largest.push(numbers[first]);
            expected[first] += 1.0;
        }
        assert_eq!(y.flatten_all().unwrap().to_vec1::<f32>().unwrap(), largest);
        assert_eq!(dx, expected);
    }

    #[test]
    fn batch_norm_gradients_are_exact(n in 2usize..5, c in 1usize..3, side in 2usize..4, seed: u64) {
        let (x, gamma, beta) = (var(&[n, c, side, side], seed, "x"), var(&[c], seed, "g"), var(&[c], seed, "b"));
        let norm = || BatchNorm::new(1e-3, 0.1, Arc::new(Mutex::new(Statistics { mean: vec![0.0; c], variance: vec![1.0; c] })));
        check_gradients(&|| norm().forward(&x, &gamma, &beta, true), &[&x, &gamma, &beta], 1e-2, 2e-2, seed);
    }
}

#[test]
fn relu_gradient_is_a_step() {
    let x = Var::from_slice(&[-2.0f32, -0.5, 0.5, 3.0], 4, &Device::Cpu).unwrap();
    check_gradients(&|| Relu::PLAIN.forward(&x), &[&x], 0.1, 1e-4, 1);
    check_gradients(&|| Relu { ceiling: 2.0 }.forward(&x), &[&x], 0.1, 1e-4, 1);
    let clipped = Relu { ceiling: 2.0 }.forward(&x).unwrap().to_vec1::<f32>().unwrap();
    assert_eq!(clipped, [0.0, 0.0, 0.5, 2.0]);
}

#[test]
fn shortcut_picks_pixels_and_hands_their_gradients_back() {
    let x = var(&[2, 2, 3, 4], 1, "x");
    let shortcut = Shortcut { stride: [2, 3], before: 1, after: 2 };
    let y: Vec<f32> = shortcut.clone().forward(&x).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    let x_data: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
    let picked = |channel: usize| [0, 3, 8, 11].map(|at| x_data[channel * 12 + at]);
    assert_eq!(y[..20], [[0.0; 4], picked(0), picked(1), [0.0; 4], [0.0; 4]].concat());
    check_gradients(&|| shortcut.clone().forward(&x), &[&x], 0.5, 1e-4, 1);
}

#[test]
fn ties_of_a_max_pool_share_one_gradient() {
    let x = Var::from_tensor(&Tensor::ones((1, 1, 2, 2), candle_core::DType::F32, &Device::Cpu).unwrap()).unwrap();
    let pool = Pool { reduce: Reduce::Max, window: Window::square(2, 2, 0) };
    let gradients = pool.forward(&x).unwrap().sum_all().unwrap().backward().unwrap();
    let gradient: Vec<f32> = gradients.get(&x).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(gradient, [1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn convolution_does_not_depend_on_the_thread_count() {
    let (x, weight, bias) = (var(&[37, 3, 9, 9], 1, "x"), var(&[5, 3, 3, 3], 1, "w"), var(&[5], 1, "b"));
    let conv = Conv2d { window: Window::square(3, 1, 1), groups: 1, input_gradient: true };
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let y = conv.clone().forward(&x, &weight, &bias).unwrap();
            let gradients = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            let all = [&y, gradients.get(&x).unwrap(), gradients.get(&weight).unwrap(), gradients.get(&bias).unwrap()];
            all.map(|tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap())
        })
    };
    assert_eq!(run(1), run(2));
    assert_eq!(run(1), run(3));
}

#[test]
fn running_statistics_follow_the_batches() {
    let running = Arc::new(Mutex::new(Statistics { mean: vec![0.0], variance: vec![1.0] }));
    let norm = BatchNorm::new(1e-5, 0.1, running.clone());
    let x = Tensor::from_slice(&[1f32, 3.0, 5.0, 7.0], (2, 1, 1, 2), &Device::Cpu).unwrap();
    let (gamma, beta) = (var(&[1], 1, "g"), var(&[1], 1, "b"));
    norm.forward(&x, &gamma, &beta, true).unwrap();
    let Statistics { mean, variance } = running.lock().unwrap().clone();
    assert!((mean[0] - 0.4).abs() < 1e-6 && (variance[0] - (0.9 + 0.1 * 20.0 / 3.0)).abs() < 1e-6);
}

fn width(bits: u8) -> BitWidth {
    BitWidth::new(bits).unwrap()
}

#[test]
fn straight_through_gradients_are_one_inside_and_zero_outside() {
    let w = Var::from_slice(&[-0.9f32, -0.3, 0.2, 0.9], (1, 4), &Device::Cpu).unwrap();
    let scale = Var::from_slice(&[0.2f32], 1, &Device::Cpu).unwrap();
    let op = FakeQuantWeight { bits: width(3), levels: Levels::MidTread, learn: true };
    let gradients = op.forward(&w, &scale).unwrap().sum_all().unwrap().backward().unwrap();
    let gradient: Vec<f32> = gradients.get(&w).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(gradient, [0.0, 1.0, 1.0, 0.0]);
    // Integers -3, -1, 1, 3; ratios -4.5, -1.5, 1, 4.5: outside q, inside q - ratio; damped by 1/sqrt(4·3).
    let ds: Vec<f32> = gradients.get(&scale).unwrap().to_vec1().unwrap();
    let expected = (-3.0 + (-1.0 + 1.5) + (1.0 - 1.0) + 3.0) / 12f32.sqrt();
    assert!((ds[0] - expected).abs() < 1e-6, "{ds:?} {expected}");
    let x = Var::from_slice(&[-0.1f32, 0.2, 7.0], 3, &Device::Cpu).unwrap();
    let op = FakeQuantActivation { bits: width(2), zero_point: 0, learn: false };
    let y = op.forward(&x, &Tensor::from_slice(&[0.5f32], 1, &Device::Cpu).unwrap()).unwrap();
    assert_eq!(y.to_vec1::<f32>().unwrap(), [0.0, 0.0, 1.5]);
    let gradients = y.sum_all().unwrap().backward().unwrap();
    assert_eq!(gradients.get(&x).unwrap().to_vec1::<f32>().unwrap(), [0.0, 1.0, 0.0]);
}

/// Golden vectors of paper.md §5.1's formulas, worked by hand.
#[test]
fn wrpn_and_dorefa_levels() {
    let round = |levels, bits: u8, scale: f32, w: &[f32]| -> Vec<f32> {
        let weights = Tensor::from_slice(w, (1, w.len()), &Device::Cpu).unwrap();
        let scale = Tensor::from_slice(&[scale], 1, &Device::Cpu).unwrap();
        let op = FakeQuantWeight { bits: width(bits), levels, learn: false };
        op.forward(&weights, &scale).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    };
    let w = [-1.7, -0.6, -0.2, 0.1, 0.49, 0.7];
    assert_eq!(round(Levels::MidTread, 2, 1.0, &w), [-1.0, -1.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(round(Levels::MidTread, 3, 1.0 / 3.0, &w), [-1.0, -2.0 / 3.0, -1.0 / 3.0, 0.0, 1.0 / 3.0, 2.0 / 3.0]);
    assert_eq!(round(Levels::MidRise, 2, 1.0 / 3.0, &w), [-1.0, -1.0 / 3.0, -1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 1.0]);
    for (levels, bits) in [(Levels::MidTread, 8), (Levels::MidRise, 7)] {
        // Both sets end at 127 steps.
        let step = 1.0 / 127.0;
        let rounded = round(levels, bits, step, &w);
        assert!(rounded.iter().zip(w).all(|(q, w)| (q - w.clamp(-1.0, 1.0)).abs() <= step + 1e-6));
    }
}
