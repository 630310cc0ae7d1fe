//! Codes of neighbouring pixels, spaced out in words.

use core::arch::naked_asm;

/// Spaces blocks of two to four pixels. Field order is the assembly's.
#[repr(C)]
#[derive(Debug)]
pub(in super::super) struct Spacing {
    /// 0
    to: *mut u8,
    /// 4
    codes: *const u8,
    /// 8: of a pixel.
    channels: usize,
    /// 12: end of the first pixel's codes.
    end: *const u8,
    /// 16: what the codes of the second, third and fourth pixel are worth.
    powers: [u32; 3],
    /// 28: sums of the codes of each.
    sums: [u32; 4],
    function: unsafe extern "C" fn(*mut Spacing),
    pixels: usize,
}

impl Spacing {
    /// Codes `spacing` bits apart; `None` if channels do not come in fours.
    pub(in super::super) fn new(pixels: usize, channels: usize, spacing: u32) -> Option<Self> {
        let power = |place: u32| 1u32.checked_shl(place * spacing).unwrap_or(0);
        (channels > 0 && channels.is_multiple_of(4)).then_some(Self {
            to: core::ptr::null_mut(),
            codes: core::ptr::null(),
            channels,
            end: core::ptr::null(),
            powers: [power(1), power(2), power(3)],
            sums: [0; 4],
            function: match pixels {
                2 => space_two,
                3 => space_three,
                4 => space_four,
                _ => return None,
            },
            pixels,
        })
    }

    /// For each channel a word with its codes in a block of pixels, which `codes` holds one after the other; every
    /// other word of `to`. Returns the pixels' sums. Does nothing if a slice is too short.
    pub(in super::super) fn run(&mut self, to: &mut [u8], codes: &[u8]) -> &[u32] {
        if to.len() + 4 < 8 * self.channels || codes.len() < self.channels * self.pixels {
            return &[];
        }
        self.to = to.as_mut_ptr();
        self.codes = codes.as_ptr();
        self.end = self.codes.wrapping_add(self.channels);
        // SAFETY: `pixels` times `channels` bytes are read of `codes`, and words written at every other place of `to`,
        // which the slices hold; `to` is word-aligned scratch, and codes are read unaligned where they are.
        unsafe { (self.function)(self) }
        self.sums.get(..self.pixels).unwrap_or(&[])
    }
}

/// The word of one channel, at the byte of the pixels' words that `$turn` turns to the bottom, to `$to`; r12 and lr are
/// free. `$more` are the further pixels' words and what they are worth.
macro_rules! channel {
    ($to:literal, $turn:literal, $first:literal $(, ($more:literal, $power:literal))+) => {
        concat!(
            "uxtb r12, ", $first, $turn, "\n",
            $("uxtb lr, ", $more, $turn, "\nmla r12, lr, ", $power, ", r12\n",)+
            "str r12, [r0", $to, "\n"
        )
    };
}

/// Four channels.
macro_rules! quad {
    ($($pixels:tt)+) => {
        concat!(
            channel!("], #8", "", $($pixels)+),
            channel!("], #8", ", ror #8", $($pixels)+),
            channel!("], #8", ", ror #16", $($pixels)+),
            channel!("], #8", ", ror #24", $($pixels)+)
        )
    };
}

// r0 to, r1 codes, r2 channels, r3 end; then the pixels' words, what they are worth, and their sums.
#[unsafe(naked)]
unsafe extern "C" fn space_two(spacing: *mut Spacing) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r0, r4-r8, lr}}",
        "ldr r6, [r0, #16]",
        "movs r7, #0",
        "mov r8, r7",
        "ldm r0, {{r0-r3}}",
        "2:",
        "ldr r5, [r1, r2]",
        "ldr r4, [r1], #4",
        quad!("r4", ("r5", "r6")),
        "mov lr, #0",
        "usada8 r7, r4, lr, r7",
        "usada8 r8, r5, lr, r8",
        "cmp r1, r3",
        "bne 2b",
        "pop {{r0}}",
        "strd r7, r8, [r0, #28]",
        "pop {{r4-r8, pc}}",
    )
}

#[unsafe(naked)]
unsafe extern "C" fn space_three(spacing: *mut Spacing) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r0, r4-r11, lr}}",
        "ldrd r7, r8, [r0, #16]",
        "movs r4, #0",
        "mov r9, r4",
        "mov r10, r4",
        "mov r11, r4",
        "ldm r0, {{r0-r3}}",
        "2:",
        "ldr r5, [r1, r2]",
        "ldr r6, [r1, r2, lsl #1]",
        "ldr r4, [r1], #4",
        quad!("r4", ("r5", "r7"), ("r6", "r8")),
        "mov lr, #0",
        "usada8 r9, r4, lr, r9",
        "usada8 r10, r5, lr, r10",
        "usada8 r11, r6, lr, r11",
        "cmp r1, r3",
        "bne 2b",
        "pop {{r0}}",
        "adds r0, #28",
        "stm r0, {{r9-r11}}",
        "pop {{r4-r11, pc}}",
    )
}

// Powers take the place of sums, which wait where they are returned.
#[unsafe(naked)]
unsafe extern "C" fn space_four(spacing: *mut Spacing) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r0, r4-r11, lr}}",
        "movs r1, #0",
        "mov r2, r1",
        "strd r1, r2, [r0, #28]",
        "strd r1, r2, [r0, #36]",
        "ldm r0, {{r0-r3}}",
        "2:",
        "ldr r11, [sp]",
        "adds r11, #16",
        "ldm r11!, {{r8-r10}}",
        "add r12, r1, r2",
        "ldr r5, [r1, r2]",
        "ldr r6, [r1, r2, lsl #1]",
        "ldr r7, [r12, r2, lsl #1]",
        "ldr r4, [r1], #4",
        quad!("r4", ("r5", "r8"), ("r6", "r9"), ("r7", "r10")),
        "mov lr, #0",
        "ldm r11, {{r8-r10, r12}}",
        "usada8 r8, r4, lr, r8",
        "usada8 r9, r5, lr, r9",
        "usada8 r10, r6, lr, r10",
        "usada8 r12, r7, lr, r12",
        "stm r11, {{r8-r10, r12}}",
        "cmp r1, r3",
        "bne 2b",
        "pop {{r0, r4-r11, pc}}",
    )
}
