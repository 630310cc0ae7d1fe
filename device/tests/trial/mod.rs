//! An image on trial: opened, and run by every family of kernels inside an arena that is watched.
//!
//! Tests and fuzz targets judge images by the same rules: one that opens stays inside its arena, gives the same
//! answer whatever the arena held before, and the same from every family.

#![allow(unreachable_pub, reason = "shared by tests and fuzz targets, whose one root needs it public")]

mod rules;

use releq_device::kernels::Kernel;
use releq_device::{Engine, OpenError, kernels};
use releq_format::image::{Image, ImageBuffer, ImageError, SelfTest};

use rules::{REFERENCE, work};

pub use rules::repair;

/// What becomes of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does not open.
    Refused(ImageError),
    /// It opens, but no engine here can hold it.
    Unfit,
    /// It was run.
    Ran,
}

/// Most layers of an image that is run.
const MOST_LAYERS: usize = 64;
/// Most bytes of arena of an image that is run.
const MOST_ARENA: usize = 1 << 20;
/// Most products and outputs of an image that is run: about a second's worth.
const MOST_WORK: u64 = 1 << 24;

/// Words on either side of a watched arena.
const FENCE: usize = 64;
/// What they hold, and nothing that is computed is likely to.
const POST: u64 = 0xFE4C_E90D_7A11_B055;
/// What a fresh arena is filled with.
const FRESH: u64 = 0;
/// What an arena holds that was used before.
const USED: u64 = 0xA5A5_A5A5_A5A5_A5A5;

/// Opens `bytes` and, if they are an image, runs it.
///
/// # Panics
/// If it breaks a promise: writes outside its arena, or answers differently.
pub fn judge(bytes: &[u8]) -> Verdict {
    let buffer = ImageBuffer::from(bytes);
    let image = match Image::open(&buffer) {
        Ok(image) => image,
        Err(error) => return Verdict::Refused(error),
    };
    if image.arena_bytes() > MOST_ARENA || image.layer_count() > MOST_LAYERS || work(&image) > MOST_WORK {
        return Verdict::Unfit;
    }
    // The reference runs whatever opens, in any scratch.
    let expected = fenced(&image, REFERENCE, FRESH).expect("it has a kernel for each layer");
    for answer in [fenced(&image, kernels::ALL, USED), exact(&image, kernels::ALL)] {
        assert_eq!(answer, Ok(expected.clone()), "families disagree, or what the arena held before matters");
    }
    Verdict::Ran
}

/// The logits from an arena between fences, filled with `fill` before.
fn fenced(image: &Image<'_>, kernels: &'static [&'static Kernel], fill: u64) -> Result<Vec<i32>, OpenError> {
    let words = image.arena_bytes().div_ceil(8);
    let mut memory = vec![POST; FENCE + words + FENCE];
    memory[FENCE..][..words].fill(fill);
    let logits = logits(image, bytemuck::cast_slice_mut(&mut memory[FENCE..][..words]), kernels);
    let (before, rest) = memory.split_at(FENCE);
    assert!(before.iter().chain(&rest[words..]).all(|word| *word == POST), "it writes outside its arena");
    logits
}

/// The logits from an arena that ends where the image says, to a word, so that a sanitizer sees what lies beyond.
fn exact(image: &Image<'_>, kernels: &'static [&'static Kernel]) -> Result<Vec<i32>, OpenError> {
    let mut memory = vec![USED; image.arena_bytes().div_ceil(8)];
    logits(image, &mut bytemuck::cast_slice_mut(&mut memory)[..image.arena_bytes()], kernels)
}

fn logits(image: &Image<'_>, arena: &mut [u8], kernels: &'static [&'static Kernel]) -> Result<Vec<i32>, OpenError> {
    let mut engine = Engine::<MOST_LAYERS>::new(image, arena, kernels)?;
    SelfTest::fill(image.header().self_test.seed, &image.header().input, engine.input_mut());
    engine.run(&mut ());
    let logits: Vec<i32> = engine.logits().collect();
    assert!(logits.len() == engine.outputs() && engine.top1() < logits.len(), "logits are missing");
    Ok(logits)
}
