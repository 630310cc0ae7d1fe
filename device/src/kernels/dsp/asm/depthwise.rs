//! Depthwise 3 × 3: four channels are laid out as planes of 16-bit codes, then each plane meets its nine weights.

use core::arch::naked_asm;

/// Bytes from row to row of a plane: 32 codes.
pub(in super::super) const ROW_BYTES: usize = 64;
/// Rows of a plane.
pub(in super::super) const ROWS: usize = 18;
/// Bytes of a plane; a constant of the assembly below.
pub(in super::super) const PLANE_BYTES: usize = ROW_BYTES * ROWS;

const _: () = assert!(PLANE_BYTES == 1152);

/// What [`spread`] works on. Field order is the assembly's.
#[repr(C)]
struct SpreadArgs {
    /// 0
    to: *mut u8,
    /// 4
    from: *const u8,
    /// 8: bytes from pixel to pixel.
    pixel_bytes: usize,
    /// 12: pixels a row.
    count: usize,
    /// 16
    rows: usize,
    /// 20: bytes from row to row.
    row_bytes: usize,
}

/// Four channels of a rectangle of pixels.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Pixels<'a> {
    /// Bytes from the first pixel's first channel on.
    pub(in super::super) from: &'a [u8],
    /// Bytes from pixel to pixel.
    pub(in super::super) pixel_bytes: usize,
    /// Pixels a row.
    pub(in super::super) count: usize,
    /// Rows.
    pub(in super::super) rows: usize,
    /// Bytes from row to row.
    pub(in super::super) row_bytes: usize,
}

/// Spreads four channels over four planes, `start` bytes into each; nothing if a slice is too short.
pub(in super::super) fn spread(planes: &mut [u8], start: usize, pixels: &Pixels<'_>) {
    let Pixels { pixel_bytes, count, rows, row_bytes, .. } = *pixels;
    let reach = row_bytes * rows.saturating_sub(1) + pixel_bytes * count.saturating_sub(1) + 4;
    let written = start + ROW_BYTES * rows.saturating_sub(1) + 2 * count;
    let fits = pixels.from.len() >= reach && planes.len() >= 4 * PLANE_BYTES && written <= PLANE_BYTES;
    if !fits || count == 0 || rows == 0 || !start.is_multiple_of(2) {
        return;
    }
    let to = planes.as_mut_ptr().wrapping_add(start);
    let args = SpreadArgs { to, from: pixels.from.as_ptr(), pixel_bytes, count, rows, row_bytes };
    // SAFETY: four bytes are read of each pixel, unaligned where they are, and a half-word written in each of four
    // planes, all in their slices.
    unsafe { spread_four(&args) }
}

#[unsafe(naked)]
unsafe extern "C" fn spread_four(args: *const SpreadArgs) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r11, lr}}",
        "ldrd r10, r11, [r0, #16]",
        "push {{r10, r11}}",
        "ldm r0, {{r0-r3}}",
        "2:",
        "mov r10, r0",
        "mov r11, r1",
        "subs r12, r3, #1",
        "beq 4f",
        "push {{r12}}",
        "3:",
        "ldr r4, [r1]",
        "ldr r5, [r1, r2]",
        "add r1, r1, r2, lsl #1",
        "uxtb16 r6, r4",
        "uxtb16 r7, r5",
        "uxtb16 r4, r4, ror #8",
        "uxtb16 r5, r5, ror #8",
        "pkhbt r8, r6, r7, lsl #16",
        "pkhtb r9, r7, r6, asr #16",
        "pkhbt r12, r4, r5, lsl #16",
        "pkhtb lr, r5, r4, asr #16",
        "str r8, [r0]",
        "str r12, [r0, #1152]",
        "str r9, [r0, #2304]",
        "str lr, [r0, #3456]",
        "adds r0, #4",
        "ldr r12, [sp]",
        "subs r12, #2",
        "str r12, [sp]",
        "bgt 3b",
        "add sp, #4",
        "blt 5f",
        // A last pixel without a partner.
        "4:",
        "ldr r4, [r1]",
        "uxtb16 r6, r4",
        "uxtb16 r4, r4, ror #8",
        "strh r6, [r0]",
        "strh r4, [r0, #1152]",
        "lsr r6, r6, #16",
        "lsr r4, r4, #16",
        "strh r6, [r0, #2304]",
        "strh r4, [r0, #3456]",
        "5:",
        "ldrd r4, r5, [sp]",
        "add r0, r10, #64",
        "add r1, r11, r5",
        "subs r4, #1",
        "str r4, [sp]",
        "bne 2b",
        "add sp, #8",
        "pop {{r4-r11, pc}}",
    )
}

