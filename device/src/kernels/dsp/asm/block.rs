//! The heart: two rows × four pixels a turn, sixteen products in twelve instructions, requantized and stored.

use core::arch::naked_asm;

use super::block_ends;

/// A loop over pairs of rows and blocks of pixels.
pub(super) type Kernel = unsafe extern "C" fn(*const Args);

/// What [`run`] works on. Field order is the assembly's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(super) struct Args {
    /// 0: byte lanes or ends of the first pair of rows.
    weights: *const u8,
    /// 4: widened patches, block after block.
    patches: *const u8,
    /// 8: what accumulators start with, eight words a block: four for X, four for O.
    starts: *const u8,
    /// 12: constants of the first pair: bias, multiplier, bias, multiplier.
    channels: *const u8,
    /// 16: the first pixel's output at the first pair.
    output: *mut u8,
    /// 20: bytes from pixel to pixel.
    pixel_bytes: usize,
    /// 24: bytes of one block of patches.
    block_bytes: usize,
    /// 28
    quads: usize,
    /// 32
    pairs: usize,
    /// 36: where patches of a block after the last would be.
    patches_end: *const u8,
    /// 40: left shift of the accumulator.
    shift: u32,
    /// 44: zero point · 256 + 128.
    offset: u32,
    /// 48: bytes from the end of a block of patches to the next one, and 52 from a block's third output to the next.
    patch_skip: isize,
    output_skip: isize,
    // What only ends need.
    /// 56: bytes from pair to pair.
    pair_bytes: usize,
    /// 60: bytes of patches until sums are emptied.
    segment: usize,
    /// 64: what a sum counts: gain · 2^shift.
    gain: u32,
    /// 68
    blocks: usize,
}

/// How weights lie.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Packing {
    /// Byte lanes; accumulators X and O.
    Bytes,
    /// Ends; accumulators: the sums of even and odd rows.
    Ends {
        /// Bits of a code.
        bits: u8,
        /// Columns that the low field can sum: [`end_terms`](releq_format::quant::end_terms).
        terms: usize,
        /// Bytes from pair to pair.
        stride: usize,
        /// What a step of a code is worth.
        gain: u32,
        /// log2 of what the codes of patches are multiplied by: 0 or [`ends_scale`](super::ends_scale).
        scale: u32,
    },
}

/// A layer's share of the arguments, with everything in slices.
#[derive(Debug)]
pub(in super::super) struct Block<'a> {
    /// Whole pairs of rows.
    pub(in super::super) weights: &'a [u8],
    /// How they lie. Ends have whole groups, so `quads` is a multiple of four, and their blocks lie one after the other.
    pub(in super::super) packing: Packing,
    /// Widened patches of whole blocks, and bytes from one to the next: they may share what lies under both.
    pub(in super::super) patches: &'a [u8],
    pub(in super::super) patch_step: usize,
    /// Eight words a block, added to the accumulators of its pixels; with ends, to the shifted ones.
    pub(in super::super) starts: &'a [u8],
    /// Constants of the rows, 8 bytes each.
    pub(in super::super) channels: &'a [u8],
    /// Where codes go, one byte each.
    pub(in super::super) output: &'a mut [u8],
    /// Bytes from pixel to pixel in `output`, and from block to block.
    pub(in super::super) pixel_bytes: usize,
    pub(in super::super) output_step: usize,
    /// Groups of four columns.
    pub(in super::super) quads: usize,
    /// Pairs of rows.
    pub(in super::super) pairs: usize,
    /// Blocks of four pixels.
    pub(in super::super) blocks: usize,
    /// Left shift of the accumulator.
    pub(in super::super) shift: u8,
    /// Of the output.
    pub(in super::super) zero_point: u8,
}

