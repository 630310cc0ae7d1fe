//! Several products in one multiplication: taps and pixels spaced out in 32-bit words, whose 64-bit product is a 1-D
//! convolution of them (HiKonv, arXiv 2112.13972), summed until its fields are full.

use core::arch::naked_asm;

use super::super::plan::{Fields, MOST_RUNS, MOST_STEPS, MOST_WINDOW_ROWS};

/// Bytes of code of one step, by which runs are entered.
const STEP_BYTES: usize = 24;

/// What [`run`] works on. Field order is the assembly's.
#[repr(C)]
struct Args {
    /// 0
    weights: *const u8,
    /// 4: first word of each window row.
    rows: *const *const u8,
    /// 8
    kernel_rows: usize,
    /// 12: where in the code each run of one window row starts, back from its end; then a negative word.
    runs: *const i32,
    /// 16: number of the variant.
    fields: usize,
    /// 20
    sums: *mut u8,
    /// 24: bytes from the sums of the even row to those of the odd row.
    sums_stride: usize,
    /// 28: pairs of blocks.
    blocks: usize,
    /// 32: bytes of one pair of blocks in a row, and 36 of its sums that no later one shares.
    block_bytes: usize,
    sums_step: usize,
    /// 40: 1 if only the last window row's sums are emptied.
    joins: usize,
    /// 44
    sums_end: *const u8,
}

/// One pair of weight rows over one line of outputs.
#[derive(Debug)]
pub(in super::super) struct Line<'a> {
    /// Spaced taps, two words (even row, odd row) a step.
    pub(in super::super) weights: &'a [u8],
    /// Spaced pixels of each window row: for each pair of blocks and each step, a word of either block.
    pub(in super::super) rows: &'a [&'a [u8]],
    /// Places of fields.
    pub(in super::super) fields: Fields,
    /// Pixels a block.
    pub(in super::super) pixels: usize,
    /// Steps of each window row.
    pub(in super::super) runs: &'a Runs,
    /// Whether fields hold the sums of all window rows, each one run.
    pub(in super::super) joins: bool,
    /// Pairs of blocks.
    pub(in super::super) blocks: usize,
}

/// How the steps of a window row, one an input channel, are cut into runs after which fields are emptied.
#[derive(Debug)]
pub(in super::super) struct Runs {
    /// Where in the code each run starts, back from its end; then a negative word.
    starts: [i32; MOST_RUNS + 1],
    steps: usize,
}

impl Runs {
    /// Runs of at most `longest` steps; fewer steps than asked for where there is no room for more runs.
    pub(in super::super) fn new(steps: usize, longest: usize) -> Self {
        let longest = longest.clamp(1, MOST_STEPS);
        let mut runs = Self { starts: [-1; MOST_RUNS + 1], steps: 0 };
        for start in runs.starts.iter_mut().take(MOST_RUNS) {
            let now = longest.min(steps - runs.steps);
            if now == 0 {
                break;
            }
            *start = (STEP_BYTES * (now - 1)) as i32;
            runs.steps += now;
        }
        runs
    }

    /// Whether a window row is one run.
    const fn is_one(&self) -> bool {
        self.starts[1] < 0 && self.steps < MOST_STEPS
    }
}

/// Sets `sums` (even row, then odd row, half of it each) to what `line` gives; nothing if a slice is too short.
pub(in super::super) fn run(line: &Line<'_>, sums: &mut [u8]) {
    let Line { runs, blocks, pixels, .. } = *line;
    let (steps, half) = (runs.steps, sums.len() / 2);
    let fits = line.weights.len() >= 8 * steps * line.rows.len()
        && line.rows.iter().all(|row| row.len() >= 8 * steps * blocks)
        && sums.len().is_multiple_of(16)
        && half >= 4 * (2 * pixels * blocks + 2)
        && (!line.joins || runs.is_one());
    let mut rows = [core::ptr::null(); MOST_WINDOW_ROWS];
    if !fits || steps == 0 || blocks == 0 || line.rows.is_empty() || line.rows.len() > rows.len() {
        return;
    }
    for (place, row) in rows.iter_mut().zip(line.rows) {
        *place = row.as_ptr();
    }
    let args = Args {
        weights: line.weights.as_ptr(),
        rows: rows.as_ptr(),
        kernel_rows: line.rows.len(),
        runs: runs.starts.as_ptr(),
        fields: line.fields.number(),
        sums: sums.as_mut_ptr(),
        sums_stride: half,
        blocks,
        block_bytes: 8 * steps,
        sums_step: 8 * pixels,
        joins: usize::from(line.joins),
        sums_end: sums.as_mut_ptr_range().end,
    };
    // SAFETY: the runs add up to the steps of a row, so words read and sums written lie in the slices, as checked; all
    // are word-aligned, as scratch is.
    unsafe { lines(&args) }
}

/// A step: r0 weights, r1 pixels; r4–r7 the even row's sums of both blocks, r8–r11 the odd row's.
macro_rules! step {
    ($multiply:literal) => {
        concat!(
            "ldrd r2, r3, [r0], #8\n",
            "ldrd r12, lr, [r1], #8\n",
            $multiply,
            " r4, r5, r2, r12\n",
            $multiply,
            " r6, r7, r2, lr\n",
            $multiply,
            " r8, r9, r3, r12\n",
            $multiply,
            " r10, r11, r3, lr\n"
        )
    };
}

