//! The layer table and the walk over it.

use core::ops::Range;

use releq_format::crc::crc32;
use releq_format::graph::{LayerRecord, Op, Region, TensorRecord};
use releq_format::image::{ALIGNMENT, Image, SelfTest};

use crate::kernels::{self, Kernel, Task};
use crate::observe::Observer;
use crate::tensor::Input;

/// A model ready to run: at most `N` layers, at most 64 bytes of table each.
#[derive(Debug)]
pub struct Engine<'a, const N: usize> {
    image: Image<'a>,
    layers: heapless::Vec<Layer, N>,
    arena: &'a mut [u8],
}

/// `BYTES` bytes of working memory at the alignment that [`Engine::new`] asks for.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(8))]
pub struct Arena<const BYTES: usize>(pub [u8; BYTES]);

const _: () = assert!(align_of::<Arena<0>>() == ALIGNMENT);

/// What the walk needs of a layer record, without its name.
#[derive(Clone, Copy, Debug)]
struct Layer {
    op: Op,
    inputs: [u16; 2],
    output: TensorRecord,
    scratch: Region,
    kernel: &'static Kernel,
}

const _: () = assert!(size_of::<Layer>() <= 64);

/// Why an engine cannot be made of a sound image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenError {
    /// The arena is smaller than the image needs.
    ArenaTooSmall {
        /// Bytes the image needs.
        needed: usize,
        /// Bytes given.
        given: usize,
    },
    /// The arena does not start at a multiple of 8 bytes.
    ArenaMisaligned,
    /// More layers than the engine's table holds.
    TooManyLayers {
        /// Layers of the image.
        needed: usize,
        /// The engine's `N`.
        capacity: usize,
    },
    /// No kernel of the list given runs this layer.
    MissingKernel {
        /// The layer.
        layer: u16,
    },
}

impl core::fmt::Display for OpenError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::ArenaTooSmall { needed, given } => write!(f, "the arena has {given} bytes, the image needs {needed}"),
            Self::ArenaMisaligned => write!(f, "the arena does not start at a multiple of {ALIGNMENT} bytes"),
            Self::TooManyLayers { needed, capacity } => {
                write!(f, "the image has {needed} layers, the engine holds {capacity}")
            }
            Self::MissingKernel { layer } => write!(f, "no linked kernel runs layer {layer}"),
        }
    }
}

impl core::error::Error for OpenError {}

