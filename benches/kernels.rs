//! Kernels of the workstation on one convolution: bit-planes at several widths against 8-bit products, in one run.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use releq_device::kernels::bitserial::{self, Isa};
use releq_device::kernels::{Kernel, Task, packed, reference};
use releq_device::tensor::{self, Input};
use releq_format::bits::{BitWidth, Levels};
use releq_format::graph::{Op, Storage, TensorRecord, Weights, Window};
use releq_format::pack::Layout;
use releq_format::quant::Bound;

/// Multiply-accumulates of the layer, padding taps included.
const MACS: u64 = 16 * 16 * 32 * 288;

/// A 3×3 convolution of 16×16×32 to 32 channels, the shape that device kernels are compared on too.
struct Layer {
    op: Op,
    input: TensorRecord,
    output: TensorRecord,
    activations: Vec<u8>,
    codes: Vec<u8>,
    channels: Vec<u8>,
}

impl Layer {
    fn new(weight_bits: u8, activation_bits: u8) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let [weights, activations] = [weight_bits, activation_bits].map(|bits| BitWidth::new(bits).expect("1..=8"));
        let levels = if weight_bits == 1 { Levels::MidRise } else { Levels::MidTread };
        let layout = if weight_bits == 8 { Layout::Bytes } else { Layout::RowPairs };
        let window = Window { kernel: [3, 3], stride: [1, 1], padding: [1; 4] };
        let bound = Bound::new(levels.magnitude(weights), activations, 288);
        let shift = bound.largest_shift(0).expect("small");
        let op =
            Op::Conv2d { window, weights: Weights { bits: weights, levels, layout, shift, codes: 0, channels: 0 } };
        let input = TensorRecord {
            height: 16,
            width: 16,
            channels: 32,
            bits: activations,
            zero_point: 0,
            storage: Storage::narrowest(activations),
            offset: 0,
        };
        let smallest = u8::from(levels == Levels::MidTread);
        let mut level = || levels.value(rng.random_range(smallest..=weights.max_code()), weights) as i8;
        let values: Vec<i8> = (0..32 * 288).map(|_| level()).collect();
        let codes = op.matrix(&input, &input).expect("weighted").pack(&values).expect("levels");
        let mut bytes = vec![0; input.bytes().expect("small") as usize];
        for pixel in bytes.chunks_exact_mut(input.pixel_bytes() as usize) {
            for channel in 0..32 {
                tensor::store(pixel, input.storage, channel, rng.random_range(0..=activations.max_code()));
            }
        }
        let channels = (0..32).flat_map(|_| [0i32.to_le_bytes(), (1i32 << 25).to_le_bytes()]).flatten().collect();
        Self { op, input, output: input, activations: bytes, codes, channels }
    }

    fn run(&self, kernel: &Kernel, scratch: &mut [u8], output: &mut [u8]) {
        let input = Input { record: self.input, bytes: &self.activations };
        let output_record = self.output;
        let (codes, channels) = (&self.codes, &self.channels);
        (kernel.run)(Task { op: &self.op, input, other: input, output_record, output, scratch, codes, channels });
    }

    fn scratch(&self, kernel: &Kernel) -> Vec<u8> {
        vec![0; (kernel.scratch_bytes)(&self.op, &self.input, &self.output) as usize]
    }

    /// The output of the loops from the definition.
    fn expected(&self) -> Vec<u8> {
        let mut output = vec![0; self.output.bytes().expect("small") as usize];
        self.run(&reference::CONV2D, &mut [], &mut output);
        output
    }
}

/// What is compared, the baseline first.
fn cases() -> Vec<(&'static Kernel, [u8; 2])> {
    let serial = [[8, 8], [4, 8], [2, 8], [1, 8], [4, 4], [2, 4], [2, 2], [1, 2], [1, 1]];
    let int8 = [[8, 8], [4, 4]].map(|widths| (&bitserial::INT8_CONV2D, widths));
    let packed = [[8, 8], [4, 4]].map(|widths| (&packed::CONV2D, widths));
    int8.into_iter().chain(serial.map(|widths| (&bitserial::CONV2D, widths))).chain(packed).collect()
}

/// A layer with the memory it runs in; made only where the kernel is exact.
struct Ready {
    kernel: &'static Kernel,
    layer: Layer,
    scratch: Vec<u8>,
    output: Vec<u8>,
}

impl Ready {
    fn new(kernel: &'static Kernel, [weights, activations]: [u8; 2]) -> Self {
        let layer = Layer::new(weights, activations);
        let (scratch, expected) = (layer.scratch(kernel), layer.expected());
        let mut ready = Self { kernel, layer, scratch, output: vec![0; expected.len()] };
        ready.run();
        assert_eq!(ready.output, expected, "{} w{weights} a{activations}", kernel.name);
        ready
    }

    fn run(&mut self) {
        self.layer.run(self.kernel, black_box(&mut self.scratch), black_box(&mut self.output));
    }
}

fn conv3x3(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(format!("conv3x3 {:?}", Isa::found()));
    group.measurement_time(Duration::from_secs(1)).warm_up_time(Duration::from_millis(300)).sample_size(30);
    group.throughput(Throughput::Elements(MACS));
    for (kernel, widths) in cases() {
        let mut ready = Ready::new(kernel, widths);
        let id = BenchmarkId::new(kernel.name, format!("w{}a{}", widths[0], widths[1]));
        group.bench_function(id, |bencher| bencher.iter(|| ready.run()));
    }
    group.finish();
}

/// Rounds of one run of every case; odd, so that there is a median.
const ROUNDS: usize = 301;

/// How much longer each case takes than the baseline beside it in the same round, one JSON line a case.
///
/// A machine that others use changes its speed from one second to the next; both of a ratio's runs are then slow.
fn ratios() {
    let mut ready: Vec<Ready> = cases().into_iter().map(|(kernel, widths)| Ready::new(kernel, widths)).collect();
    let mut ratios = vec![Vec::with_capacity(ROUNDS); ready.len()];
    for _ in 0..ROUNDS {
        let times: Vec<f64> = ready.iter_mut().map(|ready| time(|| ready.run())).collect();
        ratios.iter_mut().zip(&times).for_each(|(ratios, time)| ratios.push(time / times[0]));
    }
    for ((kernel, [w, a]), mut ratios) in cases().into_iter().zip(ratios) {
        ratios.sort_by(f64::total_cmp);
        let [low, median, high] = [1, 2, 3].map(|quarter| (ratios[quarter * ROUNDS / 4] * 1000.0).round() / 1000.0);
        let line = serde_json::json!({
            "isa": format!("{:?}", Isa::found()), "kernel": kernel.name, "w": w, "a": a, "macs": MACS,
            "rounds": ROUNDS, "time_ratio_to_int8": median, "quartiles": [low, high],
        });
        println!("{line}");
    }
}

fn time(work: impl FnOnce()) -> f64 {
    let started = Instant::now();
    work();
    started.elapsed().as_secs_f64()
}

criterion_group!(benches, conv3x3);

fn main() {
    benches();
    ratios();
}
