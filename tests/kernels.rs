//! Every kernel family against the naive interpreter, natively: random networks, then every width with extremes.

mod suite;

use releq_device::{Engine, Observer, kernels};
use releq_format::graph::{KernelHint, Op};
use releq_format::image::Image;
use suite::{Fill, TestNet, expected_bytes, store};

struct Outputs(Vec<Vec<u8>>);

impl Observer for Outputs {
    fn begin(&mut self, _: usize) {}
    fn end(&mut self, _: usize, output: &[u8]) {
        self.0.push(output.to_vec());
    }
}

fn run(net: &TestNet, codes: &[u8], hint: KernelHint) -> Vec<Vec<u8>> {
    let bytes = net.image(hint);
    let image = Image::open(&bytes).expect("the builder checked it");
    let mut arena = vec![0xA5A5_A5A5_A5A5_A5A5u64; image.arena_bytes().div_ceil(8)];
    let arena: &mut [u8] = bytemuck::cast_slice_mut(&mut arena);
    let mut engine = Engine::<16>::new(&image, arena, kernels::ALL).expect("all kernels are there");
    for (index, layer) in net.layers.iter().enumerate() {
        let workstation = matches!(layer.op, Op::Conv2d { .. } | Op::Dense { .. });
        let family = match hint {
            KernelHint::REFERENCE => "reference::",
            KernelHint::BITSERIAL if workstation => "bitserial::",
            KernelHint::INT8 if workstation => "bitserial::INT8_",
            _ => "packed::",
        };
        assert!(engine.kernel_name(index).unwrap().starts_with(family));
    }
    engine.input_mut().copy_from_slice(&store(&net.input, codes));
    let mut outputs = Outputs(Vec::new());
    engine.run(&mut outputs);
    outputs.0
}

fn check(mut net: TestNet, what: &str) {
    let codes = net.input_codes();
    let naive = net.naive(&codes);
    for hint in [KernelHint::REFERENCE, KernelHint::PACKED, KernelHint::BITSERIAL, KernelHint::INT8] {
        let outputs = run(&net, &codes, hint);
        for (index, ((output, values), layer)) in outputs.iter().zip(&naive).zip(&net.layers).enumerate() {
            assert_eq!(output, &expected_bytes(&layer.output, values), "{what}: layer {index} {:?}", layer.op);
        }
    }
}

#[test]
fn random_networks_are_exact() {
    for seed in 0..1500 {
        check(TestNet::random(seed), &format!("seed {seed}"));
    }
}

/// All weight widths × all activation widths × {random, all largest, all smallest} on K that fills, overfills and
/// underfills words: 1 pixel, 1 channel, odd, and large.
#[test]
fn every_width_is_exact_at_its_extremes() {
    for fill in [Fill::Random, Fill::Largest, Fill::Smallest] {
        for weights in 1..=8 {
            for activations in 1..=8 {
                for (seed, shape) in [[1, 1, 1], [3, 5, 7], [1, 1, 999], [6, 6, 16]].into_iter().enumerate() {
                    let what = format!("{fill:?} w{weights} a{activations} {shape:?}");
                    let mut net = TestNet::new(seed as u64, fill, shape, activations);
                    net.conv(5, weights, activations);
                    net.depthwise(weights, activations);
                    check(net.dense(3, weights, None), &what);
                }
            }
        }
    }
}

/// Channels that meet at bytes and within them, at every width, on either side.
#[test]
fn joined_channels_are_exact_at_every_width() {
    for (seed, (left, right)) in [(1, 1), (3, 5), (8, 7), (16, 4), (5, 13), (31, 2)].into_iter().enumerate() {
        for activations in 1..=8 {
            for behind in [true, false] {
                let mut net = TestNet::new(seed as u64, Fill::Random, [3, 4, left], activations);
                net.concat(right, 4, behind).twice();
                net.concat(1, 4, behind);
                check(net.dense(3, 4, None), &format!("{left} and {right} channels at {activations} bits, {behind}"));
            }
        }
    }
}

#[test]
fn long_sums_are_exact_at_their_extremes() {
    for fill in [Fill::Random, Fill::Largest, Fill::Smallest] {
        for (weights, activations) in [(8, 8), (4, 8), (1, 8), (4, 4), (1, 1)] {
            check(TestNet::long_sums(fill, weights, activations), &format!("{fill:?} w{weights} a{activations}"));
        }
    }
}
