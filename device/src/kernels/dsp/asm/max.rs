//! Largest of four codes, field by field: bytes by UQSUB8 and UADD8, narrower fields as the top of their bytes.

use core::arch::naked_asm;

use releq_format::graph::Storage;

/// What the loops work on. Field order is the assembly's.
#[repr(C)]
struct Args {
    /// 0
    output: *mut u8,
    /// 4: the first pixels of four, of which one may be the output.
    from: [*const u8; 4],
    /// 20: groups of sixteen bytes in a pixel, and bytes left after them.
    sixteens: usize,
    rest: usize,
    /// 28: output pixels of a row.
    count: usize,
    /// 32: from the end of a pixel to the next one read: for the first of `from`, and for the others.
    skips: [usize; 2],
    /// 40: the same from row to row, for the output, for the first of `from`, and for the others.
    row_skips: [usize; 3],
    /// 52
    rows: usize,
}

/// Windows of four pixels each, which lie alike in rows and columns of the input.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Fours {
    /// Where the first window's pixels start.
    pub(in super::super) from: [usize; 4],
    /// Bytes of a pixel.
    pub(in super::super) bytes: usize,
    /// Outputs a row, and rows.
    pub(in super::super) count: usize,
    pub(in super::super) rows: usize,
    /// Bytes from window to window and from row to row, in the input.
    pub(in super::super) step: usize,
    pub(in super::super) row_step: usize,
    /// Bytes from row to row of the output, whose pixels are neighbours.
    pub(in super::super) output_row: usize,
}

impl Fours {
    /// Whether everything read and written lies in slices of these lengths.
    pub(in super::super) fn fit(&self, input: usize, output: usize) -> bool {
        let Self { bytes, count, rows, step, row_step, output_row, .. } = *self;
        let span = |step: usize, row: usize| {
            let last = row.saturating_mul(rows.saturating_sub(1)).saturating_add(step * count.saturating_sub(1));
            last.saturating_add(bytes)
        };
        let reach = span(step, row_step);
        let inside = self.from.iter().all(|start| start.saturating_add(reach) <= input);
        bytes > 0 && count > 0 && rows > 0 && inside && span(bytes, output_row) <= output
    }
}

/// The largest codes of each window's four pixels; the first of them is the output itself if `merge`.
///
/// Does nothing if a slice is too short.
pub(in super::super) fn four(output: &mut [u8], input: &[u8], fours: &Fours, storage: Storage, merge: bool) {
    if !fours.fit(input.len(), output.len()) {
        return;
    }
    let Fours { bytes, count, rows, step, row_step, output_row, .. } = *fours;
    let start = output.as_mut_ptr();
    let [mut first, second, third, fourth] = fours.from.map(|start| input.as_ptr().wrapping_add(start));
    // Pixels that are whole words are aligned like the tensors they lie in.
    let sixteens = if storage == Storage::Bits8 && bytes.is_multiple_of(4) { bytes / 16 } else { 0 };
    let (skip, output_skip) = (step.wrapping_sub(bytes), output_row.wrapping_sub(bytes * count));
    let row_skip = row_step.wrapping_sub(step * count);
    let (mut first_skip, mut first_row_skip) = (skip, row_skip);
    if merge {
        (first, first_skip, first_row_skip) = (start.cast_const(), 0, output_skip);
    }
    let args = Args {
        output: start,
        from: [first, second, third, fourth],
        sixteens,
        rest: bytes - 16 * sixteens,
        count,
        skips: [first_skip, skip],
        row_skips: [output_skip, first_row_skip, row_skip],
        rows,
    };
    type Max = unsafe extern "C" fn(*const Args);
    let function: Max = match storage {
        Storage::Bits8 | Storage::Logits => max_bytes,
        Storage::Bits4 => max_nibbles,
        Storage::Bits2 => max_crumbs,
        Storage::Bits1 => max_bits,
    };
    // SAFETY: each pixel read lies in `input` or is the output's own, each written one in `output`, as checked.
    unsafe { function(&args) }
}

/// The larger bytes of two registers; the second is spent.
macro_rules! larger {
    ($to:literal, $other:literal) => {
        concat!("uqsub8 ", $other, ", ", $other, ", ", $to, "\nuadd8 ", $to, ", ", $to, ", ", $other, "\n")
    };
}

/// The largest bytes of four registers, in the first.
macro_rules! largest {
    ($a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(larger!($a, $b), larger!($c, $d), larger!($a, $c))
    };
}

