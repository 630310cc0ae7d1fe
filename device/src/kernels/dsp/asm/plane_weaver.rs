//! Taps of both rows of a pair, spaced out in words straight from a plane of their codes.

use core::arch::naked_asm;

use super::super::line_plan::Fields;
use super::super::weaving::Taps;

/// Spaces taps straight from one plane, as [`taps`](super::weave::taps) gives them, for all window rows. Field order is the assembly's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct PlaneWeaver {
    /// 0: bytes of one tap.
    tap_bytes: usize,
    /// 4
    rows: usize,
    /// 8: fields of a word: last tap and first tap, and the middle one where bytes have room for all three; or the upper
    /// bit of all codes of a plane's word.
    fields: u32,
    /// 12: twice the middle tap's fields, one a half; or its fields, one a byte, where words have them; or what the
    /// middle tap is worth.
    middle: u32,
    /// 16: half of what the middle tap is worth; or how far its words are turned right; or what the first tap is worth.
    power: u32,
    /// 20: where bytes have room: as `middle` and `power` for the first tap.
    first: u32,
    turn: u32,
    function: unsafe extern "C" fn(*mut u8, *const u8, *const PlaneWeaver),
    /// Bytes of a pair's taps, and of its words.
    to_bytes: usize,
    word_bytes: usize,
}

impl PlaneWeaver {
    /// For windows of `rows` rows; `None` if there is no code for such taps, or channels are no whole words.
    pub(in super::super) fn new(taps: Taps, [rows, channels]: [usize; 2], fields: Fields) -> Option<Self> {
        let (spacing, _) = fields.places();
        let centred = fields == Fields::Centred;
        let (bits, columns) = taps.bits_and_columns();
        let mask = (1u32 << bits) - 1;
        let tap_bytes = 4 * (channels / columns);
        let apart = taps.apart(spacing);
        let outer = mask | mask.rotate_left(2 * spacing);
        let bytes_of_mask = mask * 0x0101_0101;
        let (fields, middle, power) = match apart {
            _ if centred => (0x8888_8888, 1 << spacing, 1 << (2 * spacing)),
            true => (outer | mask << spacing, bytes_of_mask.rotate_left(spacing), 32 - spacing),
            false => (outer, 2 * mask * 0x0001_0001, 1 << ((spacing - 1) & 15)),
        };
        Some(Self {
            tap_bytes,
            rows,
            fields,
            middle,
            power,
            first: bytes_of_mask.rotate_left(2 * spacing),
            turn: 32 - ((2 * spacing) & 31),
            function: match (taps, spacing) {
                (Taps::Nibbles, _) if centred => weave_centred_nibbles,
                _ if centred => return None,
                (Taps::Bits, _) if apart => weave_whole_bits,
                (Taps::Crumbs, _) if apart => weave_whole_crumbs,
                (Taps::Crumbs, 15) => weave_crumbs,
                (Taps::Nibbles, 14) => weave_nibbles,
                _ => return None,
            },
            to_bytes: 8 * channels * rows,
            word_bytes: 3 * rows * tap_bytes,
        })
        .filter(|_| channels > 0 && rows > 0 && channels.is_multiple_of(columns))
    }

    /// From the plane of a pair of rows at `words`. Does nothing if a slice is too short.
    pub(in super::super) fn run(&self, to: &mut [u8], words: &[u8]) {
        if to.len() >= self.to_bytes && words.len() >= self.word_bytes {
            // SAFETY: three taps' words are read of each row, and 8 bytes a channel written, which the slices hold;
            // both are word-aligned, as sections and scratch are.
            unsafe { (self.function)(to.as_mut_ptr(), words.as_ptr(), self) }
        }
    }
}

