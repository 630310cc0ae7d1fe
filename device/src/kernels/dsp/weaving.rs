//! How spaced taps come from weights: from byte lanes, straight from a plane, or in two passes of half the bits.

use super::line_plan::Fields;

/// Fields of a plane that taps are spaced straight from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taps {
    /// Fields of one bit, of two, and of four.
    Bits,
    Crumbs,
    Nibbles,
}

impl Taps {
    /// Bits of a field, and columns in a word of lanes.
    pub(super) const fn bits_and_columns(self) -> (u32, usize) {
        match self {
            Self::Bits => (1, 16),
            Self::Crumbs => (2, 8),
            Self::Nibbles => (4, 4),
        }
    }

    /// Whether there is code that spaces them so far apart.
    const fn suit(self, spacing: u32, channels: usize) -> bool {
        let apart = self.apart(spacing) || matches!((self, spacing), (Self::Nibbles, 14) | (Self::Crumbs, 15));
        apart && self.whole(channels)
    }

    /// Whether channels are whole words of a plane.
    const fn whole(self, channels: usize) -> bool {
        channels.is_multiple_of(self.bits_and_columns().1)
    }

    /// Whether all three taps can be turned into one byte: whole fields of it that do not collide.
    pub(super) const fn apart(self, spacing: u32) -> bool {
        let (bits, [middle, first]) = (self.bits_and_columns().0, [spacing & 7, (2 * spacing) & 7]);
        matches!(self, Self::Bits | Self::Crumbs)
            && middle >= bits
            && middle + bits <= 8
            && first >= bits
            && first + bits <= 8
            && middle.abs_diff(first) >= bits
    }
}

/// How spaced taps come from weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weaving {
    /// From byte lanes: any width.
    Lanes,
    /// From an only plane.
    Plane(Taps),
    /// In two passes over the window, since fields have no room for whole codes: two upper bits or one, then two lower
    /// ones, each of a plane's fields.
    Halves([(usize, Taps); 2]),
}

impl Weaving {
    /// The fastest way for weights of `bits` bits to fields that lie so.
    pub(super) fn of(bits: u8, fields: Fields, channels: usize) -> Self {
        let planes = match bits {
            1 => Self::Plane(Taps::Bits),
            2 => Self::Plane(Taps::Crumbs),
            3 => Self::Halves([(1, Taps::Bits), (0, Taps::Crumbs)]),
            4 => Self::Plane(Taps::Nibbles),
            _ => Self::Lanes,
        };
        if planes.suits(fields, channels) { planes } else { Self::Lanes }
    }

    fn suits(self, fields: Fields, channels: usize) -> bool {
        let spacing = fields.places().0;
        match self {
            Self::Lanes => true,
            Self::Plane(taps) if fields == Fields::Centred => taps == Taps::Nibbles && taps.whole(channels),
            Self::Plane(taps) => taps.suit(spacing, channels),
            // Only totals can be shifted in between.
            Self::Halves(halves) => {
                fields == Fields::Two15 && halves.into_iter().all(|(_, taps)| taps.suit(spacing, channels))
            }
        }
    }

    pub(super) const fn passes(self) -> usize {
        if matches!(self, Self::Halves(_)) { 2 } else { 1 }
    }
}
