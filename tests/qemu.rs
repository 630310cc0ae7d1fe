//! The virtual boards: every kernel family on every emulated core against the naive interpreter, and the counts.
//!
//! Needs `qemu-system-arm` and the runners of `cargo xtask firmware`; without them each test says that it was skipped,
//! and fails under RELEQ_REQUIRE_QEMU=1.

#![allow(clippy::explicit_write, reason = "what eprintln! says is swallowed in a test that passes")]

mod suite;

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use releq::bench::measure::{MeasureError, measure};
use releq::bench::shape::{Case, shapes};
use releq::cost::layer::{Layer, layers};
use releq::cost::measure::{MeasureError as CountError, measure as counts};
use releq::cost::sample;
use releq::signing::PrivateKey;
use releq::target::lab::Lab;
use releq::target::native;
use releq::target::qemu::{Launch, Qemu};
use releq::target::serial::Serial;
use releq::target::session::{Greeted, Patience, Session};
use releq::target::{TargetError, Transport};
use releq_device::board::{self, Board, ICOUNT_SHIFT};
use releq_format::crc::crc32;
use releq_format::graph::{KernelHint, Window};
use releq_format::image::{Image, ImageBuffer, SelfTest};
use releq_format::quant::AddScale;
use suite::{Fill, TestNet, expected_bytes, square, store};

/// Networks a board runs; each starts an emulator of its own.
const RANDOM_NETWORKS: u64 = 24;

/// An emulator with `image`; `None`, said aloud, where this machine cannot emulate `board`.
fn emulator(board: &'static Board, image: &Image<'_>) -> Option<Qemu> {
    match Qemu::start(board, image, &Launch::from_env()) {
        Ok(qemu) => Some(qemu),
        Err(TargetError::NoEmulator { .. }) => skipped(NO_EMULATOR),
        Err(TargetError::NoRunner { .. }) => skipped(NO_RUNNER),
        Err(other) => panic!("{other}"),
    }
}

const NO_EMULATOR: &str = "no qemu-system-arm";
const NO_RUNNER: &str = "no runner firmware";

fn skipped<T>(missing: &str) -> Option<T> {
    assert!(std::env::var_os("RELEQ_REQUIRE_QEMU").is_none(), "{missing}");
    writeln!(std::io::stderr(), "skipped: {missing}").unwrap();
    None
}

fn session(board: &'static Board, image: &Image<'_>) -> Option<Session<Qemu>> {
    Some(Session::open(board, emulator(board, image)?, image, Patience::default()).unwrap())
}

/// Whether the board could be tried.
fn check(board: &'static Board, mut net: TestNet, hint: KernelHint, what: &str) -> bool {
    let bytes = net.image(hint);
    let image = Image::open(&bytes).unwrap();
    let codes = net.input_codes();
    let Some(mut session) = session(board, &image) else { return false };
    let measured = session.infer(&store(&net.input, &codes)).unwrap();
    let naive = net.naive(&codes);
    let digest = |(layer, values): (&suite::TestLayer, &Vec<i64>)| crc32(&expected_bytes(&layer.output, values));
    let expected: Vec<u32> = net.layers.iter().zip(&naive).map(digest).collect();
    assert_eq!(measured.inference.digests, expected, "{} {what} {hint:?}", board.name);
    let logits: Vec<i64> = measured.inference.logits.iter().copied().map(i64::from).collect();
    assert_eq!(&logits, naive.last().unwrap(), "{} {what} {hint:?}", board.name);
    true
}

fn run_suite(board: &'static Board) {
    run_joined(board);
    for seed in 0..RANDOM_NETWORKS {
        for hint in [KernelHint::REFERENCE, KernelHint::PACKED, KernelHint::DSP] {
            if !check(board, TestNet::random(seed), hint, &format!("seed {seed}")) {
                return;
            }
        }
    }
    for fill in [Fill::Largest, Fill::Smallest] {
        for bits in 1..=8 {
            let mut net = TestNet::new(u64::from(bits), fill, [5, 5, 7], bits);
            net.conv(5, bits, 8);
            net.depthwise(bits, bits);
            let net = net.dense(3, bits, None);
            for hint in [KernelHint::PACKED, KernelHint::DSP] {
                check(board, net.clone(), hint, &format!("{fill:?} {bits}"));
            }
        }
    }
}

