//! Largest of four bytes, lane by lane: USUB8 sets a flag per lane, SEL picks by it.

use core::arch::naked_asm;

/// What the loop works on. Field order is the assembly's.
#[repr(C)]
struct Args {
    /// 0
    output: *mut u8,
    /// 4: the first pixels of four, of which one may be the output.
    from: [*const u8; 4],
    /// 20: bytes of a pixel.
    bytes: usize,
    /// 24: output pixels.
    count: usize,
    /// 28: from the end of a pixel to the next one read: for the first of `from`, and for the others.
    skips: [usize; 2],
}

/// For each of `count` neighbouring output pixels of `bytes` bytes: the maximum over four pixels of `input`, which
/// start at `from` and move on by `step` bytes; the first of them is the output itself if `merge`.
///
/// Does nothing if a slice is too short.
pub(in super::super) fn four(
    output: &mut [u8],
    input: &[u8],
    from: [usize; 4],
    bytes: usize,
    count: usize,
    step: usize,
    merge: bool,
) {
    let span = count.saturating_sub(1).saturating_mul(step).saturating_add(bytes);
    let inside = from.iter().all(|start| start.saturating_add(span) <= input.len());
    if bytes == 0 || count == 0 || output.len() < bytes.saturating_mul(count) || step < bytes || !inside {
        return;
    }
    let start = output.as_mut_ptr();
    let pointers = from.map(|start| input.as_ptr().wrapping_add(start));
    let [_, second, third, fourth] = pointers;
    let (first, skip) = if merge { (start.cast_const(), 0) } else { (pointers[0], step - bytes) };
    let args = Args { output: start, from: [first, second, third, fourth], bytes, count, skips: [skip, step - bytes] };
    // SAFETY: each pixel read lies in `input` or is the output's own, each written one in `output`, as checked.
    unsafe { max_four(&args) }
}

/// The larger bytes of two registers.
macro_rules! larger {
    ($to:literal, $other:literal) => {
        concat!("usub8 r12, ", $to, ", ", $other, "\nsel ", $to, ", ", $to, ", ", $other, "\n")
    };
}

/// The larger bytes of r5–r8 and four words at a pointer, with r9–r12 for them.
macro_rules! larger_words {
    ($pointer:literal) => {
        concat!(
            "ldm ",
            $pointer,
            "!, {{r9-r12}}\n",
            "usub8 lr, r5, r9\nsel r5, r5, r9\n",
            "usub8 lr, r6, r10\nsel r6, r6, r10\n",
            "usub8 lr, r7, r11\nsel r7, r7, r11\n",
            "usub8 lr, r8, r12\nsel r8, r8, r12\n"
        )
    };
}

// The frame: 0 arguments, 4 pixels left, 8 groups of sixteen bytes, 12 bytes left after them, 16 end of the whole groups.
#[unsafe(naked)]
unsafe extern "C" fn max_four(args: *const Args) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r11, lr}}",
        "sub sp, #20",
        "ldrd r1, r2, [r0, #20]",
        "strd r0, r2, [sp]",
        // Pixels that are whole words are aligned like the tensors they lie in.
        "lsrs r2, r1, #4",
        "and r3, r1, #15",
        "tst r1, #3",
        "itt ne",
        "movne r2, #0",
        "movne r3, r1",
        "strd r2, r3, [sp, #8]",
        "ldm r0, {{r0-r4}}",
        "2:",
        "ldr lr, [sp, #8]",
        "cmp lr, #0",
        "beq 4f",
        "add lr, r0, lr, lsl #4",
        "str lr, [sp, #16]",
        "3:",
        "ldm r1!, {{r5-r8}}",
        larger_words!("r2"),
        larger_words!("r3"),
        larger_words!("r4"),
        "stm r0!, {{r5-r8}}",
        "ldr lr, [sp, #16]",
        "cmp r0, lr",
        "bne 3b",
        "4:",
        "ldr lr, [sp, #12]",
        "cmp lr, #0",
        "beq 8f",
        "subs lr, #4",
        "blt 6f",
        "5:",
        "ldr r5, [r1], #4",
        "ldr r6, [r2], #4",
        "ldr r7, [r3], #4",
        "ldr r8, [r4], #4",
        larger!("r5", "r6"),
        larger!("r7", "r8"),
        larger!("r5", "r7"),
        "str r5, [r0], #4",
        "subs lr, #4",
        "bge 5b",
        "6:",
        "adds lr, #4",
        "beq 8f",
        "7:",
        "ldrb r5, [r1], #1",
        "ldrb r6, [r2], #1",
        "ldrb r7, [r3], #1",
        "ldrb r8, [r4], #1",
        larger!("r5", "r6"),
        larger!("r7", "r8"),
        larger!("r5", "r7"),
        "strb r5, [r0], #1",
        "subs lr, #1",
        "bne 7b",
        "8:",
        "ldr r5, [sp]",
        "ldrd r6, r7, [r5, #28]",
        "add r1, r6",
        "add r2, r7",
        "add r3, r7",
        "add r4, r7",
        "ldr r5, [sp, #4]",
        "subs r5, #1",
        "str r5, [sp, #4]",
        "bne 2b",
        "add sp, #20",
        "pop {{r4-r11, pc}}",
    )
}
