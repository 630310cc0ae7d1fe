//! Several products in one multiplication: taps and pixels spaced out in 32-bit words, whose 64-bit product is a 1-D
//! convolution of them (HiKonv, arXiv 2112.13972), summed until its fields are full.

use core::arch::naked_asm;

use super::super::line_plan::{Fields, MOST_ROWS, MOST_RUNS, MOST_STEPS, Run};
use super::settle::{Codes, LineArgs, Pair, Settle};

/// Bytes of code of one step, of all that comes before the steps that add to earlier sums, and of what fills sums first where
/// fields are signed.
const STEP_BYTES: usize = 24;
const HEAD_BYTES: usize = STEP_BYTES + 6;
const FILL_BYTES: usize = 6;
/// Ways to empty unsigned sums, each first for those that nothing is added to and then for the others.
const EMPTYINGS: usize = 4;
/// Added to each emptied sum of signed fields.
pub(in super::super) const FILL: i32 = 1 << 12;

/// What the loops work on, and change. Field order is the assembly's.
#[repr(C)]
#[derive(Debug)]
struct Args {
    /// 0
    weights: *const u8,
    /// 4: first word of each input row of the first line.
    rows: *const *const u8,
    /// 8
    program: *const Entry,
    /// 12
    sums: *mut u8,
    /// 16: bytes from the sums of the even row to those of the odd row.
    sums_stride: usize,
    /// 20: pairs of blocks.
    blocks: usize,
    /// 24: bytes of one pair of blocks in a row, and 28 of its sums that no later one shares.
    block_bytes: usize,
    sums_step: usize,
    /// 32: bytes from the pointers of one line's rows to those of the next.
    rows_step: usize,
    /// 36
    lines: usize,
    /// 40: what turns a line's sums into codes, and 44 its arguments.
    settle: unsafe extern "C" fn(*mut LineArgs),
    settled: LineArgs,
}

/// One run as the assembly takes it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// Offset of the row's pointer; negative after the last run.
    row: i32,
    /// Offset in the row of its first step.
    start: i32,
    /// Where the code is entered, from its start: at its start where sums begin anew, and then `rest` further on.
    entry: i32,
    rest: i32,
    /// What follows, as an offset in a table of branches: the next run, or what empties sums.
    end: i32,
}

/// The runs of a window.
#[derive(Debug)]
pub(in super::super) struct Program {
    entries: [Entry; MOST_RUNS + 1],
    rows: usize,
    steps: usize,
    /// Steps of each window row.
    channels: usize,
}

impl Program {
    pub(in super::super) fn new(runs: impl Iterator<Item = Run>, fields: Fields) -> Self {
        let none = Entry { row: -1, start: 0, entry: 0, rest: 0, end: 0 };
        let mut program = Self { entries: [none; MOST_RUNS + 1], rows: 0, steps: 0, channels: 0 };
        let mut emptied = 0;
        let (head, number, emptyings) = match fields {
            Fields::Centred => (HEAD_BYTES + FILL_BYTES, 0, 1),
            _ => (HEAD_BYTES, fields.number(), EMPTYINGS),
        };
        for (entry, run) in program.entries.iter_mut().take(MOST_RUNS).zip(runs) {
            let skipped = STEP_BYTES * MOST_STEPS.wrapping_sub(run.steps);
            *entry = Entry {
                row: 4 * run.row as i32,
                start: 8 * run.start as i32,
                entry: if run.begins { 0 } else { (head + skipped - STEP_BYTES) as i32 },
                rest: skipped as i32,
                end: match run {
                    Run { steps: 0, .. } => 4 + 8 * EMPTYINGS as i32,
                    Run { ends: true, .. } => 4 + 4 * (number + emptied) as i32,
                    _ => 0,
                },
            };
            emptied = if run.ends { emptyings } else { emptied };
            program.rows = program.rows.max(run.row + 1);
            program.steps += run.steps;
            program.channels = program.channels.max(run.start + run.steps);
        }
        program
    }
}

/// Some lines of outputs, ready for one pair of weight rows after the other.
#[derive(Debug)]
pub(in super::super) struct Lines<'a> {
    args: Args,
    rows: [*const u8; MOST_ROWS],
    program: &'a Program,
    corrections: &'a [u8],
    lines: usize,
    function: unsafe extern "C" fn(*mut Args),
    /// Whether `corrections` are added.
    corrected: bool,
    /// Outputs from the first pixel to the last one's first byte.
    reach: usize,
}

