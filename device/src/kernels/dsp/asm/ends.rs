//! Pairs of rows at the ends of halves on one vector: one AND and one dual multiplication for four products.

use core::arch::naked_asm;

/// What the loops work on. Field order is the assembly's.
#[repr(C)]
struct Args {
    /// 0: words of the first pair of rows.
    words: *const u8,
    /// 4: widened codes, times 2^bits.
    codes: *const u8,
    /// 8: end of the codes.
    end: *const u8,
    /// 12: X and O of each pair.
    sums: *mut u8,
    /// 16
    pairs: usize,
    /// 20: bytes of words that the last turn of a pair reads beyond it.
    beyond: usize,
    /// 24: what the loop is entered at: copies of a turn to skip.
    skip: usize,
}

/// Some pairs of rows.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Ends<'a> {
    /// Groups of the pairs; the last pair's last one must be whole.
    pub(in super::super) words: &'a [u8],
    /// Bits of a code, 1 to 4.
    pub(in super::super) bits: u8,
    /// Columns that the low field can sum: [`end_terms`](releq_format::quant::end_terms).
    pub(in super::super) terms: usize,
    /// Bytes from pair to pair.
    pub(in super::super) stride: usize,
    /// Pairs of rows.
    pub(in super::super) pairs: usize,
}

/// Columns of a turn: a group.
const COLUMNS: usize = releq_format::ends::COLUMNS as usize;
/// Turns that the loop has copies of.
const COPIES: usize = 4;
/// Columns of all of them.
const ROUND: usize = COLUMNS * COPIES;

/// Writes e + 256 · o of each pair, and o, to `sums`, eight bytes a pair: o the sum over the odd row's signed codes,
/// e that over the even row's, both with `codes` (16-bit lanes, of which there are as many as whole groups take).
///
/// Does nothing if a slice is too short or `terms` too few.
pub(in super::super) fn rows(ends: &Ends<'_>, codes: &[u8], sums: &mut [u8]) {
    let Ends { words, bits, terms, stride, pairs } = *ends;
    let turns = codes.len() / (2 * COLUMNS);
    let bytes = turns * 4 * usize::from(bits);
    let kernel: unsafe extern "C" fn(*const Args) = match bits {
        1 if terms >= ROUND => single,
        2 if terms >= ROUND => long_double,
        2 if terms >= COLUMNS => double,
        3 if terms >= ROUND => long_triple,
        3 if terms >= COLUMNS => triple,
        3 if terms >= 4 => short_triple,
        4 if terms >= COLUMNS => fourfold,
        _ => return,
    };
    let end = stride * pairs.saturating_sub(1) + bytes;
    if turns == 0 || pairs == 0 || stride > bytes || words.len() < end || sums.len() < 8 * pairs {
        return;
    }
    let args = Args {
        words: words.as_ptr(),
        codes: codes.as_ptr(),
        end: codes.as_ptr().wrapping_add(2 * COLUMNS * turns),
        sums: sums.as_mut_ptr(),
        pairs,
        beyond: bytes - stride,
        skip: turns.wrapping_neg() % COPIES,
    };
    // SAFETY: words, codes and sums lie in the slices, as checked above, and are word-aligned, as sections and scratch
    // are.
    unsafe { kernel(&args) }
}

/// Both rows' products of one field: r12 mask, lr the sum, which the first field starts.
macro_rules! field {
    (first $word:literal, $codes:literal) => {
        concat!("and.w r5, r12, ", $word, "\nsmuad lr, r5, ", $codes, "\n")
    };
    ($word:literal, $codes:literal) => {
        concat!("and.w r5, r12, ", $word, "\nsmlad lr, r5, ", $codes, ", lr\n")
    };
}

/// The sum's low half, 2^bits · e, to r10, and its high one, o, to r11.
macro_rules! empty {
    () => {
        "uxtah r10, r10, lr\nadd.w r11, r11, lr, asr #16\n"
    };
}

/// Eight columns' codes.
macro_rules! codes {
    () => {
        "ldm.w r1!, {{r6-r9}}\n"
    };
}

macro_rules! single_turn {
    ($($first:ident)?) => {
        concat!(
            "ldr.w r2, [r0], #4\n",
            codes!(),
            field!($($first)? "r2", "r6"),
            field!("r2, ror #2", "r7"),
            field!("r2, ror #4", "r8"),
            field!("r2, ror #6", "r9"),
            codes!(),
            field!("r2, ror #8", "r6"),
            field!("r2, ror #10", "r7"),
            field!("r2, ror #12", "r8"),
            field!("r2, ror #14", "r9")
        )
    };
}

macro_rules! double_turn {
    ($($first:ident)?) => {
        concat!(
            "ldrd r2, r3, [r0], #8\n",
            codes!(),
            field!($($first)? "r2", "r6"),
            field!("r2, ror #4", "r7"),
            field!("r2, ror #8", "r8"),
            field!("r2, ror #12", "r9"),
            codes!(),
            field!("r3", "r6"),
            field!("r3, ror #4", "r7"),
            field!("r3, ror #8", "r8"),
            field!("r3, ror #12", "r9")
        )
    };
}

