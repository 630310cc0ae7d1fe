//! Reading and writing codes in the arena: packed lanes of 1, 2, 4 and 8 bits, NHWC.
//!
//! Nothing here can panic: positions outside a tensor read as its zero point and write nothing. A checked image never
//! asks for one except where padding does.

use core::slice::ChunksExactMut;

use releq_format::graph::{Storage, TensorRecord};
use releq_format::quant::{Channel, logit, requantize};

/// A tensor that a kernel reads.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// Shape and encoding.
    pub record: TensorRecord,
    /// Its bytes in the arena.
    pub bytes: &'a [u8],
}

impl<'a> Input<'a> {
    /// The bytes of the pixels `x..x + count` of row `y`; nothing if they are not all inside.
    pub fn pixels(&self, y: usize, x: usize, count: usize) -> &'a [u8] {
        let stride = self.record.pixel_bytes() as usize;
        let width = usize::from(self.record.width);
        let start = y.wrapping_mul(width).wrapping_add(x).wrapping_mul(stride);
        let end = start.wrapping_add(count.wrapping_mul(stride));
        self.bytes.get(start..end).unwrap_or(&[])
    }

    /// One code; the zero point outside the tensor.
    pub fn code(&self, y: isize, x: isize, channel: usize) -> u8 {
        let inside = (0..self.record.height as isize).contains(&y) && (0..self.record.width as isize).contains(&x);
        if !inside {
            return self.record.zero_point;
        }
        load(self.pixels(y as usize, x as usize, 1), self.record.storage, channel)
    }

    /// Unpacks the pixels `x..` of row `y` into `codes`, channel by channel, until `codes` is full.
    pub fn unpack(&self, y: usize, x: usize, mut codes: &mut [u8]) {
        let TensorRecord { width, channels, storage, .. } = self.record;
        let stride = self.record.pixel_bytes() as usize;
        let start = y.wrapping_mul(usize::from(width)).wrapping_add(x).wrapping_mul(stride);
        let mut pixels = self.bytes.get(start..).unwrap_or(&[]);
        if storage == Storage::Bits8 {
            copy(codes, pixels);
            return;
        }
        if u32::from(channels).wrapping_mul(storage.bits()).is_multiple_of(8) {
            // No padding between pixels.
            unpack(pixels, storage, codes);
            return;
        }
        while let Some((packed, rest)) = pixels.split_at_checked(stride)
            && let Some((pixel, others)) = codes.split_at_mut_checked(usize::from(channels))
            && !pixel.is_empty()
        {
            unpack(packed, storage, pixel);
            (pixels, codes) = (rest, others);
        }
    }
}