/// What lines are made from.
#[derive(Debug)]
pub(in super::super) struct Parts<'a> {
    /// Spaced pixels of each input row: for each pair of blocks and each step, a word of either block.
    pub(in super::super) spaced: &'a [u8],
    /// Bytes of a row; rows lie in a ring of `slots`, of which the first line's first is `slot`.
    pub(in super::super) row_bytes: usize,
    pub(in super::super) slots: usize,
    pub(in super::super) slot: usize,
    /// Rows from line to line.
    pub(in super::super) stride: usize,
    /// Pixels a block, and pairs of blocks.
    pub(in super::super) pixels: usize,
    pub(in super::super) blocks: usize,
    /// The runs of a window.
    pub(in super::super) program: &'a Program,
    pub(in super::super) lines: usize,
    /// Where sums lie meanwhile: the even row's, then the odd row's, half of it each.
    pub(in super::super) sums: &'a mut [u8],
    /// Place of the first output's sum.
    pub(in super::super) first: usize,
    /// What is added to both rows' accumulators after the shift, a word a pixel; or nothing.
    pub(in super::super) corrections: &'a [u8],
    /// Whether fields are signed.
    pub(in super::super) centred: bool,
    /// Pixels of a line, and bytes from one to the next.
    pub(in super::super) width: usize,
    pub(in super::super) pixel_bytes: usize,
    pub(in super::super) settle: &'a Settle,
}

impl<'a> Lines<'a> {
    /// `None` if a slice is too short.
    pub(in super::super) fn new(parts: Parts<'a>) -> Option<Self> {
        let Parts { program, spaced, row_bytes, slots, sums, corrections, .. } = parts;
        let (half, outputs) = (sums.len() / 2, parts.lines * parts.width);
        let fits = row_bytes >= 8 * program.channels * parts.blocks
            && spaced.len() >= slots * row_bytes
            && row_bytes.is_multiple_of(4)
            && parts.slot < slots
            && slots <= MOST_ROWS
            && slots >= parts.lines.saturating_sub(1) * parts.stride + program.rows
            && sums.len().is_multiple_of(8)
            && half >= 4 * (2 * parts.pixels * parts.blocks + 2)
            && half >= 4 * (parts.first + parts.width)
            && (corrections.is_empty() || corrections.len() >= 4 * outputs);
        if !fits || program.steps == 0 || parts.blocks == 0 || outputs == 0 {
            return None;
        }
        let mut rows = [core::ptr::null(); MOST_ROWS];
        let mut slot = parts.slot;
        for row in rows.iter_mut().take(slots) {
            *row = spaced.as_ptr().wrapping_add(slot * row_bytes);
            slot = if slot + 1 < slots { slot + 1 } else { 0 };
        }
        let sums = sums.as_mut_ptr();
        let first = sums.wrapping_add(4 * parts.first);
        let args = Args {
            weights: core::ptr::null(),
            rows: core::ptr::null(),
            program: program.entries.as_ptr(),
            sums,
            sums_stride: half,
            blocks: parts.blocks,
            block_bytes: 8 * program.channels,
            sums_step: 8 * parts.pixels,
            rows_step: 4 * parts.stride,
            lines: 0,
            settle: Codes::Bytes.function(false),
            settled: LineArgs::new(parts.settle, first, half, parts.width, parts.pixel_bytes),
        };
        let reach = (outputs - 1) * parts.pixel_bytes;
        let function = if parts.centred { centred_lines_of_pair } else { lines_of_pair };
        let corrected = !corrections.is_empty();
        Some(Self { args, rows, program, corrections, lines: parts.lines, function, corrected, reach })
    }

    /// Computes and stores all lines' codes of a pair of rows from its spaced taps, two words (even row, odd row) a
    /// step. Does nothing if a slice is too short.
    pub(in super::super) fn run(&mut self, taps: &[u8], pair: &mut Pair<'_>) {
        let fits = taps.len() >= 8 * self.program.steps && pair.output.len() >= self.reach + pair.codes.bytes();
        if !fits {
            return;
        }
        self.args.weights = taps.as_ptr();
        self.args.rows = self.rows.as_ptr();
        self.args.lines = self.lines;
        self.args.settle = pair.codes.function(self.corrected);
        self.args.settled.start(pair, self.corrections);
        // SAFETY: the runs add up to the steps of a window, so words read, sums and codes written lie in the slices, as
        // checked; words are aligned, as scratch is.
        unsafe { (self.function)(&mut self.args) }
    }
}

