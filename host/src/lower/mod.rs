//! Lowering: a quantized network becomes one checked image.
//!
//! Shortcuts to convolutions (`shortcut`) → fuse ([`fuse`]) → integers ([`integer`]) and fixed-point constants
//! ([`rescale`]) → layouts (`image`) and places in the arena ([`memory`]) → bytes, as many as [`length`] says
//! (`releq_format::image`). Everything clever happens here; the device only walks the result.

pub mod fuse;
mod image;
pub mod integer;
pub mod length;
pub mod memory;
mod place;
pub mod rescale;
pub mod sharing;
mod shortcut;

use std::collections::BTreeMap;

use releq_device::OpenError;
use releq_format::bits::BitWidth;
use releq_format::image::{Image, ImageBuffer, ImageError, SelfTest};

use crate::network::Network;
use crate::quantized::QuantizedNetwork;
use crate::train::fold::fold;
pub(crate) use image::best_layout;
use integer::{IntegerNetwork, Reading};
pub(crate) use place::place;
pub(crate) use shortcut::quantizer;

/// Why a network cannot become an image.
#[derive(Debug, thiserror::Error)]
pub enum LowerError {
    /// The graph has no layer.
    #[error("the network has no layers; lowering needs at least one; check what was imported with `releq inspect`")]
    Empty,
    /// A batch normalisation is still there.
    #[error("layer `{layer}` is a batch normalisation; images have none; fold the network before quantizing it")]
    Unfolded {
        /// The node.
        layer: String,
    },
    /// A ReLU that follows nothing it can fuse with.
    #[error(
        "ReLU `{layer}` follows no convolution, dense, add or average layer of its own; \
         images fuse every ReLU into one; give it such a layer"
    )]
    LoneRelu {
        /// The node.
        layer: String,
    },
    /// The shapes do not fit.
    #[error("the network contradicts itself: {0}; correct the model or import it again")]
    Shape(String),
    /// A size beyond the image format's fields.
    #[error("layer `{layer}` has {what} {size}; an image holds at most {most}; make the layer smaller")]
    TooLarge {
        /// The layer.
        layer: String,
        /// What is too large.
        what: &'static str,
        /// How large it is.
        size: usize,
        /// The format's limit.
        most: usize,
    },
    /// A parameter or quantizer is missing.
    #[error("layer `{layer}` has no {what}; the checkpoint or the quantizers are incomplete; quantize the model again")]
    Missing {
        /// The layer.
        layer: String,
        /// What is missing.
        what: &'static str,
    },
    /// Joined values that no quantizer suits both.
    #[error(
        "a concatenation joins {one}, which a ReLU keeps within bounds, with {other}, which reaches further; \
         joined codes share one scale; put the same ReLU after both, or one after the concatenation"
    )]
    Unshared {
        /// The rectified layer.
        one: String,
        /// The one that reaches further.
        other: String,
    },
    /// Joined values with quantizers of their own.
    #[error(
        "layer `{layer}` joins codes of different scales; \
         its inputs need one quantizer; quantize the model again"
    )]
    UnlikeCodes {
        /// The layer.
        layer: String,
    },
    /// Scales whose ratio has no fixed-point form.
    #[error(
        "layer `{layer}` mixes scales too far apart for 32-bit arithmetic; \
         its activation range is likely wrong; calibrate on more images or with another method"
    )]
    Range {
        /// The layer.
        layer: String,
    },
    /// The last layer is a pool without rounding or an add.
    #[error("the network ends in `{layer}`, which gives no logits; end it in a dense, convolution or average layer")]
    NoLogits {
        /// The layer.
        layer: String,
    },
    /// The image was refused by the reader's own rules.
    #[error("the image of this network is refused: {0}; this is a defect of releq, please report it")]
    Refused(#[from] ImageError),
    /// More layers than the engine on this machine holds.
    #[error("the image of this network does not run: {0}; split the network")]
    Unrunnable(#[from] OpenError),
}

/// Whether an image has a layer for everything in `network`, batch norms folded.
///
/// # Errors
/// The first layer that has none, in a sentence with its cause and remedy.
pub fn check(network: &Network) -> Result<(), String> {
    let mut folded = fold(network).map_err(|error| error.to_string())?;
    fuse::hoist_relu(&mut folded.graph);
    fuse::blocks(&folded.graph).map(drop).map_err(|error| error.to_string())
}

/// A lowered network: the image, the same integers before they were packed, and the network they were made from.
#[derive(Clone, Debug)]
pub struct Lowered {
    /// The image, checked.
    pub image: ImageBuffer,
    /// The quantized network, with the scales that near-dead channels were raised to.
    pub quantized: QuantizedNetwork,
    /// What the image computes, for [`IntegerModel`](crate::train::integer::IntegerModel).
    pub integers: IntegerNetwork,
}

/// Turns `quantized` into an image.
///
/// # Errors
/// [`LowerError`], naming the layer.
pub fn lower(quantized: &QuantizedNetwork) -> Result<Lowered, LowerError> {
    lower_stored(quantized, &BTreeMap::new())
}

/// As [`lower`], with the weights of some nodes stored in more bits than they have: it takes flash, and may be faster.
///
/// The weights stay the integers they are; a width that is no wider is not taken.
///
/// # Errors
/// [`LowerError`], naming the layer.
pub fn lower_stored(quantized: &QuantizedNetwork, stored: &BTreeMap<usize, BitWidth>) -> Result<Lowered, LowerError> {
    let (quantized, integers) = in_integers(quantized, stored)?;
    let name = &quantized.network.graph.name;
    let untested = image::image(&integers, name, SelfTest { seed: 0, digest: 0 })?;
    let image = image::image(&integers, name, self_test(&untested)?)?;
    Ok(Lowered { image, quantized, integers })
}

/// What the image of `quantized` computes, without the image.
///
/// # Errors
/// [`LowerError`], naming the layer.
pub fn integers(quantized: &QuantizedNetwork) -> Result<IntegerNetwork, LowerError> {
    Ok(in_integers(quantized, &BTreeMap::new())?.1)
}

/// `quantized` with scales raised where they must be, and its integers.
fn in_integers(
    quantized: &QuantizedNetwork,
    stored: &BTreeMap<usize, BitWidth>,
) -> Result<(QuantizedNetwork, IntegerNetwork), LowerError> {
    let mut quantized = quantized.clone();
    let shapes = quantized.network.graph.shapes().map_err(LowerError::Shape)?;
    // Before shortcuts become convolutions, of which nobody knows that they keep within bounds.
    let blocks = fuse::blocks(&quantized.network.graph)?;
    shortcut::to_convolutions(&mut quantized)?;
    for block in &blocks {
        let reading = Reading { quantized: &quantized, shapes: &shapes, blocks: &blocks, stored };
        if let Some(raised) = reading.raised(block)? {
            quantized.weights.insert(block.node, raised);
        }
    }
    let integers = Reading { quantized: &quantized, shapes: &shapes, blocks: &blocks, stored }.network()?;
    Ok((quantized, integers))
}

/// The input seed of every image's self-test.
const SELF_TEST_SEED: u32 = 0x5EED_0001;

/// Runs the image's own engine on the self-test input.
fn self_test(bytes: &[u8]) -> Result<SelfTest, LowerError> {
    let image = Image::open(bytes)?;
    let logits = crate::target::native::run_once(&image, |input| {
        SelfTest::fill(SELF_TEST_SEED, &image.header().input, input);
    })?;
    let bytes: Vec<u8> = logits.iter().flat_map(|logit| logit.to_le_bytes()).collect();
    Ok(SelfTest { seed: SELF_TEST_SEED, digest: releq_format::crc::crc32(&bytes) })
}
