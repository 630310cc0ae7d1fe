//! Four rows × four or six pixels: a word of two rows' codes times a word of some pixels' codes is all their products.

use core::arch::naked_asm;
use core::marker::PhantomData;
use core::ptr;

/// Arguments, which start the frame. Field order is the assembly's.
#[repr(C)]
struct Args {
    /// 0: for each column the words of two pairs of rows.
    weights: *const u8,
    /// 4: for each column the words of two groups of pixels, block after block.
    pixels: *const u8,
    /// 8: what sums start with.
    starts: *const u8,
    /// 12: the first pixel's output.
    output: *mut u8,
    /// 16: bytes from pixel to pixel.
    pixel_bytes: usize,
    /// 20: blocks left, and 24: bytes of one.
    blocks: usize,
    block_bytes: usize,
    /// 28: where codes are stored: [`Store`], then the code for it.
    store: usize,
    /// 32: what a sum counts: gain · 2^shift.
    gain: u32,
    /// 36: zero point · 256 + 128.
    offset: u32,
    /// 40: by how much the largest code misses 255, for each row.
    excess: u32,
    /// 44 (in the frame, their biases shifted, until 76): bias and multiplier of each row.
    channels: *const u8,
    /// 48: what sums are too large by.
    surplus: u32,
    /// 52: left shift of the accumulator.
    shift: u32,
}

/// How four codes of a pixel are stored: a word, a half word or a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Store {
    Bytes,
    Nibbles,
    Crumbs,
}

/// What sums of codes start with, to become sums of weights.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Starts<'a> {
    /// Gain 1. Two words a group of pixels: all the fields of a sum, each the surplus less what its pixel takes off, so
    /// that the sum stays positive.
    Within { words: &'a [u8], surplus: u32 },
    /// Gain 2. A word a pixel, shifted: what is added to twice a sum.
    Beside(&'a [u8]),
}

/// Blocks of pixels, ready for rows.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Blocks<'a> {
    /// Words of two groups of pixels for each column of each block.
    pub(in super::super) pixels: &'a [u8],
    /// Pixels of a group: 3, 10 bits apart, or 2, 14 bits apart; the odd row's products lie above all of them.
    pub(in super::super) group: usize,
    /// Columns, a multiple of eight.
    pub(in super::super) columns: usize,
    pub(in super::super) starts: Starts<'a>,
    /// Bytes from pixel to pixel of the output.
    pub(in super::super) pixel_bytes: usize,
    pub(in super::super) store: Store,
    /// Left shift of the accumulator.
    pub(in super::super) shift: u8,
    /// Of the output.
    pub(in super::super) zero_point: u8,
    pub(in super::super) blocks: usize,
}

/// The loop over [`Blocks`], with all arguments that do not depend on rows.
pub(in super::super) struct Outer<'a> {
    kernel: unsafe extern "C" fn(*const Args),
    args: Args,
    /// Bytes that weights and outputs need at least.
    weight_bytes: usize,
    output_bytes: usize,
    blocks: PhantomData<&'a [u8]>,
}

impl<'a> Outer<'a> {
    /// `None` if there is no block or a slice is too short.
    pub(in super::super) fn new(of: &Blocks<'a>) -> Option<Self> {
        let Blocks { group, columns, blocks, pixel_bytes, store, .. } = *of;
        let width = match store {
            Store::Bytes => 4,
            Store::Nibbles => 2,
            Store::Crumbs => 1,
        };
        let count = 2 * group * blocks;
        let (starts, needed, surplus, twice) = match of.starts {
            Starts::Within { words, surplus } => (words, 16 * blocks, surplus, 0),
            Starts::Beside(words) => (words, 4 * count, 0, 1),
        };
        let kernel = match (group, twice) {
            (2, 0) => twos,
            (2, _) => twos_beside,
            (3, 0) => threes,
            (3, _) => threes_beside,
            _ => return None,
        };
        let weight_bytes = 8 * columns;
        let fits = of.pixels.len() >= weight_bytes * blocks && starts.len() >= needed;
        if !fits || blocks == 0 || columns == 0 || !columns.is_multiple_of(8) {
            return None;
        }
        let args = Args {
            weights: ptr::null(),
            pixels: of.pixels.as_ptr(),
            starts: starts.as_ptr(),
            output: ptr::null_mut(),
            pixel_bytes,
            blocks,
            block_bytes: weight_bytes,
            store: store as usize,
            gain: 1 << ((u32::from(of.shift) + twice) & 31),
            offset: u32::from(of.zero_point) << 8 | 128,
            excess: 0,
            channels: ptr::null(),
            surplus,
            shift: u32::from(of.shift),
        };
        let output_bytes = count.saturating_sub(1) * pixel_bytes + width;
        Some(Self { kernel, args, weight_bytes, output_bytes, blocks: PhantomData })
    }

