//! Frozen images: every reader of this format version, now and later, must open them and give the recorded answer;
//! and the normative text must show the very bytes.

mod suite;

use std::path::PathBuf;

use releq_device::{Engine, kernels};
use releq_format::bits::{BitWidth, Levels};
use releq_format::crc::crc32;
use releq_format::graph::{KernelHint, LayerRecord, Op, Region, Storage, TensorRecord, Weights, Window};
use releq_format::image::{Header, Image, ImageBuffer, ImageBuilder, ImageError, SelfTest};
use releq_format::pack::{Layout, Matrix};
use releq_format::quant::Channel;
use suite::{Fill, TestNet};

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("format/golden/v1").join(name)
}

/// Logits of the self-test input with seed `seed`.
fn answer(bytes: &[u8], seed: u32) -> u32 {
    let image = Image::open(bytes).expect("a golden image opens");
    let mut arena = vec![0u64; image.arena_bytes().div_ceil(8)];
    let mut engine = Engine::<32>::new(&image, bytemuck::cast_slice_mut(&mut arena), kernels::ALL).unwrap();
    SelfTest::fill(seed, &image.header().input, engine.input_mut());
    engine.run(&mut ());
    let logits: Vec<u8> = engine.logits().flat_map(i32::to_le_bytes).collect();
    crc32(&logits)
}

/// The smallest instructive image: 2×2 pixels, a 2-bit convolution to one 4-bit channel, two 8-bit dense logits.
fn tiny(self_test: SelfTest) -> ImageBuffer {
    let four = BitWidth::new(4).unwrap();
    let two = BitWidth::new(2).unwrap();
    let tensor = |height, channels, bits, storage, offset| TensorRecord {
        height,
        width: height,
        channels,
        bits,
        zero_point: 0,
        storage,
        offset,
    };
    let input = tensor(2, 1, BitWidth::EIGHT, Storage::Bits8, 0);
    let middle = tensor(2, 1, four, Storage::Bits4, 4);
    let logits = tensor(1, 2, BitWidth::EIGHT, Storage::Logits, 8);
    let mut builder = ImageBuilder::new();
    let conv = Matrix { rows: 1, columns: 4, bits: two, levels: Levels::MidRise, layout: Layout::RowPairs };
    let codes = builder.section(&conv.pack(&[-3, -1, 1, 3]).unwrap());
    let channels = builder.channels(&[Channel { bias: 40, multiplier: 1 << 20 }]);
    let weights = Weights { bits: two, levels: Levels::MidRise, layout: Layout::RowPairs, shift: 14, codes, channels };
    builder.layer(&LayerRecord {
        name: "conv",
        op: Op::Conv2d { window: Window { kernel: [2, 2], stride: [1, 1], padding: [1, 1, 0, 0] }, weights },
        inputs: [0, 0],
        output: middle,
        scratch: Region { offset: 16, bytes: 16 },
        kernel: KernelHint::PACKED,
    });
    let dense = Matrix { rows: 2, columns: 4, bits: BitWidth::EIGHT, levels: Levels::MidTread, layout: Layout::Bytes };
    let codes = builder.section(&dense.pack(&[1, 2, 3, 4, -5, 6, -7, 127]).unwrap());
    let channels =
        builder.channels(&[Channel { bias: 0, multiplier: 1 << 30 }, Channel { bias: -9, multiplier: 1 << 29 }]);
    let weights =
        Weights { bits: BitWidth::EIGHT, levels: Levels::MidTread, layout: Layout::Bytes, shift: 16, codes, channels };
    builder.layer(&LayerRecord {
        name: "fc",
        op: Op::Dense { weights },
        inputs: [1, 0],
        output: logits,
        scratch: Region { offset: 16, bytes: 16 },
        kernel: KernelHint::PACKED,
    });
    let header = Header {
        name: "tiny",
        input,
        input_scale: (1f32 / 255.0).to_bits(),
        normalisation: &[0f32.to_le_bytes(), 1f32.to_le_bytes()].concat(),
        logit_scale: 0.5f32.to_bits(),
        self_test,
        layers: 0,
    };
    builder.finish(header, 32).unwrap()
}

