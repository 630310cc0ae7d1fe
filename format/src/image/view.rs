//! The zero-copy reader of an image.

use super::read::Reader;
use super::{ALIGNMENT, CONTAINER_BYTES, FEATURES, Header, ImageError, MAGIC, VERSION, verify};
use crate::crc::Crc32;
use crate::graph::{LayerRecord, TensorRecord};

/// The fixed part of an image.
type Container = [u8; CONTAINER_BYTES];

/// Offsets of the container's words; SPEC.md §2.
pub(super) mod at {
    pub(in super::super) const MAGIC: usize = 0;
    /// The version in the low half; the high one is reserved.
    pub(in super::super) const VERSION: usize = 4;
    pub(in super::super) const LENGTH: usize = 8;
    pub(in super::super) const CRC: usize = 12;
    pub(in super::super) const FEATURES: usize = 16;
    pub(in super::super) const ARENA: usize = 20;
    pub(in super::super) const BODY: usize = 24;
    pub(in super::super) const SECTIONS: usize = 28;
}

/// A checked image: a view of borrowed bytes.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    bytes: &'a [u8],
    container: &'a Container,
    header: Header<'a>,
    records: &'a [u8],
    sections: &'a [u8],
}

impl<'a> Image<'a> {
    /// Checks `bytes` as a whole image; see SPEC.md for every rule.
    ///
    /// # Errors
    /// The first reason why it is refused.
    pub fn open(bytes: &'a [u8]) -> Result<Self, ImageError> {
        if !(bytes.as_ptr() as usize).is_multiple_of(ALIGNMENT) {
            return Err(ImageError::Misaligned);
        }
        let container: &Container = bytes.first_chunk().ok_or(ImageError::Truncated)?;
        if word(container, at::MAGIC) != u32::from_le_bytes(MAGIC) {
            return Err(ImageError::NotAnImage);
        }
        let version = word(container, at::VERSION);
        if version as u16 != VERSION {
            return Err(ImageError::Version(version as u16));
        }
        if version >> 16 != 0 {
            return Err(ImageError::Header);
        }
        check_length(bytes, word(container, at::LENGTH) as usize)?;
        if checksum(bytes) != word(container, at::CRC) {
            return Err(ImageError::Checksum);
        }
        match word(container, at::FEATURES) & !FEATURES {
            0 => {}
            unknown => return Err(ImageError::Features(unknown)),
        }
        let (body, sections) = split(bytes, word(container, at::BODY), word(container, at::SECTIONS))?;
        let mut body = Reader::new(body);
        let header = body.header();
        if !body.is_sound() {
            return Err(ImageError::Header);
        }
        let image = Self { bytes, container, header, records: body.rest(), sections };
        verify::verify(&image)?;
        Ok(image)
    }

    /// As [`Image::open`] for an image at the start of `region`, a stretch of flash that may go on behind it.
    ///
    /// # Errors
    /// As [`Image::open`]; [`ImageError::Truncated`] where it does not fit into the region.
    pub fn open_in(region: &'a [u8]) -> Result<Self, ImageError> {
        // Erased flash and other files state no length; they are refused for their first bytes.
        let container: &Container = region.first_chunk().ok_or(ImageError::Truncated)?;
        let is_image = word(container, at::MAGIC) == u32::from_le_bytes(MAGIC);
        let stated = if is_image { word(container, at::LENGTH) as usize } else { region.len() };
        Self::open(region.get(..stated).unwrap_or(region))
    }

    /// The whole image.
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Bytes of the whole image.
    pub const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Never: a checked image has a container.
    pub const fn is_empty(&self) -> bool {
        false
    }

    /// The recorded checksum, which also names the image.
    pub fn crc(&self) -> u32 {
        word(self.container, at::CRC)
    }

    /// The features it needs, one bit each; this reader has them all.
    pub fn features(&self) -> u32 {
        word(self.container, at::FEATURES)
    }

