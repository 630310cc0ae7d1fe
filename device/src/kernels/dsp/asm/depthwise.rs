//! Depthwise 3 × 3 over one channel's plane of 16-bit codes: two rows of two outputs at a time, or two outputs of a row
//! whose windows lie two columns apart.

use core::arch::naked_asm;

use releq_format::quant::Channel;

use super::spread::{CHANNELS, LINE_BYTES, ROW_BYTES};
use super::taps::WORDS;

/// Codes of a row, of which the last windows read two more than one of them needs.
const ROW_CODES: usize = ROW_BYTES / 2;

/// What [`planes`] works on. Field order is the assembly's.
#[repr(C)]
struct Args {
    /// 0
    plane: *const u8,
    /// 4
    output: *mut u8,
    /// 8
    weights: [u32; WORDS],
    /// 32
    frame: Frame,
}

/// What the loop keeps on its stack.
#[repr(C)]
struct Frame {
    /// 0: bytes from pixel to pixel of the output: 0 for a last pixel without a partner, which is then written twice.
    pixel_bytes: usize,
    /// 4: bytes from row to row; 0 where rows are computed one by one, and written twice.
    row_bytes: usize,
    /// 8: where the plane's row ends.
    end: usize,
    /// 12: rows, or pairs of rows.
    passes: usize,
    /// 16: bytes of the plane that pairs of columns take.
    pairs: usize,
    /// 20: whether a column is left.
    odd: usize,
    /// 24
    multiplier: i32,
    /// 28: zero point · 256 + 128.
    offset: u32,
    /// 32
    bias: i32,
    /// 36: from the end of a pass to the next one, in the plane and in the output.
    skips: [usize; 2],
    /// 44: as the first.
    step: usize,
}

/// Outputs of four channels, and where they go.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Outputs {
    /// Outputs a row.
    pub(in super::super) count: usize,
    /// Rows of outputs.
    pub(in super::super) rows: usize,
    /// Lines from one row of outputs to the next, and columns from output to output, 1 or 2.
    pub(in super::super) stride: usize,
    pub(in super::super) across: usize,
    /// Bytes from pixel to pixel.
    pub(in super::super) pixel_bytes: usize,
    /// Bytes from row to row.
    pub(in super::super) row_bytes: usize,
    pub(in super::super) zero_point: u8,
}

impl Outputs {
    /// Whether all that is read, and written, lies in slices of these lengths.
    fn fit(&self, planes: usize, output: usize) -> bool {
        let Self { count, rows, stride, pixel_bytes, row_bytes, .. } = *self;
        let before = rows.saturating_sub(1);
        // Two rows share four lines; a row without a partner reads a line more than it needs.
        let lines = stride * before + if self.paired() == rows { 3 } else { 4 };
        let last = row_bytes * before + pixel_bytes * count.saturating_sub(1) + CHANNELS;
        let columns = 2 * self.across * count.div_ceil(2) + 2;
        let inside = count > 0 && columns <= ROW_CODES && (1..=2).contains(&self.across);
        inside && rows > 0 && planes >= LINE_BYTES * lines && output >= last
    }

    /// Rows that are computed two at a time.
    const fn paired(&self) -> usize {
        if self.stride == 1 && self.across == 1 { self.rows & !1 } else { 0 }
    }

    /// What the loop starts with where it takes `together` rows a pass.
    fn frame(&self, together: usize, passes: usize) -> Frame {
        let step = if self.count == 1 { 0 } else { self.pixel_bytes };
        let line = LINE_BYTES * self.stride * together;
        // Bytes that two outputs move on by.
        let two = 4 * self.across;
        Frame {
            pixel_bytes: step,
            row_bytes: if together == 1 { 0 } else { self.row_bytes },
            end: 0,
            passes,
            pairs: two * (self.count / 2).max(1),
            odd: if self.count > 1 { self.count % 2 } else { 0 },
            multiplier: 0,
            offset: u32::from(self.zero_point) << 8 | 128,
            bias: 0,
            skips: [
                line.wrapping_sub(two * self.count.div_ceil(2)),
                (self.row_bytes * together).wrapping_sub(step * (self.count & !1)),
            ],
            step,
        }
    }
}

