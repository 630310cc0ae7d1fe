//! Depthwise weights, four channels at a time, wherever their planes lie.

use releq_format::bits::Plane;
use releq_format::graph::Weights;
use releq_format::pack::{Layout, Matrix};

use super::asm::taps::{self, Values, WORDS};
use super::plan::{GROUP, TAPS};

/// Finds weights, and makes lanes of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taps<'a> {
    section: &'a [u8],
    /// Planes of a tap; none where weights are bytes.
    planes: [Option<Plane>; 3],
    /// Bytes from plane to plane, and from tap to tap.
    plane_bytes: [usize; 3],
    stride: usize,
    values: Values,
    /// Left shift of the accumulator that weights have room for, and what is left of it.
    shift: u32,
    pub(super) rest: u32,
}

impl<'a> Taps<'a> {
    pub(super) fn new(weights: &Weights, matrix: &Matrix, section: &'a [u8]) -> Self {
        // −2^15 is the lowest of a lane, 2^14 the highest power.
        let magnitude = weights.levels.magnitude(weights.bits).next_power_of_two();
        let room = 15u32.saturating_sub(magnitude.trailing_zeros()).min(14);
        let shift = room.min(u32::from(weights.shift));
        let rest = u32::from(weights.shift) - shift;
        let bytes = weights.layout == Layout::Bytes;
        let (gain, offset) = if bytes { (1, 0x80) } else { weights.levels.affine(weights.bits) };
        let values = Values {
            flip: if bytes { 0x8080_8080 } else { 0 },
            gain: (gain as u32) << shift,
            offset: ((offset as u32) << shift).wrapping_mul(0x0001_0001),
        };
        let mut taps = Self { section, planes: [None; 3], plane_bytes: [0; 3], stride: 0, values, shift, rest };
        if bytes {
            taps.stride = matrix.columns as usize;
            return taps;
        }
        let places = taps.planes.iter_mut().zip(&mut taps.plane_bytes);
        for ((place, bytes), plane) in places.zip(matrix.planes()) {
            (*place, *bytes) = (Some(plane), 4 * matrix.plane_words(plane) as usize);
            taps.stride += *bytes;
        }
        taps
    }

    /// The lanes of the channels from `group` on, shifted.
    pub(super) fn lanes(&self, group: usize, to: &mut [[u32; WORDS]; GROUP]) {
        if self.planes[0].is_none() {
            return taps::lanes(to, self.section.get(group..).unwrap_or(&[]), self.stride, &self.values);
        }
        let mut codes = [[0; GROUP]; TAPS * TAPS];
        let mut start = 0;
        for (plane, bytes) in self.planes.iter().zip(self.plane_bytes) {
            let Some(plane) = plane else { break };
            self.join(start, group, plane, &mut codes);
            start += bytes;
        }
        taps::lanes(to, codes.as_flattened(), GROUP, &self.values);
    }

    /// Adds the fields of four columns of a plane, which starts at byte `start`, for each tap.
    #[inline(never)]
    fn join(&self, start: usize, group: usize, plane: &Plane, codes: &mut [[u8; GROUP]; TAPS * TAPS]) {
        let width = u32::from(plane.width & 7);
        let bit = group as u32 * width;
        let (half, quarter) = (0x0001_0001 * ((1 << (2 * width)) - 1), 0x0101_0101 * ((1 << width) - 1));
        let mut at = start + bit as usize / 32 * 4;
        for codes in codes {
            let word = |at: usize| {
                self.section.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |word| u32::from_le_bytes(*word))
            };
            let mut fields = word(at) >> (bit % 32);
            if bit % 32 + 4 * width > 32 {
                fields |= word(at + 4) << (32 - bit % 32);
            }
            fields &= (1 << (4 * width)) - 1;
            // Fields to halves, halves to bytes.
            let halves = (fields | fields << (16 - 2 * width)) & half;
            let bytes = (halves | halves << (8 - width)) & quarter;
            *codes = (u32::from_le_bytes(*codes) | bytes << (plane.shift & 7)).to_le_bytes();
            at += self.stride;
        }
    }

    /// An accumulator's start, shifted as weights are.
    pub(super) const fn bias(&self, bias: i32) -> i32 {
        bias.wrapping_shl(self.shift)
    }
}
