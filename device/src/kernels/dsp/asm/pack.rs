//! Codes, one a byte, to how an output stores them: neighbours in whole words, and fours that lie apart.

use core::arch::naked_asm;

use releq_format::graph::Storage;

/// Packs codes into as many whole words of `bits` (4 or 2) as `codes` fill and `to` holds, each limited to `most`;
/// returns the number of codes taken.
pub(in super::super) fn words(to: &mut [u8], codes: &[u8], bits: u32, most: u8) -> usize {
    type Pack = unsafe extern "C" fn(*mut u8, *const u8, usize, u32);
    let (lanes, pack): (usize, Pack) = match bits {
        4 => (8, nibbles),
        2 => (16, crumbs),
        _ => return 0,
    };
    let count = (to.len() / 4).min(codes.len() >> lanes.trailing_zeros());
    if count > 0 {
        let excess = 0x0101_0101 * u32::from(u8::MAX - most);
        // SAFETY: `count` words are written and `lanes` codes read for each, which the slices hold; single loads and
        // stores need no alignment.
        unsafe { pack(to.as_mut_ptr(), codes.as_ptr(), count, excess) }
    }
    count * lanes
}

/// Four codes limited: what they exceed 255 by with `$excess` added is lost.
macro_rules! limit {
    ($codes:literal) => {
        concat!("uqadd8 ", $codes, ", ", $codes, ", r3\nusub8 ", $codes, ", ", $codes, ", r3\n")
    };
}

/// Four codes as two bytes in the low half.
macro_rules! four_nibbles {
    ($codes:literal) => {
        concat!(
            limit!($codes),
            "orr ",
            $codes,
            ", ",
            $codes,
            ", ",
            $codes,
            ", lsr #4\nuxtb16 ",
            $codes,
            ", ",
            $codes,
            "\norr ",
            $codes,
            ", ",
            $codes,
            ", ",
            $codes,
            ", lsr #8\n"
        )
    };
}

#[unsafe(naked)]
unsafe extern "C" fn nibbles(to: *mut u8, codes: *const u8, count: usize, excess: u32) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4, r5}}",
        "2:",
        "ldr r4, [r1], #4",
        "ldr r5, [r1], #4",
        four_nibbles!("r4"),
        four_nibbles!("r5"),
        "pkhbt r4, r4, r5, lsl #16",
        "str r4, [r0], #4",
        "subs r2, #1",
        "bne 2b",
        "pop {{r4, r5}}",
        "bx lr",
    )
}

/// Four codes into the top byte of r5: the multiplication brings them side by side there.
macro_rules! four_crumbs {
    () => {
        concat!(
            "ldr r4, [r1], #4\n",
            limit!("r4"),
            "mul r4, r4, r12\nand r4, r4, #0xFF000000\norr r5, r4, r5, lsr #8\n"
        )
    };
}

#[unsafe(naked)]
unsafe extern "C" fn crumbs(to: *mut u8, codes: *const u8, count: usize, excess: u32) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4, r5}}",
        "movw r12, #0x1040",
        "movt r12, #0x0104",
        "2:",
        four_crumbs!(),
        four_crumbs!(),
        four_crumbs!(),
        four_crumbs!(),
        "str r5, [r0], #4",
        "subs r2, #1",
        "bne 2b",
        "pop {{r4, r5}}",
        "bx lr",
    )
}

/// Packs each four bytes of `staged`, limited to `most`, `step` bytes apart in `output`; whether that was done.
///
/// Not done: storage of one bit, whose four codes are no whole byte, and slices that are too short.
pub(in super::super) fn fours(output: &mut [u8], step: usize, staged: &[u8], storage: Storage, most: u8) -> bool {
    type Pack = unsafe extern "C" fn(*mut u8, *const u8, usize, usize, u32);
    let (bytes, function): (usize, Pack) = match storage {
        Storage::Bits8 => (4, limit_bytes),
        Storage::Bits4 => (2, pack_nibbles),
        Storage::Bits2 => (1, pack_crumbs),
        Storage::Bits1 | Storage::Logits => return false,
    };
    let count = staged.len() / 4;
    if count == 0 || step.saturating_mul(count - 1).saturating_add(bytes) > output.len() {
        return false;
    }
    let above = u32::from(!most) * 0x0101_0101;
    // SAFETY: `count` words are read, and as many groups of `bytes` bytes written, all in their slices as checked.
    unsafe { function(output.as_mut_ptr(), staged.as_ptr(), count, step, above) }
    true
}

/// r0 output, r1 staged, r2 count, r3 step; r12 what is above the largest code in each byte.
macro_rules! pack {
    ($name:ident, [$($fold:literal),*], $store:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(output: *mut u8, staged: *const u8, count: usize, step: usize, above: u32) {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4, lr}}",
                "ldr r12, [sp, #8]",
                "2:",
                "ldr r4, [r1], #4",
                "uqadd8 r4, r4, r12",
                "uqsub8 r4, r4, r12",
                $($fold,)*
                concat!($store, " r4, [r0]"),
                "add r0, r3",
                "subs r2, #1",
                "bne 2b",
                "pop {{r4, pc}}",
            )
        }
    };
}

pack!(limit_bytes, [], "str");
pack!(pack_nibbles, ["orr r4, r4, r4, lsr #4", "uxtb16 r4, r4", "orr r4, r4, r4, lsr #8"], "strh");
pack!(pack_crumbs, ["orr r4, r4, r4, lsr #6", "uxtb16 r4, r4", "orr r4, r4, r4, lsr #12"], "strb");