/// Four channels over their planes: a byte for each output, a channel beside the other. Weights, biases and
/// multipliers hold the shift of the accumulator. Nothing if a slice is too short.
pub(in super::super) fn planes(
    outputs: &Outputs,
    weights: &[[u32; WORDS]; CHANNELS],
    constants: &[Channel; CHANNELS],
    planes: &[u8],
    output: &mut [u8],
) {
    if !outputs.fit(planes.len(), output.len()) {
        return;
    }
    let paired = outputs.paired();
    for (together, passes, done) in [(2, paired / 2, 0), (1, outputs.rows - paired, paired)] {
        if passes == 0 {
            continue;
        }
        let mut args = Args {
            plane: planes.as_ptr().wrapping_add(LINE_BYTES * done),
            output: output.as_mut_ptr().wrapping_add(outputs.row_bytes * done),
            weights: [0; WORDS],
            frame: outputs.frame(together, passes),
        };
        for (weights, constants) in weights.iter().zip(constants) {
            args.weights = *weights;
            args.frame.multiplier = constants.multiplier;
            args.frame.bias = constants.bias;
            // SAFETY: each pass reads 64 bytes of four lines, whose last lies in the planes as checked; every output
            // written lies in `output`.
            unsafe { if outputs.across == 1 { plane_3x3(&args) } else { plane_3x3_apart(&args) } }
            args.plane = args.plane.wrapping_add(ROW_BYTES);
            args.output = args.output.wrapping_add(1);
        }
    }
}

/// One line of two outputs in one row: r7 and r8 codes, `$w01` and `$w12` weights, sums `$left` and `$right`, which
/// start at `$from_left` and `$from_right`.
macro_rules! window_row {
    ($w01:literal, $w12:literal, $left:literal, $right:literal, $from_left:literal, $from_right:literal) => {
        concat!(
            concat!("smlad ", $left, ", r7, ", $w01, ", ", $from_left, "\n"),
            concat!("smlatb ", $right, ", r7, ", $w01, ", ", $from_right, "\n"),
            concat!("smlabt ", $left, ", r8, ", $w12, ", ", $left, "\n"),
            concat!("smlad ", $right, ", r8, ", $w12, ", ", $right, "\n")
        )
    };
}

