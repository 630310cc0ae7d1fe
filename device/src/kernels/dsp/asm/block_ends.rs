//! Two rows × four pixels with codes at the ends of halves: four products in a dual multiplication.
//!
//! A turn is a group of sixteen columns. Sums are emptied before the low field, 16 − b bits wide, can overflow: after
//! every turn where it holds no more, else after as many as it does.

use core::arch::naked_asm;

use super::block::{Args, Kernel};

/// log2 of what patches had better be multiplied by: where sums are emptied after every turn, the low field then fills
/// a half word, which costs less to take out.
pub(in super::super) const fn scale(bits: u8, terms: usize) -> u32 {
    match (bits, terms / releq_format::ends::COLUMNS as usize) {
        (2 | 4, 1) => bits as u32,
        _ => 0,
    }
}

/// The loop for codes of `bits` bits whose low field can sum `terms` products, over patches multiplied by 2^scale;
/// `None` if it cannot sum a turn.
pub(super) const fn kernel(bits: u8, terms: usize, scale: u32) -> Option<Kernel> {
    match (bits, terms / releq_format::ends::COLUMNS as usize, scale) {
        (_, 0, _) => None,
        (1, _, 0) => Some(single),
        (2, 1, 0) => Some(double_each),
        (2, 1, 2) => Some(double_scaled),
        (2, _, 0) => Some(double),
        (3, _, 0) => Some(triple),
        (4, 1, 4) => Some(fourfold_scaled),
        (4, _, 0) => Some(fourfold),
        _ => None,
    }
}

/// Two columns of two rows and four pixels: r2 mask, r1 patches, r9–r12 sums, which the first columns start.
macro_rules! columns {
    (first $word:literal) => {
        concat!(
            "ldm.w r1!, {{r5-r8}}\nand.w r4, r2, ",
            $word,
            "\nsmuad r9, r4, r5\nsmuad r10, r4, r6\nsmuad r11, r4, r7\nsmuad r12, r4, r8\n"
        )
    };
    (more $word:literal) => {
        concat!(
            "ldm.w r1!, {{r5-r8}}\nand.w r4, r2, ",
            $word,
            "\nsmlad r9, r4, r5, r9\nsmlad r10, r4, r6, r10\nsmlad r11, r4, r7, r11\nsmlad r12, r4, r8, r12\n"
        )
    };
}

macro_rules! single_turn {
    ($first:ident) => {
        concat!(
            "ldr.w r3, [r0], #4\n",
            columns!($first "r3"),
            columns!(more "r3, ror #2"),
            columns!(more "r3, ror #4"),
            columns!(more "r3, ror #6"),
            columns!(more "r3, ror #8"),
            columns!(more "r3, ror #10"),
            columns!(more "r3, ror #12"),
            columns!(more "r3, ror #14")
        )
    };
}

macro_rules! double_turn {
    ($first:ident) => {
        concat!(
            "ldrd r3, lr, [r0], #8\n",
            columns!($first "r3"),
            columns!(more "r3, ror #4"),
            columns!(more "r3, ror #8"),
            columns!(more "r3, ror #12"),
            columns!(more "lr"),
            columns!(more "lr, ror #4"),
            columns!(more "lr, ror #8"),
            columns!(more "lr, ror #12")
        )
    };
}

macro_rules! triple_turn {
    ($first:ident) => {
        concat!(
            "ldrd r3, lr, [r0], #8\n",
            columns!($first "r3"),
            columns!(more "r3, ror #6"),
            columns!(more "lr"),
            columns!(more "lr, ror #6"),
            "and.w r3, r3, #0x1E001E00
            and.w lr, lr, #0x1E001E00
            orr.w r3, r3, lr, ror #4
            ldr.w lr, [r0], #4\n",
            columns!(more "lr"),
            columns!(more "lr, ror #6"),
            "and.w lr, lr, #0x1E001E00
            orr.w r3, r3, lr, ror #28\n",
            columns!(more "r3, ror #30"),
            columns!(more "r3, ror #24")
        )
    };
}

macro_rules! fourfold_turn {
    ($first:ident) => {
        concat!(
            "ldrd r3, lr, [r0], #8\n",
            columns!($first "r3"),
            columns!(more "r3, ror #8"),
            columns!(more "lr"),
            columns!(more "lr, ror #8"),
            "ldrd r3, lr, [r0], #8\n",
            columns!(more "r3"),
            columns!(more "r3, ror #8"),
            columns!(more "lr"),
            columns!(more "lr, ror #8")
        )
    };
}

