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
    /// 8: bytes of a pixel.
    pixel_bytes: usize,
    /// 12: end of the first pixel's codes.
    end: *const u8,
    /// 16: what the codes of the second, third and fourth pixel are worth.
    powers: [u32; 3],
    /// 28: sums of the codes of each.
    sums: [u32; 4],
    /// 44: what is taken off every byte.
    middle: u32,
    function: unsafe extern "C" fn(*mut Spacing),
    pixels: usize,
    channels: usize,
}

/// What words of spaced codes are made from.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Source {
    /// Bytes.
    Bytes,
    /// Bytes, less the middle of their range: signed.
    Centred(u8),
    /// Codes of four bits as they are stored, less 8.
    CentredNibbles,
}

impl Spacing {
    /// Codes of some pixels `spacing` bits apart, signed ones of three pixels 13 bits; `None` if channels are no whole words.
    pub(in super::super) fn new(pixels: usize, channels: usize, spacing: u32, source: Source) -> Option<Self> {
        let power = |place: u32| 1u32.checked_shl(place * spacing).unwrap_or(0);
        let (pixel_bytes, middle) = match source {
            Source::Bytes => (channels, 0),
            Source::Centred(middle) => (channels, middle),
            Source::CentredNibbles => (channels / 2, 0),
        };
        let codes_of_word = if matches!(source, Source::CentredNibbles) { 8 } else { 4 };
        (channels > 0 && channels.is_multiple_of(codes_of_word)).then_some(Self {
            to: core::ptr::null_mut(),
            codes: core::ptr::null(),
            pixel_bytes,
            end: core::ptr::null(),
            powers: [power(1), power(2), power(3)],
            sums: [0; 4],
            middle: u32::from_le_bytes([middle; 4]),
            function: match (pixels, source) {
                (2, Source::Bytes) => space_two,
                (3, Source::Bytes) => space_three,
                (4, Source::Bytes) => space_four,
                (3, Source::Centred(_)) => space_three_centred,
                (3, Source::CentredNibbles) => space_three_nibbles,
                _ => return None,
            },
            pixels,
            channels,
        })
    }

    /// For each channel a word with its codes in a block of pixels, which `codes` holds one after the other; every
    /// other word of `to`. Returns the pixels' sums. Does nothing if a slice is too short.
    pub(in super::super) fn run(&mut self, to: &mut [u8], codes: &[u8]) -> &[u32] {
        if to.len() + 4 < 8 * self.channels || codes.len() < self.pixel_bytes * self.pixels {
            return &[];
        }
        self.to = to.as_mut_ptr();
        self.codes = codes.as_ptr();
        self.end = self.codes.wrapping_add(self.pixel_bytes);
        // SAFETY: `pixels` times `pixel_bytes` bytes are read of `codes`, and words written at every other place of `to`,
        // which the slices hold; `to` is word-aligned scratch, and codes are read unaligned where they are.
        unsafe { (self.function)(self) }
        self.sums.get(..self.pixels).unwrap_or(&[])
    }
}

/// The word of one channel, at the byte of the pixels' words that `$turn` turns to the bottom and `$extend` extends; r12
/// and lr are free. `$more` are the further pixels' words and what they are worth.
macro_rules! channel {
    ($extend:literal, $turn:literal, $first:literal $(, ($more:literal, $power:literal))+) => {
        concat!(
            $extend, " r12, ", $first, $turn, "\n",
            $($extend, " lr, ", $more, $turn, "\nmla r12, lr, ", $power, ", r12\n",)+
            "str r12, [r0], #8\n"
        )
    };
}

/// Four channels.
macro_rules! quad {
    ($extend:literal, $($pixels:tt)+) => {
        concat!(
            channel!($extend, "", $($pixels)+),
            channel!($extend, ", ror #8", $($pixels)+),
            channel!($extend, ", ror #16", $($pixels)+),
            channel!($extend, ", ror #24", $($pixels)+)
        )
    };
}