/// Channels that meet at bytes and within them, in every storage.
fn run_joined(board: &'static Board) {
    for bits in 1..=8 {
        let mut net = TestNet::new(u64::from(bits), Fill::Random, [4, 3, 3], bits);
        net.concat(5, 4, true).twice();
        net.concat(3, 4, false).concat(16, 4, true);
        let net = net.dense(3, 4, None);
        for hint in [KernelHint::REFERENCE, KernelHint::PACKED, KernelHint::DSP] {
            if !check(board, net.clone(), hint, &format!("joined channels at {bits} bits")) {
                return;
            }
        }
    }
}

/// Friendly and odd shapes that the assembly has paths of its own for, every weight width, at the extremes.
fn run_dsp_suite(board: &'static Board) {
    let wide = Window { kernel: [5, 5], stride: [1, 2], padding: [2, 1, 2, 3] };
    let across = Window { kernel: [3, 3], stride: [2, 1], padding: [1, 1, 0, 1] };
    let shapes = [[11, 13, 8], [9, 18, 36], [6, 7, 3], [1, 1, 1]];
    for fill in [Fill::Random, Fill::Largest, Fill::Smallest] {
        for (bits, (shape, activations)) in
            (1..=8).flat_map(|bits| shapes.into_iter().zip([8, 4, 2, 8]).map(move |shape| (bits, shape)))
        {
            let mut net = TestNet::new(u64::from(bits), fill, shape, activations);
            if shape[0] > 3 {
                net.conv_of(square(3, 1), 9, bits, 8);
                net.depthwise_of(across, bits, 8);
                net.maxpool_of(square(2, 0));
                net.conv_of(square(1, 0), 16, bits, activations);
                net.conv_of(across, 6, bits, activations);
                net.conv_of(wide, 4, bits, 8);
            }
            net.dense_of(33, bits, 8);
            let what = format!("{fill:?} w{bits} a{activations} {shape:?}");
            if !check(board, net.dense(3, bits, None), KernelHint::DSP, &what) {
                return;
            }
        }
    }
}

/// Layers that meet each code once: pools, additions and depthwise windows, every width and storage, at the extremes.
fn run_pointwise_suite(board: &'static Board) {
    let overlapping = Window { kernel: [3, 2], stride: [2, 1], padding: [1, 0, 1, 1] };
    let halving = Window { kernel: [2, 2], stride: [2, 2], padding: [0, 0, 1, 0] };
    let sparse = Window { kernel: [3, 3], stride: [2, 1], padding: [1, 2, 1, 0] };
    let apart = Window { kernel: [3, 3], stride: [2, 2], padding: [1, 1, 1, 2] };
    // Multipliers and sums that only one code at a time has room for.
    let steep = AddScale { multipliers: [i16::MIN, i16::MAX], constant: 1 << 20, shift: 6 };
    let shapes = [[19, 7, 8], [9, 33, 4], [8, 9, 20], [6, 10, 7], [3, 2, 3]];
    for fill in [Fill::Random, Fill::Largest, Fill::Smallest] {
        for (bits, shape) in (1..=8).flat_map(|bits| shapes.into_iter().map(move |shape| (bits, shape))) {
            let mut net = TestNet::new(u64::from(bits), fill, shape, bits);
            net.add(bits);
            net.add(bits);
            net.add_of(steep, 0, 9 - bits);
            net.add(bits);
            net.depthwise_of(square(3, 1), bits, 8);
            net.depthwise_of(square(3, 1), 9 - bits, bits);
            net.depthwise_of(sparse, bits, bits);
            net.depthwise_of(apart, bits, 8);
            net.maxpool_of(overlapping);
            net.avgpool_of(square(2, 1), bits);
            net.avgpool_of(overlapping, 8);
            net.add(8);
            net.avgpool_of(halving, 8);
            net.maxpool_of(square(1, 0));
            let what = format!("{fill:?} a{bits} {shape:?}");
            if !check(board, net.dense(3, bits, None), KernelHint::DSP, &what) {
                return;
            }
        }
    }
}

