//! The loops themselves: naked functions behind safe fronts that check every length.
//!
//! Naked, because a function of its own has all of r0–r12 and lr, while `asm!` cannot name r6 and r7. Instruction
//! timings and encodings: Armv7-M ARM (DDI 0403), A7.7; procedure call standard: AAPCS32.

/// The first line of every function: the baseline of Armv8-M targets lacks the extension.
macro_rules! core_with_dsp {
    () => {
        ".cpu cortex-m33"
    };
}

mod add;
pub(super) mod average;
mod block;
mod block_ends;
mod copy;
mod couple;
mod dense;
pub(super) mod depthwise;
#[macro_use]
mod empty;
mod ends;
mod expand;
mod fetch;
mod lines;
mod max;
mod outer;
mod outer_pixels;
mod pack;
mod plane_weaver;
mod settle;
mod space;
mod space_row;
pub(super) mod spread;
mod tap_sums;
pub(super) mod taps;
mod unpack;
mod weave;
mod widen;
mod window_sums;

pub(super) use add::{bytes as add_bytes, narrowed as add_narrowed, nibbles as add_nibbles};
pub(super) use block::{Block, Packing, run as block};
pub(super) use block_ends::scale as ends_scale;
pub(super) use copy::rectangle as copy_rectangle;
pub(super) use couple::pairs as couple_pairs;
pub(super) use dense::{Rows, overrun as dense_overrun, rows as dense_rows};
pub(super) use ends::{Ends, rows as dense_ends};
pub(super) use expand::{plane as expand_plane, planes as expand_planes};
pub(super) use fetch::pair as fetch_pair;
pub(super) use lines::{FILL, Lines, Parts as LineParts, Program};
pub(super) use max::{Fours, four as max_four};
pub(super) use outer::{Blocks, Outer, Starts, Store};
pub(super) use outer_pixels::group as spread_pixels;
pub(super) use pack::{fours as pack_fours, words as pack_words};
pub(super) use plane_weaver::PlaneWeaver;
pub(super) use settle::{Codes, Pair, Settle, pairs as settle_pairs};
pub(super) use space::Spacing;
pub(super) use space_row::{Source, row as space_row};
pub(super) use tap_sums::of as tap_sums;
pub(super) use unpack::nibbles as unpack_nibbles;
pub(super) use weave::taps as weave_taps;
pub(super) use widen::{pair as widen_pair, vector as widen_vector};
pub(super) use window_sums::add as add_window_sums;
