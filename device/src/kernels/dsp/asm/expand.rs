//! Low-bit weights as byte lanes: one AND a word, for many pixels at once.

use core::arch::naked_asm;

use releq_format::bits::Plane;

/// Adds `plane`'s fields, times `2^scale` more than the plane is worth, to the byte lanes at `to`; writes them for
/// the first plane.
///
/// `words` are the plane of one pair of rows, `to` two words for each four columns. Does nothing if `to` is too short.
pub(in super::super) fn plane(to: &mut [u8], words: &[u8], plane: Plane, scale: u32) {
    let first = plane.shift == 0;
    type Expand = unsafe extern "C" fn(*mut u8, *const u8, usize, u32);
    let in_place = first && scale == 0;
    let (log_fields, function): (u32, Expand) = match (plane.width, first) {
        (4, true) if in_place => (1, plain_nibbles),
        (2, true) if in_place => (2, plain_crumbs),
        (_, true) if in_place && plane.width == 1 => (3, plain_bits),
        (4, true) => (1, nibbles),
        (4, false) => (1, more_nibbles),
        (2, true) => (2, crumbs),
        (2, false) => (2, more_crumbs),
        (_, true) => (3, bits),
        (_, false) => (3, more_bits),
    };
    let fields = 1 << log_fields;
    let count = words.len() / 4;
    let whole = (to.len() >> (2 + log_fields)).min(count);
    if whole > 0 {
        // SAFETY: `whole` words are read, and 4 · fields bytes written for each, which both slices hold; both are
        // word-aligned, as sections and scratch are.
        unsafe { function(to.as_mut_ptr(), words.as_ptr(), whole, u32::from(plane.shift) + scale) }
    }
    // A last word whose fields reach beyond the last column.
    let (done, left) = (4 * fields * whole, count.saturating_sub(whole));
    if left > 0
        && let Some(word) = words.get(4 * whole..).and_then(|rest| rest.first_chunk::<4>())
        && let Some(to) = to.get_mut(done..)
    {
        let word = u32::from_le_bytes(*word);
        let mask = 0x0101_0101u32.wrapping_mul((1 << plane.width) - 1);
        for (field, lanes) in to.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            let fresh = ((word >> (field as u32 * u32::from(plane.width) & 31)) & mask)
                << ((u32::from(plane.shift) + scale) & 31);
            let old = if first { 0 } else { u32::from_le_bytes(*lanes) };
            *lanes = (old | fresh).to_le_bytes();
        }
    }
}

/// A plane's expansion: the mask of one field of each byte, and how far the word is turned for each pair of fields.
/// r0 to, r1 words, r2 count, r3 left shift. `$combine` joins r5 and r6 with what was there.
macro_rules! expand {
    ($name:ident, $mask:literal, [$(($even:literal, $odd:literal)),+], $combine:expr) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(to: *mut u8, words: *const u8, count: usize, shift: u32) {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4-r8, lr}}",
                concat!("mov.w r12, #", $mask),
                "lsl r12, r12, r3",
                // Turning right by 32 − shift, 32 included, turns left by shift.
                "rsb r3, r3, #32",
                "3:",
                "ldr r4, [r1], #4",
                "ror r4, r4, r3",
                $(
                    concat!("and r5, r12, r4", $even),
                    concat!("and r6, r12, r4", $odd),
                    $combine,
                    "strd r5, r6, [r0], #8",
                )+
                "subs r2, #1",
                "bne 3b",
                "pop {{r4-r8, pc}}",
            )
        }
    };
}

/// The same for fields that stay where they are in their bytes: two words a turn, r4 and r9.
macro_rules! expand_plain {
    ($name:ident, $mask:literal, [$(($even:literal, $odd:literal)),+]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(to: *mut u8, words: *const u8, count: usize, _: u32) {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4-r9, lr}}",
                concat!("mov.w r12, #", $mask),
                "lsrs r2, r2, #1",
                "bcc 3f",
                "ldr r4, [r1], #4",
                $(
                    concat!("and r5, r12, r4", $even),
                    concat!("and r6, r12, r4", $odd),
                    "strd r5, r6, [r0], #8",
                )+
                "cmp r2, #0",
                "beq 4f",
                "3:",
                "ldrd r4, r9, [r1], #8",
                $(
                    concat!("and r5, r12, r4", $even),
                    concat!("and r6, r12, r4", $odd),
                    "strd r5, r6, [r0], #8",
                )+
                $(
                    concat!("and r5, r12, r9", $even),
                    concat!("and r6, r12, r9", $odd),
                    "strd r5, r6, [r0], #8",
                )+
                "subs r2, #1",
                "bne 3b",
                "4:",
                "pop {{r4-r9, pc}}",
            )
        }
    };
}