/// Sums of bytes and codes of 4 bits, in either order, at scales with room in lanes and without, of whole words and odd
/// numbers.
fn run_narrowed_sums(board: &'static Board) {
    let flat = AddScale { multipliers: [700, 9000], constant: -(1 << 17), shift: 14 };
    let back = AddScale { multipliers: [-3000, 8000], constant: 1 << 16, shift: 12 };
    let steep = AddScale { multipliers: [i16::MIN, i16::MAX], constant: 1 << 20, shift: 6 };
    let shapes = [[5, 3, 8], [4, 4, 16], [1, 1, 8], [2, 3, 2], [3, 5, 6], [3, 3, 7]];
    for fill in [Fill::Random, Fill::Largest, Fill::Smallest] {
        for (seed, shape) in shapes.into_iter().enumerate() {
            for scale in [flat, back, steep] {
                let mut net = TestNet::new(seed as u64, fill, shape, 4);
                net.conv_of(square(1, 0), shape[2], 3, 8);
                net.add_of(scale, 0, 4);
                net.add_of(scale, 1, 4);
                net.add_of(scale, 1, 5).add_of(scale, 3, 4);
                let what = format!("{fill:?} {shape:?} {scale:?}");
                if !check(board, net.dense(3, 4, None), KernelHint::DSP, &what) {
                    return;
                }
            }
        }
    }
}

/// As lowering places them, some such sums lie where their operand of 4 bits was.
#[test]
fn narrowed_sums_in_place_on_virt_m4() {
    let (mut summed, mut index) = (0, 0);
    while summed < 3 {
        assert!(index < 600, "no sample adds in place any more");
        let lowered = sample::lowered(index).unwrap();
        index += 1;
        let image = Image::open(&lowered.image).unwrap();
        let in_place = |layer: &Layer| {
            let [left, output] = [layer.inputs[0], layer.output].map(|tensor| (tensor.storage, tensor.offset));
            left == output && layer.work(KernelHint::DSP).kernel == "dsp::ADD bytes to nibbles"
        };
        if !layers(&image).iter().any(in_place) {
            continue;
        }
        match counts(&board::VIRT_M4, &Lab::from_env(), &image) {
            Err(CountError::Target(TargetError::NoEmulator { .. })) => return skipped(NO_EMULATOR).unwrap_or(()),
            Err(CountError::Target(TargetError::NoRunner { .. })) => return skipped(NO_RUNNER).unwrap_or(()),
            // Whatever differs from this machine's is an error.
            counted => summed += usize::from(!counted.unwrap().is_empty()),
        }
    }
}

/// Sums of more products than fields and 16-bit lanes hold, at the extremes.
fn run_long_sums(board: &'static Board) {
    for fill in [Fill::Random, Fill::Largest, Fill::Smallest] {
        for (weights, activations) in [(8, 8), (5, 8), (4, 8), (2, 8), (1, 8), (4, 4), (2, 4), (2, 2), (1, 1)] {
            let what = format!("{fill:?} w{weights} a{activations}");
            let net = TestNet::long_sums(fill, weights, activations);
            if !check(board, net, KernelHint::DSP, &what) {
                return;
            }
        }
    }
}

/// Few bits on both sides: outer products with whole and partial blocks, four rows and fewer, sums up to their bounds.
fn run_few_bits(board: &'static Board) {
    let down = Window { kernel: [1, 1], stride: [2, 1], padding: [0; 4] };
    let shapes = [[5, 7, 16], [3, 5, 64], [4, 3, 112], [9, 8, 32], [3, 4, 2]];
    let widths = (1..=4u8).flat_map(|weights| (1..=4u8).map(move |activations| (weights, activations)));
    for (seed, (fill, (weights, activations))) in [Fill::Random, Fill::Largest, Fill::Smallest]
        .into_iter()
        .flat_map(|fill| widths.clone().map(move |widths| (fill, widths)))
        .enumerate()
    {
        let shape = shapes[(seed + seed / 4) % shapes.len()];
        let mut net = TestNet::new(seed as u64, fill, shape, activations);
        net.conv_of(square(1, 0), 16, weights, activations);
        net.conv_of(down, 32, weights, activations);
        net.conv_of(square(1, 0), 7, weights, activations);
        net.conv_of(square(2, 1), 5, weights, activations);
        net.dense_of(33, weights, activations);
        let what = format!("{fill:?} w{weights} a{activations} {shape:?}");
        if !check(board, net.dense(3, weights, None), KernelHint::DSP, &what) {
            return;
        }
    }
}