/// The fields of r9–r12 to the sums in the frame, those of the even row also to r5–r8; `$ends` bits from low to high.
macro_rules! fill {
    ($ends:tt) => {
        concat!(
            high!("r5", "r9", $ends),
            high!("r6", "r10", $ends),
            high!("r7", "r11", $ends),
            high!("r8", "r12", $ends),
            "add r4, sp, #84\nstm r4, {{r5-r8}}\n",
            low!("r5", "r9", $ends),
            low!("r6", "r10", $ends),
            low!("r7", "r11", $ends),
            low!("r8", "r12", $ends),
            "stmdb r4, {{r5-r8}}\n"
        )
    };
}

/// The same, added to the sums.
macro_rules! empty {
    ($ends:tt) => {
        concat!(
            "add r4, sp, #84\nldm r4, {{r5-r8}}\n",
            high!(more "r5", "r9", $ends),
            high!(more "r6", "r10", $ends),
            high!(more "r7", "r11", $ends),
            high!(more "r8", "r12", $ends),
            "stm r4, {{r5-r8}}\nldmdb r4, {{r5-r8}}\n",
            low!(more "r5", "r9", $ends),
            low!(more "r6", "r10", $ends),
            low!(more "r7", "r11", $ends),
            low!(more "r8", "r12", $ends),
            "stmdb r4, {{r5-r8}}\n"
        )
    };
}

macro_rules! low {
    ($to:literal, $sum:literal, "16") => {
        concat!("uxth.w ", $to, ", ", $sum, "\n")
    };
    (more $to:literal, $sum:literal, "16") => {
        concat!("uxtah ", $to, ", ", $to, ", ", $sum, "\n")
    };
    ($to:literal, $sum:literal, $ends:tt) => {
        concat!("ubfx ", $to, ", ", $sum, ", #0, #", $ends, "\n")
    };
    (more $to:literal, $sum:literal, $ends:tt) => {
        concat!("ubfx r3, ", $sum, ", #0, #", $ends, "\nadd ", $to, ", r3\n")
    };
}

macro_rules! high {
    ($to:literal, $sum:literal, $ends:tt) => {
        concat!("asr.w ", $to, ", ", $sum, ", #", $ends, "\n")
    };
    (more $to:literal, $sum:literal, $ends:tt) => {
        concat!("add.w ", $to, ", ", $to, ", ", $sum, ", asr #", $ends, "\n")
    };
}

/// A turn at a time.
macro_rules! each {
    ($turn:ident, $ends:tt) => {
        concat!(
            $turn!(first),
            fill!($ends),
            "ldr r3, [sp]\ncmp r1, r3\nbeq.w 6f\n4:\n",
            $turn!(first),
            empty!($ends),
            "ldr r3, [sp]\ncmp r1, r3\nbne.w 4b\n6:\n"
        )
    };
}

/// As many turns at a time as the low field can sum, or as are left.
macro_rules! several {
    ($turn:ident, $ends:tt) => {
        concat!(
            segment!("4", $turn),
            fill!($ends),
            "ldr r3, [sp]\ncmp r1, r3\nbeq.w 6f\n5:\n",
            segment!("7", $turn),
            empty!($ends),
            "ldr r3, [sp]\ncmp r1, r3\nbne.w 5b\n6:\n"
        )
    };
}

