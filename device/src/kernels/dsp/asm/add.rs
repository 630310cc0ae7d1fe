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

/// Adds a row of bytes and a row of codes of 4 bits to codes of 4 bits, eight at a time, as far as all slices reach; says
/// how many there were, which are none without words of bytes or sums with room in 16 bits. Without a row of 4 bits, the
/// output holds it.
pub(in super::super) fn narrowed(output: &mut [u8], bytes: &[u8], halves: Option<&[u8]>, scale: &AddScale) -> usize {
    let to = output.as_mut_ptr();
    let (halves, count) = halves.map_or((to.cast_const(), output.len()), |halves| (halves.as_ptr(), halves.len()));
    let eights = (bytes.len() / 8).min(count.min(output.len()) / 4);
    if eights == 0 || !(bytes.as_ptr() as usize).is_multiple_of(4) || !fits(scale) {
        return 0;
    }
    let [first, second] = scale.multipliers.map(|multiplier| u32::from(multiplier as u16));
    // SAFETY: eight bytes a turn lie in the row of bytes, at words, and four in each other slice, unaligned where they are;
    // a row in the output is read before it is written.
    unsafe {
        add_narrowed(to, bytes.as_ptr(), halves, eights, first | second << 16, scale.constant, scale.shift.into())
    }
    8 * eights
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

/// Sums of the bytes of two registers, from their first or second in lanes, with the codes of r6, two lanes of two, as
/// four bytes of 4 bits in the first; r3, r8 and r12 for the way.
macro_rules! narrowed {
    ($first:literal, $second:literal, $lane:literal, $to:literal) => {
        concat!(
            "uxtb16 r3, r6, ror #8\nuxtb16 r6, r6\n",
            concat!("uxtb16 r8, ", $first, $lane, "\n"),
            concat!("uxtb16 r12, ", $second, $lane, "\n"),
            concat!("pkhbt ", $to, ", r8, r6, lsl #16\n"),
            // The right operand's code is in the low lane of the second and last, whose multipliers change places.
            "pkhbt r6, r12, r6\npkhbt r8, r3, r8\npkhtb r12, r12, r3, asr #16\n",
            scaled!("smlad", $to),
            scaled!("smladx", "r8"),
            scaled!("smlad", "r6"),
            scaled!("smladx", "r12"),
            concat!("pkhbt ", $to, ", ", $to, ", r6, lsl #16\n"),
            "pkhbt r8, r8, r12, lsl #16\n",
            concat!("usat16 ", $to, ", #4, ", $to, "\nusat16 r8, #4, r8\n"),
            concat!("orr ", $to, ", ", $to, ", r8, lsl #8\n")
        )
    };
}

/// The sum of a register's two codes.
macro_rules! scaled {
    ($multiply:literal, $codes:literal) => {
        concat!(
            concat!($multiply, " ", $codes, ", ", $codes, ", r9, r10\n"),
            concat!("asr ", $codes, ", ", $codes, ", r11\n")
        )
    };
}

// r0 output, r1 bytes, r2 codes of 4 bits, lr eights, r9 multipliers, r10 constant, r11 shift.
#[unsafe(naked)]
unsafe extern "C" fn add_narrowed(
    output: *mut u8,
    bytes: *const u8,
    halves: *const u8,
    eights: usize,
    multipliers: u32,
    constant: i32,
    shift: u32,
) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r11, lr}}",
        "mov lr, r3",
        "ldrd r9, r10, [sp, #36]",
        "ldr r11, [sp, #44]",
        "2:",
        "ldrd r4, r5, [r1], #8",
        "ldr r6, [r2]",
        "and r6, r6, #0x0F0F0F0F",
        narrowed!("r4", "r5", "", "r7"),
        "ldr r6, [r2], #4",
        "lsr r6, #4",
        "and r6, r6, #0x0F0F0F0F",
        narrowed!("r4", "r5", ", ror #8", "r4"),
        "orr r7, r7, r4, lsl #4",
        "str r7, [r0], #4",
        "subs lr, #1",
        "bne 2b",
        "pop {{r4-r11, pc}}",
    )
}
