//! Codes of two pixels side by side as 16-bit lanes, and their sums.

use core::arch::naked_asm;

/// Bytes from one pair of columns of four pixels to the next.
const STEP: usize = 16;

/// Widens `4 · quads` codes of two patches into the block at `to`, times 2^scale (0, 2 or 4), and returns their sums.
///
/// `to` starts at the two pixels' place in a block of four; the two lanes of a word are columns 4c and 4c + 2, those
/// of the next 4c + 1 and 4c + 3. Does nothing if a slice is too short.
pub(in super::super) fn pair(to: &mut [u8], patches: [&[u8]; 2], quads: usize, scale: u32) -> [u32; 2] {
    type Widen = unsafe extern "C" fn(*mut u8, *const u8, *const u8, usize) -> u64;
    let fits =
        to.len() >= (2 * STEP * quads).saturating_sub(STEP / 2) && patches.iter().all(|patch| patch.len() >= 4 * quads);
    let widen: Widen = match scale {
        0 => widen,
        2 => widen_4,
        4 => widen_16,
        _ => return [0; 2],
    };
    if quads == 0 || !fits {
        return [0; 2];
    }
    // SAFETY: the loop reads 4 · quads bytes of each patch, unaligned where they are, and writes 8 bytes in each of
    // 2 · quads steps of 16 bytes, all checked above; scratch is word-aligned.
    let sums = unsafe { widen(to.as_mut_ptr(), patches[0].as_ptr(), patches[1].as_ptr(), quads) };
    [sums as u32, (sums >> 32) as u32]
}

/// Four columns of both pixels: r0 to, r1 and r2 patches, r8 and r9 sums, r10 mask of a word's scaled codes, r12 zero.
/// `$even` and `$odd`: how bytes come under the mask.
macro_rules! quad {
    ($even:literal, $odd:literal) => {
        concat!(
            "ldr r4, [r1], #4\nldr r5, [r2], #4\nand r6, r10, r4",
            $even,
            "\nand r7, r10, r5",
            $even,
            "\nstrd r6, r7, [r0], #16\nand r6, r10, r4",
            $odd,
            "\nand r7, r10, r5",
            $odd,
            "\nstrd r6, r7, [r0], #16\nusada8 r8, r4, r12, r8\nusada8 r9, r5, r12, r9"
        )
    };
}

macro_rules! widen {
    ($name:ident, $mask:literal, $even:literal, $odd:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(to: *mut u8, first: *const u8, second: *const u8, quads: usize) -> u64 {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4-r10, lr}}",
                "movs r4, #0",
                "mov r8, r4",
                "mov r9, r4",
                "mov r12, r4",
                concat!("movw r10, #", $mask),
                concat!("movt r10, #", $mask),
                "lsrs r3, r3, #1",
                "bcc 3f",
                quad!($even, $odd),
                "cbz r3, 4f",
                "3:",
                quad!($even, $odd),
                quad!($even, $odd),
                "subs r3, #1",
                "bne 3b",
                "4:",
                "mov r0, r8",
                "mov r1, r9",
                "pop {{r4-r10, pc}}",
            )
        }
    };
}

widen!(widen, "0x00FF", "", ", lsr #8");
widen!(widen_4, "0x03FC", ", lsl #2", ", lsr #6");
widen!(widen_16, "0x0FF0", ", lsl #4", ", lsr #4");

/// Widens `4 · quads` codes of one vector, times 2^scale (up to 4), and returns their sum. Does nothing if a slice is
/// too short.
pub(in super::super) fn vector(to: &mut [u8], codes: &[u8], quads: usize, scale: u32) -> u32 {
    type Widen = unsafe extern "C" fn(*mut u8, *const u8, usize) -> u32;
    let widen: Widen = match scale {
        0 => one,
        1 => one_2,
        2 => one_4,
        3 => one_8,
        4 => one_16,
        _ => return 0,
    };
    if quads == 0 || to.len() < 8 * quads || codes.len() < 4 * quads {
        return 0;
    }
    // SAFETY: 4 · quads bytes are read, unaligned where they are, and twice as many written to word-aligned scratch.
    unsafe { widen(to.as_mut_ptr(), codes.as_ptr(), quads) }
}

/// Four columns: r0 to, r1 codes, r3 sum, r7 mask, r12 zero.
macro_rules! quad_of_one {
    ($even:literal, $odd:literal) => {
        concat!(
            "ldr r4, [r1], #4\nand r5, r7, r4",
            $even,
            "\nand r6, r7, r4",
            $odd,
            "\nstrd r5, r6, [r0], #8\nusada8 r3, r4, r12, r3"
        )
    };
}

macro_rules! widen_one {
    ($name:ident, $mask:literal, $even:literal, $odd:literal) => {
        #[unsafe(naked)]
        unsafe extern "C" fn $name(to: *mut u8, codes: *const u8, quads: usize) -> u32 {
            naked_asm!(
                core_with_dsp!(),
                "push {{r4-r7, lr}}",
                "movs r3, #0",
                "mov r12, r3",
                concat!("movw r7, #", $mask),
                concat!("movt r7, #", $mask),
                "lsrs r2, r2, #1",
                "bcc 3f",
                quad_of_one!($even, $odd),
                "cbz r2, 4f",
                "3:",
                quad_of_one!($even, $odd),
                quad_of_one!($even, $odd),
                "subs r2, #1",
                "bne 3b",
                "4:",
                "mov r0, r3",
                "pop {{r4-r7, pc}}",
            )
        }
    };
}

widen_one!(one, "0x00FF", "", ", lsr #8");
widen_one!(one_2, "0x01FE", ", lsl #1", ", lsr #7");
widen_one!(one_4, "0x03FC", ", lsl #2", ", lsr #6");
widen_one!(one_8, "0x07F8", ", lsl #3", ", lsr #5");
widen_one!(one_16, "0x0FF0", ", lsl #4", ", lsr #4");
