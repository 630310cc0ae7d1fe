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
}

/// Where the codes of a pair of rows go.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Codes {
    /// A byte each, side by side.
    Bytes,
    /// The same, limited to codes of fewer bits.
    Limited,
    /// Into a byte that holds others already.
    Shared {
        /// What either is worth there.
        places: [u16; 2],
    },
}

/// How the sums of a pair of rows become codes, line after line.
#[derive(Debug)]
pub(in super::super) struct LineSettle<'a> {
    /// log2 of the gain, shift and zero point; its corrections are none.
    pub(in super::super) settle: Settle,
    /// What is added to both rows' accumulators after the shift, a word a pixel.
    pub(in super::super) corrections: &'a [u8],
    /// Bias, multiplier, bias, multiplier.
    pub(in super::super) channels: [i32; 4],
    /// Outputs from the pair's first byte on.
    pub(in super::super) output: &'a mut [u8],
    pub(in super::super) pixel_bytes: usize,
    /// Pixels of a line.
    pub(in super::super) width: usize,
    pub(in super::super) codes: Codes,
    /// The largest codes of both rows.
    pub(in super::super) most: [u8; 2],
}

impl LineSettle<'_> {
    /// Whether all slices hold `lines` lines, and a line no more than `sums`.
    pub(super) fn fits(&self, lines: usize, sums: usize) -> bool {
        let pixels = lines * self.width;
        let last = if matches!(self.codes, Codes::Shared { .. }) { 1 } else { 2 };
        pixels > 0
            && self.width <= sums
            && self.corrections.len() >= 4 * pixels
            && self.output.len() >= (pixels - 1) * self.pixel_bytes + last
    }

    pub(super) fn arguments(&mut self, sums: *const u8, stride: usize) -> LineArgs {
        let Settle { scale, shift, zero_point, .. } = self.settle;
        let [bias, multiplier, odd_bias, odd_multiplier] = self.channels;
        let shifted = |bias: i32| bias.wrapping_shl(u32::from(shift));
        LineArgs {
            sums,
            stride,
            corrections: self.corrections.as_ptr(),
            output: self.output.as_mut_ptr(),
            channels: [shifted(bias), multiplier, shifted(odd_bias), odd_multiplier],
            factor: 1u32.wrapping_shl(scale + u32::from(shift)),
            offset: u32::from(zero_point) << 8 | 128,
            pixel_bytes: self.pixel_bytes,
            end: sums.wrapping_add(4 * self.width),
            limits: self.most.map(|most| u16::MAX - u16::from(most)),
            places: if let Codes::Shared { places } = self.codes { places } else { [0; 2] },
        }
    }

    pub(super) fn function(&self) -> unsafe extern "C" fn(*mut LineArgs) {
        match self.codes {
            Codes::Bytes => settle_bytes,
            Codes::Limited => settle_limited,
            Codes::Shared { .. } => settle_shared,
        }
    }
}

/// A loop over a line's pixels: r12 and lr are the rows' codes of 8 bits, stored at r3 by `$store`, which may use r11.
macro_rules! settle_line {
    ($name:ident, $store:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(args: *mut LineArgs) {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4-r11, lr}}",
                "add r12, r0, #44",
                "ldm r12, {{r4-r6}}",
                "push {{r0, r4-r6}}",
                "add r12, r0, #16",
                "ldm r12, {{r4-r10}}",
                "ldm r0, {{r0-r3}}",
                "2:",
                "ldr lr, [r0, r1]",
                "ldr r12, [r0], #4",
                "ldr r11, [r2], #4",
                "mla r12, r12, r8, r11",
                "mla lr, lr, r8, r11",
                "add r12, r4",
                "add lr, r6",
                "smmla r12, r12, r5, r9",
                "smmla lr, lr, r7, r9",
                "usat r12, #8, r12, asr #8",
                "usat lr, #8, lr, asr #8",
                $store,
                "add r3, r10",
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

settle_line!(settle_bytes, "orr r12, r12, lr, lsl #8\nstrh r12, [r3]");
settle_line!(
    settle_limited,
    "pkhbt r12, r12, lr, lsl #16
    ldr r11, [sp, #8]
    uqadd16 r12, r12, r11
    uqsub16 r12, r12, r11
    orr r12, r12, r12, lsr #8
    strh r12, [r3]"
);
settle_line!(
    settle_shared,
    "pkhbt r12, r12, lr, lsl #16
    ldrd r11, lr, [sp, #8]
    uqadd16 r12, r12, r11
    uqsub16 r12, r12, r11
    smuad r12, r12, lr
    ldrb lr, [r3]
    orr r12, lr
    strb r12, [r3]"
);
