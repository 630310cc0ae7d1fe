//! Rows of codes less the middle of their range, three pixels to a signed word, 13 bits apart.

use core::arch::naked_asm;

/// Pixels of a word, and of a block.
const PIXELS: usize = 3;

/// What codes are taken from.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Source {
    /// Bytes, whose middle this is.
    Bytes(u8),
    /// Codes of four bits as they are stored, whose middle is 8.
    Nibbles,
}

/// What the loops work on, and change. Field order is the assembly's.
#[repr(C)]
struct Args {
    /// 0
    to: *mut u8,
    /// 4
    codes: *const u8,
    /// 8: bytes of a pixel.
    pixel_bytes: usize,
    /// 12: blocks left.
    blocks: usize,
    /// 16: what is taken off every byte.
    middle: u32,
    /// 20: where the sums of a block's pixels go, and 24 bytes to those of the next.
    sums: *mut u8,
    sums_step: usize,
    /// 28: bytes from the end of a pair's first block to the start of its second.
    back: usize,
}

/// Spaces a row of `pairs` pairs of blocks: for each channel a word of either block, side by side. `sums` gets the sum of each
/// pixel's codes, 16 bits each, unless it is empty. Does nothing if a slice is too short or channels are no whole words.
pub(in super::super) fn row(
    to: &mut [u8],
    codes: &[u8],
    sums: &mut [u8],
    [channels, pairs]: [usize; 2],
    source: Source,
) {
    let (pixel_bytes, codes_of_word, middle) = match source {
        Source::Bytes(middle) => (channels, 4, middle),
        Source::Nibbles => (channels / 2, 8, 0),
    };
    let blocks = 2 * pairs;
    let fits = to.len() >= 4 * channels * blocks
        && codes.len() >= PIXELS * pixel_bytes * blocks
        && (sums.is_empty() || sums.len() >= 2 * PIXELS * blocks);
    if !fits || blocks == 0 || channels == 0 || !channels.is_multiple_of(codes_of_word) {
        return;
    }
    let mut nowhere = [0; 2 * PIXELS];
    let (sums, sums_step) = if sums.is_empty() { (nowhere.as_mut_ptr(), 0) } else { (sums.as_mut_ptr(), 2 * PIXELS) };
    let mut args = Args {
        to: to.as_mut_ptr(),
        codes: codes.as_ptr(),
        pixel_bytes,
        blocks,
        middle: u32::from_le_bytes([middle; 4]),
        sums,
        sums_step,
        back: 8 * channels - 4,
    };
    // SAFETY: three pixels are read for each block, a word written for each of its channels and three sums beside, which
    // the slices hold; `to` is word-aligned scratch, codes are read unaligned where they are.
    unsafe {
        match source {
            Source::Bytes(_) => space_bytes(&mut args),
            Source::Nibbles => space_nibbles(&mut args),
        }
    }
}

/// All blocks: `$prepare` once, which may use r7, then `$word` for each word of three pixels in r4 to r6. r0 is where words go, r1
/// codes, r2 bytes of a pixel, r3 the end of the block's first pixel, r8 nothing, r9 to r11 sums; r12 and lr are free. The
/// frame: 0 arguments.
macro_rules! space_row {
    ($name:ident, $prepare:literal, [$($word:expr),+]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(args: *mut Args) {
            naked_asm!(
                core_with_dsp!(),
                "push {{r0, r4-r11, lr}}",
                $prepare,
                "mov r8, #0",
                "ldm r0, {{r0-r2}}",
                "1:",
                "mov r9, r8",
                "mov r10, r8",
                "mov r11, r8",
                "add r3, r1, r2",
                "2:",
                "ldr r5, [r1, r2]",
                "ldr r6, [r1, r2, lsl #1]",
                "ldr r4, [r1], #4",
                $($word,)+
                "cmp r1, r3",
                "bne 2b",
                "ldr r12, [sp]",
                "ldrd lr, r4, [r12, #20]",
                "strh r9, [lr]",
                "strh r10, [lr, #2]",
                "strh r11, [lr, #4]",
                "add lr, r4",
                "str lr, [r12, #20]",
                // The other two pixels of the block, and a block less.
                "add r1, r1, r2, lsl #1",
                "ldr r4, [r12, #12]",
                "subs r4, #1",
                "beq 3f",
                "str r4, [r12, #12]",
                // To the pair's second block, or to the next pair.
                "ldr r5, [r12, #28]",
                "tst r4, #1",
                "it eq",
                "moveq r5, #4",
                "sub r0, r5",
                "b 1b",
                "3:",
                "pop {{r0, r4-r11, pc}}",
            )
        }
    };
}

/// One channel of three pixels, at the byte of their words that `$turn` turns to the bottom.
#[rustfmt::skip]
macro_rules! byte {
    ($turn:literal) => {
        concat!(
            "sxtb r12, r4", $turn, "\n",
            "sxtb lr, r5", $turn, "\n",
            "add r12, r12, lr, lsl #13\n",
            "sxtb lr, r6", $turn, "\n",
            "add r12, r12, lr, lsl #26\n",
            "str r12, [r0], #8\n"
        )
    };
}

/// The same, its code at bit `$bit`; signed, since its upper bit has been turned over.
#[rustfmt::skip]
macro_rules! nibble {
    ($bit:literal) => {
        concat!(
            "sbfx r12, r4, #", $bit, ", #4\n",
            "sbfx lr, r5, #", $bit, ", #4\n",
            "add r12, r12, lr, lsl #13\n",
            "sbfx lr, r6, #", $bit, ", #4\n",
            "add r12, r12, lr, lsl #26\n",
            "str r12, [r0], #8\n"
        )
    };
}

/// Adds the eight codes of `$word` to `$sum`, first in pairs, whose bytes have room for them.
#[rustfmt::skip]
macro_rules! nibble_sum {
    ($word:literal, $sum:literal) => {
        concat!(
            "and r12, r7, ", $word, "\n",
            "and lr, r7, ", $word, ", lsr #4\n",
            "add r12, lr\n",
            "usada8 ", $sum, ", r12, r8, ", $sum, "\n"
        )
    };
}

// r7 is what is taken off.
space_row!(
    space_bytes,
    "ldr r7, [r0, #16]",
    [
        "usada8 r9, r4, r8, r9",
        "usada8 r10, r5, r8, r10",
        "usada8 r11, r6, r8, r11",
        "ssub8 r4, r4, r7",
        "ssub8 r5, r5, r7",
        "ssub8 r6, r6, r7",
        byte!(""),
        byte!(", ror #8"),
        byte!(", ror #16"),
        byte!(", ror #24")
    ]
);

// r7 is the lower half of every byte.
space_row!(
    space_nibbles,
    "mov r7, #0x0F0F0F0F",
    [
        nibble_sum!("r4", "r9"),
        nibble_sum!("r5", "r10"),
        nibble_sum!("r6", "r11"),
        "eor r4, r4, #0x88888888",
        "eor r5, r5, #0x88888888",
        "eor r6, r6, #0x88888888",
        nibble!("0"),
        nibble!("4"),
        nibble!("8"),
        nibble!("12"),
        nibble!("16"),
        nibble!("20"),
        nibble!("24"),
        nibble!("28")
    ]
);
