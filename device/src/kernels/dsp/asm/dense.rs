//! Pairs of rows on one vector: every weight is used once, so it is unpacked on the way.

use core::arch::naked_asm;

/// What the loops work on. Field order is the assembly's.
#[repr(C)]
struct Args {
    /// 0: one plane of the first pair of rows.
    words: *const u8,
    /// 4: widened codes.
    codes: *const u8,
    /// 8: X and O of each pair.
    sums: *mut u8,
    /// 12
    pairs: usize,
    /// 16: bytes from pair to pair.
    stride: usize,
    /// 20: turns of the loop for each pair, and 24: bytes of codes they take.
    turns: usize,
    code_bytes: usize,
    /// 28: what the plane is worth.
    shift: u32,
}

/// One plane of some pairs of rows.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Rows<'a> {
    /// Byte lanes; the last pair may end in the middle of a turn.
    pub(in super::super) words: &'a [u8],
    /// Bits of a field: 8, 4, 2 or 1.
    pub(in super::super) width: u8,
    /// What the plane is worth.
    pub(in super::super) shift: u8,
    /// Bytes from pair to pair.
    pub(in super::super) stride: usize,
    /// Pairs of rows.
    pub(in super::super) pairs: usize,
}

/// Columns that one turn takes; codes must be filled up with zeros to a multiple of it.
const fn columns(width: u8) -> usize {
    if width == 1 { 16 } else { 8 }
}

/// Bytes of words that `turns` turns read.
const fn read(width: u8, turns: usize) -> usize {
    turns * columns(width) * width as usize / 4
}

/// Adds 2^shift times X and O of each pair to `sums`, eight bytes a pair, over `columns` widened codes.
///
/// Does nothing if a slice is too short; in particular all words that the last turn of the last pair reads must exist.
pub(in super::super) fn rows(rows: &Rows<'_>, codes: &[u8], sums: &mut [u8], count: usize) {
    let turns = turns(rows.width, count);
    let code_bytes = 2 * turns * columns(rows.width);
    let end = rows.stride * rows.pairs.saturating_sub(1) + read(rows.width, turns);
    if turns == 0
        || rows.pairs == 0
        || rows.words.len() < end
        || codes.len() < code_bytes
        || sums.len() < 8 * rows.pairs
    {
        return;
    }
    let args = Args {
        words: rows.words.as_ptr(),
        codes: codes.as_ptr(),
        sums: sums.as_mut_ptr(),
        pairs: rows.pairs,
        stride: rows.stride,
        turns,
        code_bytes,
        shift: u32::from(rows.shift),
    };
    let kernel: unsafe extern "C" fn(*const Args) = match rows.width {
        8 => bytes,
        4 => nibbles,
        2 => crumbs,
        _ => bits,
    };
    // SAFETY: words, codes and sums lie in the slices, as checked above, and are word-aligned, as sections and scratch are.
    unsafe { kernel(&args) }
}

/// Turns over `count` columns.
const fn turns(width: u8, count: usize) -> usize {
    count.div_ceil(columns(width))
}

/// Bytes that the last turn reads beyond `bytes` of one pair's plane.
pub(in super::super) const fn overrun(width: u8, count: usize, bytes: usize) -> usize {
    read(width, turns(width, count)).saturating_sub(bytes)
}

/// Both products of a word of bytes: r10 X, r11 O.
macro_rules! of_bytes {
    ($word:literal, $codes:literal) => {
        concat!(
            "smlad r10, ",
            $word,
            ", ",
            $codes,
            ", r10\n",
            "sxtb16 ",
            $word,
            ", ",
            $word,
            ", ror #8\n",
            "smlad r11, ",
            $word,
            ", ",
            $codes,
            ", r11\n"
        )
    };
}

/// Both products of one field of a word: r12 mask, r5 the field.
macro_rules! of_field {
    ($word:literal, $codes:literal) => {
        concat!(
            "and.w r5, r12, ",
            $word,
            "\n",
            "smlad r10, r5, ",
            $codes,
            ", r10\n",
            "uxtb16 r5, r5, ror #8\n",
            "smlad r11, r5, ",
            $codes,
            ", r11\n"
        )
    };
}

