//! How much of the stack was ever used: cortex-m-rt paints it before `main`, and what lost its paint was used.

use core::ptr;

use cortex_m_rt::STACK_PAINT_VALUE;

unsafe extern "C" {
    /// The first address above the statics (cortex-m-rt's link.x), where the stack must never reach.
    static _stack_end: u32;
    /// The address that the stack grows down from.
    static _stack_start: u32;
}

/// Bytes of RAM that the statics leave to the stack.
pub fn size() -> usize {
    start().saturating_sub(end())
}

/// The most bytes of stack in use at any time since the reset; [`size`] or more than that has overflowed.
///
/// A lower bound: a word that was used and happens to hold the paint counts as unused where all below it do too.
pub fn high_water() -> usize {
    let words = (end()..start()).step_by(size_of::<u32>());
    let painted = words.take_while(|&address| is_painted(address)).count();
    size() - painted * size_of::<u32>()
}

fn end() -> usize {
    (&raw const _stack_end).addr()
}

fn start() -> usize {
    (&raw const _stack_start).addr()
}

fn is_painted(address: usize) -> bool {
    let word = ptr::with_exposed_provenance::<u32>(address);
    // SAFETY: `high_water` gives word-aligned addresses between the linker's bounds of the stack, all of it RAM that
    // reads without side effect; volatile, since other calls' frames live there.
    unsafe { word.read_volatile() == STACK_PAINT_VALUE }
}
