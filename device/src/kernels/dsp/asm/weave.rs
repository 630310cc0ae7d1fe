//! Taps of both rows of a pair in byte lanes, spaced out in words.

use core::arch::naked_asm;

/// What the loop works on. Field order is the assembly's.
#[repr(C)]
struct Args {
    /// 0
    to: *mut u8,
    /// 4: byte lanes of the last, middle and first tap.
    taps: [*const u8; 3],
    /// 16
    quads: usize,
    /// 20: 2 to the spacing, and to twice the spacing.
    powers: [u32; 2],
    /// 28: what is taken off every byte.
    middle: u32,
}

/// From byte lanes of three taps of one window row, `4 · quads` channels each, two words a channel with the last tap
/// lowest and taps `spacing` bits apart; of codes of at most 7 bits less `middle`. Does nothing if a slice is too short.
pub(in super::super) fn taps(to: &mut [u8], lanes: [&[u8]; 3], quads: usize, spacing: u32, middle: u8) {
    if quads == 0 || to.len() < 32 * quads || lanes.iter().any(|lanes| lanes.len() < 8 * quads) {
        return;
    }
    let [first, second, last] = lanes.map(<[u8]>::as_ptr);
    let powers = [1 << (spacing & 15), 1 << ((2 * spacing) & 31)];
    let off = u32::from_le_bytes([middle; 4]);
    let args = Args { to: to.as_mut_ptr(), taps: [last, second, first], quads, powers, middle: off };
    // SAFETY: 8 bytes a quad are read of each tap and 32 written, which the slices hold; all are word-aligned scratch.
    unsafe { weave(&args) }
}

/// One channel: the bytes `$even` (in bits) of r4, r5, r6 for the even row and those above for the odd row.
macro_rules! channel {
    ($even:literal, $odd:literal, $place:literal) => {
        concat!(
            "sbfx r7, r4, #",
            $even,
            ", #8\n",
            "sbfx r9, r5, #",
            $even,
            ", #8\n",
            "mla r7, r9, r10, r7\n",
            "sbfx r9, r6, #",
            $even,
            ", #8\n",
            "mla r7, r9, r11, r7\n",
            "sbfx r8, r4, #",
            $odd,
            ", #8\n",
            "sbfx r9, r5, #",
            $odd,
            ", #8\n",
            "mla r8, r9, r10, r8\n",
            "sbfx r9, r6, #",
            $odd,
            ", #8\n",
            "mla r8, r9, r11, r8\n",
            "strd r7, r8, [r0, #",
            $place,
            "]\n"
        )
    };
}

#[unsafe(naked)]
unsafe extern "C" fn weave(args: *const Args) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r11, lr}}",
        "ldr lr, [r0, #16]",
        "ldrd r10, r11, [r0, #20]",
        "ldr r12, [r0, #28]",
        "ldm r0, {{r0-r3}}",
        "2:",
        "ldr r4, [r1], #4",
        "ldr r5, [r2], #4",
        "ldr r6, [r3], #4",
        "ssub8 r4, r4, r12",
        "ssub8 r5, r5, r12",
        "ssub8 r6, r6, r12",
        channel!("0", "8", "0"),
        channel!("16", "24", "16"),
        "ldr r4, [r1], #4",
        "ldr r5, [r2], #4",
        "ldr r6, [r3], #4",
        "ssub8 r4, r4, r12",
        "ssub8 r5, r5, r12",
        "ssub8 r6, r6, r12",
        channel!("0", "8", "8"),
        channel!("16", "24", "24"),
        "adds r0, #32",
        "subs lr, #1",
        "bne 2b",
        "pop {{r4-r11, pc}}",
    )
}
