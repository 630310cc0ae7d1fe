//! What trials of images have in common that needs no heap, so that the emulated board holds them by the same rules.

#![allow(
    unreachable_pub,
    dead_code,
    reason = "shared by tests, fuzz targets and a program, and not all need all of it"
)]

use releq_device::kernels;
use releq_device::kernels::Kernel;
use releq_format::crc::Crc32;
use releq_format::graph::{LayerRecord, Op};
use releq_format::image::{CONTAINER_BYTES, Image};

/// The oracle, which runs whatever opens in any scratch.
pub const REFERENCE: &[&Kernel] = kernels![
    reference::CONV2D,
    reference::DEPTHWISE,
    reference::DENSE,
    reference::MAXPOOL,
    reference::AVGPOOL,
    reference::ADD,
    reference::CONCAT,
];

/// Products, window places and outputs of one run.
pub fn work(image: &Image<'_>) -> u64 {
    let of = |layer: LayerRecord<'_>| {
        let input = image.tensor(layer.inputs[0])?;
        let terms = match &layer.op {
            Op::MaxPool { window } => window.taps(),
            op => op.terms(&input)?.max(1),
        };
        Some(u64::from(layer.output.elements()?).saturating_mul(terms.into()))
    };
    image.layers().fold(0, |sum: u64, layer| sum.saturating_add(of(layer).unwrap_or(u64::MAX)))
}

/// Writes length and checksum anew, so that a change gets past both; bytes too few for a container stay as they are.
pub fn repair(bytes: &mut [u8]) {
    if bytes.len() < CONTAINER_BYTES {
        return;
    }
    let length = bytes.len() as u32;
    bytes[8..12].copy_from_slice(&length.to_le_bytes());
    let checksum = Crc32::new().update(&bytes[..12]).update(&bytes[16..]).finish();
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
}
