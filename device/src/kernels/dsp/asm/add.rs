//! Sums of two codes, each at its own scale.

use core::arch::naked_asm;

use releq_format::quant::AddScale;

/// Groups of eight codes, and what is left: single codes, or bytes of two.
#[repr(C)]
struct Counts {
    eights: usize,
    rest: usize,
}

/// Adds two rows of bytes, as far as all slices reach, limited to 8 bits. Without a left row, the output holds it.
pub(in super::super) fn bytes(output: &mut [u8], left: Option<&[u8]>, right: &[u8], scale: &AddScale) {
    let to = output.as_mut_ptr();
    let (left, count) = left.map_or((to.cast_const(), output.len()), |left| (left.as_ptr(), left.len()));
    let count = count.min(output.len()).min(right.len());
    let right = right.as_ptr();
    let eights = if count >= 8 && are_aligned(to, [left, right]) && fits(scale) { count / 8 } else { 0 };
    let [first, second] = scale.multipliers.map(|multiplier| u32::from(multiplier as u16));
    let (shift, counts) = (u32::from(scale.shift), Counts { eights, rest: count - 8 * eights });
    // SAFETY: `count` bytes lie in each slice, at words where they are taken by eight; a left row in the output is
    // read before it is written.
    unsafe { add(to, left, right, first | second << 16, scale.constant, shift, counts) }
}

/// Adds two rows of codes of 4 bits, two a byte, as far as all slices reach; whether that was done, which takes sums
/// with room in 16 bits. Without a left row, the output holds it.
pub(in super::super) fn nibbles(output: &mut [u8], left: Option<&[u8]>, right: &[u8], scale: &AddScale) -> bool {
    if !fits(scale) {
        return false;
    }
    let to = output.as_mut_ptr();
    let (left, count) = left.map_or((to.cast_const(), output.len()), |left| (left.as_ptr(), left.len()));
    let count = count.min(output.len()).min(right.len());
    let [first, second] = scale.multipliers.map(|multiplier| u32::from(multiplier as u16));
    let (shift, counts) = (u32::from(scale.shift), Counts { eights: count / 4, rest: count % 4 });
    // SAFETY: `count` bytes lie in each slice, unaligned where they are; a left row in the output is read before it is
    // written.
    unsafe { add_nibbles(to, left, right.as_ptr(), first | second << 16, scale.constant, shift, counts) }
    true
}

fn are_aligned(to: *const u8, [left, right]: [*const u8; 2]) -> bool {
    (to as usize | left as usize | right as usize).is_multiple_of(4)
}

/// Whether sums have room in 16 bits once they are shifted, as lanes take them.
fn fits(scale: &AddScale) -> bool {
    let [first, second] = scale.multipliers.map(|multiplier| 255 * u32::from(multiplier.unsigned_abs()));
    let largest = first.wrapping_add(second).wrapping_add(scale.constant.unsigned_abs());
    largest.wrapping_shr(u32::from(scale.shift)) < 1 << 15
}

/// Four sums of two registers' codes, as a word of so many bits each in the first: r9 multipliers, r10 constant, r11 shift; r8 and r12 for the way.
macro_rules! four {
    ($left:literal, $right:literal, $bits:literal) => {
        concat!(
            concat!("pkhbt r8, ", $left, ", ", $right, ", lsl #16\n"),
            concat!("pkhtb r12, ", $right, ", ", $left, ", asr #16\n"),
            sum!("r8", $left),
            sum!("r8, ror #8", "r8"),
            sum!("r12", $right),
            sum!("r12, ror #8", "r12"),
            concat!("pkhbt ", $left, ", ", $left, ", ", $right, ", lsl #16\n"),
            "pkhbt r8, r8, r12, lsl #16\n",
            concat!("usat16 ", $left, ", #", $bits, ", ", $left, "\nusat16 r8, #", $bits, ", r8\n"),
            concat!("orr ", $left, ", ", $left, ", r8, lsl #8\n")
        )
    };
}

/// The sum of a left and a right code in lanes.
macro_rules! sum {
    ($codes:literal, $to:literal) => {
        concat!(
            concat!("uxtb16 ", $to, ", ", $codes, "\n"),
            concat!("smlad ", $to, ", ", $to, ", r9, r10\n"),
            concat!("asr ", $to, ", ", $to, ", r11\n")
        )
    };
}

// r0 output, r1 left, r2 right, r3 rest, r9 multipliers, r10 constant, r11 shift, lr eights.
#[unsafe(naked)]
unsafe extern "C" fn add(
    output: *mut u8,
    left: *const u8,
    right: *const u8,
    multipliers: u32,
    constant: i32,
    shift: u32,
    counts: Counts,
) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r11, lr}}",
        "mov r9, r3",
        "ldrd r10, r11, [sp, #36]",
        "ldrd lr, r3, [sp, #44]",
        "cmp lr, #0",
        "beq 3f",
        "2:",
        "ldrd r4, r5, [r1], #8",
        "ldrd r6, r7, [r2], #8",
        four!("r4", "r6", "8"),
        four!("r5", "r7", "8"),
        "strd r4, r5, [r0], #8",
        "subs lr, #1",
        "bne 2b",
        "3:",
        "cbz r3, 5f",
        "4:",
        "ldrb r4, [r1], #1",
        "ldrb r5, [r2], #1",
        "pkhbt r4, r4, r5, lsl #16",
        "smlad r4, r4, r9, r10",
        "asr r4, r4, r11",
        "usat r4, #8, r4",
        "strb r4, [r0], #1",
        "subs r3, #1",
        "bne 4b",
        "5:",
        "pop {{r4-r11, pc}}",
    )
}

/// Sums of the codes of r5 and r7, two a byte, to r4.
macro_rules! halves {
    () => {
        concat!(
            "and r4, r5, #0x0F0F0F0F\nand r6, r7, #0x0F0F0F0F\n",
            "eor r5, r5, r4\neor r7, r7, r6\nlsr r5, r5, #4\nlsr r7, r7, #4\n",
            four!("r4", "r6", "4"),
            four!("r5", "r7", "4"),
            "orr r4, r4, r5, lsl #4"
        )
    };
}

// As above; r3 bytes of the rest.
#[unsafe(naked)]
unsafe extern "C" fn add_nibbles(
    output: *mut u8,
    left: *const u8,
    right: *const u8,
    multipliers: u32,
    constant: i32,
    shift: u32,
    counts: Counts,
) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r11, lr}}",
        "mov r9, r3",
        "ldrd r10, r11, [sp, #36]",
        "ldrd lr, r3, [sp, #44]",
        "cmp lr, #0",
        "beq 3f",
        "2:",
        "ldr r5, [r1], #4",
        "ldr r7, [r2], #4",
        halves!(),
        "str r4, [r0], #4",
        "subs lr, #1",
        "bne 2b",
        "3:",
        "cmp r3, #0",
        "beq 5f",
        "4:",
        "ldrb r5, [r1], #1",
        "ldrb r7, [r2], #1",
        halves!(),
        "strb r4, [r0], #1",
        "subs r3, #1",
        "bne 4b",
        "5:",
        "pop {{r4-r11, pc}}",
    )
}