    /// Computes four codes for each pixel of the blocks; does nothing if a slice is too short.
    ///
    /// `weights`: words of two pairs of rows for each column; `channels`: bias and multiplier of each row; `excess`: by
    /// how much the largest code misses 255, for each row; `output` starts at the first pixel's codes.
    pub(in super::super) fn rows(&mut self, weights: &[u8], channels: &[u8], excess: u32, output: &mut [u8]) {
        if weights.len() < self.weight_bytes || channels.len() < 32 || output.len() < self.output_bytes {
            return;
        }
        self.args.weights = weights.as_ptr();
        self.args.channels = channels.as_ptr();
        self.args.excess = excess;
        self.args.output = output.as_mut_ptr();
        // SAFETY: what is read and written lies in the slices, as checked above and in `new`, whose slices live as long
        // as `self`, word-aligned where words are loaded in pairs, as sections and scratch are; codes are stored by
        // single instructions, which need no alignment.
        unsafe { (self.kernel)(&self.args) }
    }
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
    (0, $low:literal, $high:literal) => {
        concat!("ubfx r11, ", $low, ", #0, #10\n")
    };
    (1, $low:literal, $high:literal) => {
        concat!("ubfx r11, ", $low, ", #10, #10\n")
    };
    (2, $low:literal, $high:literal) => {
        concat!("ubfx r11, ", $low, ", #20, #10\n")
    };
    (3, $low:literal, $high:literal) => {
        concat!("lsr r11, ", $low, ", #30\nbfi r11, ", $high, ", #2, #8\n")
    };
    (4, $low:literal, $high:literal) => {
        concat!("ubfx r11, ", $high, ", #8, #10\n")
    };
    (5, $low:literal, $high:literal) => {
        concat!("lsr r11, ", $high, ", #18\n")
    };
}

/// The same 14 bits apart.
macro_rules! fourteens {
    (0, $low:literal, $high:literal) => {
        concat!("ubfx r11, ", $low, ", #0, #14\n")
    };
    (1, $low:literal, $high:literal) => {
        concat!("ubfx r11, ", $low, ", #14, #14\n")
    };
    (2, $low:literal, $high:literal) => {
        concat!("lsr r11, ", $low, ", #28\nbfi r11, ", $high, ", #4, #10\n")
    };
    (3, $low:literal, $high:literal) => {
        concat!("lsr r11, ", $high, ", #10\n")
    };
}

/// The code of the sum in r11: to `$to`. r2 bias, r3 multiplier, r12 gain, lr offset.
macro_rules! within {
    ($place:literal, $to:literal) => {
        concat!("mla r11, r11, r12, r2\nsmmla r11, r11, r3, lr\nusat ", $to, ", #8, r11, asr #8\n")
    };
}

/// The same, and a start beside: r0.
macro_rules! beside {
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
    ($requantize:ident first [$($fields:ident $field:tt $place:literal $pixel:literal)+], $channels:literal, $low:literal, $high:literal) => {
        concat!(
            "ldrd r2, r3, [sp, #", $channels, "]\n",
            $($fields!($field, $low, $high), $requantize!($place, $pixel),)+
        )
    };
    ($requantize:ident [$($fields:ident $field:tt $place:literal $pixel:literal)+], $channels:literal, $low:literal, $high:literal, $shift:literal) => {
        concat!(
            "ldrd r2, r3, [sp, #", $channels, "]\n",
            $(
                $fields!($field, $low, $high),
                $requantize!($place, "r11"),
                "orr ", $pixel, ", ", $pixel, ", r11, lsl #", $shift, "\n",
            )+
        )
    };
}

/// Limits a pixel's four codes and stores them; r1 excess, r2 output, r3 bytes of a pixel, r11 the factor of crumbs.
macro_rules! store {
    ($pixel:literal, $pack:expr, $store:literal) => {
        concat!(
            "uqadd8 ",
            $pixel,
            ", ",
            $pixel,
            ", r1\nusub8 ",
            $pixel,
            ", ",
            $pixel,
            ", r1\n",
            $pack,
            $store,
            " ",
            $pixel,
            ", [r2]\nadd r2, r3\n"
        )
    };
}

