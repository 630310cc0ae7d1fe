//! From the two sums of each pair of rows to its two codes.

use core::arch::naked_asm;

/// What the loop works on. Field order is the assembly's.
#[repr(C)]
struct Args {
    /// 0: X and O of each pair.
    sums: *const u8,
    /// 4: constants, four words a pair.
    channels: *const u8,
    /// 8
    output: *mut u8,
    /// 12
    pairs: usize,
    /// 16: even, odd.
    corrections: [i32; 2],
    /// 24: zero point · 256 + 128.
    offset: u32,
    /// 28: left shift of the accumulator.
    shift: u32,
    /// 32: log2 of the gain.
    scale: u32,
}

/// How sums become codes.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Settle {
    /// Taken off the sums of even and odd rows, after the gain.
    pub(in super::super) corrections: [i32; 2],
    /// log2 of the gain.
    pub(in super::super) scale: u32,
    /// Left shift of the accumulator.
    pub(in super::super) shift: u8,
    /// Of the output.
    pub(in super::super) zero_point: u8,
}

/// Writes two codes of 8 bits for each 8 bytes of `sums`; as many as all slices have room for.
pub(in super::super) fn pairs(settle: &Settle, sums: &[u8], channels: &[u8], output: &mut [u8]) {
    let pairs = (sums.len() / 8).min(channels.len() / 16).min(output.len() / 2);
    if pairs == 0 {
        return;
    }
    let args = Args {
        sums: sums.as_ptr(),
        channels: channels.as_ptr(),
        output: output.as_mut_ptr(),
        pairs,
        corrections: settle.corrections,
        offset: u32::from(settle.zero_point) << 8 | 128,
        shift: u32::from(settle.shift),
        scale: settle.scale,
    };
    // SAFETY: all slices hold what `pairs` pairs take, and words are aligned, as sections and scratch are.
    unsafe { settle_pairs(&args) }
}

#[unsafe(naked)]
unsafe extern "C" fn settle_pairs(args: *const Args) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r11, lr}}",
        "ldr r12, [r0, #32]",
        "push {{r12}}",
        "ldr lr, [r0, #28]",
        "add r12, r0, #12",
        "ldm r12, {{r3, r10-r12}}",
        "ldm r0, {{r0-r2}}",
        "2:",
        "ldrd r4, r5, [r0], #8",
        "sub r4, r4, r5, lsl #8",
        "ldr r6, [sp]",
        "lsl r4, r4, r6",
        "lsl r5, r5, r6",
        "ldm r1!, {{r6-r9}}",
        "sub r6, r6, r10",
        "sub r8, r8, r11",
        "add r4, r6",
        "add r5, r8",
        "lsl r4, r4, lr",
        "lsl r5, r5, lr",
        "smmla r4, r4, r7, r12",
        "smmla r5, r5, r9, r12",
        "usat r4, #8, r4, asr #8",
        "usat r5, #8, r5, asr #8",
        "orr r4, r4, r5, lsl #8",
        "strh r4, [r2], #2",
        "subs r3, #1",
        "bne 2b",
        "add sp, #4",
        "pop {{r4-r11, pc}}",
    )
}

/// What the loop over a line's pixels works on, and leaves ready for the next line. Field order is the assembly's.
#[repr(C)]
#[derive(Debug)]
pub(super) struct LineArgs {
    /// 0: sums of the even row.
    sums: *const u8,
    /// 4: bytes to those of the odd row.
    stride: usize,
    /// 8: what is added to both rows' accumulators, a word a pixel.
    corrections: *const u8,
    /// 12: the first pixel's output.
    output: *mut u8,
    /// 16: bias, multiplier, bias, multiplier.
    channels: [i32; 4],
    /// 32: what sums are multiplied by.
    factor: u32,
    /// 36: zero point · 256 + 128.
    offset: u32,
    /// 40: bytes from pixel to pixel.
    pixel_bytes: usize,
    /// 44: end of the even row's sums.
    end: *const u8,
    /// 48: how far either code's limit is below 2^16 − 1.
    limits: [u16; 2],
    /// 52: what either code is worth where several share a byte.
    places: [u16; 2],
    shift: u32,
}

/// Where the codes of a pair of rows go.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Codes {
    /// A byte each, side by side.
    Bytes,
    /// The same, limited.
    Limited,
    /// Both in one byte, four bits each.
    Nibbles,
    /// Two bits each, in the lower half of a byte, whose upper half becomes 0, or then in the upper half.
    LowerCrumbs,
    UpperCrumbs,
    /// Into a byte that holds others already, or nothing.
    Shared,
}