impl<'a, const N: usize> Engine<'a, N> {
    /// Decodes the layers of `image` and picks a kernel for each. After this nothing can fail.
    ///
    /// # Errors
    /// Where the arena, the table or `kernels` do not suffice.
    pub fn new(image: &Image<'a>, arena: &'a mut [u8], kernels: &'static [&'static Kernel]) -> Result<Self, OpenError> {
        let (needed, given) = (image.arena_bytes(), arena.len());
        if !(arena.as_ptr() as usize).is_multiple_of(ALIGNMENT) {
            return Err(OpenError::ArenaMisaligned);
        }
        if given < needed {
            return Err(OpenError::ArenaTooSmall { needed, given });
        }
        let mut engine = Self { image: *image, layers: heapless::Vec::new(), arena };
        let overflow = OpenError::TooManyLayers { needed: image.layer_count(), capacity: N };
        image.try_each_layer(|&LayerRecord { op, inputs, output, scratch, kernel: hint, .. }| {
            let layer = engine.layers.len() as u16;
            let input = tensor(image, &engine.layers, inputs[0]);
            let kernel = kernels::select(kernels, hint, &op, input, &output, scratch.bytes);
            let kernel = kernel.ok_or(OpenError::MissingKernel { layer })?;
            engine.layers.push(Layer { op, inputs, output, scratch, kernel }).map_err(|_| overflow)
        })?;
        Ok(engine)
    }

    /// The image being run.
    pub const fn image(&self) -> &Image<'a> {
        &self.image
    }

    /// Gives the whole arena back, so that another image can be opened in it.
    pub fn into_arena(self) -> &'a mut [u8] {
        self.arena
    }

    /// Number of layers.
    pub fn layer_count(&self) -> usize {
        self.layers.len()
    }

    /// The name of the kernel that runs layer `index`.
    pub fn kernel_name(&self, index: usize) -> Option<&'static str> {
        self.layers.get(index).map(|layer| layer.kernel.name)
    }

    /// Where the input codes go, packed as the image's input record says. Running overwrites them.
    pub fn input_mut(&mut self) -> &mut [u8] {
        let range = bytes_of(&self.image.header().input);
        self.arena.get_mut(range).unwrap_or(&mut [])
    }

    /// The input codes, and the rest of the arena beyond what the image needs, which running leaves alone.
    pub fn input_and_spare_mut(&mut self) -> (&mut [u8], &mut [u8]) {
        // An opened arena is at least as long as the image needs.
        let (used, spare) = self.arena.split_at_mut_checked(self.image.arena_bytes()).unwrap_or_default();
        (used.get_mut(bytes_of(&self.image.header().input)).unwrap_or(&mut []), spare)
    }

    /// Runs every layer once.
    pub fn run(&mut self, observer: &mut impl Observer) {
        for (index, layer) in self.layers.iter().enumerate() {
            observer.begin(index);
            let output = bytes_of(&layer.output);
            run_layer(&self.image, &self.layers, layer, output.clone(), self.arena);
            observer.end(index, self.arena.get(output).unwrap_or(&[]));
        }
    }

    /// Number of logits.
    pub fn outputs(&self) -> usize {
        self.layers.last().map_or(0, |layer| usize::from(layer.output.channels))
    }

    /// The logits of the last run, in units of the image's logit scale.
    pub fn logits(&self) -> impl Iterator<Item = i32> + '_ {
        self.logit_bytes().as_chunks::<4>().0.iter().map(|bytes| i32::from_le_bytes(*bytes))
    }

    fn logit_bytes(&self) -> &[u8] {
        let bytes = self.layers.last().and_then(|layer| self.arena.get(bytes_of(&layer.output)));
        bytes.unwrap_or(&[])
    }

    /// The class with the largest logit; the lowest index on a tie.
    pub fn top1(&self) -> usize {
        let mut best = (0, i32::MIN);
        for (index, logit) in self.logits().enumerate() {
            if logit > best.1 {
                best = (index, logit);
            }
        }
        best.0
    }

    /// Runs the image's known answer: whether it came out right, or `None` if the image records none.
    pub fn self_test(&mut self) -> Option<bool> {
        let SelfTest { seed, digest } = self.image.header().self_test;
        if seed == 0 {
            return None;
        }
        let record = self.image.header().input;
        SelfTest::fill(seed, &record, self.input_mut());
        self.run(&mut ());
        Some(crc32(self.logit_bytes()) == digest)
    }
}

/// The record of tensor `id`: 0 is the input, i + 1 the output of layer i. A checked image names no other.
fn tensor<'t>(image: &'t Image<'_>, layers: &'t [Layer], id: u16) -> &'t TensorRecord {
    let layer = layers.get(usize::from(id).wrapping_sub(1));
    layer.map_or(&image.header().input, |layer| &layer.output)
}

/// Where in the arena a tensor lies. Of one that was checked nothing wraps.
fn bytes_of(tensor: &TensorRecord) -> Range<usize> {
    let start = tensor.offset as usize;
    start..start.wrapping_add(tensor.pixels().wrapping_mul(tensor.pixel_bytes()) as usize)
}