/// A step: r0 weights, r1 pixels; r4–r7 the even row's sums of both blocks, r8–r11 the odd row's.
#[rustfmt::skip]
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

/// Empties both rows' sums into their totals and goes on with the next run, or with what ends a pair of blocks.
#[rustfmt::skip]
macro_rules! empty_into_totals {
    ($how:tt, $label:literal, $end:literal, $spacing:literal, $top:literal) => {
        concat!(
            $label, ":\n",
            "str r0, [sp, #32]\n",
            "add r2, sp, #48\n",
            total!($how, "r4", "r5", $spacing, $top),
            total!($how, "r6", "r7", $spacing, $top),
            total!($how, "r8", "r9", $spacing, $top),
            total!($how, "r10", "r11", $spacing, $top),
            next!($end)
        )
    };
}

/// Ends a pair of blocks: both rows' totals become sums.
#[rustfmt::skip]
macro_rules! end {
    ($label:literal, $row:expr) => {
        concat!(
            $label, ":\n",
            "add r12, sp, #48\n",
            "ldr lr, [sp, #20]\n",
            $row,
            "ldr r0, [sp, #24]\n",
            "add lr, r0\n",
            "sub lr, #16\n",
            $row,
            "b.w 6b\n"
        )
    };
}

/// Goes on with the next run, or after the last one at `$end`.
#[rustfmt::skip]
macro_rules! next {
    ($end:literal) => {
        concat!("ldr r0, [sp, #32]\n", next!(here, $end))
    };
    (here, $end:literal) => {
        concat!(
            "ldr r2, [sp]\n",
            "ldr r3, [r2, #4]!\n",
            "cmp r3, #0\n",
            "bge.w 4b\n",
            "b.w ", $end, "\n"
        )
    };
}

/// Empties both rows' sums into words and goes on with the next run.
#[rustfmt::skip]
macro_rules! empty {
    ($label:literal, $even:expr, $odd:expr) => {
        concat!(
            $label, ":\n",
            "str r0, [sp, #32]\n",
            empty!($even, $odd),
            next!("6b")
        )
    };
    ($even:expr, $odd:expr) => {
        concat!(
            "ldr r2, [sp, #20]\n",
            $even,
            "ldrd r2, r3, [sp, #20]\n",
            "add r2, r3\n",
            $odd
        )
    };
}

/// The same where weights stay in r0.
#[rustfmt::skip]
macro_rules! empty_signed {
    ($label:literal, $how:tt) => {
        concat!(
            $label, ":\n",
            empty!(
                empty_centred!($how, "r4", "r5", "r6", "r7"),
                empty_centred!($how, "r8", "r9", "r10", "r11")
            ),
            next!(here, "6b")
        )
    };
}

