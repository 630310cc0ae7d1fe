//! Assembly for Cortex-M cores with the DSP extension (M4, M7, M33): dual multiplications on [`Layout::Lanes`] and
//! [`Layout::Ends`].
//!
//! Plans (how many pixels at a time, how much scratch) are plain code that every target has, so that a workstation
//! reserves what a board will need. The loops exist only where `cfg(releq_dsp)` holds.
//!
//! What the loops over lanes share: a word of lanes holds, in each half, h = e + 256 · o for the even and the odd row of a pair at
//! one column. Two accumulators, X = Σ h·a and O = Σ o·a, give both rows: O is the odd one and X − 256 · O the even
//! one, exact modulo 2^32 whatever X overflowed on the way. So a pair of rows costs one unpacking instruction per word.
//! Ends put both rows further apart, h = e + 2^(16 − b) · o, and do without O: one multiplication for both rows, whose
//! sums are taken apart before the low one can overflow.

#[cfg(releq_dsp)]
mod add;
#[cfg(releq_dsp)]
#[allow(unsafe_code, reason = "the one room for assembly")]
mod asm;
#[cfg_attr(not(releq_dsp), allow(dead_code, reason = "as of plans"))]
mod column_plan;
#[cfg(releq_dsp)]
mod columns;
#[cfg(releq_dsp)]
mod conv;
#[cfg(releq_dsp)]
mod dense;
#[cfg(releq_dsp)]
mod depthwise;
#[cfg(releq_dsp)]
mod finish;
#[cfg(releq_dsp)]
mod gather;
#[cfg_attr(not(releq_dsp), allow(dead_code, reason = "as of plans"))]
mod line_plan;
#[cfg(releq_dsp)]
mod lines;
#[cfg(releq_dsp)]
mod outer;
#[cfg_attr(not(releq_dsp), allow(dead_code, reason = "a host plans for boards, it does not run their loops"))]
mod plan;
#[cfg(releq_dsp)]
mod pool;
#[cfg(releq_dsp)]
mod rows;
#[cfg(releq_dsp)]
mod taps;
#[cfg_attr(not(releq_dsp), allow(dead_code, reason = "as of plans"))]
mod weaving;
#[cfg(releq_dsp)]
mod windows;
mod work;

#[cfg(releq_dsp)]
pub use add::ADD;
#[cfg(releq_dsp)]
pub use conv::CONV2D;
#[cfg(releq_dsp)]
pub use dense::DENSE;
#[cfg(releq_dsp)]
pub use depthwise::DEPTHWISE;
#[cfg(releq_dsp)]
pub use pool::{AVGPOOL, MAXPOOL};

use releq_format::graph::{Op, TensorRecord};
#[cfg(doc)]
use releq_format::pack::Layout;

/// Whether this family runs `op`, a convolution or dense layer, faster with its weights in [`Layout::Ends`].
pub fn prefers_ends(op: &Op, input: &TensorRecord, output: &TensorRecord) -> bool {
    plan::prefers_ends(op, input, output)
}

/// Scratch of this family's kernel for `op`, in bytes; `None` where it has none and another family runs the layer.
pub fn scratch_bytes(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Option<u32> {
    match op {
        Op::Conv2d { .. } => plan::conv_scratch(op, input, output),
        Op::Dense { .. } => plan::DensePlan::new(op, input, output)?.scratch_bytes(),
        Op::Depthwise { .. } => plan::DepthwisePlan::new(op, input, output)?.scratch_bytes(),
        Op::MaxPool { .. } => plan::pools(input, output).then_some(0),
        Op::AvgPool { .. } => plan::AveragePlan::new(op, input, output)?.scratch_bytes(),
        Op::Add { .. } => plan::AddPlan::new(input, output)?.scratch_bytes(),
        Op::Concat => None,
    }
}

/// What this family's kernel does for a layer; `None` where another family runs it.
pub(super) fn work(op: &Op, inputs: [&TensorRecord; 2], output: &TensorRecord) -> Option<super::Work> {
    work::of(op, inputs, output)
}
