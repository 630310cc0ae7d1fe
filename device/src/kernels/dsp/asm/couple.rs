//! Byte lanes or narrower fields of two pairs of rows as words for outer products.

use core::arch::naked_asm;

/// For each column a word of each pair of rows, side by side: the even row's code at the bottom, the odd row's 30 bits
/// above, or 28 with groups of two pixels.
///
/// `pairs` are words of [`Layout::Lanes`](releq_format::pack::Layout::Lanes) with fields of `width` bits: 1, 2, 4, or 8
/// where a code has a byte to itself. Whole words are taken, as many as all slices have room for.
pub(in super::super) fn pairs(to: &mut [u8], pairs: [&[u8]; 2], width: u32, group: usize) {
    type Couple = unsafe extern "C" fn(*mut u8, *const u8, *const u8, usize);
    let (couple, columns): (Couple, usize) = match (width, group) {
        (1, 3) => (bits_30, 16),
        (1, _) => (bits_28, 16),
        (2, 3) => (crumbs_30, 8),
        (2, _) => (crumbs_28, 8),
        (4, _) => (nibbles_28, 4),
        (_, 3) => (bytes_30, 2),
        _ => (bytes_28, 2),
    };
    let words = (pairs[0].len().min(pairs[1].len()) / 4).min(to.len() >> (3 + columns.trailing_zeros()));
    // Bytes come in twos: columns 0 and 2, then 1 and 3.
    let count = if columns == 2 { words / 2 } else { words };
    if count > 0 {
        // SAFETY: `count` turns read one word of each pair (two where columns are bytes) and write 8 bytes for each
        // of their columns, which the slices hold; all are word-aligned, as sections and scratch are.
        unsafe { couple(to.as_mut_ptr(), pairs[0].as_ptr(), pairs[1].as_ptr(), count) }
    }
}

/// Two columns, two apart: `$even` and `$odd` say how the words r4 and r5 are turned to bring the rows' codes to the
/// bottom of the halves under the mask r12. `$top`: where odd codes go, `$near`: that less 16.
macro_rules! columns {
    ($even:literal, $odd:literal, $top:literal, $near:literal, $first:literal, $second:literal) => {
        concat!(
            "and.w r6, r12, r4",
            $even,
            "\nand.w r7, r12, r4",
            $odd,
            "\nand.w r8, r12, r5",
            $even,
            "\nand.w r9, r12, r5",
            $odd,
            "\npkhbt r10, r6, r7, lsl #",
            $top,
            "\npkhbt r11, r8, r9, lsl #",
            $top,
            "\nlsl r7, r7, #",
            $near,
            "\nlsl r9, r9, #",
            $near,
            "\nstrd r10, r11, [r0, #",
            $first,
            "]\npkhtb r6, r7, r6, asr #16\npkhtb r8, r9, r8, asr #16\nstrd r6, r8, [r0, #",
            $second,
            "]\n"
        )
    };
}

/// `$bytes`: what a turn writes; `$load` another word of each pair, where columns 1 and 3 are not in the first.
macro_rules! couple {
    ($name:ident, $mask:literal, $bytes:literal, [$($even:literal $odd:literal $first:literal $second:literal $load:literal)+], $top:literal, $near:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(to: *mut u8, first: *const u8, second: *const u8, count: usize) {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4-r11, lr}}",
                concat!("mov.w r12, #", $mask),
                "2:",
                $(
                    $load,
                    columns!($even, $odd, $top, $near, $first, $second),
                )+
                concat!("adds r0, #", $bytes),
                "subs r3, #1",
                "bne.w 2b",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

macro_rules! bits {
    ($name:ident, $top:literal, $near:literal) => {
        couple!(
            $name,
            "0x00010001",
            "128",
            [
                "" ", ror #8" "0" "16" "ldr r4, [r1], #4\nldr r5, [r2], #4"
                ", ror #1" ", ror #9" "8" "24" ""
                ", ror #2" ", ror #10" "32" "48" ""
                ", ror #3" ", ror #11" "40" "56" ""
                ", ror #4" ", ror #12" "64" "80" ""
                ", ror #5" ", ror #13" "72" "88" ""
                ", ror #6" ", ror #14" "96" "112" ""
                ", ror #7" ", ror #15" "104" "120" ""
            ],
            $top,
            $near
        );
    };
}

macro_rules! crumbs {
    ($name:ident, $top:literal, $near:literal) => {
        couple!(
            $name,
            "0x00030003",
            "64",
            [
                "" ", ror #8" "0" "16" "ldr r4, [r1], #4\nldr r5, [r2], #4"
                ", ror #2" ", ror #10" "8" "24" ""
                ", ror #4" ", ror #12" "32" "48" ""
                ", ror #6" ", ror #14" "40" "56" ""
            ],
            $top,
            $near
        );
    };
}

macro_rules! bytes {
    ($name:ident, $top:literal, $near:literal) => {
        couple!(
            $name,
            "0x00FF00FF",
            "32",
            [
                "" ", ror #8" "0" "16" "ldr r4, [r1], #4\nldr r5, [r2], #4"
                "" ", ror #8" "8" "24" "ldr r4, [r1], #4\nldr r5, [r2], #4"
            ],
            $top,
            $near
        );
    };
}

bits!(bits_30, "30", "14");
bits!(bits_28, "28", "12");
crumbs!(crumbs_30, "30", "14");
crumbs!(crumbs_28, "28", "12");
bytes!(bytes_30, "30", "14");
bytes!(bytes_28, "28", "12");
couple!(
    nibbles_28,
    "0x000F000F",
    "32",
    [
        "" ", ror #8" "0" "16" "ldr r4, [r1], #4\nldr r5, [r2], #4"
        ", ror #4" ", ror #12" "8" "24" ""
    ],
    "28",
    "12"
);
