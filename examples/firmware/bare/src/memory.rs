//! What only the linker knows: where the model's region lies, and how deep the stack has been.

use core::slice;

unsafe extern "C" {
    static _model_start: u64;
    static _model_end: u64;
    static _stack_end: u32;
    static _stack_start: u32;
}

/// The flash region of the model, whatever lies there.
pub fn model() -> &'static [u8] {
    let (start, end) = (&raw const _model_start, &raw const _model_end);
    // SAFETY: memory.x gives both ends of one stretch of flash, 8-aligned, which the linker puts nothing into and which
    // nothing writes while the program runs.
    unsafe { slice::from_raw_parts(start.cast(), end as usize - start as usize) }
}

/// Bytes of stack used so far, at most: start-up painted all of it, and what is still painted was never written.
pub fn stack_high_water() -> usize {
    let (end, start) = (&raw const _stack_end, &raw const _stack_start);
    let mut lowest = end;
    // SAFETY: the linker script puts both, 4-aligned, around RAM that holds nothing but the stack; words of it below
    // the stack pointer are read as they are, and the walk ends at the stack's other end.
    while lowest < start && unsafe { lowest.read_volatile() } == cortex_m_rt::STACK_PAINT_VALUE {
        lowest = lowest.wrapping_add(1);
    }
    start as usize - lowest as usize
}
