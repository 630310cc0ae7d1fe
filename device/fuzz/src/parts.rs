//! An image taken apart, and put together without the builder's checks: what it says may be anything.

use releq_format::graph::LayerRecord;
use releq_format::image::{ALIGNMENT, CONTAINER_BYTES, Header, MAGIC, VERSION};

use crate::trial::repair;

/// Everything that an image says.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    /// What precedes the layers; their number is written as it is.
    pub header: Header<'a>,
    /// The layers.
    pub layers: Vec<LayerRecord<'a>>,
    /// Weights and channel constants.
    pub sections: Vec<u8>,
    /// Required features.
    pub features: u32,
    /// Bytes of arena.
    pub arena: u32,
}

impl<'a> Parts<'a> {
    /// The pieces of `bytes`, if its records decode.
    pub fn of(bytes: &'a [u8]) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let body = bytes.get(CONTAINER_BYTES..)?.get(..word(24)? as usize)?;
        let (header, mut rest) = postcard::take_from_bytes::<Header<'_>>(body).ok()?;
        let mut layers = Vec::new();
        while !rest.is_empty() {
            let (record, left) = postcard::take_from_bytes(rest).ok()?;
            layers.push(record);
            rest = left;
        }
        let sections = bytes.get(word(28)? as usize..)?.to_vec();
        Some(Self { header, layers, sections, features: word(16)?, arena: word(20)? })
    }

    /// The image that says all this, with length and checksum right.
    pub fn assemble(&self) -> Vec<u8> {
        let mut bytes = vec![0; CONTAINER_BYTES];
        bytes.extend(postcard::to_allocvec(&self.header).expect("a vector takes any header"));
        for layer in &self.layers {
            bytes.extend(postcard::to_allocvec(layer).expect("a vector takes any record"));
        }
        let body = bytes.len() - CONTAINER_BYTES;
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        let sections = bytes.len();
        bytes.extend(&self.sections);
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        for (at, value) in [(16, self.features), (20, self.arena), (24, body as u32), (28, sections as u32)] {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        repair(&mut bytes);
        bytes
    }
}
