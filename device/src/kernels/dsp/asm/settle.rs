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

/// What [`line`]'s loop works on. Field order is the assembly's.
#[repr(C)]
struct LineArgs {
    /// 0: sums of the even row.
    sums: *const u8,
    /// 4: bytes to those of the odd row.
    stride: usize,
    /// 8: what is added to both rows' accumulators, a word a pixel.
    corrections: *const u8,
    /// 12: two codes a pixel.
    output: *mut u8,
    /// 16: bias, multiplier, bias, multiplier.
    channels: [i32; 4],
    /// 32
    shift: u32,
    /// 36: zero point · 256 + 128.
    offset: u32,
    /// 40: log2 of the gain.
    scale: u32,
    /// 44: end of the output.
    end: *const u8,
}

/// Writes two codes of 8 bits for each word of `corrections` from the rows' sums; as many as all slices have room for.
pub(in super::super) fn line(
    settle: &Settle,
    sums: [&[u8]; 2],
    corrections: &[u8],
    channels: [i32; 4],
    output: &mut [u8],
) {
    let [even, odd] = sums;
    let count = (even.len() / 4).min(odd.len() / 4).min(corrections.len() / 4).min(output.len() / 2);
    if count == 0 {
        return;
    }
    let start = output.as_mut_ptr();
    let args = LineArgs {
        sums: even.as_ptr(),
        stride: (odd.as_ptr() as usize).wrapping_sub(even.as_ptr() as usize),
        corrections: corrections.as_ptr(),
        output: start,
        channels,
        shift: u32::from(settle.shift),
        offset: u32::from(settle.zero_point) << 8 | 128,
        scale: settle.scale,
        end: start.wrapping_add(2 * count).cast_const(),
    };
    // SAFETY: all slices hold what `count` pixels take, and words are aligned, as scratch is.
    unsafe { settle_line(&args) }
}

#[unsafe(naked)]
unsafe extern "C" fn settle_line(args: *const LineArgs) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r11, lr}}",
        "ldr r11, [r0, #44]",
        "push {{r11}}",
        "add r11, r0, #16",
        "ldm r11, {{r4-r10}}",
        "ldm r0, {{r0-r3}}",
        "2:",
        "ldr lr, [r0, r1]",
        "ldr r12, [r0], #4",
        "ldr r11, [r2], #4",
        "lsl r12, r12, r10",
        "lsl lr, lr, r10",
        "add r12, r11",
        "add lr, r11",
        "add r12, r4",
        "add lr, r6",
        "lsl r12, r12, r8",
        "lsl lr, lr, r8",
        "smmla r12, r12, r5, r9",
        "smmla lr, lr, r7, r9",
        "usat r12, #8, r12, asr #8",
        "usat lr, #8, lr, asr #8",
        "orr r12, r12, lr, lsl #8",
        "strh r12, [r3], #2",
        "ldr r11, [sp]",
        "cmp r3, r11",
        "bne 2b",
        "add sp, #4",
        "pop {{r4-r11, pc}}",
    )
}
