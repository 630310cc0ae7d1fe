//! Nine depthwise weights of four channels as pairs of 16-bit lanes.

use core::arch::naked_asm;

/// Words of one channel: for each window row, the first two weights, and the last two.
pub(in super::super) const WORDS: usize = 6;

/// From codes to lanes: gain · (code ^ flip) − offset, in every byte and every lane.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(in super::super) struct Values {
    pub(in super::super) flip: u32,
    pub(in super::super) gain: u32,
    pub(in super::super) offset: u32,
}

/// Lanes of four channels from nine words of codes, `stride` bytes apart; nothing if there are fewer.
pub(in super::super) fn lanes(to: &mut [[u32; WORDS]; 4], codes: &[u8], stride: usize, values: &Values) {
    if codes.len() < stride.saturating_mul(8).saturating_add(4) {
        return;
    }
    // SAFETY: nine words are read, unaligned where they are, and six words written for each of four channels.
    unsafe { pair_taps(to.as_mut_ptr().cast(), codes.as_ptr(), stride, values) }
}

/// A pair of taps in two registers, with r8–r10 for the way: to a word of each channel.
macro_rules! pair {
    ($first:literal, $second:literal, [$zero:literal, $one:literal, $two:literal, $three:literal]) => {
        concat!(
            concat!("pkhbt r8, ", $first, ", ", $second, ", lsl #16\n"),
            concat!("pkhtb r9, ", $second, ", ", $first, ", asr #16\n"),
            lane!("r8", $zero),
            lane!("r8, ror #8", $one),
            lane!("r9", $two),
            lane!("r9, ror #8", $three)
        )
    };
}

/// Two codes as lanes to a word: r11 gain, r12 offset.
macro_rules! lane {
    ($codes:literal, $to:literal) => {
        concat!("uxtb16 r10, ", $codes, "\nmul r10, r10, r11\nssub16 r10, r10, r12\nstr r10, [r0, #", $to, "]\n")
    };
}

#[unsafe(naked)]
unsafe extern "C" fn pair_taps(to: *mut u32, codes: *const u8, stride: usize, values: *const Values) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r11, lr}}",
        "ldm r3, {{r3, r11, r12}}",
        "movs r4, #3",
        "2:",
        "ldr r5, [r1]",
        "ldr r6, [r1, r2]",
        "ldr r7, [r1, r2, lsl #1]",
        "add r1, r1, r2",
        "add r1, r1, r2, lsl #1",
        "eor r5, r3",
        "eor r6, r3",
        "eor r7, r3",
        pair!("r5", "r6", ["0", "24", "48", "72"]),
        pair!("r6", "r7", ["4", "28", "52", "76"]),
        "adds r0, #8",
        "subs r4, #1",
        "bne 2b",
        "pop {{r4-r11, pc}}",
    )
}
