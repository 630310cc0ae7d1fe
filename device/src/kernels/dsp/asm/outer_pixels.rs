//! The packed codes of a group of pixels, spaced out in words: the pixels' side of outer products.

use core::arch::naked_asm;

/// What the loops work on. Field order is the assembly's.
#[repr(C)]
struct Args {
    /// 0
    to: *mut u8,
    /// 4: a third pixel only where there are three.
    pixels: [*const u8; 3],
    /// 16: words of each.
    count: usize,
    /// 20: sums of the codes of each.
    sums: [u32; 3],
}

/// For each channel a word with the codes of all `pixels`, in every other word of `to`; returns the pixels' sums.
///
/// Three pixels of 2-bit codes are spaced 10 bits, two of 2- or 4-bit ones 14 bits. `words` words of each pixel are
/// taken, eight or sixteen channels each. Does nothing if a slice is too short.
pub(in super::super) fn group(to: &mut [u8], pixels: &[&[u8]], words: usize, bits: u32) -> [u32; 3] {
    type Spread = unsafe extern "C" fn(*mut Args);
    let (spread, channels): (Spread, usize) = match (bits, pixels.len()) {
        (2, 3) => (three_crumbs, 16),
        (2, 2) => (two_crumbs, 16),
        (4, 2) => (two_nibbles, 8),
        _ => return [0; 3],
    };
    let fits =
        to.len() >= (8 * channels * words).saturating_sub(4) && pixels.iter().all(|pixel| pixel.len() >= 4 * words);
    let Some(first) = pixels.first().filter(|_| fits && words > 0) else { return [0; 3] };
    let mut pointers = [first.as_ptr(); 3];
    for (pointer, pixel) in pointers.iter_mut().zip(pixels) {
        *pointer = pixel.as_ptr();
    }
    let mut args = Args { to: to.as_mut_ptr(), pixels: pointers, count: words, sums: [0; 3] };
    // SAFETY: `words` words are read of each pixel, by loads that need no alignment, and words written at every other
    // place of `to`, which the slices hold.
    unsafe { spread(&mut args) };
    args.sums
}

/// One channel of two pixels: r4 and r5 their words, r7 and r8 free.
macro_rules! two {
    ($bits:literal, $bit:literal, $place:literal) => {
        concat!(
            "ubfx r7, r4, #",
            $bit,
            ", #",
            $bits,
            "\nubfx r8, r5, #",
            $bit,
            ", #",
            $bits,
            "\norr r7, r7, r8, lsl #14\nstr r7, [r0, #",
            $place,
            "]\n"
        )
    };
}

/// One channel of three: r6 the third's word.
macro_rules! three {
    ($bits:literal, $bit:literal, $place:literal) => {
        concat!(
            "ubfx r7, r4, #",
            $bit,
            ", #",
            $bits,
            "\nubfx r8, r5, #",
            $bit,
            ", #",
            $bits,
            "\norr r7, r7, r8, lsl #10\nubfx r8, r6, #",
            $bit,
            ", #",
            $bits,
            "\norr r7, r7, r8, lsl #20\nstr r7, [r0, #",
            $place,
            "]\n"
        )
    };
}

/// Adds a word's nibbles to a sum; r12 is 0.
macro_rules! sum_nibbles {
    ($word:literal, $sum:literal) => {
        concat!(
            "and r8, ",
            $word,
            ", #0x0F0F0F0F\nsub r7, ",
            $word,
            ", r8\nadd r7, r8, r7, lsr #4\nusada8 ",
            $sum,
            ", r7, r12, ",
            $sum,
            "\n"
        )
    };
}

/// The same for crumbs.
macro_rules! sum_crumbs {
    ($word:literal, $sum:literal) => {
        concat!(
            "and r7, ",
            $word,
            ", #0x33333333\nsub r8, ",
            $word,
            ", r7\nadd r7, r7, r8, lsr #2\n",
            sum_nibbles!("r7", $sum)
        )
    };
}

/// `$bytes`: what a turn writes.
macro_rules! spread {
    ($name:ident, $bytes:literal, [$($channel:ident $bits:literal $bit:literal $place:literal)+], [$($sum:ident $word:literal $to:literal)+]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(args: *mut Args) {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4-r11, lr}}",
                "push {{r0}}",
                "ldr lr, [r0, #16]",
                "ldm r0, {{r0-r3}}",
                "movs r4, #0",
                "mov r9, r4",
                "mov r10, r4",
                "mov r11, r4",
                "mov r12, r4",
                "2:",
                "ldr r4, [r1], #4",
                "ldr r5, [r2], #4",
                "ldr r6, [r3], #4",
                $($channel!($bits, $bit, $place),)+
                concat!("add.w r0, r0, #", $bytes),
                $($sum!($word, $to),)+
                "subs.w lr, lr, #1",
                "bne.w 2b",
                "pop {{r0}}",
                "adds r0, #20",
                "stm r0, {{r9-r11}}",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

spread!(
    three_crumbs,
    "128",
    [
        three "2" "0" "0" three "2" "2" "8" three "2" "4" "16" three "2" "6" "24"
        three "2" "8" "32" three "2" "10" "40" three "2" "12" "48" three "2" "14" "56"
        three "2" "16" "64" three "2" "18" "72" three "2" "20" "80" three "2" "22" "88"
        three "2" "24" "96" three "2" "26" "104" three "2" "28" "112" three "2" "30" "120"
    ],
    [sum_crumbs "r4" "r9" sum_crumbs "r5" "r10" sum_crumbs "r6" "r11"]
);
spread!(
    two_crumbs,
    "128",
    [
        two "2" "0" "0" two "2" "2" "8" two "2" "4" "16" two "2" "6" "24"
        two "2" "8" "32" two "2" "10" "40" two "2" "12" "48" two "2" "14" "56"
        two "2" "16" "64" two "2" "18" "72" two "2" "20" "80" two "2" "22" "88"
        two "2" "24" "96" two "2" "26" "104" two "2" "28" "112" two "2" "30" "120"
    ],
    [sum_crumbs "r4" "r9" sum_crumbs "r5" "r10"]
);
spread!(
    two_nibbles,
    "64",
    [
        two "4" "0" "0" two "4" "4" "8" two "4" "8" "16" two "4" "12" "24"
        two "4" "16" "32" two "4" "20" "40" two "4" "24" "48" two "4" "28" "56"
    ],
    [sum_nibbles "r4" "r9" sum_nibbles "r5" "r10"]
);
