//! Images on this machine: the engine that ships, so that its answers are the device's.

use rayon::prelude::*;
use releq_device::kernels::Kernel;
use releq_device::{Engine, Observer, OpenError, kernels};
use releq_format::crc::crc32;
use releq_format::image::Image;

use crate::data::Dataset;
use crate::encode::Encoder;

/// Most layers of an image that runs here; boards take fewer.
const MAX_LAYERS: usize = 1024;

/// One run: the logits, the class, and the CRC-32 of every layer's output bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inference {
    /// One a class, in units of the image's logit scale.
    pub logits: Vec<i32>,
    /// The class with the largest logit, the lowest on a tie.
    pub top1: usize,
    /// One a layer.
    pub digests: Vec<u32>,
}

/// Keeps each layer's digest.
struct Digests(Vec<u32>);

impl Observer for Digests {
    fn begin(&mut self, _: usize) {}
    fn end(&mut self, _: usize, output: &[u8]) {
        self.0.push(crc32(output));
    }
}

/// Working memory for `image`, aligned as the engine wants it.
fn arena(image: &Image<'_>) -> Vec<u64> {
    vec![0; image.arena_bytes().div_ceil(8)]
}

fn engine<'a>(image: &Image<'a>, arena: &'a mut [u64]) -> Result<Engine<'a, MAX_LAYERS>, OpenError> {
    Engine::new(image, bytemuck::cast_slice_mut(arena), kernels::ALL)
}

/// The oracle's kernels.
const ORACLE: &[&Kernel] = releq_device::kernels![
    reference::CONV2D,
    reference::DEPTHWISE,
    reference::DENSE,
    reference::MAXPOOL,
    reference::AVGPOOL,
    reference::ADD,
    reference::CONCAT,
];

/// Runs once on the input that `fill` writes and returns the logits.
///
/// # Errors
/// [`OpenError::TooManyLayers`] for an image deeper than this machine's table.
pub fn run_once(image: &Image<'_>, fill: impl FnOnce(&mut [u8])) -> Result<Vec<i32>, OpenError> {
    let mut arena = arena(image);
    let mut engine = engine(image, &mut arena)?;
    fill(engine.input_mut());
    engine.run(&mut ());
    Ok(engine.logits().collect())
}

/// Runs once on packed input codes and tells all that can be compared with a board.
///
/// # Errors
/// As [`run_once`].
pub fn infer(image: &Image<'_>, input: &[u8]) -> Result<Inference, OpenError> {
    let mut arena = arena(image);
    Ok(watched(engine(image, &mut arena)?, input))
}

/// As [`infer`], but every layer from its definition, by the `reference` kernels.
///
/// # Errors
/// As [`run_once`].
pub fn oracle(image: &Image<'_>, input: &[u8]) -> Result<Inference, OpenError> {
    let mut arena = arena(image);
    Ok(watched(Engine::new(image, bytemuck::cast_slice_mut(&mut arena), ORACLE)?, input))
}

fn watched(mut engine: Engine<'_, MAX_LAYERS>, input: &[u8]) -> Inference {
    engine.input_mut().copy_from_slice(input);
    let mut digests = Digests(Vec::new());
    engine.run(&mut digests);
    Inference { logits: engine.logits().collect(), top1: engine.top1(), digests: digests.0 }
}

/// The class of every image of `data`, encoded as the image's header says, on all cores.
///
/// # Errors
/// As [`run_once`].
pub fn answers(image: &Image<'_>, data: &Dataset) -> Result<Vec<usize>, OpenError> {
    let encoder = Encoder::new(image.header());
    let inputs: Vec<Vec<u8>> = (0..data.len()).into_par_iter().map(|index| encoder.encode(data.image(index))).collect();
    classify(image, inputs.par_iter().map(Vec::as_slice))
}

/// The class of every packed input, on all cores.
///
/// # Errors
/// As [`run_once`].
pub fn classify<'i>(
    image: &Image<'_>,
    inputs: impl IndexedParallelIterator<Item = &'i [u8]>,
) -> Result<Vec<usize>, OpenError> {
    let class = |arena: &mut Vec<u64>, input: &[u8]| {
        let mut engine = engine(image, arena)?;
        engine.input_mut().copy_from_slice(input);
        engine.run(&mut ());
        Ok(engine.top1())
    };
    inputs.map_init(|| arena(image), class).collect()
}
