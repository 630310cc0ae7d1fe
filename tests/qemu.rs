//! The virtual boards: every kernel family on every emulated core against the naive interpreter, and the counts.
//!
//! Needs `qemu-system-arm` and the runners of `cargo xtask firmware`; without them each test says that it was skipped,
//! and fails under RELEQ_REQUIRE_QEMU=1.

#![allow(clippy::explicit_write, reason = "what eprintln! says is swallowed in a test that passes")]

mod suite;

use std::io::Write;

use releq::target::TargetError;
use releq::target::qemu::{Launch, Qemu};
use releq::target::session::{Patience, Session};
use releq_device::board::{self, Board};
use releq_format::crc::crc32;
use releq_format::graph::{KernelHint, Window};
use releq_format::image::{Image, ImageBuffer, SelfTest};
use suite::{Fill, TestNet, expected_bytes, store};

/// Networks a board runs; each starts an emulator of its own.
const RANDOM_NETWORKS: u64 = 24;

/// An emulator with `image`; `None`, said aloud, where this machine cannot emulate `board`.
fn emulator(board: &'static Board, image: &Image<'_>) -> Option<Qemu> {
    let missing = match Qemu::start(board, image, &Launch::from_env()) {
        Ok(qemu) => return Some(qemu),
        Err(TargetError::NoEmulator { .. }) => "no qemu-system-arm",
        Err(TargetError::NoRunner { .. }) => "no runner firmware",
        Err(other) => panic!("{other}"),
    };
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

/// The hint is heeded: assembly takes less than half of the portable kernels' instructions.
fn dsp_is_faster(board: &'static Board) {
    let mut net = TestNet::new(5, Fill::Random, [8, 8, 16], 8);
    net.conv_of(square(3, 1), 16, 8, 8);
    net.depthwise_of(square(3, 1), 8, 8);
    net.maxpool_of(square(2, 0));
    net.dense_of(32, 4, 8);
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
    dsp_is_faster(&board::VIRT_M4);
}

#[test]
fn dsp_kernels_on_virt_m7() {
    run_dsp_suite(&board::VIRT_M7);
    dsp_is_faster(&board::VIRT_M7);
}

#[test]
fn dsp_kernels_on_virt_m33() {
    run_dsp_suite(&board::VIRT_M33);
    dsp_is_faster(&board::VIRT_M33);
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
    assert_eq!(board::ALL.len(), 4);
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

fn square(kernel: u8, padding: u8) -> Window {
    Window { kernel: [kernel; 2], stride: [1; 2], padding: [padding; 4] }
}

/// Prints what the only layer worth measuring costs in instructions per multiply-accumulate, or per input of a pool.
///
/// RELEQ_PRICE picks layers by a part of their name, RELEQ_PRICE_BOARD another board than virt-m4.
fn price(name: &str, mut net: TestNet) {
    if std::env::var("RELEQ_PRICE").is_ok_and(|only| !name.contains(&only)) {
        return;
    }
    let input = net.input;
    let macs = net.layers[0].op.macs(&input, &net.layers[0].output).unwrap_or(u64::from(input.elements().unwrap()));
    let codes = net.input_codes();
    net = net.dense(1, 8, None);
    let bytes = net.image(KernelHint::DSP);
    let image = Image::open(&bytes).unwrap();
    let board = std::env::var("RELEQ_PRICE_BOARD").ok().and_then(|name| Board::by_name(&name));
    let Some(mut session) = session(board.unwrap_or(&board::VIRT_M4), &image) else { return };
    let measured = session.infer(&store(&net.input, &codes)).unwrap();
    let naive = net.naive(&codes);
    let exact = measured.inference.digests[0] == crc32(&expected_bytes(&net.layers[0].output, &naive[0]));
    let scratch = image.layers().next().unwrap().scratch.bytes;
    println!("{name}: {:.3} scratch {scratch} exact {exact}", f64::from(measured.counts[0]) / macs as f64);
}

/// `cargo test --test qemu -- --ignored --nocapture prices`
#[test]
#[ignore = "prints what kernels cost, checks nothing"]
fn prices() {
    let small = [(4, 4), (2, 4), (2, 2), (3, 3), (1, 1)];
    let wide = [8, 4, 2, 1, 3, 5, 6, 7].map(|w| (w, 8));
    let convs = [
        ("conv3x3 16x16x32->32", [16, 16, 32], square(3, 1), 32),
        ("conv1x1 16x16x64->64", [16, 16, 64], square(1, 0), 64),
        ("conv5x5 28x28x1->20", [28, 28, 1], square(5, 0), 20),
        ("conv3x3 32x32x3->16", [32, 32, 3], square(3, 1), 16),
    ];
    for (name, shape, window, out) in convs {
        for (w, a) in wide.into_iter().chain(small) {
            let mut net = TestNet::new(1, Fill::Random, shape, a);
            net.conv_of(window, out, w, a);
            price(&format!("{name} w{w}a{a}"), net);
        }
    }
    for (w, a) in [(8, 8), (4, 8), (2, 8), (3, 8), (4, 4)] {
        let mut net = TestNet::new(1, Fill::Random, [16, 16, 64], a);
        net.depthwise_of(square(3, 1), w, a);
        price(&format!("depthwise3x3 16x16x64 w{w}a{a}"), net);
    }
    for (kernel, stride) in [(2, 2), (3, 2), (3, 1)] {
        let mut net = TestNet::new(1, Fill::Random, [16, 16, 64], 8);
        net.maxpool_of(Window { kernel: [kernel; 2], stride: [stride; 2], padding: [0; 4] });
        price(&format!("maxpool {kernel}x{kernel} stride {stride} 16x16x64, per input"), net);
    }
    for (w, a) in wide.into_iter().chain(small) {
        let mut net = TestNet::new(1, Fill::Random, [1, 1, 256], a);
        net.dense_of(128, w, a);
        price(&format!("dense 256->128 w{w}a{a}"), net);
    }
}