/// Convolutions along lines: every pair of widths, windows of more than 500 taps at the extremes, padding that holds
/// code 0 and padding that does not, steps down, tall windows, and odd numbers of columns and channels.
fn run_line_suite(board: &'static Board) {
    let across = Window { kernel: [3, 3], stride: [2, 1], padding: [1, 2, 0, 1] };
    let tall = Window { kernel: [5, 3], stride: [1, 1], padding: [2, 2, 2, 0] };
    for fill in [Fill::Random, Fill::Largest, Fill::Smallest] {
        for (weights, activations) in (1..=7).flat_map(|weights| (1..=8).map(move |activations| (weights, activations)))
        {
            // As many columns as the scratch of lines has room for.
            let columns = if activations < 8 { 11 } else { 7 };
            let mut net = TestNet::new(u64::from(8 * weights + activations), fill, [5, columns, 64], activations);
            if (weights + activations) % 3 > 0 {
                net.input.zero_point = 0;
            }
            net.conv_of(square(3, 1), 12, weights, activations);
            net.conv_of(across, 8, weights, activations);
            net.conv_of(tall, 5, weights, activations);
            let what = format!("{fill:?} w{weights} a{activations} lines");
            if !check(board, net.dense(3, weights, None), KernelHint::DSP, &what) {
                return;
            }
        }
    }
}

/// Convolutions along lines whose codes are less the middle of their range, at the extremes of such codes: few channels and
/// many, bytes and codes of four bits, even and odd numbers of columns and rows of weights, padding of any code.
fn run_centred_suite(board: &'static Board) {
    let shapes = [([4, 15, 16], 6, 12), ([3, 16, 32], 9, 8), ([5, 10, 20], 4, 5), ([3, 7, 96], 8, 7)];
    for fill in [Fill::Random, Fill::Largest, Fill::Smallest, Fill::Least] {
        for (weights, activations) in (2..=5).flat_map(|weights| (1..=5).map(move |activations| (weights, activations)))
        {
            for (shape, more, most) in shapes {
                let mut net = TestNet::new(u64::from(8 * weights + activations), fill, shape, activations);
                if (weights + activations) % 3 > 0 {
                    net.input.zero_point = 0;
                }
                net.conv_of(square(3, 1), more, weights, activations);
                net.conv_of(Window { kernel: [3, 3], stride: [2, 1], padding: [1, 2, 0, 1] }, most, weights, 8);
                let what = format!("{fill:?} {shape:?} w{weights} a{activations} centred");
                if !check(board, net.dense(3, weights, None), KernelHint::DSP, &what) {
                    return;
                }
            }
        }
    }
}

/// Convolutions in columns of blocks: windows of several rows and of any width, with and without padding.
fn run_column_suite(board: &'static Board) {
    let window = |kernel, padding| Window { kernel, stride: [1; 2], padding };
    for fill in [Fill::Random, Fill::Largest, Fill::Smallest] {
        for bits in 1..=8 {
            for (height, channels) in [(9, 8), (2, 64)] {
                let mut net = TestNet::new(u64::from(bits) + u64::from(channels), fill, [height, 12, channels], 8);
                net.conv_of(window([3, 5], [1, 2, 1, 2]), 12, bits, 8);
                net.conv_of(window([2, 3], [0, 0, 1, 2]), 4, bits, 8);
                net.conv_of(window([5, 1], [2, 0, 2, 0]), 6, bits, 8);
                let what = format!("{fill:?} w{bits} columns {height} {channels}");
                if !check(board, net.dense(3, bits, None), KernelHint::DSP, &what) {
                    return;
                }
            }
        }
    }
}