macro_rules! bytes_turn {
    () => {
        concat!(
            "ldm.w r0!, {{r2-r5}}\nldm.w r1!, {{r6-r9}}\n",
            of_bytes!("r2", "r6"),
            of_bytes!("r3", "r7"),
            of_bytes!("r4", "r8"),
            of_bytes!("r5", "r9")
        )
    };
}

macro_rules! nibbles_turn {
    () => {
        concat!(
            "ldm.w r0!, {{r2-r3}}\nldm.w r1!, {{r6-r9}}\n",
            of_field!("r2", "r6"),
            of_field!("r2, lsr #4", "r7"),
            of_field!("r3", "r8"),
            of_field!("r3, lsr #4", "r9")
        )
    };
}

macro_rules! crumbs_turn {
    () => {
        concat!(
            "ldr.w r2, [r0], #4\nldm.w r1!, {{r6-r9}}\n",
            of_field!("r2", "r6"),
            of_field!("r2, lsr #2", "r7"),
            of_field!("r2, lsr #4", "r8"),
            of_field!("r2, lsr #6", "r9")
        )
    };
}

macro_rules! bits_turn {
    () => {
        concat!(
            "ldr.w r2, [r0], #4\nldm.w r1!, {{r6-r9}}\n",
            of_field!("r2", "r6"),
            of_field!("r2, lsr #1", "r7"),
            of_field!("r2, lsr #2", "r8"),
            of_field!("r2, lsr #3", "r9"),
            "ldm.w r1!, {{r6-r9}}\n",
            of_field!("r2, lsr #4", "r6"),
            of_field!("r2, lsr #5", "r7"),
            of_field!("r2, lsr #6", "r8"),
            of_field!("r2, lsr #7", "r9")
        )
    };
}

/// A plane's loop, four turns a round, entered where a whole number of rounds is left. `$size`: bytes of a turn.
/// The frame: 0 entry, 4 arguments, 8 the pair's words, 12 pairs left, 16 sums.
macro_rules! dense {
    ($name:ident, $turn:ident, $size:literal, $mask:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(args: *const Args) {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4-r11, lr}}",
                "sub sp, #20",
                "ldr r1, [r0, #20]",
                "rsb r1, r1, #0",
                "and r1, r1, #3",
                concat!("movs r2, #", $size),
                "mul r1, r1, r2",
                "adr.w r2, 4f",
                "add r1, r2",
                "orr r1, r1, #1",
                "strd r1, r0, [sp]",
                "ldr r1, [r0]",
                "ldr r2, [r0, #12]",
                "ldr r3, [r0, #8]",
                "strd r1, r2, [sp, #8]",
                "str r3, [sp, #16]",
                concat!("mov.w r12, #", $mask),
                "3:",
                "ldrd r2, r0, [sp, #4]",
                "ldr r1, [r2, #4]",
                "ldrd r3, lr, [r2, #20]",
                "add lr, r1",
                "movs r3, #0",
                "mov r10, r3",
                "mov r11, r3",
                "ldr.w pc, [sp]",
                ".p2align 2",
                "4:",
                $turn!(),
                $turn!(),
                $turn!(),
                $turn!(),
                "cmp r1, lr",
                "bne.w 4b",
                "ldr r2, [sp, #4]",
                "ldr r3, [r2, #28]",
                "ldr r4, [sp, #16]",
                "ldrd r5, r6, [r4]",
                "lsl r10, r10, r3",
                "lsl r11, r11, r3",
                "add r5, r10",
                "add r6, r11",
                "strd r5, r6, [r4], #8",
                "str r4, [sp, #16]",
                "ldrd r0, r5, [sp, #8]",
                "ldr r3, [r2, #16]",
                "add r0, r3",
                "subs r5, #1",
                "strd r0, r5, [sp, #8]",
                "bne.w 3b",
                "add sp, #20",
                "pop {{r4-r11, pc}}",
            )
        }
    };
}

dense!(bytes, bytes_turn, "56", "0");
dense!(nibbles, nibbles_turn, "72", "0x0F0F0F0F");
dense!(crumbs, crumbs_turn, "72", "0x03030303");
dense!(bits, bits_turn, "140", "0x01010101");
