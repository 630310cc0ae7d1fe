//! Training on the workstation: Candle's autograd and our own ops, in floats and fake-quantized.
//!
//! Candle 0.11 computes convolutions and pools on the CPU slowly, and one gradient wrongly; the hot ops are therefore
//! ours ([`conv`], [`dense`], [`pool`], [`relu`], [`shortcut`], [`batch_norm`], [`fake_quant`]), each checked against
//! finite differences. Where a [`device`] is no processor, `stock` has them in Candle's terms. [`model`] runs a network with them, [`fit`] trains it, [`quantize`] is the front door, and
//! [`integer`] evaluates what came of it.

pub mod adam;
mod applied;
pub mod batch_norm;
pub mod calibrate;
mod columns;
pub mod conv;
pub mod dense;
pub mod device;
pub mod fake_quant;
pub mod fit;
pub mod fold;
pub mod integer;
pub mod interrupt;
mod mirror;
pub mod model;
pub mod momentum;
pub mod norms;
pub mod pool;
mod product;
pub mod ptq;
pub mod quantize;
pub mod relu;
pub mod resume;
mod reverse;
pub mod shortcut;
mod stock;
mod storage;
pub mod teacher;
#[cfg(test)]
mod tests;
mod vectors;
