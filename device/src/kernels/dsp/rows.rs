//! What belongs to rows: the planes of a pair, found once a layer, and constants.

use releq_format::bits::Plane;
use releq_format::pack::Matrix;

use super::asm;
use crate::tensor::copy;

/// How many of the pairs of rows at `words`, `stride` bytes apart, can be read as `bytes` bytes each: the last group of
/// ends may lack words, so what reads it whole must not read the last pairs where they lie.
pub(super) fn whole_groups(words: &[u8], stride: usize, bytes: usize) -> usize {
    words.len().checked_sub(bytes).map_or(0, |last| last / stride.max(1) + 1)
}

/// Constants of some rows of which the image may lack the last; word-aligned, as assembly reads them.
#[repr(align(4))]
pub(super) struct Constants<const BYTES: usize>([u8; BYTES]);

impl<const BYTES: usize> Constants<BYTES> {
    /// Those at the start of `channels`, 0 beyond its end.
    pub(super) fn of(channels: &[u8]) -> Self {
        let mut constants = [0; BYTES];
        copy(&mut constants, channels);
        Self(constants)
    }

    pub(super) const fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// The planes of one pair of rows, with their bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planes {
    planes: [Option<(Plane, usize)>; 3],
    /// Of a code.
    bits: u8,
}

impl Planes {
    pub(super) fn of(matrix: &Matrix) -> Self {
        let mut planes = matrix.planes().map(|plane| (plane, 4 * matrix.plane_words(plane) as usize));
        Self { planes: [planes.next(), planes.next(), planes.next()], bits: matrix.bits.get() }
    }

    /// Bytes of one pair of rows.
    pub(super) fn bytes(&self) -> usize {
        self.planes.iter().flatten().fold(0, |sum, (_, bytes)| sum + bytes)
    }

    /// The words of plane `index` out of those of the pair at `words`.
    pub(super) fn words<'a>(&self, words: &'a [u8], index: usize) -> &'a [u8] {
        let before = self.planes.iter().flatten().take(index).fold(0, |sum, (_, bytes)| sum + bytes);
        words.get(before..).unwrap_or(&[])
    }

    /// The codes of the pair at `words` as byte lanes, times 2^scale.
    pub(super) fn expand(&self, mut words: &[u8], scale: u32, to: &mut [u8]) {
        if scale == 0 && asm::expand_planes(to, words, self.bits) {
            return;
        }
        for (plane, bytes) in self.planes.into_iter().flatten() {
            let Some((head, rest)) = words.split_at_checked(bytes) else { return };
            words = rest;
            asm::expand_plane(to, head, plane, scale);
        }
    }
}
