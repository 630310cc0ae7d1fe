//! Four rows × four or six pixels: a word of two rows' codes times a word of some pixels' codes is all their products.

use core::arch::naked_asm;

/// Arguments, and room for what the loop keeps. Field order is the assembly's.
#[repr(C)]
struct Args {
    /// 0: for each column the words of two pairs of rows.
    weights: *const u8,
    /// 4: for each column the words of two groups of pixels, block after block.
    pixels: *const u8,
    /// 8: what accumulators start with, a word a pixel, shifted.
    starts: *const u8,
    /// 12: the first pixel's output.
    output: *mut u8,
    /// 16: bytes from pixel to pixel.
    pixel_bytes: usize,
    /// 20: blocks left, and 24: bytes of one.
    blocks: usize,
    block_bytes: usize,
    /// 28: entry of the code that stores.
    store: usize,
    /// 32: what a sum counts: gain · 2^shift.
    gain: u32,
    /// 36: zero point · 256 + 128.
    offset: u32,
    /// 40: by how much the largest code misses 255, for each row.
    excess: u32,
    /// 44: bias, shifted, and multiplier of each row.
    channels: [i32; 8],
    /// 76: the end of the block's pixels.
    end: usize,
    /// 80: accumulators of the second group.
    second: [u32; 4],
    /// 96: groups left.
    groups: usize,
}

/// How four codes of a pixel are stored: a word, a half word or a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Store {
    Bytes,
    Nibbles,
    Crumbs,
}

/// Four rows over some blocks of pixels.
#[derive(Debug)]
pub(in super::super) struct Outer<'a> {
    /// Words of two pairs of rows for each column.
    pub(in super::super) weights: &'a [u8],
    /// Words of two groups of pixels for each column of each block.
    pub(in super::super) pixels: &'a [u8],
    /// Pixels of a group: 3, 10 bits apart, or 2, 14 bits apart; the odd row's products lie above all of them.
    pub(in super::super) group: usize,
    /// Columns, a multiple of eight.
    pub(in super::super) columns: usize,
    /// What accumulators start with, shifted, a word a pixel.
    pub(in super::super) starts: &'a [u8],
    /// Bias and multiplier of each row.
    pub(in super::super) channels: [i32; 8],
    /// Codes of the first pixel.
    pub(in super::super) output: &'a mut [u8],
    /// Bytes from pixel to pixel.
    pub(in super::super) pixel_bytes: usize,
    pub(in super::super) store: Store,
    /// Largest code of each row.
    pub(in super::super) most: [u8; 4],
    /// What a step of a code is worth.
    pub(in super::super) gain: u32,
    /// Left shift of the accumulator.
    pub(in super::super) shift: u8,
    /// Of the output.
    pub(in super::super) zero_point: u8,
    pub(in super::super) blocks: usize,
}

/// Computes four codes for each pixel of the blocks; does nothing if a slice is too short.
pub(in super::super) fn run(outer: &mut Outer<'_>) {
    let Outer { group, columns, blocks, pixel_bytes, store, .. } = *outer;
    let width = match store {
        Store::Bytes => 4,
        Store::Nibbles => 2,
        Store::Crumbs => 1,
    };
    let count = 2 * group * blocks;
    let fits = outer.weights.len() >= 8 * columns
        && outer.pixels.len() >= 8 * columns * blocks
        && outer.starts.len() >= 4 * count
        && outer.output.len() >= count.saturating_sub(1) * pixel_bytes + width;
    if !fits || blocks == 0 || columns == 0 || !columns.is_multiple_of(8) {
        return;
    }
    let mut channels = outer.channels;
    for bias in channels.iter_mut().step_by(2) {
        *bias = bias.wrapping_shl(u32::from(outer.shift));
    }
    let mut args = Args {
        weights: outer.weights.as_ptr(),
        pixels: outer.pixels.as_ptr(),
        starts: outer.starts.as_ptr(),
        output: outer.output.as_mut_ptr(),
        pixel_bytes,
        blocks,
        block_bytes: 8 * columns,
        store: store as usize,
        gain: outer.gain << (outer.shift & 31),
        offset: u32::from(outer.zero_point) << 8 | 128,
        excess: !u32::from_le_bytes(outer.most),
        channels,
        end: 0,
        second: [0; 4],
        groups: 0,
    };
    let kernel: unsafe extern "C" fn(*mut Args) = match group {
        3 => threes,
        2 => twos,
        _ => return,
    };
    // SAFETY: what is read and written lies in the slices, as checked above, word-aligned where words are loaded in
    // pairs; codes are stored by single instructions, which need no alignment.
    unsafe { kernel(&mut args) }
}