/// The larger bytes of r5–r8 and four words at a pointer, with r9–r12 for them.
macro_rules! larger_words {
    ($pointer:literal) => {
        concat!(
            "ldm ",
            $pointer,
            "!, {{r9-r12}}\n",
            larger!("r5", "r9"),
            larger!("r6", "r10"),
            larger!("r7", "r11"),
            larger!("r8", "r12")
        )
    };
}

/// Fields that are brought to the top of their bytes by a shift, with their mask there: what lies below them cannot
/// change which is larger. From r5–r8 to lr.
macro_rules! fields_at {
    ($shift:literal, $mask:literal) => {
        concat!(
            concat!("lsl r9, r5, #", $shift, "\nlsl r10, r6, #", $shift, "\n"),
            concat!("lsl r11, r7, #", $shift, "\nlsl r12, r8, #", $shift, "\n"),
            largest!("r9", "r10", "r11", "r12"),
            concat!("and r9, r9, #", $mask, "\norr lr, lr, r9, lsr #", $shift, "\n")
        )
    };
}

/// Sixteen bytes of a pixel at a time.
macro_rules! sixteens {
    () => {
        concat!(
            "ldr lr, [sp]\ncmp lr, #0\nbeq 4f\n",
            "3:\nldm r1!, {{r5-r8}}\n",
            larger_words!("r2"),
            larger_words!("r3"),
            larger_words!("r4"),
            "stm r0!, {{r5-r8}}\nsubs lr, #1\nbne 3b\n4:"
        )
    };
}

/// The walk: r0 output, r1–r4 from, `$four` leaves the largest fields of r5–r8 in r5. The frame is the arguments' from
/// 20 on; then 36 pixels and 40 bytes left.
macro_rules! max {
    ($name:ident, $sixteens:expr, $four:expr) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(args: *const Args) {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4-r11, lr}}",
                "sub sp, #44",
                "add r1, r0, #20",
                "ldm r1, {{r1-r9}}",
                "stm sp, {{r1-r9}}",
                "ldm r0, {{r0-r4}}",
                "1:",
                "ldr r5, [sp, #8]",
                "str r5, [sp, #36]",
                "2:",
                $sixteens,
                "ldr r5, [sp, #4]",
                "cbnz r5, 6f",
                "5:",
                "ldrd r5, r6, [sp, #12]",
                "add r1, r5",
                "add r2, r6",
                "add r3, r6",
                "add r4, r6",
                "ldr r5, [sp, #36]",
                "subs r5, #1",
                "str r5, [sp, #36]",
                "bne 2b",
                "ldrd r5, r6, [sp, #20]",
                "ldrd r7, r8, [sp, #28]",
                "add r0, r5",
                "add r1, r6",
                "add r2, r7",
                "add r3, r7",
                "add r4, r7",
                "subs r8, #1",
                "str r8, [sp, #32]",
                "bne 1b",
                "add sp, #44",
                "pop {{r4-r11, pc}}",
                // Words, then bytes.
                "6:",
                "subs r5, #4",
                "blt 8f",
                "7:",
                "str r5, [sp, #40]",
                "ldr r5, [r1], #4",
                "ldr r6, [r2], #4",
                "ldr r7, [r3], #4",
                "ldr r8, [r4], #4",
                $four,
                "str r5, [r0], #4",
                "ldr r5, [sp, #40]",
                "subs r5, #4",
                "bge 7b",
                "8:",
                "adds r5, #4",
                "beq.w 5b",
                "9:",
                "str r5, [sp, #40]",
                "ldrb r5, [r1], #1",
                "ldrb r6, [r2], #1",
                "ldrb r7, [r3], #1",
                "ldrb r8, [r4], #1",
                $four,
                "strb r5, [r0], #1",
                "ldr r5, [sp, #40]",
                "subs r5, #1",
                "bne 9b",
                "b.w 5b",
            )
        }
    };
}

max!(max_bytes, sixteens!(), largest!("r5", "r6", "r7", "r8"));
max!(
    max_nibbles,
    "",
    concat!("mov lr, #0\n", fields_at!("0", "0xF0F0F0F0"), fields_at!("4", "0xF0F0F0F0"), "mov r5, lr")
);
max!(
    max_crumbs,
    "",
    concat!(
        "mov lr, #0\n",
        fields_at!("0", "0xC0C0C0C0"),
        fields_at!("2", "0xC0C0C0C0"),
        fields_at!("4", "0xC0C0C0C0"),
        fields_at!("6", "0xC0C0C0C0"),
        "mov r5, lr"
    )
);
max!(max_bits, "", "orr r5, r6\norr r7, r8\norr r5, r7");