macro_rules! segment {
    ($label:literal, $turn:ident) => {
        concat!(
            "ldr r3, [sp, #100]
            ldr r4, [sp]
            add r3, r1
            cmp r3, r4
            it hi
            movhi r3, r4
            str r3, [sp, #104]
            movs r3, #0
            mov r9, r3
            mov r10, r3
            mov r11, r3
            mov r12, r3\n",
            $label,
            ":\n",
            $turn!(more),
            "ldr r3, [sp, #104]\ncmp r1, r3\nbne.w ",
            $label,
            "b\n"
        )
    };
}

/// gain · 2^shift times the sum, plus what it starts with; smmla; usat, as in blocks of bytes.
macro_rules! requantize {
    ($sum:literal, $start:literal) => {
        concat!(
            "add ",
            $start,
            ", r3\nmla ",
            $sum,
            ", ",
            $sum,
            ", lr, ",
            $start,
            "\nsmmla ",
            $sum,
            ", ",
            $sum,
            ", r4, r2\nusat ",
            $sum,
            ", #8, ",
            $sum,
            ", asr #8\n"
        )
    };
}

/// The same for a sum in the frame, to the high byte of `$pair`.
macro_rules! requantize_odd {
    ($place:literal, $start:literal, $pair:literal) => {
        concat!(
            "ldr r0, [sp, #",
            $place,
            "]\n",
            requantize!("r0", $start),
            "orr ",
            $pair,
            ", ",
            $pair,
            ", r0, lsl #8\n"
        )
    };
}

/// The frame, a word each: 0 end of the block's patches, 4 bytes of a block, 8 the pair's words, 12 starts, 16 bias and
/// multiplier of the even row, 24 of the odd one, 32 gain, 36 offset, 40 output, 44 bytes of a pixel, 48 blocks left,
/// 52 pairs left, 56 constants, 60 the pair's output, 64 arguments, 68 four sums of the even row, 84 of the odd one,
/// 100 bytes of patches until sums are emptied, 104 where the next time is. Biases are shifted already.
macro_rules! block {
    ($name:ident, $loop:ident, $turn:ident, $mask:literal, $ends:tt $(, $scale:literal)?) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(args: *const Args) {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4-r11, lr}}",
                "sub sp, #108",
                "str r0, [sp, #64]",
                "ldr r1, [r0, #24]",
                "ldr r2, [r0]",
                "strd r1, r2, [sp, #4]",
                "ldr r1, [r0, #64]",
                "ldr r2, [r0, #44]",
                "strd r1, r2, [sp, #32]",
                "ldr r1, [r0, #20]",
                "str r1, [sp, #44]",
                "ldrd r1, r2, [r0, #12]",
                "strd r1, r2, [sp, #56]",
                "ldr r1, [r0, #32]",
                "str r1, [sp, #52]",
                "ldr r1, [r0, #60]",
                "str r1, [sp, #100]",
                // A pair of rows.
                "2:",
                "ldr r0, [sp, #64]",
                "ldr r1, [r0, #40]",
                "ldr r2, [sp, #56]",
                "ldm r2!, {{r3-r6}}",
                "str r2, [sp, #56]",
                "lsl r3, r3, r1",
                "lsl r5, r5, r1",
                "add r2, sp, #16",
                "stm r2, {{r3-r6}}",
                "ldr r1, [sp, #60]",
                "str r1, [sp, #40]",
                "adds r1, #2",
                "str r1, [sp, #60]",
                "ldr r1, [r0, #68]",
                "str r1, [sp, #48]",
                "ldrd r1, r2, [r0, #4]",
                "str r2, [sp, #12]",
                // A block of pixels.
                "3:",
                "ldrd r3, r0, [sp, #4]",
                "add r3, r1",
                "str r3, [sp]",
                concat!("movw r2, #", $mask, " & 0xFFFF"),
                concat!("movt r2, #", $mask, " >> 16"),
                $loop!($turn, $ends),
                $(concat!(
                    "lsrs r5, r5, #", $scale, "\nlsrs r6, r6, #", $scale, "\nlsrs r7, r7, #", $scale,
                    "\nlsr r8, r8, #", $scale
                ),)?
                "ldr r0, [sp, #12]",
                "ldm r0!, {{r9-r12}}",
                "ldrd r3, r4, [sp, #16]",
                "ldrd lr, r2, [sp, #32]",
                requantize!("r5", "r9"),
                requantize!("r6", "r10"),
                requantize!("r7", "r11"),
                requantize!("r8", "r12"),
                "ldm r0!, {{r9-r12}}",
                "str r0, [sp, #12]",
                "ldrd r3, r4, [sp, #24]",
                requantize_odd!("84", "r9", "r5"),
                requantize_odd!("88", "r10", "r6"),
                requantize_odd!("92", "r11", "r7"),
                requantize_odd!("96", "r12", "r8"),
                "ldrd r2, r3, [sp, #40]",
                "strh r5, [r2]",
                "strh r6, [r2, r3]",
                "add r2, r2, r3, lsl #1",
                "strh r7, [r2]",
                "strh r8, [r2, r3]",
                "add r2, r2, r3, lsl #1",
                "ldr r3, [sp, #48]",
                "str r2, [sp, #40]",
                "subs r3, #1",
                "str r3, [sp, #48]",
                "bne.w 3b",
                "ldr r0, [sp, #64]",
                "ldr r0, [r0, #56]",
                "ldr r1, [sp, #8]",
                "add r1, r0",
                "str r1, [sp, #8]",
                "ldr r0, [sp, #52]",
                "subs r0, #1",
                "str r0, [sp, #52]",
                "bne.w 2b",
                "add sp, #108",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

block!(single, several, single_turn, "0x80018001", "15");
block!(double, several, double_turn, "0xC003C003", "14");
block!(double_each, each, double_turn, "0xC003C003", "14");
block!(double_scaled, each, double_turn, "0xC003C003", "16", "2");
block!(triple, several, triple_turn, "0xE007E007", "13");
block!(fourfold, several, fourfold_turn, "0xF00FF00F", "12");
block!(fourfold_scaled, each, fourfold_turn, "0xF00FF00F", "16", "4");