/// Runs one layer, whose output lies at `output`.
fn run_layer(image: &Image<'_>, layers: &[Layer], layer: &Layer, output: Range<usize>, arena: &mut [u8]) {
    let [first, second] = layer.inputs;
    let (input, other) = (tensor(image, layers, first), tensor(image, layers, second));
    let (codes, channels) = constants(image, layer, input);
    let reads_two = layer.op.arity() == 2 && first != second;
    let (mut left, mut right) = (bytes_of(input), bytes_of(other));
    if !reads_two {
        right = 0..0;
    } else if left.start == output.start {
        // An add in place: the left operand is what the output holds.
        left = 0..0;
    }
    // A stretch of nothing lies nowhere, least of all in the midst of another.
    let scratch = if layer.scratch.bytes == 0 { 0..0 } else { layer.scratch.range() };
    let Ok([left, right, output, scratch]) = arena.get_disjoint_mut([left, right, output, scratch]) else { return };
    let input = Input { record: *input, bytes: left };
    let other = if reads_two { Input { record: *other, bytes: right } } else { input };
    let (op, output_record) = (&layer.op, layer.output);
    (layer.kernel.run)(Task { op, input, other, output_record, output, scratch, codes, channels });
}

/// The sections of a weighted layer: codes and channel constants.
fn constants<'a>(image: &Image<'a>, layer: &Layer, input: &TensorRecord) -> (&'a [u8], &'a [u8]) {
    let sections = || {
        let weights = layer.op.weights()?;
        let bytes = layer.op.matrix(input, &layer.output)?.bytes()?;
        let codes = image.section(weights.codes, bytes)?;
        Some((codes, image.section(weights.channels, 8 * u32::from(layer.output.channels))?))
    };
    sections().unwrap_or((&[], &[]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use releq_format::image::ImageBuffer;

    const GOLDEN: [(&str, &[u8]); 4] = [
        ("tiny", include_bytes!("../../format/golden/v1/tiny.rlq")),
        ("every-op", include_bytes!("../../format/golden/v1/every-op.rlq")),
        ("ends", include_bytes!("../../format/golden/v1/ends.rlq")),
        ("concat", include_bytes!("../../format/golden/v1/concat.rlq")),
    ];

    const PORTABLE: &[&Kernel] = crate::kernels![
        packed::CONV2D,
        packed::DEPTHWISE,
        packed::DENSE,
        packed::MAXPOOL,
        packed::AVGPOOL,
        packed::ADD,
        packed::CONCAT,
    ];

    fn answer(image: &Image<'_>, kernels: &'static [&'static Kernel]) -> Option<bool> {
        let mut arena = vec![0u64; image.arena_bytes().div_ceil(ALIGNMENT)];
        Engine::<32>::new(image, bytemuck::cast_slice_mut(&mut arena), kernels).unwrap().self_test()
    }

    #[test]
    fn golden_images_answer_as_recorded() {
        for (name, bytes) in GOLDEN {
            let buffer = ImageBuffer::from(bytes);
            let image = Image::open(&buffer).unwrap();
            assert_eq!(answer(&image, kernels::ALL), Some(true), "{name}");
            assert_eq!(answer(&image, PORTABLE), Some(true), "{name}, portable kernels");
        }
    }

    /// Why an engine with room for one layer is none.
    fn refusal(image: &Image<'_>, arena: &mut [u8], kernels: &'static [&'static Kernel]) -> Option<OpenError> {
        Engine::<1>::new(image, arena, kernels).err()
    }

    #[test]
    fn an_engine_says_what_it_lacks() {
        let buffer = ImageBuffer::from(GOLDEN[0].1);
        let image = Image::open(&buffer).unwrap();
        let needed = image.arena_bytes();
        let Arena(arena) = &mut Arena([0; 64]);
        assert_eq!(refusal(&image, arena, &[]), Some(OpenError::MissingKernel { layer: 0 }));
        assert_eq!(refusal(&image, arena, PORTABLE), Some(OpenError::TooManyLayers { needed: 2, capacity: 1 }));
        assert_eq!(refusal(&image, &mut arena[..8], PORTABLE), Some(OpenError::ArenaTooSmall { needed, given: 8 }));
        assert_eq!(refusal(&image, &mut arena[4..], PORTABLE), Some(OpenError::ArenaMisaligned));
    }
}