/// Adds a field that lies within one word.
macro_rules! within {
    ($sum:literal, $word:literal, $bit:literal, $width:literal) => {
        concat!("ubfx r12, ", $word, ", #", $bit, ", #", $width, "\nadd ", $sum, ", r12\n")
    };
}

/// Adds a field whose `$low` lowest bits are the top of one word and whose others are the bottom of the next.
macro_rules! across {
    ($sum:literal, $words:tt, $low:literal, $high:literal) => {
        across!(@ $sum, $words, $low, $high)
    };
    (@ $sum:literal, ($first:literal, $second:literal), $low:literal, $high:literal) => {
        concat!(
            "lsr r12, ", $first, ", #(32 - ", $low, ")\n",
            "bfi r12, ", $second, ", #", $low, ", #", $high, "\n",
            "add ", $sum, ", r12\n"
        )
    };
}

/// Adds the topmost field.
macro_rules! topmost {
    ($sum:literal, $word:literal, $bit:literal) => {
        concat!("add ", $sum, ", ", $sum, ", ", $word, ", lsr #", $bit, "\n")
    };
}

/// Empties one row's two sums, three pixels a block: what the blocks share is first added to the second's.
macro_rules! empty_three {
    ([$a:literal, $b:literal, $c:literal, $d:literal], $shared:literal, [$s:literal, $low:literal, $high:literal, $bit:literal, $top:literal]) => {
        concat!(
            "adds ",
            $c,
            ", ",
            $c,
            ", ",
            $b,
            ", lsr #",
            $shared,
            "\n",
            "adc ",
            $d,
            ", ",
            $d,
            ", #0\n",
            "ldm r2, {{r0, r1, r3}}\n",
            within!("r0", $a, "0", $s),
            within!("r1", $a, $s, $s),
            across!("r3", ($a, $b), $low, $high),
            "stm r2!, {{r0, r1, r3}}\n",
            "ldm r2, {{r0, r1, r3, ",
            $a,
            ", ",
            $b,
            "}}\n",
            within!("r0", $c, "0", $s),
            within!("r1", $c, $s, $s),
            across!("r3", ($c, $d), $low, $high),
            within!($a, $d, $bit, $s),
            topmost!($b, $d, $top),
            "stm r2!, {{r0, r1, r3, ",
            $a,
            ", ",
            $b,
            "}}\n"
        )
    };
}

/// The same, four pixels a block and fields of 10 bits.
macro_rules! empty_four {
    ($a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            "adds ",
            $c,
            ", ",
            $c,
            ", ",
            $b,
            ", lsr #8\n",
            "adc ",
            $d,
            ", ",
            $d,
            ", #0\n",
            "ldm r2, {{r0, r1, r3, lr}}\n",
            within!("r0", $a, "0", "10"),
            within!("r1", $a, "10", "10"),
            within!("r3", $a, "20", "10"),
            across!("lr", ($a, $b), "2", "8"),
            "stm r2!, {{r0, r1, r3, lr}}\n",
            "ldm r2, {{r0, r1, r3, ",
            $a,
            ", ",
            $b,
            ", lr}}\n",
            within!("r0", $c, "0", "10"),
            within!("r1", $c, "10", "10"),
            within!("r3", $c, "20", "10"),
            across!($a, ($c, $d), "2", "8"),
            within!($b, $d, "8", "10"),
            topmost!("lr", $d, "18"),
            "stm r2!, {{r0, r1, r3, ",
            $a,
            ", ",
            $b,
            ", lr}}\n"
        )
    };
}

/// The same, two pixels a block and fields of 15 bits, where a shared field would overflow.
macro_rules! empty_two {
    ($a:literal, $b:literal, $c:literal, $d:literal) => {
        concat!(
            "ldm r2, {{r0, r1, r3, lr}}\n",
            within!("r0", $a, "0", "15"),
            within!("r1", $a, "15", "15"),
            across!("r3", ($a, $b), "2", "13"),
            topmost!("lr", $b, "13"),
            "stm r2!, {{r0, r1}}\n",
            "ldrd r0, r1, [r2, #8]\n",
            within!("r3", $c, "0", "15"),
            within!("lr", $c, "15", "15"),
            across!("r0", ($c, $d), "2", "13"),
            topmost!("r1", $d, "13"),
            "stm r2!, {{r3, lr}}\n",
            "stm r2!, {{r0, r1}}\n"
        )
    };
}

/// Empties both rows' sums and goes on with the next run.
macro_rules! empty {
    ($label:literal, $even:expr, $odd:expr) => {
        concat!(
            $label,
            ":\n",
            "strd r0, r1, [sp, #40]\n",
            "ldr r2, [sp, #36]\n",
            $even,
            "ldr r2, [sp, #36]\n",
            "ldr r3, [sp, #48]\n",
            "add r2, r3\n",
            $odd,
            "ldrd r0, r1, [sp, #40]\n",
            "ldr r2, [sp, #16]\n",
            "b.w 4b\n"
        )
    };
}

