//! Sums of the codes under a window, four channels at a time, and their averages.

use core::arch::naked_asm;

use super::Fours;

/// From a sum to a code.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(in super::super) struct Scale {
    /// Where sums start.
    bias: i32,
    /// Left shift, or the power of two to multiply by.
    shift: u32,
    multiplier: i32,
    /// Zero point · 256 + 128.
    offset: u32,
}

/// Largest power of two that fits a signed half.
const MOST_SHIFT: u32 = 14;

impl Scale {
    pub(in super::super) fn new(bias: i32, shift: u8, multiplier: i32, zero_point: u8) -> Self {
        Self { bias, shift: u32::from(shift), multiplier, offset: u32::from(zero_point) << 8 | 128 }
    }

    /// The same for sums that start `by` higher.
    pub(in super::super) const fn raised(&self, by: i32) -> Self {
        Self { bias: self.bias.wrapping_add(by), ..*self }
    }

    /// The same with a power of two for the shift, the rest of which the multiplier has room for, if it has.
    fn with_power(&self) -> Option<Self> {
        let shift = self.shift.min(MOST_SHIFT);
        let rest = self.shift - shift;
        let fits = self.multiplier.leading_zeros() > rest;
        fits.then_some(Self {
            bias: self.bias.wrapping_shl(shift),
            shift: 1 << shift,
            multiplier: self.multiplier.wrapping_shl(rest),
            ..*self
        })
    }
}

/// What [`average_four`] works on. Field order is the assembly's.
#[repr(C)]
struct FourArgs {
    /// 0
    output: *mut u8,
    /// 4
    from: [*const u8; 4],
    /// 20
    scale: Scale,
    /// 36: words of a pixel, outputs a row, and rows.
    words: usize,
    count: usize,
    rows: usize,
    /// 48: from the end of a pixel to the next, and of a row, in the input and in the output.
    skips: [usize; 2],
    row_skips: [usize; 2],
}

/// Averages of windows of four pixels, byte codes; whether that was done, which takes slices long enough and a
/// multiplier with room.
pub(in super::super) fn four(output: &mut [u8], input: &[u8], fours: &Fours, scale: &Scale) -> bool {
    let Some(scale) = scale.with_power() else { return false };
    if !fours.fit(input.len(), output.len()) || fours.bytes < 4 {
        return false;
    }
    let Fours { bytes, count, rows, step, row_step, output_row, .. } = *fours;
    // A last word that is not whole ends with the pixel, and does some channels again.
    for (start, words) in [(0, bytes / 4), (bytes - 4, bytes % 4)] {
        let words = if start == 0 { words } else { words.min(1) };
        if words == 0 {
            continue;
        }
        let args = FourArgs {
            output: output.as_mut_ptr().wrapping_add(start),
            from: fours.from.map(|from| input.as_ptr().wrapping_add(from + start)),
            scale,
            words,
            count,
            rows,
            skips: [step.wrapping_sub(4 * words), bytes - 4 * words],
            row_skips: [row_step.wrapping_sub(step * count), output_row.wrapping_sub(bytes * count)],
        };
        // SAFETY: each word read lies in `input`, each written one in `output`, as checked; unaligned where they are.
        unsafe { average_four(&args) }
    }
    true
}

/// One output pixel's window, as far as it lies inside.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Inside {
    /// Its first byte.
    pub(in super::super) from: usize,
    pub(in super::super) rows: usize,
    pub(in super::super) columns: usize,
    /// Bytes of a pixel, and of a row.
    pub(in super::super) pixel: usize,
    pub(in super::super) row: usize,
}

/// What [`average_window`] works on. Field order is the assembly's.
#[repr(C)]
struct WindowArgs {
    /// 0
    output: *mut u8,
    /// 4
    from: *const u8,
    /// 8
    pixel: usize,
    /// 12: from the end of a row of the window to the next.
    skip: usize,
    /// 16
    scale: Scale,
    /// 32
    words: usize,
    rows: usize,
    columns: usize,
}

/// Average over one window of byte codes; nothing if a slice is too short, or sums have no room in 16 bits.
pub(in super::super) fn window(output: &mut [u8], input: &[u8], inside: &Inside, scale: &Scale) {
    let Inside { from, rows, columns, pixel, row } = *inside;
    let reach = from + row * rows.saturating_sub(1) + pixel * columns;
    if rows == 0 || columns == 0 || rows * columns > 257 || pixel < 4 || input.len() < reach || output.len() < pixel {
        return;
    }
    for (start, words) in [(0, pixel / 4), (pixel - 4, (pixel % 4).min(1))] {
        if words == 0 {
            continue;
        }
        let args = WindowArgs {
            output: output.as_mut_ptr().wrapping_add(start),
            from: input.as_ptr().wrapping_add(from + start),
            pixel,
            skip: row.wrapping_sub(pixel * columns),
            scale: *scale,
            words,
            rows,
            columns,
        };
        // SAFETY: as above, for the words of one output pixel.
        unsafe { average_window(&args) }
    }
}

