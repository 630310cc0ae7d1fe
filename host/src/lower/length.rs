//! How long an image is: a matter of shapes and widths alone, so that it is known before anything is trained.
//!
//! Records hold small numbers in fewer bytes, and a few numbers follow from trained scales: those of averages and adds,
//! and the self-test's answer. An image is as long as if each of these took its longest; what they save is made up for
//! by zeros behind the sections, at most a few bytes a layer.

use releq_format::graph::{LayerRecord, Op};
use releq_format::image::{Header, ImageBuilder, ImageError, SelfTest};
use releq_format::quant::AddScale;

/// Where the section area begins in an image of `layers` whose trained numbers all take their longest.
///
/// # Errors
/// As [`ImageBuilder::sections_at`].
pub fn sections_at<'a>(
    header: Header<'_>,
    layers: impl IntoIterator<Item = LayerRecord<'a>>,
) -> Result<usize, ImageError> {
    let mut builder = ImageBuilder::new();
    for layer in layers {
        builder.layer(&LayerRecord { op: longest(layer.op), ..layer });
    }
    let self_test = SelfTest { digest: u32::MAX, ..header.self_test };
    builder.sections_at(Header { input_scale: u32::MAX, logit_scale: u32::MAX, self_test, ..header })
}

/// `op` with trained numbers that take as many bytes as any.
fn longest(op: Op) -> Op {
    match op {
        Op::AvgPool { window, shift, .. } => Op::AvgPool { window, shift, bias: i32::MIN, multiplier: i32::MAX },
        Op::Add { scale } => Op::Add { scale: AddScale { multipliers: [i16::MIN; 2], constant: i32::MIN, ..scale } },
        Op::Conv2d { .. } | Op::Depthwise { .. } | Op::Dense { .. } | Op::MaxPool { .. } | Op::Concat => op,
    }
}
