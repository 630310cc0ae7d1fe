//! Memory that nothing may touch: regions of the MPU without any access (Armv7-M manual, §B3.5).
//!
//! Whoever does ends in a hard fault, since no handler of memory faults is enabled.

use core::ops::Range;

use cortex_m::peripheral::MPU;

/// Least bytes of a region, and log2 of it.
const LEAST: usize = 32;

/// CTRL: the MPU is on, and what no region covers is as without it.
const ON: u32 = 1 | 1 << 2;
/// RBAR: the number of the region is in the low bits.
const NUMBERED: u32 = 1 << 4;
/// RASR: the region is on, and nothing may be executed. Its permissions are 0: no access for anybody.
const NO_ACCESS: u32 = 1 | 1 << 28;

/// Closes region `number` of the MPU around `memory`, whose length is a power of two that its start is a multiple of.
///
/// # Panics
/// If the MPU has no such region.
pub fn close(mpu: &mut MPU, number: u8, memory: Range<usize>) {
    let bytes = memory.len();
    assert!(bytes.is_power_of_two() && bytes >= LEAST && memory.start.is_multiple_of(bytes), "no region is like that");
    assert!(u32::from(number) < mpu._type.read() >> 8 & 0xFF, "the MPU has too few regions");
    let size = (bytes.trailing_zeros() - 1) << 1;
    // SAFETY: the region forbids what nobody of a sound program does, and permits nothing; the rest of memory keeps its
    // default rules.
    unsafe {
        mpu.rbar.write(memory.start as u32 | NUMBERED | u32::from(number));
        mpu.rasr.write(NO_ACCESS | size);
        mpu.ctrl.write(ON);
    }
    cortex_m::asm::dsb();
    cortex_m::asm::isb();
}
