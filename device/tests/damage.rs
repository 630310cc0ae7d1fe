//! Damaged images: every golden one with each bit flipped and cut at each byte, as it is and with its checksum
//! repaired. And one that is meant to take long.

mod trial;

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use releq_format::bits::BitWidth;
use releq_format::graph::{KernelHint, LayerRecord, Op, Region, Storage, TensorRecord, Window};
use releq_format::image::{Header, Image, ImageBuffer, ImageBuilder, ImageError, SelfTest};
use trial::Verdict;

/// The frozen images, by name.
fn golden() -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../format/golden/v1");
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named =
        |path: std::path::PathBuf| (path.file_name().unwrap().to_string_lossy().into(), fs::read(path).unwrap());
    let mut images: Vec<_> = paths.map(named).collect();
    images.sort();
    assert_eq!(images.len(), 4);
    images
}

/// Where the constants of an image begin, behind container and records (SPEC.md, §2).
fn constants(image: &[u8]) -> usize {
    u32::from_le_bytes(image[28..32].try_into().unwrap()) as usize
}

/// Every case, or where Miri runs them, which takes thousands of times as long, every so-manieth of a small image and of a
/// large one; of one that has fewer, none. Primes meet every bit of a byte.
const fn every([small, large]: [usize; 2], image: &[u8]) -> usize {
    match image.len() {
        _ if !cfg!(miri) => 1,
        ..1000 => small,
        _ => large,
    }
}

/// At least how many cases end one way: so many natively, and one of those few that Miri runs.
const fn at_least(count: usize) -> usize {
    if cfg!(miri) { 1 } else { count }
}

/// Each image with one bit flipped, of those bytes that `part` gives.
fn flipped(primes: [usize; 2], part: fn(&[u8]) -> Range<usize>) -> impl Iterator<Item = (String, Vec<u8>)> {
    golden().into_iter().flat_map(move |(name, image)| {
        let Range { start, end } = part(&image);
        let every = every(primes, &image);
        (8 * start..8 * end).skip(every - 1).step_by(every).map(move |bit| {
            let mut bytes = image.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            (format!("{name} with bit {bit} flipped"), bytes)
        })
    })
}

/// Each image without its end.
fn truncated() -> impl Iterator<Item = (String, Vec<u8>)> {
    let cut = |(name, image): (String, Vec<u8>)| {
        let lengths = (0..image.len()).step_by(every([7, 101], &image));
        lengths.map(move |length| (format!("{name} cut to {length}"), image[..length].to_vec()))
    };
    golden().into_iter().flat_map(cut)
}

/// Counts those that are refused, all of them, and says so.
fn refused(what: &str, damaged: impl Iterator<Item = (String, Vec<u8>)>) {
    let count =
        damaged.inspect(|(name, bytes)| assert!(Image::open(&ImageBuffer::from(&bytes[..])).is_err(), "{name}"));
    println!("figure: {what} refused {}", count.count());
}

/// Repairs the checksum of each, judges it, and counts how they end.
fn judged(what: &str, damaged: impl Iterator<Item = (String, Vec<u8>)>) -> BTreeMap<&'static str, usize> {
    let mut ends = BTreeMap::new();
    for (name, mut bytes) in damaged {
        trial::repair(&mut bytes);
        let verdict = std::panic::catch_unwind(|| trial::judge(&bytes));
        let end = match verdict.unwrap_or_else(|_| panic!("{name}, with its checksum repaired")) {
            Verdict::Refused(ImageError::Checksum) => panic!("{name}: the checksum was not repaired"),
            Verdict::Refused(_) => "refused",
            Verdict::Unfit => "too large to run",
            Verdict::Ran => "ran",
        };
        *ends.entry(end).or_default() += 1;
    }
    ends.iter().for_each(|(end, count)| println!("figure: {what} with the checksum repaired {end} {count}"));
    ends
}

#[test]
#[cfg_attr(miri, ignore = "the reference takes minutes; the engine's own tests run them")]
fn the_golden_images_run() {
    for (name, image) in golden() {
        assert_eq!(trial::judge(&image), Verdict::Ran, "{name}");
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    refused("flipped bits", flipped([29, 997], |image| 0..image.len()));
}

#[test]
fn every_truncation_is_refused() {
    refused("truncations", truncated());
}

#[test]
fn a_record_with_a_flipped_bit_that_is_signed_for_stays_in_its_arena() {
    let ends = judged("flipped bits of records", flipped([7, 4001], |image| 0..constants(image)));
    assert!(ends["ran"] >= at_least(1_000) && ends["refused"] >= at_least(1_000), "{ends:?}");
}

#[test]
fn a_constant_with_a_flipped_bit_that_is_signed_for_stays_in_its_arena() {
    let ends = judged("flipped bits of constants", flipped([5, 100_003], |image| constants(image)..image.len()));
    assert!(ends["ran"] >= at_least(10_000), "{ends:?}");
}

#[test]
fn a_truncation_that_is_signed_for_stays_in_its_arena() {
    let ends = judged("truncations", truncated());
    assert!(ends["refused"] >= at_least(1_000), "{ends:?}");
}

/// Half of the layers make a chain, the others read all the same tensor from its middle: what looks up each tensor that
/// each layer reads, for each layer before it, takes the cube of their number.
#[test]
#[cfg_attr(miri, ignore = "it is about time")]
fn many_layers_are_checked_soon() {
    const LAYERS: u16 = 2048;
    let byte = |offset| TensorRecord {
        height: 1,
        width: 1,
        channels: 1,
        bits: BitWidth::EIGHT,
        zero_point: 0,
        storage: Storage::Bits8,
        offset,
    };
    let point = Window { kernel: [1; 2], stride: [1; 2], padding: [0; 4] };
    let nowhere = Region { offset: 0, bytes: 0 };
    let mut builder = ImageBuilder::new();
    for layer in 0..LAYERS {
        let last = layer + 1 == LAYERS;
        let mean = Op::AvgPool { window: point, shift: 0, bias: 0, multiplier: 1 << 30 };
        builder.layer(&LayerRecord {
            name: "",
            op: if last { mean } else { Op::MaxPool { window: point } },
            inputs: [layer.min(LAYERS / 2), 0],
            output: TensorRecord {
                storage: if last { Storage::Logits } else { Storage::Bits8 },
                ..byte(4 * u32::from(layer + 1))
            },
            scratch: nowhere,
            kernel: KernelHint::PACKED,
        });
    }
    let header = Header {
        name: "",
        input: byte(0),
        input_scale: 0,
        normalisation: &[0; 8],
        logit_scale: 0,
        self_test: SelfTest { seed: 0, digest: 0 },
        layers: 0,
    };
    let started = Instant::now();
    assert!(builder.finish(header, 4 * u32::from(LAYERS + 1)).is_ok());
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}