/// Two channels of both rows: one field of each byte of r4 (first tap), r5 (middle) and r6 (last). First and last tap
/// share bytes, the first turned by `$turn`; the middle one, which would be in their way, is multiplied to its place.
#[rustfmt::skip]
macro_rules! field {
    ($mask:literal, $turn:literal, [$m0:literal, $m1:literal], [$p0:literal, $p1:literal, $p2:literal, $p3:literal], $low:literal, $high:literal) => {
        concat!(
            "and r7, r6, #", $mask, "\n",
            "and r8, r4, #", $mask, "\n",
            "orr r7, r7, r8, ror #", $turn, "\n",
            "and r8, r10, r5", $m0, "\n",
            "and r3, r10, r5", $m1, "\n",
            "and r12, r9, r7", $p0, "\n",
            "smlabb r12, r8, r11, r12\n",
            "and lr, r9, r7", $p1, "\n",
            "smlabb lr, r3, r11, lr\n",
            "strd r12, lr, [r0, #", $low, "]\n",
            "and r12, r9, r7", $p2, "\n",
            "smlatb r12, r8, r11, r12\n",
            "and lr, r9, r7", $p3, "\n",
            "smlatb lr, r3, r11, lr\n",
            "strd r12, lr, [r0, #", $high, "]\n"
        )
    };
}

/// The same where all three taps have room in a byte and words are turned already: one AND a word.
#[rustfmt::skip]
macro_rules! whole_field {
    ($mask:literal, $turn:literal, [$p0:literal, $p1:literal, $p2:literal, $p3:literal], $low:literal, $high:literal) => {
        concat!(
            "and r7, r6, #", $mask, "\n",
            "and r8, r4, r3", $turn, "\n",
            "orr r7, r8\n",
            "and r8, r5, r10", $turn, "\n",
            "orr r7, r8\n",
            "and r12, r9, r7", $p0, "\n",
            "and lr, r9, r7", $p1, "\n",
            "strd r12, lr, [r0, #", $low, "]\n",
            "and r12, r9, r7", $p2, "\n",
            "and lr, r9, r7", $p3, "\n",
            "strd r12, lr, [r0, #", $high, "]\n"
        )
    };
}

/// One channel of both rows, the code at bit `$even` of r4, r5 and r6 and the one at `$odd`; both are signed, since their upper
/// bits have been turned over.
#[rustfmt::skip]
macro_rules! signed_nibble {
    ($even:literal, $odd:literal, $place:literal) => {
        concat!(
            "sbfx r7, r6, #", $even, ", #4\n",
            "sbfx r8, r5, #", $even, ", #4\n",
            "mla r7, r8, r10, r7\n",
            "sbfx r8, r4, #", $even, ", #4\n",
            "mla r7, r8, r11, r7\n",
            "sbfx r12, r6, #", $odd, ", #4\n",
            "sbfx r8, r5, #", $odd, ", #4\n",
            "mla r12, r8, r10, r12\n",
            "sbfx r8, r4, #", $odd, ", #4\n",
            "mla r12, r8, r11, r12\n",
            "strd r7, r12, [r0, #", $place, "]\n"
        )
    };
}

