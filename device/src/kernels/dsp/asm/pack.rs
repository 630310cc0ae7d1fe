//! Four codes, one a byte, to how an output stores them.

use core::arch::naked_asm;

use releq_format::graph::Storage;

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