/// What [`plane`] works on. Field order is the assembly's.
#[repr(C)]
struct Args {
    /// 0
    plane: *const u8,
    /// 4: for each window row, the first two weights, and the last two, in lanes.
    weights: [u32; 6],
    /// 28
    bias: i32,
    /// 32
    multiplier: i32,
    /// 36: left shift of the accumulator.
    shift: u32,
    /// 40: zero point · 256 + 128.
    offset: u32,
    /// 44
    output: *mut u8,
    /// 48: bytes from pixel to pixel of the output.
    pixel_bytes: usize,
    /// 52: bytes of the plane that whole groups of four outputs take, and outputs left after them.
    group_bytes: usize,
    left: usize,
    /// 60: rows of outputs.
    rows: usize,
    /// 64: bytes from row to row of the plane, and of the output.
    step: usize,
    row_bytes: usize,
}

/// One channel over one plane.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Channel {
    /// Row by row.
    pub(in super::super) weights: [i8; 9],
    pub(in super::super) bias: i32,
    pub(in super::super) multiplier: i32,
    /// Left shift of the accumulator.
    pub(in super::super) shift: u8,
    /// Of the output.
    pub(in super::super) zero_point: u8,
    /// Outputs a row, at most 28.
    pub(in super::super) count: usize,
    /// Rows of outputs.
    pub(in super::super) rows: usize,
    /// Plane rows from one row of outputs to the next.
    pub(in super::super) stride: usize,
}

/// Writes one byte for each output, `pixel_bytes` and `row_bytes` apart; nothing if a slice is too short.
pub(in super::super) fn plane(
    channel: &Channel,
    plane: &[u8],
    output: &mut [u8],
    pixel_bytes: usize,
    row_bytes: usize,
) {
    let Channel { weights: w, count, rows, stride, .. } = *channel;
    let used_rows = stride * rows.saturating_sub(1) + 3;
    let last = row_bytes * rows.saturating_sub(1) + pixel_bytes * count.saturating_sub(1);
    if count == 0 || count > 28 || rows == 0 || used_rows > ROWS || plane.len() < PLANE_BYTES || output.len() <= last {
        return;
    }
    let lanes = |low: i8, high: i8| (low as u16 as u32) | (high as u16 as u32) << 16;
    let args = Args {
        plane: plane.as_ptr(),
        weights: [
            lanes(w[0], w[1]),
            lanes(w[1], w[2]),
            lanes(w[3], w[4]),
            lanes(w[4], w[5]),
            lanes(w[6], w[7]),
            lanes(w[7], w[8]),
        ],
        bias: channel.bias,
        multiplier: channel.multiplier,
        shift: u32::from(channel.shift),
        offset: u32::from(channel.zero_point) << 8 | 128,
        output: output.as_mut_ptr(),
        pixel_bytes,
        group_bytes: count / 4 * 8,
        left: count % 4,
        rows,
        step: ROW_BYTES * stride,
        row_bytes,
    };
    // SAFETY: a row's outputs read the first 32 codes of three plane rows (28 outputs read 30), which lie in the plane
    // as checked; every output written lies in `output`.
    unsafe { plane_3x3(&args) }
}

/// One window row of four outputs: r7–r9 codes, r10–r12 and lr sums, `$w01` and `$w12` weights.
macro_rules! window_row {
    ($first:literal, $last:literal, $w01:literal, $w12:literal) => {
        concat!(
            "ldrd r7, r8, [r0, #",
            $first,
            "]\n",
            "ldr r9, [r0, #",
            $last,
            "]\n",
            "smlad r10, r7, ",
            $w01,
            ", r10\n",
            "smlatb r11, r7, ",
            $w01,
            ", r11\n",
            "smlad r12, r8, ",
            $w01,
            ", r12\n",
            "smlatb lr, r8, ",
            $w01,
            ", lr\n",
            "smlabt r10, r8, ",
            $w12,
            ", r10\n",
            "smlad r11, r8, ",
            $w12,
            ", r11\n",
            "smlabt r12, r9, ",
            $w12,
            ", r12\n",
            "smlad lr, r9, ",
            $w12,
            ", lr\n"
        )
    };
}

