//! The instruction clock of emulated boards: a CMSDK timer under QEMU's `-icount`, where time passes per instruction.

use core::arch::asm;

use releq_device::board::Board;
use releq_device::clock::Clock;
use releq_format::wire::Unit;

/// Registers of an APB timer (Arm DDI 0479, table 4-7), as word offsets.
mod register {
    pub(super) const CONTROL: usize = 0;
    pub(super) const VALUE: usize = 1;
    pub(super) const RELOAD: usize = 2;
}

/// Control bit 0: count.
const ENABLE: u32 = 1;

/// Counts executed instructions, exactly.
#[derive(Debug)]
pub struct InstructionClock {
    board: &'static Board,
}

impl InstructionClock {
    /// Starts the board's timer at its full range.
    pub fn start(board: &'static Board) -> Self {
        let clock = Self { board };
        clock.write(register::CONTROL, 0);
        clock.write(register::RELOAD, u32::MAX);
        clock.write(register::VALUE, u32::MAX);
        clock.write(register::CONTROL, ENABLE);
        clock
    }

    fn address(&self, register: usize) -> *mut u32 {
        core::ptr::without_provenance_mut::<u32>(self.board.timer as usize).wrapping_add(register)
    }

    fn write(&self, register: usize, value: u32) {
        // SAFETY: the board table gives the address of a CMSDK timer, which has word registers at these offsets, and
        // nothing else in the firmware uses it. Writing them affects no memory.
        unsafe { self.address(register).write_volatile(value) }
    }

    fn read(&self, register: usize) -> u32 {
        // SAFETY: as for writing; reading has no side effect.
        unsafe { self.address(register).read_volatile() }
    }
}

impl Clock for InstructionClock {
    fn unit(&self) -> Unit {
        Unit::Instructions
    }

    // Inlined into the observer's two calls, of which there is one copy each.
    #[inline(always)]
    fn ticks(&self) -> u32 {
        // It counts down from u32::MAX.
        !self.read(register::VALUE)
    }

    fn units(&self, begin: u32, end: u32) -> u32 {
        self.board.instructions_between(begin, end)
    }

    #[inline(never)]
    fn spin(&self, loops: u32) {
        // SAFETY: only r-registers and flags change; the loop ends since the counter reaches 0 from at least 1.
        unsafe {
            asm!("2:", "subs {left}, {left}, #1", "bne 2b", left = inout(reg) loops.max(1) => _, options(nomem, nostack));
        }
    }
}