/// One pair of rows as lines of it are settled.
#[derive(Debug)]
pub(in super::super) struct Pair<'a> {
    /// Bias, multiplier, bias, multiplier.
    pub(in super::super) channels: [i32; 4],
    /// Outputs from the pair's first byte on.
    pub(in super::super) output: &'a mut [u8],
    pub(in super::super) codes: Codes,
    /// The largest codes of both rows.
    pub(in super::super) most: [u8; 2],
    /// What either code is worth where it shares a byte.
    pub(in super::super) places: [u16; 2],
}

impl LineArgs {
    /// For lines `width` pixels wide; the even row's sums, and `stride` bytes on the odd row's.
    pub(super) fn new(settle: &Settle, sums: *const u8, stride: usize, width: usize, pixel_bytes: usize) -> Self {
        Self {
            sums,
            stride,
            corrections: core::ptr::null(),
            output: core::ptr::null_mut(),
            channels: [0; 4],
            factor: 1u32.wrapping_shl(settle.scale + u32::from(settle.shift)),
            offset: u32::from(settle.zero_point) << 8 | 128,
            pixel_bytes,
            end: sums.wrapping_add(4 * width),
            limits: [0; 2],
            places: [0; 2],
            shift: u32::from(settle.shift),
        }
    }

    /// Back to the first line, for another pair.
    pub(super) fn start(&mut self, pair: &mut Pair<'_>, corrections: &[u8]) {
        let [bias, multiplier, odd_bias, odd_multiplier] = pair.channels;
        self.corrections = corrections.as_ptr();
        self.output = pair.output.as_mut_ptr();
        self.channels = [bias.wrapping_shl(self.shift), multiplier, odd_bias.wrapping_shl(self.shift), odd_multiplier];
        self.limits = pair.most.map(|most| u16::MAX - u16::from(most));
        self.places = pair.places;
    }
}

impl Codes {
    /// Bytes written of a pixel.
    pub(super) const fn bytes(self) -> usize {
        if matches!(self, Self::Bytes | Self::Limited) { 2 } else { 1 }
    }

    /// What stores them, with or without corrections of each pixel.
    pub(super) fn function(self, corrected: bool) -> unsafe extern "C" fn(*mut LineArgs) {
        match (self, corrected) {
            (Self::Bytes, true) => settle_bytes,
            (Self::Limited, true) => settle_limited,
            (Self::Nibbles, true) => settle_nibbles,
            (Self::LowerCrumbs, true) => settle_lower_crumbs,
            (Self::UpperCrumbs, true) => settle_upper_crumbs,
            (Self::Shared, true) => settle_shared,
            (Self::Bytes, false) => settle_plain_bytes,
            (Self::Limited, false) => settle_plain_limited,
            (Self::Nibbles, false) => settle_plain_nibbles,
            (Self::LowerCrumbs, false) => settle_plain_lower_crumbs,
            (Self::UpperCrumbs, false) => settle_plain_upper_crumbs,
            (Self::Shared, false) => settle_plain_shared,
        }
    }
}

/// Sums r12 and lr become accumulators, shifted, with what is to be added.
#[rustfmt::skip]
macro_rules! accumulate {
    (corrected) => {
        concat!(
            "ldr r11, [r2], #4\n",
            "mla r12, r12, r8, r11\n",
            "mla lr, lr, r8, r11\n",
            "add r12, r4\n",
            "add lr, r6\n"
        )
    };
    (plain) => {
        concat!(
            "mla r12, r12, r8, r4\n",
            "mla lr, lr, r8, r6\n"
        )
    };
}

/// An accumulator becomes a code of `$bits` bits.
#[rustfmt::skip]
macro_rules! requantize {
    ($bits:literal, $sum:literal, $multiplier:literal) => {
        concat!(
            "smmla ", $sum, ", ", $sum, ", ", $multiplier, ", r9\n",
            "usat ", $sum, ", #", $bits, ", ", $sum, ", asr #8\n"
        )
    };
}

/// One pixel: r12 and lr become the rows' codes of `$bits` bits, stored at r3 by `$store`, which may use r11.
#[rustfmt::skip]
macro_rules! settle_pixel {
    ($how:tt, $bits:literal, $store:literal) => {
        concat!(
            "ldr lr, [r0, r1]\n",
            "ldr r12, [r0], #4\n",
            accumulate!($how),
            requantize!($bits, "r12", "r5"),
            requantize!($bits, "lr", "r7"),
            $store, "\n",
            "add r3, r10\n"
        )
    };
}

