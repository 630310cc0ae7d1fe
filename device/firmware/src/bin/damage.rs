//! Damaged images on the emulated Cortex-M4F: golden ones with a bit flipped and the checksum put right, each refused or
//! run, by the reference kernels and the fastest, with image and arena between regions that the MPU closes.
//!
//! Asked for a fence by its number on standard input, it touches that instead, so that a test sees it end in a fault.
#![no_std]
#![no_main]

#[path = "../../../tests/trial/rules.rs"]
mod rules;

use core::fmt::Write;
use core::hint::black_box;
use core::ops::Range;

use releq_device::kernels::Kernel;
use releq_device::{Engine, kernels};
use releq_firmware::fault::LastWords;
use releq_firmware::fence;
use releq_firmware::memory::Arena;
use releq_firmware::transport::{Port, Semihosted, Semihosting};
use releq_format::crc::Crc32;
use releq_format::image::{Image, SelfTest};

const GOLDEN: [&[u8]; 4] = [
    include_bytes!("../../../../format/golden/v1/tiny.rlq"),
    include_bytes!("../../../../format/golden/v1/concat.rlq"),
    include_bytes!("../../../../format/golden/v1/ends.rlq"),
    include_bytes!("../../../../format/golden/v1/every-op.rlq"),
];

/// Every how many bits one is flipped, in records and in constants; odd, so that all bits of bytes get their turn.
const STRIDES: [usize; 2] = [5, 61];

const MOST_LAYERS: usize = 32;
/// Most products and outputs of an image that is run.
const MOST_WORK: u64 = 1 << 18;

/// Bytes that nothing may touch, at either end.
const FENCE: usize = 4096;
/// Bytes for an arena, and for an image.
const ARENA: usize = 32 << 10;
const IMAGE: usize = 8 << 10;
/// Fences around both, and one between them.
const YARD: usize = FENCE + ARENA + FENCE + IMAGE + FENCE;

/// The assembly, whatever an image hints at, and the reference where there is none.
const ASSEMBLY: &[&Kernel] = kernels![
    dsp::CONV2D,
    dsp::DEPTHWISE,
    dsp::DENSE,
    dsp::MAXPOOL,
    dsp::AVGPOOL,
    dsp::ADD,
    reference::CONV2D,
    reference::DEPTHWISE,
    reference::DENSE,
    reference::MAXPOOL,
    reference::AVGPOOL,
    reference::ADD,
    reference::CONCAT,
];

#[derive(Debug, Default)]
struct Tally {
    refused: usize,
    ran: usize,
    too_large: usize,
    /// Layers that the assembly ran.
    assembly: usize,
}

/// Where arenas and images are put, and what surrounds them.
struct Yard<'y> {
    arena: &'y mut [u8],
    image: &'y mut [u8],
    fences: [&'y [u8]; 3],
}

#[repr(C, align(4096))]
struct Ground(Arena<YARD>);

static GROUND: Ground = Ground(Arena::new());

#[cortex_m_rt::entry]
fn main() -> ! {
    let mut yard = Yard::fenced();
    let mut said = Semihosting::open();
    if let [digit @ b'0'..=b'2', ..] = said.read(&mut [0; 8]) {
        let fence = yard.fences[usize::from(digit - b'0')];
        let held = black_box(fence)[fence.len() / 2];
        let _ = writeln!(said, "touched, and it held {held}");
        Semihosted.end(0)
    }
    let mut tally = Tally::default();
    for golden in GOLDEN {
        let constants = u32::from_le_bytes([golden[28], golden[29], golden[30], golden[31]]) as usize;
        for (bytes, stride) in [0..constants, constants..golden.len()].into_iter().zip(STRIDES) {
            for bit in (8 * bytes.start..8 * bytes.end).step_by(stride) {
                yard.judge(golden, bit, &mut tally);
            }
        }
    }
    let Tally { refused, ran, too_large, assembly } = tally;
    for (what, count) in [("refused", refused), ("ran", ran), ("too large to run", too_large)] {
        let _ = writeln!(said, "flipped bits on virt-m4 with the checksum repaired {what} {count}");
    }
    let _ = writeln!(said, "layers of damaged images that assembly ran on virt-m4 {assembly}");
    Semihosted.end(0)
}

impl Yard<'static> {
    /// All of the ground, with the fences closed.
    fn fenced() -> Self {
        let ground = GROUND.0.take();
        let (before, rest) = ground.split_at_mut(FENCE);
        let (arena, rest) = rest.split_at_mut(ARENA);
        let (between, rest) = rest.split_at_mut(FENCE);
        let (image, after) = rest.split_at_mut(IMAGE);
        let Some(mut core) = cortex_m::Peripherals::take() else { releq_firmware::fault::stop() };
        let fences: [&[u8]; 3] = [before, between, after];
        for (number, fence) in fences.iter().enumerate() {
            let Range { start, end } = fence.as_ptr_range();
            fence::close(&mut core.MPU, number as u8, start as usize..end as usize);
        }
        Self { arena, image, fences }
    }
}

impl Yard<'_> {
    /// Flips one bit of a golden image and sees what becomes of it.
    fn judge(&mut self, golden: &[u8], bit: usize, tally: &mut Tally) {
        // Flush with the fence behind it, to a word.
        let start = IMAGE - golden.len().next_multiple_of(8);
        let bytes = &mut self.image[start..][..golden.len()];
        bytes.copy_from_slice(golden);
        bytes[bit / 8] ^= 1 << (bit % 8);
        rules::repair(bytes);
        let Ok(image) = Image::open(bytes) else { return tally.refused += 1 };
        let needed = image.arena_bytes();
        if needed > ARENA || image.layer_count() > MOST_LAYERS || rules::work(&image) > MOST_WORK {
            return tally.too_large += 1;
        }
        // The reference first; then the others, at one fence and at the other, each in what the last one left.
        let last = ARENA - needed.next_multiple_of(8);
        let mut first = None;
        for kernels in [rules::REFERENCE, kernels::ALL, ASSEMBLY] {
            for start in [0, last] {
                let (answer, assembly) = answer(&image, &mut self.arena[start..][..needed], kernels);
                assert!(
                    *first.get_or_insert(answer) == answer,
                    "bit {bit}: families disagree, or what the arena held matters"
                );
                tally.assembly += assembly;
            }
        }
        tally.ran += 1;
    }
}

/// A checksum of the logits, and how many layers the assembly has run for them.
fn answer(image: &Image<'_>, arena: &mut [u8], kernels: &'static [&'static Kernel]) -> (u32, usize) {
    let Ok(mut engine) = Engine::<MOST_LAYERS>::new(image, arena, kernels) else { panic!("an image has no engine") };
    SelfTest::fill(image.header().self_test.seed, &image.header().input, engine.input_mut());
    engine.run(&mut ());
    let answer = engine.logits().fold(Crc32::new(), |crc, logit| crc.update(&logit.to_le_bytes())).finish();
    let assembly = |index: &usize| engine.kernel_name(*index).is_some_and(|name| name.starts_with("dsp::"));
    (answer, (0..engine.layer_count()).filter(assembly).count())
}

releq_firmware::faults!(Semihosted);