/// From arguments to the first output of a pass: the frame on the stack, r0 plane, r1–r6 weights, lr output.
macro_rules! enter {
    () => {
        "push {{r4-r11, lr}}
        sub sp, #48
        add r1, r0, #32
        ldm r1!, {{r2-r7}}
        stm sp, {{r2-r7}}
        ldm r1, {{r2-r7}}
        add r1, sp, #24
        stm r1, {{r2-r7}}
        ldrd r12, lr, [r0], #8
        ldm r0, {{r1-r6}}
        mov r0, r12
        2:
        ldrd r7, r8, [sp, #12]
        add r8, r0
        subs r7, #1
        strd r8, r7, [sp, #8]
        3:"
    };
}

/// To the next outputs, the next pass, and the end; r7 bytes of a pixel, `$two` those of the plane that two outputs
/// move on by.
macro_rules! leave {
    ($two:literal) => {
        concat!(
            "add lr, lr, r7, lsl #1
            ldr r8, [sp, #8]
            cmp r0, r8
            bne.w 3b
            // A last column is one more pass of the loop, with no bytes between pixels.
            ldr r7, [sp, #20]
            cbz r7, 5f
            ldr r7, [sp]
            cbnz r7, 4f
            ldr r7, [sp, #44]
            str r7, [sp]
            b 5f
            4:
            movs r7, #0
            str r7, [sp]
            add r7, r0, #",
            $two,
            "
            str r7, [sp, #8]
            b.w 3b
            5:
            ldrd r7, r8, [sp, #36]
            add r0, r7
            add lr, r8
            ldr r7, [sp, #12]
            cmp r7, #0
            bne.w 2b
            add sp, #48
            pop {{r4-r11, pc}}"
        )
    };
}

// r0 plane, r1–r6 weights, r7 and r8 codes, r9–r12 sums of the first row and of the second, lr output.
// Outputs are written last to first, so that those without a partner are right at the end.
#[unsafe(naked)]
unsafe extern "C" fn plane_3x3(args: *const Args) {
    naked_asm!(
        core_with_dsp!(),
        enter!(),
        "ldr r12, [sp, #32]",
        "ldrd r7, r8, [r0, #256]",
        window_row!("r3", "r4", "r9", "r10", "r12", "r12"),
        window_row!("r1", "r2", "r11", "r12", "r12", "r12"),
        "ldrd r7, r8, [r0, #512]",
        window_row!("r5", "r6", "r9", "r10", "r9", "r10"),
        window_row!("r3", "r4", "r11", "r12", "r11", "r12"),
        "ldrd r7, r8, [r0, #768]",
        window_row!("r5", "r6", "r11", "r12", "r11", "r12"),
        "ldrd r7, r8, [r0], #4",
        window_row!("r1", "r2", "r9", "r10", "r9", "r10"),
        "ldrd r7, r8, [sp, #24]",
        "smmla r9, r9, r7, r8",
        "smmla r10, r10, r7, r8",
        "smmla r11, r11, r7, r8",
        "smmla r12, r12, r7, r8",
        "usat r9, #8, r9, asr #8",
        "usat r10, #8, r10, asr #8",
        "usat r11, #8, r11, asr #8",
        "usat r12, #8, r12, asr #8",
        "ldrd r7, r8, [sp]",
        "add r8, lr",
        "strb r12, [r8, r7]",
        "strb r11, [r8]",
        "strb r10, [lr, r7]",
        "strb r9, [lr]",
        leave!("4"),
    )
}

/// One line of two outputs two columns apart: r7–r9 codes, `$w01` and `$w12` weights, sums r10 and r11, which start
/// at `$from_left` and `$from_right`.
macro_rules! apart {
    ($w01:literal, $w12:literal, $from_left:literal, $from_right:literal) => {
        concat!(
            concat!("smlad r10, r7, ", $w01, ", ", $from_left, "\n"),
            concat!("smlad r11, r8, ", $w01, ", ", $from_right, "\n"),
            concat!("smlabt r10, r8, ", $w12, ", r10\n"),
            concat!("smlabt r11, r9, ", $w12, ", r11\n")
        )
    };
}

// As above, with r7–r9 codes, r10 and r11 sums of one row, r12 bias.
#[unsafe(naked)]
unsafe extern "C" fn plane_3x3_apart(args: *const Args) {
    naked_asm!(
        core_with_dsp!(),
        enter!(),
        "ldr r12, [sp, #32]",
        "ldrd r7, r8, [r0, #256]",
        "ldr r9, [r0, #264]",
        apart!("r3", "r4", "r12", "r12"),
        "ldrd r7, r8, [r0, #512]",
        "ldr r9, [r0, #520]",
        apart!("r5", "r6", "r10", "r11"),
        "ldr r9, [r0, #8]",
        "ldrd r7, r8, [r0], #8",
        apart!("r1", "r2", "r10", "r11"),
        "ldrd r7, r8, [sp, #24]",
        "smmla r10, r10, r7, r8",
        "smmla r11, r11, r7, r8",
        "usat r10, #8, r10, asr #8",
        "usat r11, #8, r11, asr #8",
        "ldr r7, [sp]",
        "strb r11, [lr, r7]",
        "strb r10, [lr]",
        leave!("8"),
    )
}