/// One channel of three pixels, its code at bit `$bit` of their words; signed, since its upper bit has been turned over.
#[rustfmt::skip]
macro_rules! nibble {
    ($bit:literal) => {
        concat!(
            "sbfx r12, r4, #", $bit, ", #4\n",
            "sbfx lr, r5, #", $bit, ", #4\n",
            "add r12, r12, lr, lsl #13\n",
            "sbfx lr, r6, #", $bit, ", #4\n",
            "add r12, r12, lr, lsl #26\n",
            "str r12, [r0], #8\n"
        )
    };
}

/// Adds the eight codes of `$word` to `$sum`, first in pairs, whose bytes have room for them.
#[rustfmt::skip]
macro_rules! nibble_sum {
    ($word:literal, $sum:literal) => {
        concat!(
            "and r12, r7, ", $word, "\n",
            "and lr, r7, ", $word, ", lsr #4\n",
            "add r12, lr\n",
            "usada8 ", $sum, ", r12, r8, ", $sum, "\n"
        )
    };
}

// r0 to, r1 codes, r2 bytes of a pixel, r3 end; then the pixels' words, what they are worth, and their sums.
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
        quad!("uxtb", "r4", ("r5", "r6")),
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
        quad!("uxtb", "r4", ("r5", "r7"), ("r6", "r8")),
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

// The first two sums share a register: codes of a pixel sum up to 16 bits.
#[unsafe(naked)]
unsafe extern "C" fn space_three_centred(spacing: *mut Spacing) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r0, r4-r11, lr}}",
        "ldrd r7, r8, [r0, #16]",
        "ldr r9, [r0, #44]",
        "movs r4, #0",
        "mov r10, r4",
        "mov r11, r4",
        "ldm r0, {{r0-r3}}",
        "2:",
        "ldr r5, [r1, r2]",
        "ldr r6, [r1, r2, lsl #1]",
        "ldr r4, [r1], #4",
        "mov lr, #0",
        "usada8 r10, r4, lr, r10",
        "usad8 r12, r5, lr",
        "add r10, r10, r12, lsl #16",
        "usada8 r11, r6, lr, r11",
        "ssub8 r4, r4, r9",
        "ssub8 r5, r5, r9",
        "ssub8 r6, r6, r9",
        quad!("sxtb", "r4", ("r5", "r7"), ("r6", "r8")),
        "cmp r1, r3",
        "bne 2b",
        "pop {{r0}}",
        "uxth r9, r10",
        "lsr r10, r10, #16",
        "adds r0, #28",
        "stm r0, {{r9-r11}}",
        "pop {{r4-r11, pc}}",
    )
}

// r7 the lower half of every byte, r8 nothing, r9 to r11 sums.
#[unsafe(naked)]
unsafe extern "C" fn space_three_nibbles(spacing: *mut Spacing) {
    naked_asm!(
        core_with_dsp!(),
        "push {{r0, r4-r11, lr}}",
        "mov r7, #0x0F0F0F0F",
        "mov r8, #0",
        "mov r9, r8",
        "mov r10, r8",
        "mov r11, r8",
        "ldm r0, {{r0-r3}}",
        "2:",
        "ldr r5, [r1, r2]",
        "ldr r6, [r1, r2, lsl #1]",
        "ldr r4, [r1], #4",
        nibble_sum!("r4", "r9"),
        nibble_sum!("r5", "r10"),
        nibble_sum!("r6", "r11"),
        "eor r4, r4, #0x88888888",
        "eor r5, r5, #0x88888888",
        "eor r6, r6, #0x88888888",
        nibble!("0"),
        nibble!("4"),
        nibble!("8"),
        nibble!("12"),
        nibble!("16"),
        nibble!("20"),
        nibble!("24"),
        nibble!("28"),
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
        quad!("uxtb", "r4", ("r5", "r8"), ("r6", "r9"), ("r7", "r10")),
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