/// Computes `2 · pairs` codes of 8 bits for each of `4 · blocks` pixels; does nothing if a slice is too short.
pub(in super::super) fn run(block: &mut Block<'_>) {
    let Block { quads, pairs, blocks, pixel_bytes, .. } = *block;
    let block_bytes = 32 * quads;
    let earlier = blocks.saturating_sub(1);
    let neighbours = block.patch_step == block_bytes && block.output_step == 4 * pixel_bytes;
    let (kernel, weight_bytes) = match block.packing {
        Packing::Bytes => (Some(block_2x4 as Kernel), 8 * quads * pairs),
        Packing::Ends { bits, stride, .. }
            if !neighbours || !quads.is_multiple_of(4) || stride > quads * usize::from(bits) =>
        {
            return;
        }
        Packing::Ends { bits, terms, stride, scale, .. } => {
            (block_ends::kernel(bits, terms, scale), stride * pairs.saturating_sub(1) + quads * usize::from(bits))
        }
    };
    let Some(kernel) = kernel else { return };
    let (pair_bytes, segment, gain) = match block.packing {
        Packing::Bytes => (0, 0, 0),
        Packing::Ends { terms, stride, gain, .. } => (stride, terms / 16 * 128, gain << (block.shift & 31)),
    };
    let fits = block.weights.len() >= weight_bytes
        && block.patches.len() >= block.patch_step * earlier + block_bytes
        && block.patch_step.is_multiple_of(4)
        && block.starts.len() >= 32 * blocks
        && block.channels.len() >= 16 * pairs
        && block.output.len() >= block.output_step * earlier + 3 * pixel_bytes + 2 * pairs;
    if !fits || quads == 0 || pairs == 0 || blocks == 0 {
        return;
    }
    let args = Args {
        weights: block.weights.as_ptr(),
        patches: block.patches.as_ptr(),
        starts: block.starts.as_ptr(),
        channels: block.channels.as_ptr(),
        output: block.output.as_mut_ptr(),
        pixel_bytes,
        block_bytes,
        quads,
        pairs,
        patches_end: block.patches.as_ptr().wrapping_add(block.patch_step * blocks),
        shift: u32::from(block.shift),
        offset: u32::from(block.zero_point) << 8 | 128,
        patch_skip: block.patch_step.wrapping_sub(block_bytes) as isize,
        output_skip: block.output_step.wrapping_sub(2 * pixel_bytes) as isize,
        pair_bytes,
        segment,
        gain,
        blocks,
    };
    // SAFETY: what is read and written lies in the slices, as checked above, word-aligned where words are read.
    unsafe { kernel(&args) }
}

/// Two columns of two rows and four pixels. r0 weights, r1 patches; r6–r9 X, r10–r12 and lr O.
macro_rules! columns {
    () => {
        "ldr r2, [r0], #4
        ldrd r4, r5, [r1], #8
        sxtb16 r3, r2, ror #8
        smlad r6, r2, r4, r6
        smlad r7, r2, r5, r7
        smlad r10, r3, r4, r10
        smlad r11, r3, r5, r11
        ldrd r4, r5, [r1], #8
        smlad r8, r2, r4, r8
        smlad r9, r2, r5, r9
        smlad r12, r3, r4, r12
        smlad lr, r3, r5, lr"
    };
}

/// lsl; smmla; usat: SMMLA's third operand brings the zero point and the half that rounds.
macro_rules! requantize {
    ($acc:literal, $multiplier:literal) => {
        concat!(
            "lsl ",
            $acc,
            ", ",
            $acc,
            ", r4\n",
            "smmla ",
            $acc,
            ", ",
            $acc,
            ", ",
            $multiplier,
            ", r5\n",
            "usat ",
            $acc,
            ", #8, ",
            $acc,
            ", asr #8"
        )
    };
}