/// Joins with an earlier plane.
macro_rules! join {
    () => {
        "ldrd r7, r8, [r0]
        orr r5, r5, r7
        orr r6, r6, r8"
    };
}

expand!(nibbles, "0x0F0F0F0F", [("", ", ror #4")], "");
expand!(more_nibbles, "0x0F0F0F0F", [("", ", ror #4")], join!());
expand!(crumbs, "0x03030303", [("", ", ror #2"), (", ror #4", ", ror #6")], "");
expand!(more_crumbs, "0x03030303", [("", ", ror #2"), (", ror #4", ", ror #6")], join!());
expand!(
    bits,
    "0x01010101",
    [("", ", ror #1"), (", ror #2", ", ror #3"), (", ror #4", ", ror #5"), (", ror #6", ", ror #7")],
    ""
);
expand!(
    more_bits,
    "0x01010101",
    [("", ", ror #1"), (", ror #2", ", ror #3"), (", ror #4", ", ror #5"), (", ror #6", ", ror #7")],
    join!()
);
expand_plain!(plain_nibbles, "0x0F0F0F0F", [("", ", ror #4")]);
expand_plain!(plain_crumbs, "0x03030303", [("", ", ror #2"), (", ror #4", ", ror #6")]);
expand_plain!(
    plain_bits,
    "0x01010101",
    [("", ", ror #1"), (", ror #2", ", ror #3"), (", ror #4", ", ror #5"), (", ror #6", ", ror #7")]
);

/// All planes of one pair of rows at once, for codes of 3, 5, 6 or 7 bits. Returns whether it was done: columns must
/// come in sixteens, and codes stay where they are in their bytes.
pub(in super::super) fn planes(to: &mut [u8], words: &[u8], bits: u8) -> bool {
    type Expand = unsafe extern "C" fn(*mut u8, *const u8, usize);
    let (function, words_of_a_turn): (Expand, usize) = match bits {
        3 => (crumbs_and_bits, 3),
        5 => (nibbles_and_bits, 5),
        6 => (nibbles_and_crumbs, 6),
        7 => (nibbles_crumbs_and_bits, 7),
        _ => return false,
    };
    let turns = to.len() / 32;
    let fits = turns > 0 && to.len() == 32 * turns && words.len() == 4 * words_of_a_turn * turns;
    if fits {
        // SAFETY: a turn reads its words and writes 32 bytes, which both slices hold; both are word-aligned, as
        // sections and scratch are.
        unsafe { function(to.as_mut_ptr(), words.as_ptr(), turns) }
    }
    fits
}

/// Two words of lanes begin with fields of `$word` under `$mask`.
#[rustfmt::skip]
macro_rules! first {
    ($mask:literal, $word:literal, $even:literal, $odd:literal) => {
        concat!("and r7, ", $mask, ", ", $word, $even, "\nand r8, ", $mask, ", ", $word, $odd, "\n")
    };
}

/// Fields of a further plane join them.
#[rustfmt::skip]
macro_rules! more {
    ($mask:literal, $word:literal, $even:literal, $odd:literal) => {
        concat!(
            "and r9, ", $mask, ", ", $word, $even, "\norr r7, r9\n",
            "and r9, ", $mask, ", ", $word, $odd, "\norr r8, r9\n"
        )
    };
}