macro_rules! fourfold_turn {
    ($($first:ident)?) => {
        concat!(
            "ldrd r2, r3, [r0], #8\n",
            codes!(),
            field!($($first)? "r2", "r6"),
            field!("r2, ror #8", "r7"),
            field!("r3", "r8"),
            field!("r3, ror #8", "r9"),
            "ldrd r2, r3, [r0], #8\n",
            codes!(),
            field!("r2", "r6"),
            field!("r2, ror #8", "r7"),
            field!("r3", "r8"),
            field!("r3, ror #8", "r9")
        )
    };
}

/// What six fields leave of three words, for the last two: to r2.
macro_rules! rest {
    () => {
        "and.w r2, r2, #0x1E001E00
        and.w r3, r3, #0x1E001E00
        orr.w r2, r2, r3, ror #4
        and.w r4, r4, #0x1E001E00
        orr.w r2, r2, r4, ror #28\n"
    };
}

macro_rules! triple_turn {
    ($($first:ident)?) => {
        concat!(
            "ldm.w r0!, {{r2-r4}}\n",
            codes!(),
            field!($($first)? "r2", "r6"),
            field!("r2, ror #6", "r7"),
            field!("r3", "r8"),
            field!("r3, ror #6", "r9"),
            codes!(),
            field!("r4", "r6"),
            field!("r4, ror #6", "r7"),
            rest!(),
            field!("r2, ror #30", "r8"),
            field!("r2, ror #24", "r9")
        )
    };
}

/// Emptied after every four columns too.
macro_rules! short_triple_turn {
    ($first:ident) => {
        concat!(
            "ldm.w r0!, {{r2-r4}}\n",
            codes!(),
            field!(first "r2", "r6"),
            field!("r2, ror #6", "r7"),
            empty!(),
            field!(first "r3", "r8"),
            field!("r3, ror #6", "r9"),
            empty!(),
            codes!(),
            field!(first "r4", "r6"),
            field!("r4, ror #6", "r7"),
            empty!(),
            rest!(),
            field!(first "r2, ror #30", "r8"),
            field!("r2, ror #24", "r9")
        )
    };
}

/// Four turns, emptied after each.
macro_rules! each {
    ($turn:ident) => {
        concat!($turn!(first), empty!(), $turn!(first), empty!(), $turn!(first), empty!(), $turn!(first), empty!())
    };
}

/// Four turns, emptied after all.
macro_rules! long {
    ($turn:ident) => {
        concat!($turn!(), $turn!(), $turn!(), $turn!(), empty!(), "mov.w lr, #0\n")
    };
}

/// A width's loop, four turns a round, entered where a whole number of rounds is left. `$size`: bytes of a turn. r10
/// and r11 sums. The frame: 0 entry, 4 codes, 8 their end, 12 sums, 16 pairs left, 20 bytes beyond a pair.
macro_rules! ends {
    ($name:ident, $round:ident $turn:ident, $size:literal, $mask:literal, $bits:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(args: *const Args) {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4-r11, lr}}",
                "sub sp, #28",
                "ldr r1, [r0, #24]",
                concat!("movs r2, #", $size),
                "mul r1, r1, r2",
                "adr.w r2, 4f",
                "add r1, r2",
                "orr r1, r1, #1",
                "adds r0, #4",
                "ldm r0, {{r2-r6}}",
                "stm sp, {{r1-r6}}",
                "ldr r0, [r0, #-4]",
                concat!("movw r12, #", $mask, " & 0xFFFF"),
                concat!("movt r12, #", $mask, " >> 16"),
                "3:",
                "movs r2, #0",
                "mov r10, r2",
                "mov r11, r2",
                "mov lr, r2",
                "ldr r1, [sp, #4]",
                "ldr.w pc, [sp]",
                ".p2align 2",
                "4:",
                $round!($turn),
                "ldr r2, [sp, #8]",
                "cmp r1, r2",
                "bne.w 4b",
                concat!("lsr.w r10, r10, #", $bits),
                "add.w r10, r10, r11, lsl #8",
                "add r2, sp, #12",
                "ldm r2, {{r2-r4}}",
                "strd r10, r11, [r2], #8",
                "subs r0, r0, r4",
                "subs r3, #1",
                "strd r2, r3, [sp, #12]",
                "bne.w 3b",
                "add sp, #28",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

ends!(single, long single_turn, "76", "0x80018001", "1");
ends!(double, each double_turn, "84", "0xC003C003", "2");
ends!(long_double, long double_turn, "76", "0xC003C003", "2");
ends!(triple, each triple_turn, "104", "0xE007E007", "3");
ends!(long_triple, long triple_turn, "96", "0xE007E007", "3");
ends!(short_triple, each short_triple_turn, "128", "0xE007E007", "3");
ends!(fourfold, each fourfold_turn, "88", "0xF00FF00F", "4");
