//! Kernels of the workstation: AND and popcount on bit-planes, and the 8-bit kernel they must be compared with.
//!
//! A weight code of w bits and an activation code of a bits are w + a bit-planes; their product is the sum over all
//! pairs of planes (i, j) of 2^(i+j) · (bit i AND bit j). So Σ code · activation is w · a popcounts of whole words, and
//! its cost falls with every bit of either. With w = gain · code − offset, the rest is as in [`packed`](super::packed).
//!
//! Both schemes take the image as it is, whatever its layout: weights are rearranged in scratch once per layer, and
//! activations per block of output pixels, whose lanes advance together. The instruction set is found at run time.
//! Firmware has none of this: an M-profile core has no popcount, and multiplies bit-packed lanes faster.

mod bytes;
mod codes;
mod cpu;
mod planes;
mod walk;

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use cpu::Isa;

use releq_format::graph::{KernelHint, Op, TensorRecord};

use super::{Kernel, Supports, Task};
use bytes::Bytes;
use planes::Planes;
use walk::{Scheme, walk};

/// Output pixels of one block: what a 512-bit vector holds as 64-bit lanes.
const PIXELS: usize = 8;

/// Convolution by bit-planes.
pub const CONV2D: Kernel = kernel::<Planes<'_>>("bitserial::CONV2D", KernelHint::BITSERIAL, is_conv2d);
/// Fully connected by bit-planes.
pub const DENSE: Kernel = kernel::<Planes<'_>>("bitserial::DENSE", KernelHint::BITSERIAL, is_dense);
/// Convolution by 16-bit products of 8-bit operands.
pub const INT8_CONV2D: Kernel = kernel::<Bytes<'_>>("bitserial::INT8_CONV2D", KernelHint::INT8, is_conv2d);
/// Fully connected by 16-bit products of 8-bit operands.
pub const INT8_DENSE: Kernel = kernel::<Bytes<'_>>("bitserial::INT8_DENSE", KernelHint::INT8, is_dense);

const fn kernel<S: Scheme>(name: &'static str, family: KernelHint, supports: Supports) -> Kernel {
    Kernel { name, family, supports, scratch_bytes: scratch_bytes::<S>, run: walk_any::<S> }
}

fn is_conv2d(op: &Op, _: &TensorRecord, _: &TensorRecord) -> bool {
    matches!(op, Op::Conv2d { .. })
}

fn is_dense(op: &Op, _: &TensorRecord, _: &TensorRecord) -> bool {
    matches!(op, Op::Dense { .. })
}

fn walk_any<S: Scheme>(task: Task<'_>) {
    walk::<S>(task, Isa::found());
}

/// Scratch: the codes of one patch, what the scheme makes of a block of them and of all weights, and the unpacked input.
fn scratch_bytes<S: Scheme>(op: &Op, input: &TensorRecord, output: &TensorRecord) -> u32 {
    let sizes = op.matrix(input, output).map(|matrix| S::sizes(&matrix, input.bits));
    let total = sizes.and_then(|sizes| sizes.into_iter().try_fold(walk::expanded_bytes(input), usize::checked_add));
    total.and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(u32::MAX)
}
