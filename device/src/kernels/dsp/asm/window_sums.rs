//! What pixels add to corrections: the sums of the columns under each window of a line.

use core::arch::naked_asm;

use super::super::plan::TAPS;

/// What the loop works on. Field order is the assembly's.
#[repr(C)]
struct Args {
    /// 0
    corrections: *mut u8,
    /// 4
    columns: *const u8,
    /// 8: where pairs of corrections end.
    end: *const u8,
    /// 12
    factor: i32,
    /// 16: whether one more comes after the pairs.
    odd: u32,
}

/// Adds to each correction `factor` times the sum of three neighbouring columns, of which `columns` holds two more than there
/// are corrections. Does nothing if it is shorter, or without any corrections.
pub(in super::super) fn add(corrections: &mut [[u8; 4]], columns: &[[u8; 2]], factor: i32) {
    let outputs = corrections.len();
    if outputs == 0 || columns.len() < outputs + TAPS - 1 {
        return;
    }
    let start = corrections.as_mut_ptr().cast::<u8>();
    let args = Args {
        corrections: start,
        columns: columns.as_ptr().cast(),
        end: start.wrapping_add(8 * (outputs / 2)),
        factor,
        odd: (outputs % 2) as u32,
    };
    // SAFETY: two columns are read, then one for each correction, which is read and written; the slices hold them, and
    // corrections are words of aligned scratch.
    unsafe { add_windows(&args) }
}

// r4 and r5 are the two columns before those that are loaded.
#[unsafe(naked)]
unsafe extern "C" fn add_windows(args: *const Args) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r9, lr}}",
        "ldr lr, [r0, #16]",
        "ldm r0, {{r0-r3}}",
        "ldrh r4, [r1], #2",
        "ldrh r5, [r1], #2",
        "cmp r0, r2",
        "beq 3f",
        "2:",
        "ldrh r6, [r1], #2",
        "ldrh r7, [r1], #2",
        "add r12, r5, r6",
        "add r4, r12",
        "add r12, r7",
        "ldrd r8, r9, [r0]",
        "mla r8, r4, r3, r8",
        "mla r9, r12, r3, r9",
        "strd r8, r9, [r0], #8",
        "mov r4, r6",
        "mov r5, r7",
        "cmp r0, r2",
        "bne 2b",
        "3:",
        "cmp lr, #0",
        "beq 4f",
        "ldrh r6, [r1]",
        "add r4, r5",
        "add r4, r6",
        "ldr r8, [r0]",
        "mla r8, r4, r3, r8",
        "str r8, [r0]",
        "4:",
        "pop {{r4-r9, pc}}",
    )
}