/// The hint is heeded: assembly takes less than half of the portable kernels' instructions.
fn dsp_is_faster(board: &'static Board) {
    let mut net = TestNet::new(5, Fill::Random, [8, 8, 16], 8);
    net.conv_of(square(3, 1), 16, 8, 8);
    net.depthwise_of(square(3, 1), 8, 8);
    net.maxpool_of(square(2, 0));
    net.dense_of(32, 3, 8);
    let mut net = net.dense(4, 8, None);
    let codes = net.input_codes();
    let input = store(&net.input, &codes);
    let [portable, dsp] = [KernelHint::PACKED, KernelHint::DSP].map(|hint| {
        let bytes = net.image(hint);
        let image = Image::open(&bytes).unwrap();
        session(board, &image).map(|mut session| session.infer(&input).unwrap().counts)
    });
    let (Some(portable), Some(dsp)) = (portable, dsp) else { return };
    for (layer, (portable, dsp)) in portable.into_iter().zip(dsp).enumerate().take(4) {
        assert!(2 * dsp < portable, "{} layer {layer}: {dsp} of {portable}", board.name);
    }
}

#[test]
fn dsp_kernels_on_virt_m4() {
    run_dsp_suite(&board::VIRT_M4);
    run_pointwise_suite(&board::VIRT_M4);
    run_narrowed_sums(&board::VIRT_M4);
    run_long_sums(&board::VIRT_M4);
    run_few_bits(&board::VIRT_M4);
    dsp_is_faster(&board::VIRT_M4);
}

#[test]
fn lines_and_columns_on_virt_m4() {
    run_line_suite(&board::VIRT_M4);
    run_centred_suite(&board::VIRT_M4);
    run_column_suite(&board::VIRT_M4);
}

#[test]
fn lines_and_columns_on_virt_m7() {
    run_line_suite(&board::VIRT_M7);
    run_centred_suite(&board::VIRT_M7);
    run_column_suite(&board::VIRT_M7);
}

#[test]
fn lines_and_columns_on_virt_m33() {
    run_line_suite(&board::VIRT_M33);
    run_centred_suite(&board::VIRT_M33);
    run_column_suite(&board::VIRT_M33);
}

#[test]
fn dsp_kernels_on_virt_m7() {
    run_dsp_suite(&board::VIRT_M7);
    run_pointwise_suite(&board::VIRT_M7);
    run_narrowed_sums(&board::VIRT_M7);
    run_long_sums(&board::VIRT_M7);
    run_few_bits(&board::VIRT_M7);
    dsp_is_faster(&board::VIRT_M7);
}

#[test]
fn dsp_kernels_on_virt_m33() {
    run_dsp_suite(&board::VIRT_M33);
    run_pointwise_suite(&board::VIRT_M33);
    run_narrowed_sums(&board::VIRT_M33);
    run_long_sums(&board::VIRT_M33);
    run_few_bits(&board::VIRT_M33);
    dsp_is_faster(&board::VIRT_M33);
}

#[test]
fn suite_on_virt_m0() {
    run_suite(&board::VIRT_M0);
}

#[test]
fn suite_on_virt_m3() {
    run_suite(&board::VIRT_M3);
}

#[test]
fn suite_on_virt_m4() {
    run_suite(&board::VIRT_M4);
}

#[test]
fn suite_on_virt_m7() {
    run_suite(&board::VIRT_M7);
}

#[test]
fn suite_on_virt_m33() {
    run_suite(&board::VIRT_M33);
}

#[test]
fn every_board_has_its_test_above() {
    assert_eq!(board::emulated().count(), 5);
}

/// A thousand classes and inputs larger than a frame, so that pieces are joined in order.
fn wide() -> (TestNet, ImageBuffer) {
    let net = TestNet::new(3, Fill::Random, [9, 9, 19], 8).dense(300, 2, None);
    let bytes = net.image(KernelHint::PACKED);
    (net, bytes)
}