    /// What precedes the layers.
    pub const fn header(&self) -> &Header<'a> {
        &self.header
    }

    /// Bytes of working memory an engine needs for this image, activations and scratch.
    pub fn arena_bytes(&self) -> usize {
        word(self.container, at::ARENA) as usize
    }

    /// Number of layers.
    pub const fn layer_count(&self) -> usize {
        self.header.layers as usize
    }

    /// Bytes of the input codes.
    pub fn input_bytes(&self) -> usize {
        self.header.input.bytes().unwrap_or(0) as usize
    }

    /// Number of logits.
    pub fn outputs(&self) -> usize {
        self.tensor(self.header.layers).map_or(0, |tensor| tensor.channels as usize)
    }

    /// The layers in execution order, decoded one at a time.
    pub const fn layers(&self) -> Layers<'a> {
        Layers { records: Reader::new(self.records), left: self.header.layers }
    }

    /// Shows the layers in execution order, until one is refused: as [`Image::layers`], in less code on a device.
    ///
    /// # Errors
    /// What `show` refuses a layer for.
    pub fn try_each_layer<E>(&self, mut show: impl FnMut(&LayerRecord<'a>) -> Result<(), E>) -> Result<(), E> {
        let mut records = Reader::new(self.records);
        (0..self.header.layers).try_for_each(|_| show(&records.layer()))
    }

    /// The record of tensor `id`: 0 is the input, i + 1 the output of layer i.
    pub fn tensor(&self, id: u16) -> Option<TensorRecord> {
        (id <= self.header.layers).then(|| self.known_tensor(id))
    }

    /// As [`Image::tensor`], for a tensor that is known to exist.
    pub(super) fn known_tensor(&self, id: u16) -> TensorRecord {
        let mut tensor = self.header.input;
        let mut records = Reader::new(self.records);
        for _ in 0..id {
            tensor = records.layer().output;
        }
        tensor
    }

    /// `bytes` bytes of the section area from `offset` on.
    pub fn section(&self, offset: u32, bytes: u32) -> Option<&'a [u8]> {
        self.sections.get(offset as usize..)?.get(..bytes as usize)
    }
}

/// The layers of an image, in execution order.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    records: Reader<'a>,
    left: u16,
}

impl<'a> Layers<'a> {
    /// What the records are read from.
    pub(super) const fn reader(self) -> Reader<'a> {
        self.records
    }
}

impl<'a> Iterator for Layers<'a> {
    type Item = LayerRecord<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let record = self.records.layer();
        self.records.is_sound().then_some(record)
    }
}

/// A little-endian word of the container; 0 where there is none.
#[inline]
fn word(container: &Container, at: usize) -> u32 {
    container.as_chunks::<4>().0.get(at / 4).map_or(0, |word| u32::from_le_bytes(*word))
}

/// The checksum: everything but the checksum field itself.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let before = bytes.get(..at::CRC).unwrap_or(&[]);
    let after = bytes.get(at::CRC + 4..).unwrap_or(&[]);
    Crc32::new().update(before).update(after).finish()
}

fn check_length(bytes: &[u8], stated: usize) -> Result<(), ImageError> {
    match bytes.len() {
        length if length < stated => Err(ImageError::Truncated),
        length if length > stated => Err(ImageError::Trailing),
        _ => Ok(()),
    }
}

/// The postcard body and the section area, which starts at the next multiple of 8.
fn split(bytes: &[u8], body: u32, sections: u32) -> Result<(&[u8], &[u8]), ImageError> {
    let body_end = CONTAINER_BYTES.checked_add(body as usize).ok_or(ImageError::Truncated)?;
    if body_end.checked_next_multiple_of(ALIGNMENT) != Some(sections as usize) {
        return Err(ImageError::Header);
    }
    let body = bytes.get(CONTAINER_BYTES..body_end).ok_or(ImageError::Truncated)?;
    let padding = bytes.get(body_end..sections as usize).ok_or(ImageError::Truncated)?;
    if padding.iter().any(|&byte| byte != 0) {
        return Err(ImageError::Trailing);
    }
    Ok((body, bytes.get(sections as usize..).unwrap_or(&[])))
}