/// A column: r0 weights, r1 pixels; r4–r7 and r8–r11 the sums of the first and the second pair of rows.
macro_rules! column {
    () => {
        "ldrd r2, r3, [r0], #8
        ldrd r12, lr, [r1], #8
        umlal r4, r5, r2, r12
        umlal r6, r7, r2, lr
        umlal r8, r9, r3, r12
        umlal r10, r11, r3, lr\n"
    };
}

/// Fields of a sum, 10 bits apart: to r11.
macro_rules! tens {
    (0, $low:literal, $high:literal) => { concat!("ubfx r11, ", $low, ", #0, #10\n") };
    (1, $low:literal, $high:literal) => { concat!("ubfx r11, ", $low, ", #10, #10\n") };
    (2, $low:literal, $high:literal) => { concat!("ubfx r11, ", $low, ", #20, #10\n") };
    (3, $low:literal, $high:literal) => { concat!("lsr r11, ", $low, ", #30\nbfi r11, ", $high, ", #2, #8\n") };
    (4, $low:literal, $high:literal) => { concat!("ubfx r11, ", $high, ", #8, #10\n") };
    (5, $low:literal, $high:literal) => { concat!("lsr r11, ", $high, ", #18\n") };
}

/// The same 14 bits apart.
macro_rules! fourteens {
    (0, $low:literal, $high:literal) => { concat!("ubfx r11, ", $low, ", #0, #14\n") };
    (1, $low:literal, $high:literal) => { concat!("ubfx r11, ", $low, ", #14, #14\n") };
    (2, $low:literal, $high:literal) => { concat!("lsr r11, ", $low, ", #28\nbfi r11, ", $high, ", #4, #10\n") };
    (3, $low:literal, $high:literal) => { concat!("lsr r11, ", $high, ", #10\n") };
}

/// The code of the sum in r11: to `$to`. r0 starts, r2 bias, r3 multiplier, r12 gain, lr offset.
macro_rules! requantize {
    ($place:literal, $to:literal) => {
        concat!(
            "ldr r1, [r0, #",
            $place,
            "]\nadd r1, r2\nmla r11, r11, r12, r1\nsmmla r11, r11, r3, lr\nusat ",
            $to,
            ", #8, r11, asr #8\n"
        )
    };
}

/// A row's codes of a group, joined with the rows before.
macro_rules! row {
    (first [$($fields:ident $field:tt $place:literal $pixel:literal)+], $channels:literal, $low:literal, $high:literal) => {
        concat!(
            "ldrd r2, r3, [sp, #", $channels, "]\n",
            $($fields!($field, $low, $high), requantize!($place, $pixel),)+
        )
    };
    ([$($fields:ident $field:tt $place:literal $pixel:literal)+], $channels:literal, $low:literal, $high:literal, $shift:literal) => {
        concat!(
            "ldrd r2, r3, [sp, #", $channels, "]\n",
            $(
                $fields!($field, $low, $high),
                requantize!($place, "r11"),
                "orr ", $pixel, ", ", $pixel, ", r11, lsl #", $shift, "\n",
            )+
        )
    };
}

/// Limits a pixel's four codes and stores them; r1 excess, r2 output, r3 bytes of a pixel, r11 the factor of crumbs.
macro_rules! store {
    ($pixel:literal, $pack:expr, $store:literal) => {
        concat!(
            "uqadd8 ", $pixel, ", ", $pixel, ", r1\nusub8 ", $pixel, ", ", $pixel, ", r1\n",
            $pack,
            $store, " ", $pixel, ", [r2]\nadd r2, r3\n"
        )
    };
}

macro_rules! nibbles {
    ($pixel:literal) => {
        concat!(
            "orr ", $pixel, ", ", $pixel, ", ", $pixel, ", lsr #4\nuxtb16 ", $pixel, ", ", $pixel, "\norr ",
            $pixel, ", ", $pixel, ", ", $pixel, ", lsr #8\n"
        )
    };
}

