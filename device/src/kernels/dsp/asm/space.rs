//! Codes of neighbouring pixels, spaced out in words.

use core::arch::naked_asm;

/// What the loop works on. Field order is the assembly's.
#[repr(C)]
struct Args {
    /// 0
    to: *mut u8,
    /// 4: up to four pixels; a missing one lies at zeros and takes power 0.
    pixels: [*const u8; 4],
    /// 20
    quads: usize,
    /// 24: what the codes of the second, third and fourth are worth.
    powers: [u32; 3],
    /// 36: sums of the codes of each.
    sums: [u32; 4],
}

/// For each of `4 · quads` channels a word with the codes of up to four pixels, `spacing` bits apart; every other word
/// of `to`. Returns the pixels' sums. Does nothing if a slice is too short.
pub(in super::super) fn pixels(to: &mut [u8], pixels: &[&[u8]], quads: usize, spacing: u32) -> [u32; 4] {
    let fits = to.len() >= (32 * quads).saturating_sub(4) && pixels.iter().all(|pixel| pixel.len() >= 4 * quads);
    let Some(first) = pixels.first().filter(|_| fits && quads > 0 && pixels.len() <= 4) else { return [0; 4] };
    let mut pointers = [first.as_ptr(); 4];
    for (pointer, pixel) in pointers.iter_mut().zip(pixels) {
        *pointer = pixel.as_ptr();
    }
    let mut powers = [0; 3];
    for (place, power) in powers.iter_mut().enumerate().take(pixels.len().saturating_sub(1)) {
        *power = 1u32.checked_shl((place as u32 + 1) * spacing).unwrap_or(0);
    }
    let mut args = Args { to: to.as_mut_ptr(), pixels: pointers, quads, powers, sums: [0; 4] };
    // SAFETY: 4 · quads bytes are read of each pixel, unaligned where they are, and words written at every other place
    // of `to`, which the slices hold; `to` is word-aligned scratch.
    unsafe { space(&mut args) };
    args.sums
}

/// The word of one channel, at bit `$bit` of r5–r8; r10 to r12 powers.
macro_rules! channel {
    ($bit:literal, $place:literal) => {
        concat!(
            "ubfx r9, r5, #",
            $bit,
            ", #8\n",
            "ubfx lr, r6, #",
            $bit,
            ", #8\n",
            "mla r9, lr, r10, r9\n",
            "ubfx lr, r7, #",
            $bit,
            ", #8\n",
            "mla r9, lr, r11, r9\n",
            "ubfx lr, r8, #",
            $bit,
            ", #8\n",
            "mla r9, lr, r12, r9\n",
            "str r9, [r0, #",
            $place,
            "]\n"
        )
    };
}

/// Adds a word's codes to a sum.
macro_rules! sum {
    ($word:literal, $place:literal) => {
        concat!("ldr r9, [sp, #", $place, "]\nusada8 r9, ", $word, ", lr, r9\nstr r9, [sp, #", $place, "]\n")
    };
}

#[unsafe(naked)]
unsafe extern "C" fn space(args: *mut Args) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r11, lr}}",
        "sub sp, #24",
        "ldr r1, [r0, #20]",
        "strd r0, r1, [sp, #16]",
        "movs r1, #0",
        "mov r2, r1",
        "strd r1, r2, [sp]",
        "strd r1, r2, [sp, #8]",
        "add r1, r0, #24",
        "ldm r1, {{r10-r12}}",
        "ldm r0, {{r0-r4}}",
        "2:",
        "ldr r5, [r1], #4",
        "ldr r6, [r2], #4",
        "ldr r7, [r3], #4",
        "ldr r8, [r4], #4",
        channel!("0", "0"),
        channel!("8", "8"),
        channel!("16", "16"),
        channel!("24", "24"),
        "adds r0, #32",
        "mov.w lr, #0",
        sum!("r5", "0"),
        sum!("r6", "4"),
        sum!("r7", "8"),
        sum!("r8", "12"),
        "ldr r9, [sp, #20]",
        "subs r9, #1",
        "str r9, [sp, #20]",
        "bne 2b",
        "ldr r0, [sp, #16]",
        "adds r0, #36",
        "ldm sp, {{r1-r4}}",
        "stm r0, {{r1-r4}}",
        "add sp, #24",
        "pop {{r4-r11, pc}}",
    )
}
