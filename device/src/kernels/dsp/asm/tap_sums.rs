//! What signed taps of a pair of rows come to: their activations' middle is taken off, and has to be added again.

use core::arch::naked_asm;

/// Bits from tap to tap.
const SPACING: u32 = 13;
/// Steps whose taps sum to less than half a field: taps have five bits at most.
const MOST_STEPS: usize = 128;

/// The sums of all taps of both rows from words of three signed taps, two words (even row, odd row) a step.
pub(in super::super) fn of(taps: &[u8]) -> [i32; 2] {
    taps.chunks(8 * MOST_STEPS).map(some).fold([0; 2], |[even, odd], [more, more_odd]| [even + more, odd + more_odd])
}

fn some(taps: &[u8]) -> [i32; 2] {
    let mut words = [0i64; 2];
    let (pairs, _) = taps.as_chunks::<16>();
    if let Some(first) = pairs.first() {
        let end = first.as_ptr().wrapping_add(16 * pairs.len());
        // SAFETY: four words are read at a time up to the end of the slice's last whole chunk; words are aligned, as
        // scratch is.
        unsafe { sum_words(first.as_ptr(), end, &mut words) }
    }
    words.map(three)
}

/// The sum of three signed fields.
fn three(sum: i64) -> i32 {
    let field = |sum: i64| (sum << (64 - SPACING)) >> (64 - SPACING);
    let first = field(sum);
    let rest = (sum - first) >> SPACING;
    let second = field(rest);
    (first + second + ((rest - second) >> SPACING)) as i32
}

#[unsafe(naked)]
unsafe extern "C" fn sum_words(words: *const u8, end: *const u8, sums: *mut [i64; 2]) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r11, lr}}",
        "movs r4, #0",
        "mov r5, r4",
        "mov r6, r4",
        "mov r7, r4",
        "mov r12, #1",
        "2:",
        "ldm r0!, {{r8-r11}}",
        "smlal r4, r5, r8, r12",
        "smlal r6, r7, r9, r12",
        "smlal r4, r5, r10, r12",
        "smlal r6, r7, r11, r12",
        "cmp r0, r1",
        "bne 2b",
        "stm r2, {{r4-r7}}",
        "pop {{r4-r11, pc}}",
    )
}
