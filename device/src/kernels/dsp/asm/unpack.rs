//! Packed codes of four bits, one a byte.

use core::arch::naked_asm;

/// Unpacks as many whole words, eight codes each, as both slices hold. `codes` starts at a word of the scratch: what lies
/// before it is padding of whole pixels, whose channels come in eights.
pub(in super::super) fn nibbles(codes: &mut [u8], packed: &[u8]) {
    let words = (codes.len() / 8).min(packed.len() / 4);
    debug_assert!((codes.as_ptr() as usize).is_multiple_of(4));
    if words > 0 {
        // SAFETY: a word is read, unaligned where it lies, and 8 bytes written a turn, which the slices hold; `codes` is
        // word-aligned, as said above.
        unsafe { unpack(codes.as_mut_ptr(), packed.as_ptr(), words) }
    }
}

#[unsafe(naked)]
unsafe extern "C" fn unpack(codes: *mut u8, packed: *const u8, words: usize) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r7, lr}}",
        "2:",
        "ldr r3, [r1], #4",
        // Two packed bytes to the bottoms of both halves, each shifted beside itself, and every other nibble.
        "uxtb16 r4, r3",
        "uxtb16 r5, r3, ror #8",
        "pkhbt r6, r4, r5, lsl #16",
        "pkhtb r7, r5, r4, asr #16",
        "orr r6, r6, r6, lsl #4",
        "orr r7, r7, r7, lsl #4",
        "and r6, r6, #0x0F0F0F0F",
        "and r7, r7, #0x0F0F0F0F",
        "strd r6, r7, [r0], #8",
        "subs r2, #1",
        "bne 2b",
        "pop {{r4-r7, pc}}",
    )
}