// The frame: 0 entry into the run, 4 what empties its sums, 8 end of the run, 12 arguments, 16 next run, 20 window rows
// left, 24 next window row, 28 pairs of blocks left, 32 their offset, 36 sums, 40 weights and pixels, 48 sums' stride, 52 what empties sums
// at the end of the last window row.
#[unsafe(naked)]
unsafe extern "C" fn lines(args: *const Args) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r11, lr}}",
        "sub sp, #56",
        "str r0, [sp, #12]",
        "adr.w r1, 7f",
        "orr r1, r1, #1",
        "str r1, [sp, #8]",
        "ldr r2, [r0, #16]",
        "adr.w r1, 21f",
        "cmp r2, #0",
        "beq 9f",
        "adr.w r1, 22f",
        "cmp r2, #1",
        "beq 9f",
        "adr.w r1, 23f",
        "cmp r2, #2",
        "beq 9f",
        "adr.w r1, 24f",
        "9:",
        "orr r1, r1, #1",
        "str r1, [sp, #4]",
        "str r1, [sp, #52]",
        "ldrd r1, r2, [r0, #20]",
        "str r1, [sp, #36]",
        "str r2, [sp, #48]",
        "ldr r3, [r0, #44]",
        "movs r2, #0",
        "mov r4, r2",
        "mov r5, r2",
        "mov r6, r2",
        "5:",
        "stm r1!, {{r2, r4-r6}}",
        "cmp r1, r3",
        "bne 5b",
        "ldr r1, [r0, #28]",
        "strd r1, r2, [sp, #28]",
        // A pair of blocks.
        "2:",
        "ldr r0, [sp, #12]",
        "ldrd r1, r2, [r0, #4]",
        "strd r2, r1, [sp, #20]",
        "ldr r0, [r0]",
        // A window row.
        "3:",
        "ldr r1, [sp, #24]",
        "ldr r2, [r1], #4",
        "str r1, [sp, #24]",
        "ldr r3, [sp, #32]",
        "add r1, r2, r3",
        "ldr r2, [sp, #12]",
        "ldr r3, [r2, #40]",
        "cbnz r3, 8f",
        "ldr r2, [r2, #12]",
        // A run: its first step starts the sums anew.
        "4:",
        "ldr r3, [r2], #4",
        "cmp r3, #0",
        "blt.w 6f",
        "str r2, [sp, #16]",
        "ldr r2, [sp, #8]",
        "sub r2, r2, r3",
        "str r2, [sp]",
        "10:",
        step!("umull"),
        "ldr.w pc, [sp]",
        // Rows that join: only the last one's run is followed by emptying, only the first one starts anew.
        "8:",
        "ldr r3, [r2, #12]",
        "ldr r3, [r3]",
        "ldr r12, [sp, #8]",
        "sub r3, r12, r3",
        "adr.w r12, 6f",
        "orr r12, r12, #1",
        "ldr lr, [sp, #20]",
        "cmp lr, #1",
        "it eq",
        "ldreq r12, [sp, #52]",
        "str r12, [sp, #4]",
        "ldr r12, [r2, #12]",
        "add r12, r12, #4",
        "str r12, [sp, #16]",
        "str r3, [sp]",
        "ldr r12, [r2, #8]",
        "cmp lr, r12",
        "beq 10b",
        "subs r3, #24",
        "bx r3",
        ".rept 32",
        step!("umlal"),
        ".endr",
        ".p2align 2",
        "7:",
        "ldr.w pc, [sp, #4]",
        "6:",
        "ldr r2, [sp, #20]",
        "subs r2, #1",
        "str r2, [sp, #20]",
        "bne.w 3b",
        "ldr r0, [sp, #12]",
        "ldrd r1, r2, [r0, #32]",
        "ldrd r3, r4, [sp, #32]",
        "add r3, r1",
        "add r4, r2",
        "strd r3, r4, [sp, #32]",
        "ldr r1, [sp, #28]",
        "subs r1, #1",
        "str r1, [sp, #28]",
        "bne.w 2b",
        "add sp, #56",
        "pop {{r4-r11, pc}}",
        ".p2align 2",
        empty!(
            "21",
            empty_three!(["r4", "r5", "r6", "r7"], "7", ["13", "6", "7", "7", "20"]),
            empty_three!(["r8", "r9", "r10", "r11"], "7", ["13", "6", "7", "7", "20"])
        ),
        ".p2align 2",
        empty!(
            "22",
            empty_three!(["r4", "r5", "r6", "r7"], "4", ["12", "8", "4", "4", "16"]),
            empty_three!(["r8", "r9", "r10", "r11"], "4", ["12", "8", "4", "4", "16"])
        ),
        ".p2align 2",
        empty!("23", empty_four!("r4", "r5", "r6", "r7"), empty_four!("r8", "r9", "r10", "r11")),
        ".p2align 2",
        empty!("24", empty_two!("r4", "r5", "r6", "r7"), empty_two!("r8", "r9", "r10", "r11")),
    )
}