/// Copies as much as both hold.
#[inline]
pub fn copy(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

/// The code in lane `index` of a packed pixel; 0 outside.
#[inline]
pub fn load(pixel: &[u8], storage: Storage, index: usize) -> u8 {
    let (shift, mask) = lanes(storage);
    let byte = pixel.get(index >> shift).copied().unwrap_or(0);
    (byte >> lane_bit(index, shift)) & mask
}

/// Puts `code` into lane `index` of a packed pixel whose lane is still 0.
#[inline]
pub fn store(pixel: &mut [u8], storage: Storage, index: usize, code: u8) {
    let (shift, mask) = lanes(storage);
    if let Some(byte) = pixel.get_mut(index >> shift) {
        *byte |= (code & mask) << lane_bit(index, shift);
    }
}

/// Puts `code` into lane `index` of a packed pixel, whatever was there.
pub fn replace(pixel: &mut [u8], storage: Storage, index: usize, code: u8) {
    let (shift, mask) = lanes(storage);
    if let Some(byte) = pixel.get_mut(index >> shift) {
        let bit = lane_bit(index, shift);
        *byte = (*byte & !(mask << bit)) | ((code & mask) << bit);
    }
}

/// Zeroes the lanes of a packed pixel from `channels` on.
pub fn clear_padding(pixel: &mut [u8], storage: Storage, channels: usize) {
    let (shift, _) = lanes(storage);
    let used = lane_bit(channels, shift);
    if let Some(byte) = pixel.get_mut(channels >> shift) {
        *byte &= (1 << used) - 1;
    }
}

/// log2 of the lanes per byte, and a lane's mask.
#[inline]
const fn lanes(storage: Storage) -> (u32, u8) {
    match storage {
        Storage::Bits1 => (3, 0x01),
        Storage::Bits2 => (2, 0x03),
        Storage::Bits4 => (1, 0x0F),
        Storage::Bits8 | Storage::Logits => (0, 0xFF),
    }
}

#[inline]
const fn lane_bit(index: usize, shift: u32) -> u32 {
    ((index & ((1 << shift) - 1)) << (3 - shift)) as u32
}

/// Unpacks one pixel: four codes at a time, then what is left one by one; all of them where size is what counts.
fn unpack(packed: &[u8], storage: Storage, codes: &mut [u8]) {
    let done = if cfg!(releq_small) { 0 } else { unpack_fours(packed, storage, codes) };
    for (index, code) in codes.iter_mut().enumerate().skip(done) {
        *code = load(packed, storage, index);
    }
}

/// Spreads four codes at a time over a word, as long as there are four, and says how many codes that were.
fn unpack_fours(packed: &[u8], storage: Storage, codes: &mut [u8]) -> usize {
    let (fours, _) = codes.as_chunks_mut::<4>();
    match storage {
        Storage::Bits4 => {
            for (codes, &[low, high]) in fours.iter_mut().zip(packed.as_chunks::<2>().0) {
                let half = u32::from(low) | u32::from(high) << 16;
                *codes = ((half | half << 4) & 0x0F0F_0F0F).to_le_bytes();
            }
        }
        Storage::Bits2 => {
            for (codes, &byte) in fours.iter_mut().zip(packed) {
                *codes = spread_crumbs(u32::from(byte)).to_le_bytes();
            }
        }
        Storage::Bits1 => {
            for (codes, nibble) in fours.iter_mut().zip(packed.iter().flat_map(|&byte| [byte & 0xF, byte >> 4])) {
                // Each bit to the bottom of a byte: the multiplication makes four copies, 7 bits apart.
                *codes = (u32::from(nibble).wrapping_mul(0x0020_4081) & 0x0101_0101).to_le_bytes();
            }
        }
        Storage::Bits8 | Storage::Logits => {
            for (codes, bytes) in fours.iter_mut().zip(packed.as_chunks::<4>().0) {
                *codes = *bytes;
            }
        }
    }
    codes.len() & !3
}

/// The four 2-bit codes of a byte as bytes of a word.
const fn spread_crumbs(byte: u32) -> u32 {
    let nibbles = (byte | byte << 12) & 0x000F_000F;
    (nibbles | nibbles << 6) & 0x0303_0303
}

/// Turns accumulators into the codes (or logits) of one output pixel.
#[derive(Clone, Copy, Debug)]
pub struct Sink {
    record: TensorRecord,
    shift: u8,
}

impl Sink {
    /// For outputs of `record` whose accumulators are shifted by `shift`.
    pub const fn new(record: TensorRecord, shift: u8) -> Self {
        Self { record, shift }
    }

    /// Writes the outcome of channel `index`; the pixel must have been zeroed.
    #[inline]
    pub fn put(&self, pixel: &mut [u8], index: usize, acc: i32, multiplier: i32) {
        if self.record.storage == Storage::Logits {
            let value = logit(acc, self.shift, multiplier).to_le_bytes();
            let start = index.wrapping_mul(4);
            copy(pixel.get_mut(start..).unwrap_or(&mut []), &value);
            return;
        }
        let code = requantize(acc, self.shift, multiplier, self.record.zero_point, self.record.bits);
        store(pixel, self.record.storage, index, code);
    }
}

/// Output pixels in order, zeroed, with their row and column.
pub fn pixels_mut<'a>(record: &TensorRecord, bytes: &'a mut [u8]) -> PixelsMut<'a> {
    PixelsMut {
        pixels: bytes.chunks_exact_mut((record.pixel_bytes() as usize).max(1)),
        width: usize::from(record.width),
        next: (0, 0),
    }
}

/// The iterator of [`pixels_mut`].
#[derive(Debug)]
pub struct PixelsMut<'a> {
    pixels: ChunksExactMut<'a, u8>,
    width: usize,
    next: (usize, usize),
}

impl<'a> Iterator for PixelsMut<'a> {
    type Item = (usize, usize, &'a mut [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let pixel = self.pixels.next()?;
        pixel.fill(0);
        let (y, x) = self.next;
        let following = x.wrapping_add(1);
        self.next = if following < self.width { (y, following) } else { (y.wrapping_add(1), 0) };
        Some((y, x, pixel))
    }
}

/// The channel constants of a section: `[bias, multiplier]` each.
#[inline]
pub fn channels(section: &[u8]) -> impl Iterator<Item = Channel> + Clone {
    let (words, _) = section.as_chunks::<4>();
    let (pairs, _) = words.as_chunks::<2>();
    pairs.iter().map(|[bias, multiplier]| Channel {
        bias: i32::from_le_bytes(*bias),
        multiplier: i32::from_le_bytes(*multiplier),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use releq_format::bits::BitWidth;

    #[test]
    fn lanes_round_trip_in_every_storage() {
        for (storage, bits) in [(Storage::Bits1, 1), (Storage::Bits2, 2), (Storage::Bits4, 4), (Storage::Bits8, 8)] {
            let channels = 5;
            let record = TensorRecord {
                height: 2,
                width: 3,
                channels,
                bits: BitWidth::new(bits).unwrap(),
                zero_point: 1,
                storage,
                offset: 0,
            };
            let mut bytes = [0xAA; 64];
            let used = record.bytes().unwrap() as usize;
            let code = |y: usize, x: usize, c: usize| ((y * 7 + x * 3 + c) as u8) & record.bits.max_code();
            for (y, x, pixel) in pixels_mut(&record, &mut bytes[..used]) {
                for c in 0..usize::from(channels) {
                    store(pixel, storage, c, code(y, x, c));
                }
            }
            let input = Input { record, bytes: &bytes[..used] };
            for y in 0..2 {
                let mut row = [0; 10];
                input.unpack(y, 1, &mut row);
                for (index, &unpacked) in row.iter().enumerate() {
                    assert_eq!(unpacked, code(y, 1 + index / 5, index % 5), "{storage:?}");
                    assert_eq!(input.code(y as isize, (1 + index / 5) as isize, index % 5), unpacked);
                }
            }
            assert_eq!(input.code(-1, 0, 0), 1);
            assert_eq!(input.code(0, 3, 0), 1);
        }
    }
}
