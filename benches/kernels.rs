//! Kernels of the workstation on one convolution: bit-planes at several widths against 8-bit products, in one run.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
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

fn conv3x3(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group(format!("conv3x3 {:?}", Isa::found()));
    group.measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    let (serial, int8) = (&bitserial::CONV2D, &bitserial::INT8_CONV2D);
    let cases: [(&Kernel, &[[u8; 2]]); 3] = [
        (int8, &[[8, 8], [4, 4]]),
        (serial, &[[8, 8], [4, 8], [2, 8], [1, 8], [4, 4], [2, 4], [2, 2], [1, 2], [1, 1]]),
        (&packed::CONV2D, &[[8, 8], [4, 4]]),
    ];
    for (kernel, widths) in cases {
        for &[weights, activations] in widths {
            let layer = Layer::new(weights, activations);
            let (mut scratch, expected) = (layer.scratch(kernel), layer.expected());
            let mut output = vec![0; expected.len()];
            layer.run(kernel, &mut scratch, &mut output);
            assert_eq!(output, expected, "{} w{weights} a{activations}", kernel.name);
            group.throughput(Throughput::Elements(16 * 16 * 32 * 288));
            let id = BenchmarkId::new(kernel.name, format!("w{weights}a{activations}"));
            group.bench_function(id, |bencher| {
                bencher.iter(|| layer.run(kernel, black_box(&mut scratch), black_box(&mut output)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, conv3x3);
criterion_main!(benches);
