//! Kernels on a board, one layer at a time: exact counts, and whether every answer is the oracle's.
//!
//! * [`shape`]: the layers that are measured, and at which widths;
//! * [`subject`]: one of them as a quantized network with weights and inputs of a fixed seed, lowered as any other;
//! * [`measure`]: a subject on a board beside the `reference` kernels here;
//! * [`code`]: what kernels take of the runner's flash, by what they reach there.

pub mod code;
pub mod measure;
mod reach;
pub mod shape;
pub mod subject;
