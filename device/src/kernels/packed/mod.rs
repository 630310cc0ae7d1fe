//! Portable packed kernels: low-bit weights multiplied where they lie, two output channels per multiplication.
//!
//! Sums over codes instead of weights: with w = gain · code − offset, Σ w·a = gain · Σ code·a − offset · Σ a, and Σ a
//! is taken once per output pixel. Codes are summed plane by plane (3 = 2 + 1 bits), each plane in 16-bit lanes that
//! are emptied before [`lane_terms`](releq_format::quant::lane_terms) products could overflow them.

mod batch;
mod concat;
mod dot;
mod pool;
mod weighted;

pub use concat::CONCAT;
pub use pool::{ADD, AVGPOOL, MAXPOOL};
pub use weighted::{CONV2D, DENSE, DEPTHWISE};

use releq_format::graph::{KernelHint, Op, TensorRecord};

use super::{Kernel, Task};

const fn kernel(
    name: &'static str,
    supports: super::Supports,
    scratch_bytes: fn(&Op, &TensorRecord, &TensorRecord) -> u32,
    run: fn(Task<'_>),
) -> Kernel {
    Kernel { name, family: KernelHint::PACKED, supports, scratch_bytes, run }
}
