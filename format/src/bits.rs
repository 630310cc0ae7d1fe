//! Bit-widths and level sets: what a weight code of b bits stands for.

use serde::{Deserialize, Serialize};

/// A width of 1..=8 bits; decoding anything else fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct BitWidth(u8);

impl BitWidth {
    /// Eight bits.
    pub const EIGHT: Self = Self(8);

    /// A width, or `None` outside 1..=8.
    pub const fn new(bits: u8) -> Option<Self> {
        if bits >= 1 && bits <= 8 { Some(Self(bits)) } else { None }
    }

    /// The number of bits, 1..=8.
    #[inline]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The largest unsigned code, 2^b − 1.
    #[inline]
    pub const fn max_code(self) -> u8 {
        ((1u16 << self.0) - 1) as u8
    }

    /// The bit-planes a b-bit code is stored as, low bits first: 3 = 2 + 1, 5 = 4 + 1, 6 = 4 + 2, 7 = 4 + 2 + 1.
    pub const fn planes(self) -> Planes {
        Planes { widest: 4, left: self.0, shift: 0 }
    }

    /// The code as a single plane where it is a whole byte, else as [`BitWidth::planes`].
    pub(crate) const fn byte_or_planes(self) -> Planes {
        Planes { widest: 8, ..self.planes() }
    }
}

/// The bit-planes of a code, low bits first: the widest power of two that is left, again and again.
#[derive(Clone, Debug)]
pub struct Planes {
    /// No plane is wider; a power of two.
    widest: u8,
    /// Bits that are in no plane yet.
    left: u8,
    /// Bits that are in one.
    shift: u8,
}

impl Iterator for Planes {
    type Item = Plane;

    fn next(&mut self) -> Option<Plane> {
        if self.left == 0 {
            return None;
        }
        while self.widest > self.left {
            self.widest /= 2;
        }
        let plane = Plane { width: self.widest, shift: self.shift };
        self.left = self.left.wrapping_sub(plane.width);
        self.shift = self.shift.wrapping_add(plane.width);
        Some(plane)
    }
}

/// One bit-plane of a code: `width` bits, worth `2^shift` each unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    /// Bits per field: 4, 2 or 1.
    pub width: u8,
    /// Place of the field's lowest bit in the code.
    pub shift: u8,
}

impl TryFrom<u8> for BitWidth {
    type Error = &'static str;

    fn try_from(bits: u8) -> Result<Self, Self::Error> {
        Self::new(bits).ok_or("a bit-width is 1..=8")
    }
}

impl From<BitWidth> for u8 {
    fn from(bits: BitWidth) -> Self {
        bits.0
    }
}

/// Which integers the codes 0..2^b of a weight stand for. All values fit `i8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Levels {
    /// −2^(b−1) ..= 2^(b−1)−1.
    TwosComplement,
    /// −(2^(b−1)−1) ..= 2^(b−1)−1, the lowest code unused: WRPN's symmetric mid-tread set.
    MidTread,
    /// The odd integers −(2^b−1) ..= 2^b−1: DoReFa's mid-rise set; {−1, +1} at one bit. Up to 7 bits.
    MidRise,
}

impl Levels {
    /// The integer that `code` (0..2^b) stands for: `gain · code − offset`.
    #[inline]
    pub const fn value(self, code: u8, bits: BitWidth) -> i32 {
        let (gain, offset) = self.affine(bits);
        gain * code as i32 - offset
    }

    /// `(gain, offset)` of [`Levels::value`]. Kernels sum codes and correct with them once per output.
    #[inline]
    pub const fn affine(self, bits: BitWidth) -> (i32, i32) {
        match self {
            Self::TwosComplement | Self::MidTread => (1, 1 << (bits.get() - 1)),
            Self::MidRise => (2, bits.max_code() as i32),
        }
    }

    /// The code of `value`, or `None` where the set has no such level.
    pub const fn code(self, value: i32, bits: BitWidth) -> Option<u8> {
        let (gain, offset) = self.affine(bits);
        let shifted = value + offset;
        let unused = matches!(self, Self::MidTread) && shifted == 0;
        let code = shifted / gain;
        if shifted < 0 || unused || shifted % gain != 0 || code > bits.max_code() as i32 || !self.allows(bits) {
            return None;
        }
        Some(code as u8)
    }

    /// Largest magnitude any code of the set stands for, the unused one included.
    pub const fn magnitude(self, bits: BitWidth) -> u32 {
        self.affine(bits).1 as u32
    }

    /// Whether the set exists at this width: mid-rise needs `i8` values, so at most 7 bits.
    pub const fn allows(self, bits: BitWidth) -> bool {
        !matches!(self, Self::MidRise) || bits.get() <= 7
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn width(bits: u8) -> BitWidth {
        BitWidth::new(bits).unwrap()
    }

    #[test]
    fn planes_add_up_to_the_code() {
        for (bits, expected) in [
            (1, &[(1, 0)][..]),
            (2, &[(2, 0)]),
            (3, &[(2, 0), (1, 2)]),
            (4, &[(4, 0)]),
            (5, &[(4, 0), (1, 4)]),
            (6, &[(4, 0), (2, 4)]),
            (7, &[(4, 0), (2, 4), (1, 6)]),
            (8, &[(4, 0), (4, 4)]),
        ] {
            let planes: [Option<(u8, u8)>; 3] = {
                let mut iter = width(bits).planes().map(|plane| (plane.width, plane.shift));
                [iter.next(), iter.next(), iter.next()]
            };
            assert!(planes.iter().flatten().eq(expected), "{bits} bits: {planes:?}");
        }
    }

    #[test]
    fn codes_and_values_are_one_to_one() {
        for bits in 1..=8 {
            for levels in [Levels::TwosComplement, Levels::MidTread, Levels::MidRise] {
                if !levels.allows(width(bits)) {
                    continue;
                }
                for code in 0..=width(bits).max_code() {
                    let value = levels.value(code, width(bits));
                    assert!(i8::try_from(value).is_ok());
                    assert!(value.unsigned_abs() <= levels.magnitude(width(bits)));
                    let unused = levels == Levels::MidTread && code == 0;
                    assert_eq!(levels.code(value, width(bits)), (!unused).then_some(code), "{levels:?} {bits}");
                }
            }
        }
        assert_eq!(Levels::MidRise.code(0, width(2)), None);
        assert_eq!(Levels::TwosComplement.code(128, width(8)), None);
    }
}
