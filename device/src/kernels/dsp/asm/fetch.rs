//! Codes of two pixels, fetched column by column through a table: for windows whose rows are no whole words.

use core::arch::naked_asm;

/// What the loop works on. Field order is the assembly's.
#[repr(C)]
struct Args {
    /// 0
    to: *mut u8,
    /// 4: where the windows start.
    from: [*const u8; 2],
    /// 12: offsets of the columns 4c, 4c + 2, 4c + 1, 4c + 3.
    table: *const u8,
    /// 16: all but the last.
    quads: usize,
    /// 20: which lanes of the last quad's two words are columns.
    masks: [u32; 2],
}

/// As [`pair`](super::widen_pair), for `columns` codes at the offsets of `table` (words) from the start of `from`.
///
/// Offsets do not exceed `reach`. Sums are exact up to 514 columns. Does nothing if a slice is too short.
pub(in super::super) fn pair(to: &mut [u8], from: [&[u8]; 2], table: &[u8], reach: usize, columns: usize) -> [u32; 2] {
    let quads = columns.div_ceil(4);
    let fits = to.len() >= (32 * quads).saturating_sub(8) && table.len() >= 16 * quads;
    if quads == 0 || !fits || from.iter().any(|from| from.len() <= reach) {
        return [0; 2];
    }
    let masks = match columns % 4 {
        1 => [0xFFFF, 0],
        2 => [0xFFFF, 0xFFFF],
        3 => [u32::MAX, 0xFFFF],
        _ => [u32::MAX; 2],
    };
    let from = from.map(<[u8]>::as_ptr);
    let args = Args { to: to.as_mut_ptr(), from, table: table.as_ptr(), quads: quads - 1, masks };
    // SAFETY: reads stay within `reach` of both starts, which both slices exceed; the table and what is written lie in
    // their slices, word-aligned as scratch is.
    let sums = unsafe { fetch(&args) };
    [sums as u32, (sums >> 32) as u32]
}

/// Two columns of two pixels: r0 to, r1 and r2 pixels, r3 table, r8 and r9 sums in lanes; r4 and r5 the words.
macro_rules! columns {
    () => {
        "ldrd r6, r7, [r3], #8
        ldrb r4, [r1, r6]
        ldrb r5, [r2, r6]
        ldrb r12, [r1, r7]
        ldrb lr, [r2, r7]
        orr r4, r4, r12, lsl #16
        orr r5, r5, lr, lsl #16"
    };
}

/// Stores and sums them.
macro_rules! store {
    () => {
        "strd r4, r5, [r0], #16
        uadd16 r8, r8, r4
        uadd16 r9, r9, r5"
    };
}

/// Clears the lanes of r4 and r5 beyond the last column.
macro_rules! mask {
    ($word:literal) => {
        concat!("ldr r6, [r11, #", $word, "]\nands r4, r6\nands r5, r6")
    };
}

#[unsafe(naked)]
unsafe extern "C" fn fetch(args: *const Args) -> u64 {
    naked_asm!(
        core_with_dsp!(),
        "push {{r4-r11, lr}}",
        "mov r11, r0",
        "ldr r10, [r11, #16]",
        "ldm r11, {{r0-r3}}",
        "movs r8, #0",
        "mov r9, r8",
        "cmp r10, #0",
        "beq 4f",
        "3:",
        columns!(),
        store!(),
        columns!(),
        store!(),
        "subs r10, #1",
        "bne 3b",
        "4:",
        columns!(),
        mask!("20"),
        store!(),
        columns!(),
        mask!("24"),
        store!(),
        "uxth r0, r8",
        "add r0, r0, r8, lsr #16",
        "uxth r1, r9",
        "add r1, r1, r9, lsr #16",
        "pop {{r4-r11, pc}}",
    )
}