/// All words of all taps, those of a window row's first tap at r1, `$bytes` of outputs a word. `$prepare` may use r2,
/// the arguments, for what `$turn` needs. The frame: 0 rows left, 4 end of the first tap.
macro_rules! weave_plane {
    ($name:ident, $bytes:literal, $prepare:literal, $turn:literal, [$($field:expr),+]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(to: *mut u8, words: *const u8, weaver: *const PlaneWeaver) {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4-r11, lr}}",
                "sub sp, #16",
                $prepare,
                "ldm r2, {{r2, r4, r9-r11}}",
                "2:",
                "add r5, r1, r2",
                "strd r4, r5, [sp]",
                "3:",
                "ldr r5, [r1, r2]",
                "ldr r6, [r1, r2, lsl #1]",
                "ldr r4, [r1], #4",
                $turn,
                $($field,)+
                concat!("adds r0, #", $bytes),
                "ldr r8, [sp, #4]",
                "cmp r1, r8",
                "bne.w 3b",
                "add r1, r1, r2, lsl #1",
                "ldr r4, [sp]",
                "subs r4, #1",
                "bne.w 2b",
                "add sp, #16",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

weave_plane!(
    weave_nibbles,
    "32",
    "",
    "",
    [
        field!("0x0F0F0F0F", "4", [", ror #31", ", ror #7"], ["", ", ror #8", ", ror #16", ", ror #24"], "0", "16"),
        field!(
            "0xF0F0F0F0",
            "4",
            [", ror #3", ", ror #11"],
            [", ror #4", ", ror #12", ", ror #20", ", ror #28"],
            "8",
            "24"
        )
    ]
);
weave_plane!(
    weave_centred_nibbles,
    "32",
    "",
    "eor r4, r9\neor r5, r9\neor r6, r9",
    [
        signed_nibble!("0", "8", "0"),
        signed_nibble!("4", "12", "8"),
        signed_nibble!("16", "24", "16"),
        signed_nibble!("20", "28", "24")
    ]
);
weave_plane!(
    weave_crumbs,
    "64",
    "",
    "",
    [
        field!("0x03030303", "2", [", ror #31", ", ror #7"], ["", ", ror #8", ", ror #16", ", ror #24"], "0", "16"),
        field!(
            "0x0C0C0C0C",
            "2",
            [", ror #1", ", ror #9"],
            [", ror #2", ", ror #10", ", ror #18", ", ror #26"],
            "8",
            "24"
        ),
        field!(
            "0x30303030",
            "2",
            [", ror #3", ", ror #11"],
            [", ror #4", ", ror #12", ", ror #20", ", ror #28"],
            "32",
            "48"
        ),
        field!(
            "0xC0C0C0C0",
            "2",
            [", ror #5", ", ror #13"],
            [", ror #6", ", ror #14", ", ror #22", ", ror #30"],
            "40",
            "56"
        )
    ]
);
weave_plane!(
    weave_whole_crumbs,
    "64",
    "ldrd r3, r4, [r2, #20]\nstr r4, [sp, #8]",
    "ldr r8, [sp, #8]\nror r4, r8\nror r5, r11",
    [
        whole_field!("0x03030303", "", ["", ", ror #8", ", ror #16", ", ror #24"], "0", "16"),
        whole_field!("0x0C0C0C0C", ", ror #30", [", ror #2", ", ror #10", ", ror #18", ", ror #26"], "8", "24"),
        whole_field!("0x30303030", ", ror #28", [", ror #4", ", ror #12", ", ror #20", ", ror #28"], "32", "48"),
        whole_field!("0xC0C0C0C0", ", ror #26", [", ror #6", ", ror #14", ", ror #22", ", ror #30"], "40", "56")
    ]
);
weave_plane!(
    weave_whole_bits,
    "128",
    "ldrd r3, r4, [r2, #20]\nstr r4, [sp, #8]",
    "ldr r8, [sp, #8]\nror r4, r8\nror r5, r11",
    [
        whole_field!("0x01010101", "", ["", ", ror #8", ", ror #16", ", ror #24"], "0", "16"),
        whole_field!("0x02020202", ", ror #31", [", ror #1", ", ror #9", ", ror #17", ", ror #25"], "8", "24"),
        whole_field!("0x04040404", ", ror #30", [", ror #2", ", ror #10", ", ror #18", ", ror #26"], "32", "48"),
        whole_field!("0x08080808", ", ror #29", [", ror #3", ", ror #11", ", ror #19", ", ror #27"], "40", "56"),
        whole_field!("0x10101010", ", ror #28", [", ror #4", ", ror #12", ", ror #20", ", ror #28"], "64", "80"),
        whole_field!("0x20202020", ", ror #27", [", ror #5", ", ror #13", ", ror #21", ", ror #29"], "72", "88"),
        whole_field!("0x40404040", ", ror #26", [", ror #6", ", ror #14", ", ror #22", ", ror #30"], "96", "112"),
        whole_field!("0x80808080", ", ror #25", [", ror #7", ", ror #15", ", ror #23", ", ror #31"], "104", "120")
    ]
);
