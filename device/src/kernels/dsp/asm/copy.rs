//! Copies a rectangle of bytes: one patch, before it is widened.

use core::arch::naked_asm;

/// Copies `rows` rows of `bytes` bytes, `strides` bytes apart in `to` and in `from`; nothing if a slice is too short.
pub(in super::super) fn rectangle(to: &mut [u8], from: &[u8], strides: [usize; 2], bytes: usize, rows: usize) {
    let reach = |stride: usize| stride.saturating_mul(rows.saturating_sub(1)).saturating_add(bytes);
    if rows == 0 || bytes == 0 || to.len() < reach(strides[0]) || from.len() < reach(strides[1]) {
        return;
    }
    // SAFETY: each row's bytes lie in both slices, as checked; reads and writes are unaligned where they are.
    unsafe { copy(to.as_mut_ptr(), from.as_ptr(), bytes, rows, strides[0], strides[1]) }
}

// Rows of four bytes and more end in words that overlap the ones before, instead of in single bytes.
#[unsafe(naked)]
unsafe extern "C" fn copy(
    to: *mut u8,
    from: *const u8,
    bytes: usize,
    rows: usize,
    to_stride: usize,
    from_stride: usize,
) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r9, lr}}",
        "ldrd r4, r5, [sp, #28]",
        "subs r2, #4",
        "blt 6f",
        "cmp r2, #4",
        "bgt 9f",
        // 4..=8 bytes a row.
        "3:",
        "ldr r6, [r1]",
        "ldr r7, [r1, r2]",
        "str r6, [r0]",
        "str r7, [r0, r2]",
        "add r0, r4",
        "add r1, r5",
        "subs r3, #1",
        "bne 3b",
        "pop {{r4-r9, pc}}",
        // More: r2 is where the last eight start.
        "9:",
        "subs r2, #4",
        "4:",
        "mov r6, r0",
        "mov r7, r1",
        "mov r8, r2",
        "5:",
        "ldr r9, [r7], #4",
        "ldr r12, [r7], #4",
        "subs r8, #8",
        "str r9, [r6], #4",
        "str r12, [r6], #4",
        "bgt 5b",
        "add r7, r1, r2",
        "ldr r9, [r7]",
        "ldr r12, [r7, #4]",
        "add r6, r0, r2",
        "str r9, [r6]",
        "str r12, [r6, #4]",
        "add r0, r4",
        "add r1, r5",
        "subs r3, #1",
        "bne 4b",
        "pop {{r4-r9, pc}}",
        // 1..=3 bytes.
        "6:",
        "adds r2, #4",
        "7:",
        "mov r8, r2",
        "8:",
        "subs r8, #1",
        "ldrb r9, [r1, r8]",
        "strb r9, [r0, r8]",
        "bne 8b",
        "add r0, r4",
        "add r1, r5",
        "subs r3, #1",
        "bne 7b",
        "pop {{r4-r9, pc}}",
    )
}
