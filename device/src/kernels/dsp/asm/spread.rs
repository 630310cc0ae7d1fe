//! Four channels of a rectangle of pixels as planes of 16-bit codes, for depthwise convolution.

use core::arch::naked_asm;

use releq_format::graph::Storage;

/// Bytes from row to row of one channel: 32 codes.
pub(in super::super) const ROW_BYTES: usize = 64;
/// Channels side by side in a line.
pub(in super::super) const CHANNELS: usize = 4;
/// Bytes of a row of all four channels, one after the other; a constant of the assembly, here and in the other file.
pub(in super::super) const LINE_BYTES: usize = CHANNELS * ROW_BYTES;

const _: () = assert!(LINE_BYTES == 256);

/// What [`spread`] works on. Field order is the assembly's.
#[repr(C)]
struct Args {
    /// 0
    to: *mut u8,
    /// 4
    from: *const u8,
    /// 8: bytes of one pixel, and of three.
    pixel_bytes: [usize; 2],
    /// 16: pixels of a row in fours, and those left.
    fours: usize,
    left: usize,
    /// 24: from the end of a row to the next one, in `from` and in `to`.
    skips: [usize; 2],
    /// 32
    rows: usize,
}

/// Four channels of a rectangle of pixels.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Pixels<'a> {
    /// From the byte on in which the first pixel's first channel lies.
    pub(in super::super) from: &'a [u8],
    pub(in super::super) storage: Storage,
    /// Whether the channels start in the upper half of their byte.
    pub(in super::super) upper: bool,
    /// Bytes from pixel to pixel.
    pub(in super::super) pixel_bytes: usize,
    /// Pixels a row.
    pub(in super::super) count: usize,
    /// Rows.
    pub(in super::super) rows: usize,
    /// Bytes from row to row.
    pub(in super::super) row_bytes: usize,
}

/// Spreads four channels over the lines of `planes`, `start` bytes into each; nothing if a slice is too short.
pub(in super::super) fn spread(planes: &mut [u8], start: usize, pixels: &Pixels<'_>) {
    let Pixels { pixel_bytes, count, rows, row_bytes, .. } = *pixels;
    type Spread = unsafe extern "C" fn(*const Args);
    let (width, function): (usize, Spread) = match (pixels.storage, pixels.upper) {
        (Storage::Bits8 | Storage::Logits, _) => (4, spread_bytes),
        (Storage::Bits4, _) => (2, spread_nibbles),
        (Storage::Bits2, _) => (1, spread_crumbs),
        (Storage::Bits1, false) => (1, spread_bits),
        (Storage::Bits1, true) => (1, spread_upper_bits),
    };
    let reach = row_bytes * rows.saturating_sub(1) + pixel_bytes * count.saturating_sub(1) + width;
    let written = start + LINE_BYTES * rows.saturating_sub(1) + LINE_BYTES - ROW_BYTES + 2 * count;
    if pixels.from.len() < reach || planes.len() < written || count == 0 || rows == 0 || !start.is_multiple_of(2) {
        return;
    }
    let args = Args {
        to: planes.as_mut_ptr().wrapping_add(start),
        from: pixels.from.as_ptr(),
        pixel_bytes: [pixel_bytes, 3 * pixel_bytes],
        fours: count / 4,
        left: count % 4,
        skips: [row_bytes.wrapping_sub(pixel_bytes * count), LINE_BYTES.wrapping_sub(2 * count)],
        rows,
    };
    // SAFETY: `width` bytes are read of each pixel, unaligned where they are, and a half-word written for each of
    // four channels, all in their slices as checked.
    unsafe { function(&args) }
}

/// Two pixels' words as one register a channel, r4, r5, r12 and lr: bytes, then codes of fewer bits with their mask
/// in r9 and the place of each channel.
macro_rules! channels {
    (bytes, $first:literal, $second:literal, ()) => {
        concat!(
            "pkhbt r8, ",
            $first,
            ", ",
            $second,
            ", lsl #16\n",
            "pkhtb r9, ",
            $second,
            ", ",
            $first,
            ", asr #16\n",
            "uxtb16 r4, r8\nuxtb16 r5, r8, ror #8\nuxtb16 r12, r9\nuxtb16 lr, r9, ror #8\n"
        )
    };
    (fields, $first:literal, $second:literal, ($zero:literal, $one:literal, $two:literal, $three:literal)) => {
        concat!(
            "pkhbt r8, ",
            $first,
            ", ",
            $second,
            ", lsl #16\n",
            concat!("and r4, r9, r8", $zero, "\n"),
            concat!("and r5, r9, r8", $one, "\n"),
            concat!("and r12, r9, r8", $two, "\n"),
            concat!("and lr, r9, r8", $three, "\n")
        )
    };
}

/// The walk over all pixels: r0 to, r1 from, r2 and r3 bytes of one pixel and of three, r10 count, r11 arguments.
macro_rules! spread {
    ($name:ident, $load:literal, $mask:literal, $kind:ident $places:tt) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(args: *const Args) {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4-r11, lr}}",
                "mov r11, r0",
                "ldr r4, [r11, #32]",
                "push {{r4}}",
                "ldm r11, {{r0-r3}}",
                concat!("mov.w r9, #", $mask),
                "2:",
                "ldrd r10, r4, [r11, #16]",
                "cmp r10, #0",
                "beq 4f",
                "3:",
                concat!($load, " r4, [r1]"),
                concat!($load, " r5, [r1, r2]"),
                concat!($load, " r6, [r1, r2, lsl #1]"),
                concat!($load, " r7, [r1, r3]"),
                "add r1, r1, r2, lsl #2",
                channels!($kind, "r4", "r5", $places),
                "str r5, [r0, #64]",
                "str r12, [r0, #128]",
                "str lr, [r0, #192]",
                "str r4, [r0], #4",
                channels!($kind, "r6", "r7", $places),
                "str r5, [r0, #64]",
                "str r12, [r0, #128]",
                "str lr, [r0, #192]",
                "str r4, [r0], #4",
                "subs r10, #1",
                "bne 3b",
                "4:",
                "ldr r10, [r11, #20]",
                "cmp r10, #0",
                "beq 6f",
                "5:",
                concat!($load, " r6, [r1]"),
                "add r1, r2",
                channels!($kind, "r6", "r6", $places),
                "strh r5, [r0, #64]",
                "strh r12, [r0, #128]",
                "strh lr, [r0, #192]",
                "strh r4, [r0], #2",
                "subs r10, #1",
                "bne 5b",
                "6:",
                "ldrd r4, r5, [r11, #24]",
                "add r1, r4",
                "add r0, r5",
                "ldr r4, [sp]",
                "subs r4, #1",
                "str r4, [sp]",
                "bne 2b",
                "add sp, #4",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

spread!(spread_bytes, "ldr", "0x00FF00FF", bytes());
spread!(spread_nibbles, "ldrh", "0x000F000F", fields("", ", lsr #4", ", lsr #8", ", lsr #12"));
spread!(spread_crumbs, "ldrb", "0x00030003", fields("", ", lsr #2", ", lsr #4", ", lsr #6"));
spread!(spread_bits, "ldrb", "0x00010001", fields("", ", lsr #1", ", lsr #2", ", lsr #3"));
spread!(spread_upper_bits, "ldrb", "0x00010001", fields(", lsr #4", ", lsr #5", ", lsr #6", ", lsr #7"));