// The loop is entered at the first of eight copies that leaves a whole number of turns. The frame, a word each:
// 0 end of the block's patches, 4 entry, 8 bytes of a block, 12 the pair's weights, 16 starts, 20 start of X,
// 24 start of O, 28 multipliers (two), 36 shift, 40 offset, 44 output, 48 bytes of a pixel, 52 end of patches,
// 56 the next pair's weights, 60 pairs left, 64 constants, 68 the pair's output, 72 arguments,
// 76 bytes to the next block of patches, and 80 of outputs.
#[unsafe(naked)]
unsafe extern "C" fn block_2x4(args: *const Args) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r11, lr}}",
        "sub sp, #84",
        "str r0, [sp, #72]",
        "ldr r1, [r0, #28]",
        "rsb r1, r1, #0",
        "and r1, r1, #7",
        "movs r2, #96",
        "mul r1, r1, r2",
        "adr.w r2, 4f",
        "add r1, r2",
        "orr r1, r1, #1",
        "ldr r2, [r0, #24]",
        "ldr r3, [r0, #0]",
        "strd r1, r2, [sp, #4]",
        "str r3, [sp, #12]",
        "ldrd r1, r2, [r0, #40]",
        "strd r1, r2, [sp, #36]",
        "ldr r1, [r0, #20]",
        "str r1, [sp, #48]",
        "ldrd r1, r2, [r0, #12]",
        "str r1, [sp, #64]",
        "str r2, [sp, #68]",
        "ldrd r1, r2, [r0, #32]",
        "str r1, [sp, #60]",
        "str r2, [sp, #52]",
        "ldrd r1, r2, [r0, #48]",
        "strd r1, r2, [sp, #76]",
        // A pair of rows. X starts with bias + 256 · the odd row's bias, O with the odd row's.
        "2:",
        "ldr r0, [sp, #64]",
        "ldm r0!, {{r2-r5}}",
        "str r0, [sp, #64]",
        "add r2, r2, r4, lsl #8",
        "strd r2, r4, [sp, #20]",
        "strd r3, r5, [sp, #28]",
        "ldr r0, [sp, #68]",
        "str r0, [sp, #44]",
        "adds r0, #2",
        "str r0, [sp, #68]",
        "ldr r0, [sp, #72]",
        "ldrd r1, r2, [r0, #4]",
        "str r2, [sp, #16]",
        // A block of pixels.
        "3:",
        "ldr r0, [sp, #16]",
        "ldm r0!, {{r6-r12, lr}}",
        "str r0, [sp, #16]",
        "ldrd r2, r3, [sp, #20]",
        "add r6, r2",
        "add r7, r2",
        "add r8, r2",
        "add r9, r2",
        "add r10, r3",
        "add r11, r3",
        "add r12, r3",
        "add lr, r3",
        "ldr r2, [sp, #8]",
        "add r2, r1",
        "str r2, [sp, #0]",
        "ldr r0, [sp, #12]",
        "ldr.w pc, [sp, #4]",
        ".p2align 2",
        "4:",
        // Eight quads.
        columns!(),
        columns!(),
        columns!(),
        columns!(),
        columns!(),
        columns!(),
        columns!(),
        columns!(),
        columns!(),
        columns!(),
        columns!(),
        columns!(),
        columns!(),
        columns!(),
        columns!(),
        columns!(),
        "ldr r2, [sp, #0]",
        "cmp r1, r2",
        "bne.w 4b",
        "str r0, [sp, #56]",
        "sub r6, r6, r10, lsl #8",
        "sub r7, r7, r11, lsl #8",
        "sub r8, r8, r12, lsl #8",
        "sub r9, r9, lr, lsl #8",
        "ldrd r2, r3, [sp, #28]",
        "ldrd r4, r5, [sp, #36]",
        requantize!("r6", "r2"),
        requantize!("r7", "r2"),
        requantize!("r8", "r2"),
        requantize!("r9", "r2"),
        requantize!("r10", "r3"),
        requantize!("r11", "r3"),
        requantize!("r12", "r3"),
        requantize!("lr", "r3"),
        "orr r6, r6, r10, lsl #8",
        "orr r7, r7, r11, lsl #8",
        "orr r8, r8, r12, lsl #8",
        "orr r9, r9, lr, lsl #8",
        "ldrd r2, r3, [sp, #44]",
        "strh r6, [r2]",
        "strh r7, [r2, r3]",
        "add r2, r2, r3, lsl #1",
        "strh r8, [r2]",
        "strh r9, [r2, r3]",
        "ldrd r3, r4, [sp, #76]",
        "add r1, r3",
        "add r2, r4",
        "str r2, [sp, #44]",
        "ldr r2, [sp, #52]",
        "cmp r1, r2",
        "bne.w 3b",
        "ldr r0, [sp, #56]",
        "str r0, [sp, #12]",
        "ldr r0, [sp, #60]",
        "subs r0, #1",
        "str r0, [sp, #60]",
        "bne.w 2b",
        "add sp, #84",
        "pop {{r4-r11, pc}}",
    )
}