/// Four outputs from the plane at r0, as codes in r10–r12 and lr. The frame is the arguments' from the bias on.
macro_rules! four_outputs {
    () => {
        concat!(
            "ldr r10, [sp]\n",
            "ldrd r7, r8, [r0]\n",
            "ldr r9, [r0, #8]\n",
            "smlatb r11, r7, r1, r10\n",
            "smlad r12, r8, r1, r10\n",
            "smlatb lr, r8, r1, r10\n",
            "smlad r10, r7, r1, r10\n",
            "smlabt r10, r8, r2, r10\n",
            "smlad r11, r8, r2, r11\n",
            "smlabt r12, r9, r2, r12\n",
            "smlad lr, r9, r2, lr\n",
            window_row!("64", "72", "r3", "r4"),
            window_row!("128", "136", "r5", "r6"),
            "ldrd r7, r8, [sp, #4]\n",
            "ldr r9, [sp, #12]\n",
            "lsl r10, r10, r8\n",
            "lsl r11, r11, r8\n",
            "lsl r12, r12, r8\n",
            "lsl lr, lr, r8\n",
            "smmla r10, r10, r7, r9\n",
            "smmla r11, r11, r7, r9\n",
            "smmla r12, r12, r7, r9\n",
            "smmla lr, lr, r7, r9\n",
            "usat r10, #8, r10, asr #8\n",
            "usat r11, #8, r11, asr #8\n",
            "usat r12, #8, r12, asr #8\n",
            "usat lr, #8, lr, asr #8\n",
            "ldrd r7, r8, [sp, #16]\n"
        )
    };
}

// The frame: 0 bias, 4 multiplier, 8 shift, 12 offset, 16 output, 20 bytes of a pixel, 24 end of the row's groups,
// 28 plane row, 32 output row, 36 arguments.
#[unsafe(naked)]
unsafe extern "C" fn plane_3x3(args: *const Args) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r11, lr}}",
        "sub sp, #44",
        "str r0, [sp, #36]",
        "ldr r1, [r0, #60]",
        "str r1, [sp, #40]",
        "add r1, r0, #28",
        "ldm r1, {{r2-r7}}",
        "stm sp, {{r2-r7}}",
        "str r6, [sp, #32]",
        "ldr r1, [r0]",
        "str r1, [sp, #28]",
        "adds r0, #4",
        "ldm r0, {{r1-r6}}",
        "2:",
        "ldr r7, [sp, #36]",
        "ldr r0, [sp, #28]",
        "ldr r8, [r7, #52]",
        "add r8, r0",
        "str r8, [sp, #24]",
        "cmp r0, r8",
        "beq.w 4f",
        "3:",
        four_outputs!(),
        "strb r10, [r7]",
        "strb r11, [r7, r8]",
        "add r7, r7, r8, lsl #1",
        "strb r12, [r7]",
        "strb lr, [r7, r8]",
        "add r7, r7, r8, lsl #1",
        "str r7, [sp, #16]",
        "ldr r7, [sp, #24]",
        "adds r0, #8",
        "cmp r0, r7",
        "bne.w 3b",
        // One to three more.
        "4:",
        "ldr r7, [sp, #36]",
        "ldr r7, [r7, #56]",
        "cmp r7, #0",
        "beq.w 5f",
        four_outputs!(),
        "ldr r9, [sp, #36]",
        "ldr r9, [r9, #56]",
        "strb r10, [r7]",
        "cmp r9, #2",
        "blt 5f",
        "strb r11, [r7, r8]",
        "beq 5f",
        "add r7, r7, r8, lsl #1",
        "strb r12, [r7]",
        "5:",
        "ldr r7, [sp, #36]",
        "ldrd r8, r9, [r7, #64]",
        "ldrd r10, r11, [sp, #28]",
        "add r10, r8",
        "add r11, r9",
        "strd r10, r11, [sp, #28]",
        "str r11, [sp, #16]",
        "ldr r8, [sp, #40]",
        "subs r8, #1",
        "str r8, [sp, #40]",
        "bne.w 2b",
        "add sp, #44",
        "pop {{r4-r11, pc}}",
    )
}