macro_rules! nibbles {
    ($pixel:literal) => {
        concat!(
            "orr ",
            $pixel,
            ", ",
            $pixel,
            ", ",
            $pixel,
            ", lsr #4\nuxtb16 ",
            $pixel,
            ", ",
            $pixel,
            "\norr ",
            $pixel,
            ", ",
            $pixel,
            ", ",
            $pixel,
            ", lsr #8\n"
        )
    };
}

/// The multiplication brings the codes side by side in the top byte.
macro_rules! crumbs {
    ($pixel:literal) => {
        concat!("mul ", $pixel, ", ", $pixel, ", r11\nlsr ", $pixel, ", ", $pixel, ", #24\n")
    };
}

/// Sums start with what they take off, or at 0.
macro_rules! start {
    (within) => {
        "ldr r12, [sp, #8]
        ldm r12!, {{r4-r7}}
        str r12, [sp, #8]
        mov r8, r4
        mov r9, r5
        mov r10, r6
        mov r11, r7\n"
    };
    (beside) => {
        "movs r4, #0
        mov r5, r4
        mov r6, r4
        mov r7, r4
        mov r8, r4
        mov r9, r4
        mov r10, r4
        mov r11, r4\n"
    };
}

/// Two rows' constants from r4 to the frame at r7, their biases less the surplus r5 and shifted by r6.
macro_rules! constants {
    () => {
        "ldm r4!, {{r8-r11}}
        sub r8, r8, r5
        sub r10, r10, r5
        lsl r8, r8, r6
        lsl r10, r10, r6
        stm r7!, {{r8-r11}}\n"
    };
}

/// Counts the groups of a block, in the register that starts beside take.
macro_rules! groups {
    (first within) => {
        "movs r0, #2"
    };
    (next within) => {
        "subs r0, #1"
    };
    (first beside) => {
        "movs r1, #2\nstr r1, [sp, #96]"
    };
    (next beside) => {
        "ldr r1, [sp, #96]\nsubs r1, #1\nstr r1, [sp, #96]"
    };
}

/// A loop over blocks. `$size`: bytes of a group's starts beside. The frame goes on where the arguments end: 76 the end
/// of the block's pixels, 80 the sums of its second group, 96 groups left.
macro_rules! outer {
    ($name:ident, $way:ident, [$($size:literal)?], [$($even:tt)+], [$($odd:tt)+], [$($pixel:literal)+]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(args: *const Args) {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4-r11, lr}}",
                "sub sp, #100",
                "ldm r0!, {{r1-r8}}",
                "stm sp, {{r1-r8}}",
                "ldm r0, {{r1-r6}}",
                "add r7, sp, #32",
                "stm r7!, {{r1-r3}}",
                constants!(),
                constants!(),
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
                start!($way),
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
                "ldrd r12, lr, [sp, #32]",
                groups!(first $way),
                // A group: r4, r5 and r8, r9 the pairs' sums.
                "9:",
                concat!($("ldr r0, [sp, #8]\nadd r2, r0, #", $size, "\nstr r2, [sp, #8]\n")?),
                row!($way first [$($even)+], "44", "r4", "r5"),
                row!($way [$($odd)+], "52", "r4", "r5", "8"),
                row!($way [$($even)+], "60", "r8", "r9", "16"),
                row!($way [$($odd)+], "68", "r8", "r9", "24"),
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
                groups!(next $way),
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

macro_rules! of_threes {
    ($name:ident, $way:ident $(, $size:literal)?) => {
        outer!(
            $name,
            $way,
            [$($size)?],
            [tens 0 "0" "r6" tens 1 "4" "r7" tens 2 "8" "r10"],
            [tens 3 "0" "r6" tens 4 "4" "r7" tens 5 "8" "r10"],
            ["r6" "r7" "r10"]
        );
    };
}

macro_rules! of_twos {
    ($name:ident, $way:ident $(, $size:literal)?) => {
        outer!(
            $name,
            $way,
            [$($size)?],
            [fourteens 0 "0" "r6" fourteens 1 "4" "r7"],
            [fourteens 2 "0" "r6" fourteens 3 "4" "r7"],
            ["r6" "r7"]
        );
    };
}

of_threes!(threes, within);
of_threes!(threes_beside, beside, "12");
of_twos!(twos, within);
of_twos!(twos_beside, beside, "8");