/// Every op, weight widths 1 to 8, activation widths 1 to 8.
fn every_op() -> TestNet {
    let mut net = TestNet::new(1811, Fill::Random, [9, 9, 4], 8);
    net.conv(9, 3, 7).add(6).depthwise(5, 5).maxpool().conv(7, 1, 4).avgpool(3).depthwise(8, 8).conv(5, 7, 2);
    net.conv(6, 4, 1);
    net.conv(6, 6, 8);
    net.dense(10, 2, None)
}

/// The layout of ends at every width, with odd rows and groups that are not whole.
fn ends() -> TestNet {
    let mut net = TestNet::new(1812, Fill::Random, [6, 5, 3], 8);
    let square = |side, padding| Window { kernel: [side; 2], stride: [1; 2], padding: [padding; 4] };
    net.conv_in_ends(square(3, 1), 5, 1, 8).conv_in_ends(square(2, 0), 6, 2, 4);
    net.conv_in_ends(square(3, 1), 7, 3, 8).conv_in_ends(square(1, 0), 16, 4, 8);
    net.dense(10, 8, None)
}

/// Channels side by side, in every storage, meeting at bytes and within them.
fn joined() -> TestNet {
    let mut net = TestNet::new(1813, Fill::Random, [5, 4, 3], 8);
    net.concat(5, 4, true).conv(3, 2, 1);
    net.concat(9, 1, false).conv(5, 3, 2);
    net.concat(3, 5, true).twice().conv(7, 4, 3);
    net.concat(4, 8, false).conv(2, 6, 4);
    net.concat(3, 2, true);
    net.dense(10, 4, None)
}

fn tested(image: impl Fn(SelfTest) -> ImageBuffer) -> ImageBuffer {
    let seed = 0x5EED_0001;
    let digest = answer(&image(SelfTest { seed: 0, digest: 0 }), seed);
    image(SelfTest { seed, digest })
}

#[test]
#[ignore = "writes golden files that are not there yet; run by hand, once per format version or layout"]
fn write_golden_files() {
    let write = |name: &str, image: &dyn Fn(SelfTest) -> ImageBuffer| {
        if !golden(name).exists() {
            std::fs::write(golden(name), &*tested(image)).unwrap();
        }
    };
    write("tiny.rlq", &tiny);
    for (name, net) in [("every-op.rlq", every_op()), ("ends.rlq", ends()), ("concat.rlq", joined())] {
        write(name, &|test| net.image_with(KernelHint::PACKED, test));
    }
}

#[test]
fn golden_images_still_open_and_answer() {
    let mut count = 0;
    for entry in std::fs::read_dir(golden("")).unwrap() {
        let path = entry.unwrap().path();
        let bytes = ImageBuffer::from(&std::fs::read(&path).unwrap()[..]);
        let image = Image::open(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let SelfTest { seed, digest } = image.header().self_test;
        assert_ne!(seed, 0, "{} records an answer", path.display());
        assert_eq!(answer(&bytes, seed), digest, "{}", path.display());
        count += 1;
    }
    assert_eq!(count, 4);
}

#[test]
fn the_builder_still_emits_the_golden_bytes() {
    assert_eq!(std::fs::read(golden("tiny.rlq")).unwrap(), *tested(tiny));
}

/// SPEC.md's annotated hexdump: `offset: bytes  meaning` lines that together are tiny.rlq.
#[test]
fn the_specification_shows_the_golden_bytes() {
    let spec = std::fs::read_to_string(golden("../../SPEC.md")).unwrap();
    let dump = spec.split("```hexdump\n").nth(1).and_then(|rest| rest.split("```").next()).expect("SPEC.md has a dump");
    let mut bytes = Vec::new();
    for line in dump.lines().filter(|line| !line.trim_start().starts_with(';')) {
        let (offset, rest) = line.split_once(':').expect("offset: bytes");
        assert_eq!(usize::from_str_radix(offset, 16).unwrap(), bytes.len(), "{line}");
        let hex = rest.split(';').next().unwrap_or("");
        bytes.extend(hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).expect("hex")));
    }
    assert_eq!(bytes, std::fs::read(golden("tiny.rlq")).unwrap());
}

#[test]
fn another_version_is_named() {
    let mut bytes = tiny(SelfTest { seed: 0, digest: 0 });
    bytes[4] = 2;
    assert_eq!(Image::open(&bytes).unwrap_err(), ImageError::Version(2));
    bytes[0] = 0;
    assert_eq!(Image::open(&bytes).unwrap_err(), ImageError::NotAnImage);
}