#[test]
fn equal_runs_give_equal_counts() {
    let (mut net, bytes) = wide();
    let image = Image::open(&bytes).unwrap();
    let codes = net.input_codes();
    let input = store(&net.input, &codes);
    let mut counts = Vec::new();
    for _ in 0..2 {
        let Some(mut session) = session(&board::VIRT_M4, &image) else { return };
        for _ in 0..3 {
            counts.push(session.infer(&input).unwrap());
        }
    }
    assert!(counts.windows(2).all(|pair| pair[0] == pair[1]), "{counts:?}");
    assert!(counts[0].total() > 0);
}

/// The smallest board: a frozen image, its known answer among others, and counts that repeat with the emulator.
#[test]
fn a_golden_image_on_virt_m0() {
    let bytes = ImageBuffer::from(include_bytes!("../format/golden/v1/tiny.rlq").as_slice());
    let image = Image::open(&bytes).unwrap();
    let input = [10, 200, 30, 250];
    let expected = native::infer(&image, &input).unwrap();
    let mut counts = Vec::new();
    for _ in 0..2 {
        let Some(mut session) = session(&board::VIRT_M0, &image) else { return };
        for _ in 0..3 {
            let measured = session.infer(&input).unwrap();
            assert_eq!(measured.inference, expected);
            counts.push(measured.counts);
        }
    }
    assert!(counts.windows(2).all(|pair| pair[0] == pair[1]), "{counts:?}");
    assert!(counts[0].iter().all(|&count| count > 100), "{counts:?}");
}

#[test]
fn a_board_to_buy_is_not_emulated() {
    let (_, bytes) = wide();
    let image = Image::open(&bytes).unwrap();
    let refused = Qemu::start(&board::NUCLEO_F446RE, &image, &Launch::from_env()).unwrap_err();
    assert!(matches!(&refused, TargetError::NotEmulated { emulated, .. } if emulated.contains("virt-m0")), "{refused}");
}

/// From a dead emulator over the wire to the first answer in 2 s, and a candidate of a measured search in 1 s: the best
/// of three tries, since others use this machine too. Half a million multiply-accumulates, 100 KiB of weights.
#[test]
fn a_model_of_100_kib_is_loaded_and_run_in_two_seconds() {
    let mut net = TestNet::new(8, Fill::Random, [8, 8, 64], 8);
    net.conv_of(square(3, 1), 16, 8, 8);
    let mut net = net.dense(96, 8, None);
    let bytes = net.image(KernelHint::DSP);
    let image = Image::open(&bytes).unwrap();
    assert!(image.len() > 100 << 10, "{}", image.len());
    let codes = net.input_codes();
    let input = store(&net.input, &codes);
    let expected = native::infer(&image, &input).unwrap();
    let (board, lab) = (&board::VIRT_M4, Lab::from_env());
    if emulator(board, &image).is_none() {
        return;
    }
    let tries = [(); 3].map(|()| {
        let started = Instant::now();
        let mut session = lab.load(board, &image, &mut |_| ()).unwrap();
        assert_eq!(session.infer(&input).unwrap().inference, expected);
        let loaded = started.elapsed();
        drop(session);
        let started = Instant::now();
        releq::cost::measure::measure(board, &lab, &image).unwrap();
        (loaded, started.elapsed())
    });
    let [loaded, candidate] = [tries.map(|tried| tried.0), tries.map(|tried| tried.1)];
    let best = |tries: [Duration; 3]| tries.into_iter().min().unwrap();
    assert!(best(loaded) < Duration::from_secs(2), "{loaded:?}");
    assert!(best(candidate) < Duration::from_secs(1), "{candidate:?}");
    eprintln!("loaded and run in {:?}, measured as a candidate in {:?}", best(loaded), best(candidate));
}

/// An emulator whose runner serves two UARTs, each a pseudo-terminal of this machine; ended when dropped.
struct Uarts {
    child: Child,
    ports: [String; 2],
}