/// Four shifted sums, r5–r8 of channels 0 to 3, to a word of codes in r5: r11 multiplier, r12 offset.
macro_rules! codes {
    () => {
        "smmla r5, r5, r11, r12
        smmla r6, r6, r11, r12
        smmla r7, r7, r11, r12
        smmla r8, r8, r11, r12
        usat r5, #8, r5, asr #8
        usat r6, #8, r6, asr #8
        usat r7, #8, r7, asr #8
        usat r8, #8, r8, asr #8
        orr r5, r5, r6, lsl #8
        orr r7, r7, r8, lsl #8
        orr r5, r5, r7, lsl #16"
    };
}

// r0 output, r1–r4 from, r5–r8 codes and sums, r9 bias, r10 power, r11 multiplier, r12 offset, lr count. The frame is
// the arguments' from 36 on; then 28 pixels left.
#[unsafe(naked)]
unsafe extern "C" fn average_four(args: *const FourArgs) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r11, lr}}",
        "sub sp, #36",
        "add r1, r0, #36",
        "ldm r1, {{r1-r7}}",
        "stm sp, {{r1-r7}}",
        "add r1, r0, #20",
        "ldm r1, {{r9-r12}}",
        "ldm r0, {{r0-r4}}",
        "1:",
        "ldr r5, [sp, #4]",
        "str r5, [sp, #28]",
        "2:",
        "ldr lr, [sp]",
        "3:",
        "ldr r5, [r1], #4",
        "ldr r6, [r2], #4",
        "uxtb16 r7, r5",
        "uxtb16 r8, r5, ror #8",
        "uxtab16 r7, r7, r6",
        "uxtab16 r8, r8, r6, ror #8",
        "ldr r5, [r3], #4",
        "ldr r6, [r4], #4",
        "uxtab16 r7, r7, r5",
        "uxtab16 r8, r8, r5, ror #8",
        "uxtab16 r7, r7, r6",
        "uxtab16 r8, r8, r6, ror #8",
        "smlabb r5, r7, r10, r9",
        "smlabb r6, r8, r10, r9",
        "smlatb r7, r7, r10, r9",
        "smlatb r8, r8, r10, r9",
        codes!(),
        "str r5, [r0], #4",
        "subs lr, #1",
        "bne 3b",
        "ldrd r5, r6, [sp, #12]",
        "add r0, r6",
        "add r1, r5",
        "add r2, r5",
        "add r3, r5",
        "add r4, r5",
        "ldr r5, [sp, #28]",
        "subs r5, #1",
        "str r5, [sp, #28]",
        "bne 2b",
        "ldrd r5, r6, [sp, #20]",
        "add r0, r6",
        "add r1, r5",
        "add r2, r5",
        "add r3, r5",
        "add r4, r5",
        "ldr r5, [sp, #8]",
        "subs r5, #1",
        "str r5, [sp, #8]",
        "bne 1b",
        "add sp, #36",
        "pop {{r4-r11, pc}}",
    )
}

// r0 output, r1 the window at its channels, r2 bytes of a pixel, r3 skip, r4 place, r5 and r6 rows and columns left,
// r7 and r8 sums, r9 bias, r10 shift, r11 multiplier, r12 offset, lr codes. The frame: words, rows, columns.
#[unsafe(naked)]
unsafe extern "C" fn average_window(args: *const WindowArgs) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r11, lr}}",
        "sub sp, #12",
        "add r1, r0, #16",
        "ldm r1, {{r9-r12}}",
        "add r1, r0, #32",
        "ldm r1, {{r1-r3}}",
        "stm sp, {{r1-r3}}",
        "ldm r0, {{r0-r3}}",
        "2:",
        "mov r4, r1",
        "movs r7, #0",
        "mov r8, r7",
        "ldr r5, [sp, #4]",
        "3:",
        "ldr r6, [sp, #8]",
        "4:",
        "ldr lr, [r4]",
        "add r4, r2",
        "uxtab16 r7, r7, lr",
        "uxtab16 r8, r8, lr, ror #8",
        "subs r6, #1",
        "bne 4b",
        "add r4, r3",
        "subs r5, #1",
        "bne 3b",
        "uxtah r5, r9, r7",
        "uxtah r6, r9, r8",
        "uxtah r7, r9, r7, ror #16",
        "uxtah r8, r9, r8, ror #16",
        "lsl r5, r5, r10",
        "lsl r6, r6, r10",
        "lsl r7, r7, r10",
        "lsl r8, r8, r10",
        codes!(),
        "str r5, [r0], #4",
        "adds r1, #4",
        "ldr r4, [sp]",
        "subs r4, #1",
        "str r4, [sp]",
        "bne 2b",
        "add sp, #12",
        "pop {{r4-r11, pc}}",
    )
}
