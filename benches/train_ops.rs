//! Training throughput of releq's ops against stock Candle, forward and backward, on LeNet and ResNet-20 shapes.
//!
//! `cargo bench --bench train_ops`; read the ratio within a group, not the times.

use candle_core::{Device, Result, Tensor, Var};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand::RngExt;
use releq::network::Window;
use releq::train::conv::Conv2d;
use releq::train::pool::{Pool, Reduce};
use releq_search::seed;

/// Images a step.
const BATCH: usize = 32;

/// One convolution of a network: channels, side, filters, kernel, padding.
struct Layer {
    name: &'static str,
    channels: usize,
    side: usize,
    filters: usize,
    kernel: usize,
    padding: usize,
    /// The first layer's input is data: nobody reads its gradient.
    first: bool,
}

const LAYERS: [Layer; 4] = [
    Layer { name: "lenet-conv1", channels: 1, side: 28, filters: 20, kernel: 5, padding: 0, first: true },
    Layer { name: "lenet-conv2", channels: 20, side: 12, filters: 50, kernel: 5, padding: 0, first: false },
    Layer { name: "resnet20-stage1", channels: 16, side: 32, filters: 16, kernel: 3, padding: 1, first: false },
    Layer { name: "resnet20-stage3", channels: 64, side: 8, filters: 64, kernel: 3, padding: 1, first: false },
];

fn random(name: &str, shape: &[usize]) -> Result<Var> {
    let mut rng = seed::stream(1, name);
    let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-1.0..1.0)).collect();
    Var::from_slice(&values, shape, &Device::Cpu)
}

/// Input, weights and bias of a layer.
fn operands(layer: &Layer) -> Result<[Var; 3]> {
    Ok([
        random("x", &[BATCH, layer.channels, layer.side, layer.side])?,
        random("w", &[layer.filters, layer.channels, layer.kernel, layer.kernel])?,
        random("b", &[layer.filters])?,
    ])
}

fn ours(layer: &Layer, [x, w, b]: &[Var; 3]) -> Result<()> {
    let window = Window::square(layer.kernel, 1, layer.padding);
    let y = Conv2d { window, groups: 1, input_gradient: !layer.first }.forward(x, w, b)?;
    y.sum_all()?.backward().map(|_| ())
}

fn stock(layer: &Layer, [x, w, b]: &[Var; 3]) -> Result<()> {
    let x = if layer.first { x.as_detached_tensor() } else { x.as_tensor().clone() };
    let y = x.conv2d(w, layer.padding, 1, 1, 1)?.broadcast_add(&b.reshape((1, layer.filters, 1, 1))?)?;
    y.sum_all()?.backward().map(|_| ())
}

fn convolutions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("conv2d forward+backward");
    group.throughput(Throughput::Elements(BATCH as u64)).sample_size(10);
    for layer in &LAYERS {
        let operands = operands(layer).expect("tensors of fixed shapes");
        group.bench_function(BenchmarkId::new("releq", layer.name), |bencher| {
            bencher.iter(|| ours(layer, &operands).expect("shapes fit"));
        });
        group.bench_function(BenchmarkId::new("candle", layer.name), |bencher| {
            bencher.iter(|| stock(layer, &operands).expect("shapes fit"));
        });
    }
    group.finish();
}

/// Stock max pooling also gives wrong gradients; it is here for its time only.
fn pools(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("maxpool forward+backward");
    group.throughput(Throughput::Elements(BATCH as u64)).sample_size(10);
    let x = random("x", &[BATCH, 20, 24, 24]).expect("a fixed shape");
    let backward = |y: Result<Tensor>| y.and_then(|y| y.sum_all()?.backward().map(|_| ())).expect("shapes fit");
    group.bench_function("releq", |bencher| {
        let pool = Pool { window: Window::square(2, 2, 0), reduce: Reduce::Max };
        bencher.iter(|| backward(pool.clone().forward(&x)));
    });
    group.bench_function("candle", |bencher| bencher.iter(|| backward(x.max_pool2d(2))));
    group.finish();
}

criterion_group!(benches, convolutions, pools);
criterion_main!(benches);