impl Uarts {
    /// `None`, said aloud, where this machine cannot emulate them.
    fn start() -> Option<Self> {
        let Launch { qemu, runners, .. } = Launch::from_env();
        let runner = runners.iter().map(|directory| directory.join("virt-m4-uart.elf")).find(|file| file.is_file());
        let Some(runner) = runner else { return skipped(NO_RUNNER) };
        let mut command = Command::new(qemu);
        command.args(["-machine", "mps2-an386", "-display", "none", "-monitor", "none"]);
        command.args(["-serial", "pty", "-serial", "pty"]);
        command.args(["-semihosting-config", "enable=on,target=native", "-icount", &format!("shift={ICOUNT_SHIFT}")]);
        command.arg("-kernel").arg(runner).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => return skipped(NO_EMULATOR),
            Err(error) => panic!("{error}"),
        };
        // "char device redirected to /dev/pts/3 (label serial0)", a line each.
        let mut said = BufReader::new(child.stdout.take().unwrap()).lines();
        let ports = [(); 2].map(|()| {
            let line = said.next().unwrap().unwrap();
            line.split_whitespace().find(|word| word.starts_with("/dev/")).unwrap().to_owned()
        });
        Some(Self { child, ports })
    }
}

impl Drop for Uarts {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A network of a few KiB, its input, and what this machine answers.
fn small() -> (ImageBuffer, Vec<u8>, native::Inference) {
    let mut net = TestNet::new(6, Fill::Random, [8, 8, 4], 8);
    net.conv_of(square(3, 1), 8, 4, 8);
    let mut net = net.dense(10, 4, None);
    let bytes = net.image(KernelHint::DSP);
    let codes = net.input_codes();
    let input = store(&net.input, &codes);
    let expected = native::infer(&Image::open(&bytes).unwrap(), &input).unwrap();
    (bytes, input, expected)
}

/// Loads, opens and runs over one UART after the other: the runner answers the one that asks.
#[test]
fn a_uart_carries_the_whole_conversation() {
    let (bytes, input, expected) = small();
    let image = Image::open(&bytes).unwrap();
    let Some(uarts) = Uarts::start() else { return };
    let [first, second] = &uarts.ports;
    for port in [first, second, first] {
        let lab = Lab { serial: Some(port.clone()), ..Lab::from_env() };
        let mut session = lab.open(&board::VIRT_M4, &image).unwrap().session;
        assert_eq!(session.infer(&input).unwrap().inference, expected, "{port}");
    }
}

/// What arrives at another port in the middle of a question damages it, and it is asked again: as often as noise that
/// is longer than many questions makes it.
#[test]
fn noise_at_the_other_uart_costs_questions() {
    let (bytes, input, expected) = small();
    let image = Image::open(&bytes).unwrap();
    let Some(uarts) = Uarts::start() else { return };
    let [quiet, noisy] = &uarts.ports;
    let mut noise = Serial::open(&board::VIRT_M4, noisy).unwrap();
    noise.send(b"noise").unwrap();
    let quiet = Serial::open(&board::VIRT_M4, quiet).unwrap();
    // Where noise ends a question, the runner complains to whoever made it, and the host learns nothing.
    let patience = Patience { attempt: Duration::from_secs(3), attempts: 20 };
    let mut greeted = Greeted::greet(&board::VIRT_M4, quiet, patience).unwrap();
    greeted.load(&image, &mut |_| noise.send(b"no\0ise").unwrap()).unwrap();
    noise.send(&b"no\0ise".repeat(40)).unwrap();
    let mut session = greeted.open(&image).unwrap();
    noise.send(b"noise").unwrap();
    assert_eq!(session.infer(&input).unwrap().inference, expected);
}

/// A runner with a key runs what that has signed and nothing else, and says so.
#[test]
fn a_runner_with_a_key_runs_signed_images_only() {
    let (bytes, input, expected) = small();
    let image = Image::open(&bytes).unwrap();
    let launch = Launch::from_env();
    let signed =
        launch.runners.iter().map(|directory| directory.join("virt-m4-signed.elf")).find(|file| file.is_file());
    let Some(runner) = signed else { return skipped(NO_RUNNER).unwrap_or_default() };
    let directory = tempfile::tempdir().unwrap();
    std::fs::copy(runner, directory.path().join("virt-m4.elf")).unwrap();
    let launch = Launch { runners: vec![directory.path().to_owned()], ..launch };
    let answer = |image: &Image<'_>| {
        let qemu = Qemu::start(&board::VIRT_M4, image, &launch)?;
        Session::open(&board::VIRT_M4, qemu, image, Patience::default())?.infer(&input)
    };
    let refusal = match answer(&image) {
        Err(TargetError::NoEmulator { .. }) => return skipped(NO_EMULATOR).unwrap_or_default(),
        refused => refused.unwrap_err().to_string(),
    };
    assert!(refusal.contains("virt-m4 refused: the image is not signed"), "{refusal}");
    let others = PrivateKey::generate().unwrap().sign(&image);
    let refusal = answer(&Image::open(&others).unwrap()).unwrap_err().to_string();
    assert!(refusal.contains("none of the keys") && refusal.contains("releq sign"), "{refusal}");
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys/test.key");
    let ours = PrivateKey::read(&key).unwrap().sign(&image);
    assert_eq!(answer(&Image::open(&ours).unwrap()).unwrap().inference, expected);
}