/// A turn is sixteen columns: four words of nibbles, two of crumbs and one of bits, as far as there are such planes.
/// r0 to, r1 to r3 planes, r4 to r6 their words, r10 to r12 masks, lr turns; `$starts` sets r2 and r3.
macro_rules! merge {
    ($name:ident, $starts:literal, [$low:literal, $middle:literal, $high:literal], [$($quad:expr),+]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(to: *mut u8, words: *const u8, turns: usize) {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4-r11, lr}}",
                "mov lr, r2",
                $starts,
                concat!("mov.w r10, #", $low),
                concat!("mov.w r11, #", $middle),
                concat!("mov.w r12, #", $high),
                "2:",
                $($quad, "strd r7, r8, [r0], #8",)+
                "subs.w lr, lr, #1",
                "bne.w 2b",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

merge!(
    crumbs_and_bits,
    "mov r2, r1\nadd r3, r1, lr, lsl #3",
    ["0", "0x03030303", "0x04040404"],
    [
        concat!(
            "ldr r5, [r2], #4\n",
            first!("r11", "r5", "", ", ror #2"),
            "ldr r6, [r3], #4\n",
            more!("r12", "r6", ", ror #30", ", ror #31")
        ),
        concat!(first!("r11", "r5", ", ror #4", ", ror #6"), more!("r12", "r6", "", ", ror #1")),
        concat!("ldr r5, [r2], #4\n", first!("r11", "r5", "", ", ror #2"), more!("r12", "r6", ", ror #2", ", ror #3")),
        concat!(first!("r11", "r5", ", ror #4", ", ror #6"), more!("r12", "r6", ", ror #4", ", ror #5"))
    ]
);
merge!(
    nibbles_and_bits,
    "add r3, r1, lr, lsl #4",
    ["0x0F0F0F0F", "0", "0x10101010"],
    [
        concat!(
            "ldr r4, [r1], #4\n",
            first!("r10", "r4", "", ", ror #4"),
            "ldr r6, [r3], #4\n",
            more!("r12", "r6", ", ror #28", ", ror #29")
        ),
        concat!(
            "ldr r4, [r1], #4\n",
            first!("r10", "r4", "", ", ror #4"),
            more!("r12", "r6", ", ror #30", ", ror #31")
        ),
        concat!("ldr r4, [r1], #4\n", first!("r10", "r4", "", ", ror #4"), more!("r12", "r6", "", ", ror #1")),
        concat!("ldr r4, [r1], #4\n", first!("r10", "r4", "", ", ror #4"), more!("r12", "r6", ", ror #2", ", ror #3"))
    ]
);
merge!(
    nibbles_and_crumbs,
    "add r2, r1, lr, lsl #4",
    ["0x0F0F0F0F", "0x30303030", "0"],
    [
        concat!(
            "ldr r4, [r1], #4\n",
            first!("r10", "r4", "", ", ror #4"),
            "ldr r5, [r2], #4\n",
            more!("r11", "r5", ", ror #28", ", ror #30")
        ),
        concat!("ldr r4, [r1], #4\n", first!("r10", "r4", "", ", ror #4"), more!("r11", "r5", "", ", ror #2")),
        concat!(
            "ldr r4, [r1], #4\n",
            first!("r10", "r4", "", ", ror #4"),
            "ldr r5, [r2], #4\n",
            more!("r11", "r5", ", ror #28", ", ror #30")
        ),
        concat!("ldr r4, [r1], #4\n", first!("r10", "r4", "", ", ror #4"), more!("r11", "r5", "", ", ror #2"))
    ]
);
merge!(
    nibbles_crumbs_and_bits,
    "add r2, r1, lr, lsl #4\nadd r3, r2, lr, lsl #3",
    ["0x0F0F0F0F", "0x30303030", "0x40404040"],
    [
        concat!(
            "ldr r4, [r1], #4\n",
            first!("r10", "r4", "", ", ror #4"),
            "ldr r5, [r2], #4\n",
            more!("r11", "r5", ", ror #28", ", ror #30"),
            "ldr r6, [r3], #4\n",
            more!("r12", "r6", ", ror #26", ", ror #27")
        ),
        concat!(
            "ldr r4, [r1], #4\n",
            first!("r10", "r4", "", ", ror #4"),
            more!("r11", "r5", "", ", ror #2"),
            more!("r12", "r6", ", ror #28", ", ror #29")
        ),
        concat!(
            "ldr r4, [r1], #4\n",
            first!("r10", "r4", "", ", ror #4"),
            "ldr r5, [r2], #4\n",
            more!("r11", "r5", ", ror #28", ", ror #30"),
            more!("r12", "r6", ", ror #30", ", ror #31")
        ),
        concat!(
            "ldr r4, [r1], #4\n",
            first!("r10", "r4", "", ", ror #4"),
            more!("r11", "r5", "", ", ror #2"),
            more!("r12", "r6", "", ", ror #1")
        )
    ]
);
