//! Emits exactly what the view parses.

use alloc::vec::Vec;

use super::view::{at, checksum};
use super::{ALIGNMENT, CONTAINER_BYTES, Header, Image, ImageError, MAGIC, SIGNATURE, SIGNATURE_BYTES, VERSION};
use crate::graph::LayerRecord;
use crate::quant::Channel;

/// Collects sections and layers, then writes one image.
#[derive(Clone, Debug, Default)]
pub struct ImageBuilder {
    records: Vec<u8>,
    layers: u16,
    features: u32,
    sections: Vec<u8>,
}

impl ImageBuilder {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends constants and returns their offset in the section area, a multiple of 4.
    pub fn section(&mut self, bytes: &[u8]) -> u32 {
        let offset = self.sections.len() as u32;
        self.sections.extend_from_slice(bytes);
        self.sections.resize(self.sections.len().next_multiple_of(4), 0);
        offset
    }

    /// Appends channel constants as a section.
    pub fn channels(&mut self, channels: &[Channel]) -> u32 {
        let words = channels.iter().flat_map(|channel| [channel.bias, channel.multiplier]);
        let bytes: Vec<u8> = words.flat_map(i32::to_le_bytes).collect();
        self.section(&bytes)
    }

    /// Appends a layer; layers are run in the order they are given.
    pub fn layer(&mut self, record: &LayerRecord<'_>) {
        let bytes = postcard::to_allocvec(record).expect("a vector takes any record");
        self.records.extend_from_slice(&bytes);
        self.layers += 1;
        self.features |= record.op.features();
    }

    /// Where the section area of the image begins, in bytes, once it is finished with `header`.
    ///
    /// # Errors
    /// [`ImageError::Header`] for a header that no image holds.
    pub fn sections_at(&self, header: Header<'_>) -> Result<usize, ImageError> {
        let header = Header { layers: self.layers, ..header };
        let header = postcard::to_allocvec(&header).map_err(|_| ImageError::Header)?;
        Ok((CONTAINER_BYTES + header.len() + self.records.len()).next_multiple_of(ALIGNMENT))
    }

    /// The image, checked by the reader's own rules. `header.layers` is filled in here.
    ///
    /// # Errors
    /// The first reason why [`Image::open`] would refuse it.
    pub fn finish(&self, header: Header<'_>, arena_bytes: u32) -> Result<ImageBuffer, ImageError> {
        let header = Header { layers: self.layers, ..header };
        let mut bytes = alloc::vec![0; CONTAINER_BYTES];
        bytes.extend(postcard::to_allocvec(&header).map_err(|_| ImageError::Header)?);
        bytes.extend_from_slice(&self.records);
        let body = bytes.len() - CONTAINER_BYTES;
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        let sections = bytes.len();
        bytes.extend_from_slice(&self.sections);
        let length = u32::try_from(bytes.len()).map_err(|_| ImageError::Truncated)?;
        let mut set = |at: usize, word: u32| bytes[at..at + 4].copy_from_slice(&word.to_le_bytes());
        set(at::MAGIC, u32::from_le_bytes(MAGIC));
        set(at::VERSION, u32::from(VERSION));
        set(at::LENGTH, length);
        set(at::FEATURES, self.features);
        set(at::ARENA, arena_bytes);
        set(at::BODY, body as u32);
        set(at::SECTIONS, sections as u32);
        let crc = checksum(&bytes);
        bytes[at::CRC..at::CRC + 4].copy_from_slice(&crc.to_le_bytes());
        let buffer = ImageBuffer::from(&bytes[..]);
        Image::open(&buffer)?;
        Ok(buffer)
    }
}

/// The image with `signature` in its slot, which its checksum covers, so that it is summed anew; all zeros unsign it.
///
/// The arguments are trusted: whose signature it is, only its reader can say.
pub fn with_signature(image: &Image<'_>, signature: &[u8; SIGNATURE_BYTES]) -> ImageBuffer {
    let mut buffer = ImageBuffer::from(image.bytes());
    buffer[SIGNATURE].copy_from_slice(signature);
    let crc = checksum(&buffer);
    buffer[at::CRC..at::CRC + 4].copy_from_slice(&crc.to_le_bytes());
    buffer
}

/// Owned bytes at the alignment that [`Image::open`] needs, which a `Vec<u8>` does not promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageBuffer {
    words: Vec<u64>,
    length: usize,
}

impl From<&[u8]> for ImageBuffer {
    fn from(bytes: &[u8]) -> Self {
        let mut words = alloc::vec![0u64; bytes.len().div_ceil(ALIGNMENT)];
        bytemuck::cast_slice_mut(&mut words)[..bytes.len()].copy_from_slice(bytes);
        Self { words, length: bytes.len() }
    }
}

impl core::ops::Deref for ImageBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.length]
    }
}

impl core::ops::DerefMut for ImageBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.length]
    }
}