/// All lines of a pair: `$prepare` what comes first, `$begin` a run whose sums begin anew, steps that add by `$multiply`,
/// `$branches` to the next run and to what follows one that ends, which is `$emptyings`.
///
/// The frame: 0 the run's end in the program, 4 its rest, 8 weights, 12 offset of the pair of blocks, 16 rows, 20 sums,
/// 24 their stride, 28 pairs of blocks left, 32 weights of the next step, 36 arguments, 48 totals: four words for each
/// row's two blocks; or what fills signed sums.
macro_rules! lines_of_pair {
    ($name:ident, $prepare:expr, $begin:expr, $multiply:literal, $branches:expr, [$($emptying:expr),+]) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(args: *mut Args) {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4-r11, lr}}",
                "sub sp, #116",
                "str r0, [sp, #36]",
                $prepare,
                // A line.
                "3:",
                "ldr r0, [sp, #36]",
                // No blocks come before the first.
                "ldrd r1, r3, [r0, #12]",
                "strd r1, r3, [sp, #20]",
                "movs r2, #0",
                "mov r4, r2",
                "strd r2, r4, [r1]",
                "add r1, r3",
                "strd r2, r4, [r1]",
                "ldrd r3, r4, [r0]",
                "strd r3, r2, [sp, #8]",
                "str r4, [sp, #16]",
                "ldr r1, [r0, #20]",
                "str r1, [sp, #28]",
                // A pair of blocks.
                "2:",
                "ldr r2, [sp, #36]",
                "ldr r2, [r2, #8]",
                "ldr r0, [sp, #8]",
                // A run.
                "4:",
                "ldm r2!, {{r1, r3, r12, lr}}",
                "strd r2, lr, [sp]",
                "ldrd lr, r2, [sp, #12]",
                "ldr r1, [r2, r1]",
                "add r1, r3",
                "add r1, lr",
                "add pc, r12",
                "nop",
                $begin,
                "ldr.n r3, [sp, #4]",
                "add pc, r3",
                "nop",
                ".rept 32",
                step!($multiply),
                ".endr",
                "ldr r2, [sp]",
                "ldr r3, [r2], #4",
                "add pc, r3",
                "nop",
                $branches,
                // The next pair of blocks.
                "6:",
                "ldr r0, [sp, #36]",
                "ldrd r1, r2, [r0, #24]",
                "ldr r3, [sp, #12]",
                "add r3, r1",
                "str r3, [sp, #12]",
                "ldr r3, [sp, #20]",
                "add r3, r2",
                "str r3, [sp, #20]",
                "ldr r1, [sp, #28]",
                "subs r1, #1",
                "str r1, [sp, #28]",
                "bne.w 2b",
                // Its codes, and the next line.
                "ldr r3, [r0, #40]",
                "adds r0, #44",
                "blx r3",
                "ldr r0, [sp, #36]",
                "ldr r1, [r0, #4]",
                "ldrd r2, r3, [r0, #32]",
                "add r1, r2",
                "str r1, [r0, #4]",
                "subs r3, #1",
                "str r3, [r0, #36]",
                "bne.w 3b",
                "add sp, #116",
                "pop {{r4-r11, pc}}",
                $($emptying,)+
            )
        }
    };
}

// A run that begins anew starts with products that nothing is added to.
lines_of_pair!(
    lines_of_pair,
    "",
    step!("umull"),
    "umlal",
    "b.w 4b
    b.w 21f
    b.w 22f
    b.w 23f
    b.w 24f
    b.w 31f
    b.w 32f
    b.w 33f
    b.w 34f
    b.w 35f",
    [
        // The pass over upper bits is done.
        concat!(
            "35:\n",
            "str r0, [sp, #32]\n",
            "add r2, sp, #48\n",
            shift_total!(),
            "\n",
            shift_total!(),
            "\n",
            shift_total!(),
            "\n",
            shift_total!(),
            "\n",
            next!("6b")
        ),
        empty!("21", empty_three!(set, "r4", "r5", "r6", "r7"), empty_three!(set, "r8", "r9", "r10", "r11")),
        empty!("31", empty_three!(add, "r4", "r5", "r6", "r7"), empty_three!(add, "r8", "r9", "r10", "r11")),
        empty!("22", empty_four!(set, "r4", "r5", "r6", "r7"), empty_four!(set, "r8", "r9", "r10", "r11")),
        empty!("32", empty_four!(add, "r4", "r5", "r6", "r7"), empty_four!(add, "r8", "r9", "r10", "r11")),
        empty_into_totals!(set, "23", "25f", "14", "10"),
        empty_into_totals!(add, "33", "25f", "14", "10"),
        end!("25", end_totals!("14", "18", "10", "28", "4")),
        empty_into_totals!(set, "24", "26f", "15", "13"),
        empty_into_totals!(add, "34", "26f", "15", "13"),
        end!("26", end_totals!("15", "17", "13", "30", "2"))
    ]
);

// A run that begins anew starts with fields of 2^12, from which nothing is borrowed.
lines_of_pair!(
    centred_lines_of_pair,
    "movw r4, #(1 << 12)
    movt r4, #(1 << 9)
    movs r5, #(1 << 6)
    add r12, sp, #48
    strd r4, r5, [r12]
    strd r4, r5, [r12, #8]
    strd r4, r5, [r12, #16]
    strd r4, r5, [r12, #24]",
    concat!("add r2, sp, #48\n", "ldm.w r2, {{r4-r11}}\n", step!("smlal")),
    "smlal",
    "b.w 4b
    b.w 21f
    b.w 31f",
    [empty_signed!("21", set), empty_signed!("31", add)]
);
