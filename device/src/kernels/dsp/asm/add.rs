//! Sums of two codes, each at its own scale.

use core::arch::naked_asm;

use releq_format::quant::AddScale;

/// What [`add`] works on. Field order is the assembly's.
#[repr(C)]
struct Args {
    /// 0
    output: *mut u8,
    /// 4
    from: [*const u8; 2],
    /// 12
    multipliers: [i16; 2],
    /// 16
    constant: i32,
    /// 20
    shift: u32,
    /// 24: groups of eight codes.
    count: usize,
}

/// Adds two rows of bytes, eight at a time, limited to 8 bits; the number of codes that were done.
///
/// Without a left row, the output holds it. None are done where rows start in the middle of a word, or a sum could
/// have no room in 16 bits once shifted.
pub(in super::super) fn bytes(output: &mut [u8], left: Option<&[u8]>, right: &[u8], scale: &AddScale) -> usize {
    let count = output.len().min(left.map_or(usize::MAX, <[u8]>::len)).min(right.len()) / 8;
    if count == 0 {
        return 0;
    }
    let [first, second] = scale.multipliers.map(|multiplier| 255 * u32::from(multiplier.unsigned_abs()));
    let largest = first.wrapping_add(second).wrapping_add(scale.constant.unsigned_abs());
    let to = output.as_mut_ptr();
    let from = [left.map_or(to.cast_const(), <[u8]>::as_ptr), right.as_ptr()];
    let aligned = [to.cast_const(), from[0], from[1]].iter().all(|start| (*start as usize).is_multiple_of(4));
    if !aligned || largest.wrapping_shr(u32::from(scale.shift)) >= 1 << 15 {
        return 0;
    }
    let args = Args {
        output: to,
        from,
        multipliers: scale.multipliers,
        constant: scale.constant,
        shift: u32::from(scale.shift),
        count,
    };
    // SAFETY: `count` times eight bytes lie in each slice; a left row in the output is read before it is written.
    unsafe { add_eights(&args) }
    8 * count
}

/// Four sums of two registers' codes, as a word in the first: r9 multipliers, r10 constant, r11 shift; r8 and r12 for the way.
macro_rules! four {
    ($left:literal, $right:literal) => {
        concat!(
            concat!("pkhbt r8, ", $left, ", ", $right, ", lsl #16\n"),
            concat!("pkhtb r12, ", $right, ", ", $left, ", asr #16\n"),
            sum!("r8", $left),
            sum!("r8, ror #8", "r8"),
            sum!("r12", $right),
            sum!("r12, ror #8", "r12"),
            concat!("pkhbt ", $left, ", ", $left, ", ", $right, ", lsl #16\n"),
            "pkhbt r8, r8, r12, lsl #16\n",
            concat!("usat16 ", $left, ", #8, ", $left, "\n"),
            "usat16 r8, #8, r8\n",
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

// r0 output, r1 left, r2 right, lr count.
#[unsafe(naked)]
unsafe extern "C" fn add_eights(args: *const Args) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r11, lr}}",
        "add r1, r0, #12",
        "ldm r1, {{r9-r11, lr}}",
        "ldm r0, {{r0-r2}}",
        "2:",
        "ldrd r4, r5, [r1], #8",
        "ldrd r6, r7, [r2], #8",
        four!("r4", "r6"),
        four!("r5", "r7"),
        "strd r4, r5, [r0], #8",
        "subs lr, #1",
        "bne 2b",
        "pop {{r4-r11, pc}}",
    )
}