#[test]
fn a_wrong_known_answer_is_refused() {
    let (net, _) = wide();
    let bytes = net.image_with(KernelHint::PACKED, SelfTest { seed: 1, digest: 0xDEAD_BEEF });
    let image = Image::open(&bytes).unwrap();
    let Some(qemu) = emulator(&board::VIRT_M4, &image) else { return };
    let refused = Session::open(&board::VIRT_M4, qemu, &image, Patience::default()).unwrap_err();
    assert!(matches!(refused, TargetError::SelfTest { .. }), "{refused}");
}

#[test]
fn another_board_is_noticed() {
    let (_, bytes) = wide();
    let image = Image::open(&bytes).unwrap();
    let Some(qemu) = emulator(&board::VIRT_M4, &image) else { return };
    let refused = Session::open(&board::VIRT_M3, qemu, &image, Patience::default()).unwrap_err();
    assert!(matches!(&refused, TargetError::WrongBoard { found, .. } if found == "virt-m4"), "{refused}");
}

/// What `releq bench` reports of a layer: counts that repeat, of a kernel that is exact, far above the machine's least.
#[test]
fn a_bench_row_is_exact_and_repeats() {
    let shape = shapes().into_iter().find(|shape| shape.name == "dense").unwrap();
    let case = Case { shape, weights: Some(2), activations: 8 };
    let row = || match measure(&board::VIRT_M4, &Lab::from_env(), &case) {
        Err(MeasureError::Target(TargetError::NoEmulator { .. } | TargetError::NoRunner { .. })) => {
            assert!(std::env::var_os("RELEQ_REQUIRE_QEMU").is_none());
            writeln!(std::io::stderr(), "skipped: no qemu-system-arm or no runner firmware").unwrap();
            None
        }
        row => Some(row.unwrap()),
    };
    let Some(first) = row() else { return };
    assert_eq!(Some(&first), row().as_ref());
    assert!(first.exact && first.kernel.ends_with("::DENSE"), "{first:?}");
    assert_eq!((first.terms, first.weight_bytes), (256 * 128, 256 * 128 / 4));
    assert!(first.ratio > 0.25 && first.ratio < 20.0, "{first:?}");
}

/// QEMU's plugin counts every layer's instructions as the board's own clock does, and each takes a cycle at least.
#[test]
fn the_plugin_counts_what_the_clock_counts() {
    let (net, _) = wide();
    let bytes = net.image(KernelHint::DSP);
    let image = Image::open(&bytes).unwrap();
    let Some(qemu) = emulator(&board::VIRT_M4, &image) else { return };
    let marks = match qemu.marks() {
        Ok(marks) => marks,
        Err(none) => return writeln!(std::io::stderr(), "skipped: {none}").unwrap(),
    };
    let mut session = Session::open(&board::VIRT_M4, qemu, &image, Patience::default()).unwrap();
    let input = vec![0; session.input_bytes()];
    let first = session.infer(&input).unwrap();
    let (model, cycles) = marks.cycles(&first.counts).unwrap();
    assert_eq!((model.name.as_str(), cycles.len()), ("m4-v1", first.counts.len()));
    assert!(cycles.iter().zip(&first.counts).all(|(&cycles, &count)| cycles >= count.into()), "{cycles:?}");
    let again = session.infer(&input).unwrap();
    assert_eq!(marks.cycles(&again.counts).unwrap().1, cycles);
}