/// The multiplication brings the codes side by side in the top byte.
macro_rules! crumbs {
    ($pixel:literal) => {
        concat!("mul ", $pixel, ", ", $pixel, ", r11\nlsr ", $pixel, ", ", $pixel, ", #24\n")
    };
}

/// The arguments are copied to the frame. `$size`: bytes of a group's starts.
macro_rules! outer {
    ($name:ident, $size:literal, [$($even:tt)+], [$($odd:tt)+], [$($pixel:literal)+]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(args: *mut Args) {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4-r11, lr}}",
                "mov r10, sp",
                "sub sp, #100",
                "mov r11, sp",
                "2:",
                "ldm r0!, {{r1-r5}}",
                "stm r11!, {{r1-r5}}",
                "cmp r11, r10",
                "bne 2b",
                // Where codes are stored.
                "ldr r1, [sp, #28]",
                "adr.w r0, 5f",
                "adr.w r2, 6f",
                "adr.w r3, 7f",
                "cmp r1, #1",
                "it eq",
                "moveq r0, r2",
                "it hi",
                "movhi r0, r3",
                "orr r0, r0, #1",
                "str r0, [sp, #28]",
                "ldr r1, [sp, #4]",
                // A block of pixels.
                "3:",
                "ldr r2, [sp, #24]",
                "ldr r0, [sp]",
                "add r2, r1",
                "str r2, [sp, #76]",
                "movs r4, #0",
                "mov r5, r4",
                "mov r6, r4",
                "mov r7, r4",
                "mov r8, r4",
                "mov r9, r4",
                "mov r10, r4",
                "mov r11, r4",
                "4:",
                column!(),
                column!(),
                column!(),
                column!(),
                column!(),
                column!(),
                column!(),
                column!(),
                "ldr r2, [sp, #76]",
                "cmp r1, r2",
                "bne.w 4b",
                "str r1, [sp, #4]",
                "strd r6, r7, [sp, #80]",
                "strd r10, r11, [sp, #88]",
                "movs r1, #2",
                "str r1, [sp, #96]",
                // A group: r4, r5 and r8, r9 the pairs' sums.
                "9:",
                "ldr r0, [sp, #8]",
                "ldrd r12, lr, [sp, #32]",
                row!(first [$($even)+], "44", "r4", "r5"),
                row!([$($odd)+], "52", "r4", "r5", "8"),
                row!([$($even)+], "60", "r8", "r9", "16"),
                row!([$($odd)+], "68", "r8", "r9", "24"),
                concat!("adds r0, #", $size),
                "str r0, [sp, #8]",
                "ldrd r2, r3, [sp, #12]",
                "ldr r1, [sp, #40]",
                "ldr.w pc, [sp, #28]",
                ".p2align 2",
                "5:",
                $(store!($pixel, "", "str"),)+
                "b 8f",
                ".p2align 2",
                "6:",
                $(store!($pixel, nibbles!($pixel), "strh"),)+
                "b 8f",
                ".p2align 2",
                "7:",
                "movw r11, #0x1040",
                "movt r11, #0x0104",
                $(store!($pixel, crumbs!($pixel), "strb"),)+
                "8:",
                "str r2, [sp, #12]",
                "ldrd r4, r5, [sp, #80]",
                "ldrd r8, r9, [sp, #88]",
                "ldr r1, [sp, #96]",
                "subs r1, #1",
                "str r1, [sp, #96]",
                "bne.w 9b",
                "ldr r1, [sp, #4]",
                "ldr r2, [sp, #20]",
                "subs r2, #1",
                "str r2, [sp, #20]",
                "bne.w 3b",
                "add sp, #100",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

outer!(
    threes,
    "12",
    [tens 0 "0" "r6" tens 1 "4" "r7" tens 2 "8" "r10"],
    [tens 3 "0" "r6" tens 4 "4" "r7" tens 5 "8" "r10"],
    ["r6" "r7" "r10"]
);
outer!(
    twos,
    "8",
    [fourteens 0 "0" "r6" fourteens 1 "4" "r7"],
    [fourteens 2 "0" "r6" fourteens 3 "4" "r7"],
    ["r6" "r7"]
);
