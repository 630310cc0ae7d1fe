//! Kernels and whole images on a board: what they count there, and whether every answer is this machine's.
//!
//! * [`shape`]: the layers that are measured, and at which widths;
//! * [`subject`]: one of them as a quantized network with weights and inputs of a fixed seed, lowered as any other;
//! * [`measure`]: a subject on a board beside the `reference` kernels here;
//! * [`model`]: a whole image, timed over many runs beside what was predicted, with [`spread`] of the runs;
//! * [`energy`]: what a power analyser's trace says of a run;
//! * [`code`]: what kernels take of the runner's flash, by what they reach there.

pub mod code;
pub mod energy;
pub mod measure;
pub mod model;
mod reach;
pub mod shape;
pub mod spread;
pub mod subject;