/// Loops over a line's pixels, with corrections and without.
macro_rules! settle_line {
    ($name:ident, $plain:ident, $bits:literal, $store:literal) => {
        settle_loop!(corrected, $name, $bits, $store);
        settle_loop!(plain, $plain, $bits, $store);
    };
}

/// Two pixels a turn; an odd number of them is entered in the middle.
macro_rules! settle_loop {
    ($how:tt, $name:ident, $bits:literal, $store:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(args: *mut LineArgs) {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4-r11, lr}}",
                "add r12, r0, #44",
                "ldm r12, {{r4-r6}}",
                "push {{r0, r4-r6}}",
                "add r12, r0, #16",
                "mov r11, r4",
                "ldm r12, {{r4-r10}}",
                "ldm r0, {{r0-r3}}",
                "sub r11, r0",
                "tst r11, #4",
                "bne 3f",
                "2:",
                settle_pixel!($how, $bits, $store),
                "3:",
                settle_pixel!($how, $bits, $store),
                "ldr r11, [sp, #4]",
                "cmp r0, r11",
                "bne 2b",
                "ldr r11, [sp]",
                "strd r2, r3, [r11, #8]",
                "add sp, #16",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

/// Two pixels a turn without corrections: r11 and r12 are the even row's, r2 and lr the odd row's. Codes of `$bits` bits are joined by
/// `$join` and stored by `$store`. An odd pixel comes first.
macro_rules! settle_two {
    ($name:ident, $bits:literal, $join:literal, $store:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(args: *mut LineArgs) {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4-r11, lr}}",
                "ldr r11, [r0, #44]",
                "push {{r0, r11}}",
                "add r12, r0, #16",
                "ldm r12, {{r4-r10}}",
                "ldm r0, {{r0-r3}}",
                "add r1, r0",
                "sub r11, r0",
                "tst r11, #4",
                "beq 2f",
                "ldr r12, [r0], #4",
                "ldr lr, [r1], #4",
                accumulate!(plain),
                requantize!($bits, "r12", "r5"),
                requantize!($bits, "lr", "r7"),
                concat!("orr r12, r12, lr, ", $join),
                concat!($store, " r12, [r3]"),
                "add r3, r10",
                "b 3f",
                "2:",
                "ldrd r11, r12, [r0], #8",
                "ldrd r2, lr, [r1], #8",
                "mla r11, r11, r8, r4",
                "mla r12, r12, r8, r4",
                "mla r2, r2, r8, r6",
                "mla lr, lr, r8, r6",
                requantize!($bits, "r11", "r5"),
                requantize!($bits, "r12", "r5"),
                requantize!($bits, "r2", "r7"),
                requantize!($bits, "lr", "r7"),
                concat!("orr r11, r11, r2, ", $join),
                concat!("orr r12, r12, lr, ", $join),
                concat!($store, " r11, [r3]"),
                concat!($store, " r12, [r3, r10]"),
                "add r3, r3, r10, lsl #1",
                "3:",
                "ldr r11, [sp, #4]",
                "cmp r0, r11",
                "bne 2b",
                "pop {{r11, r12}}",
                "str r3, [r11, #12]",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

settle_loop!(corrected, settle_bytes, "8", "orr r12, r12, lr, lsl #8\nstrh r12, [r3]");
settle_loop!(corrected, settle_nibbles, "4", "orr r12, r12, lr, lsl #4\nstrb r12, [r3]");
settle_two!(settle_plain_bytes, "8", "lsl #8", "strh");
settle_two!(settle_plain_nibbles, "4", "lsl #4", "strb");
settle_line!(
    settle_limited,
    settle_plain_limited,
    "8",
    "pkhbt r12, r12, lr, lsl #16
    ldr r11, [sp, #8]
    uqadd16 r12, r12, r11
    uqsub16 r12, r12, r11
    orr r12, r12, r12, lsr #8
    strh r12, [r3]"
);
settle_line!(settle_lower_crumbs, settle_plain_lower_crumbs, "2", "orr r12, r12, lr, lsl #2\nstrb r12, [r3]");
settle_line!(
    settle_upper_crumbs,
    settle_plain_upper_crumbs,
    "2",
    "ldrb r11, [r3]
    orr r12, r12, lr, lsl #2
    orr r12, r11, r12, lsl #4
    strb r12, [r3]"
);
settle_line!(
    settle_shared,
    settle_plain_shared,
    "8",
    "pkhbt r12, r12, lr, lsl #16
    ldrd r11, lr, [sp, #8]
    uqadd16 r12, r12, r11
    uqsub16 r12, r12, r11
    smuad r12, r12, lr
    ldrb lr, [r3]
    orr r12, lr
    strb r12, [r3]"
);
