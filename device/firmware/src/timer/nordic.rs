//! Nordic's TIMER (nRF51 reference manual 3.0, §18) as an instruction clock.

use core::cell::Cell;

use releq_device::board::InstructionTimer;
use releq_device::clock::Clock;
use releq_format::wire::Unit;

use super::{read, spin, write};

/// Registers (reference manual, table 142), as byte offsets.
mod register {
    pub(super) const START: u32 = 0x000;
    pub(super) const STOP: u32 = 0x004;
    pub(super) const CLEAR: u32 = 0x00C;
    pub(super) const CAPTURE0: u32 = 0x040;
    pub(super) const MODE: u32 = 0x504;
    pub(super) const BITMODE: u32 = 0x508;
    pub(super) const PRESCALER: u32 = 0x510;
    pub(super) const CC0: u32 = 0x540;
}

/// Compare registers of TIMER0.
const COMPARES: u32 = 4;
/// MODE: count time, not events.
const TIMER: u32 = 0;
/// BITMODE: 32 bits.
const BITS_32: u32 = 3;

/// Counts executed instructions, exactly, of one interval at a time: each reading starts the timer anew.
#[derive(Debug)]
pub struct Nordic {
    timer: &'static InstructionTimer,
    /// The ticks of all intervals so far.
    total: Cell<u32>,
}

impl Nordic {
    /// Starts the timer at 0, ticking as fast as it can.
    pub fn start(timer: &'static InstructionTimer) -> Self {
        write(timer, register::STOP, 1);
        write(timer, register::MODE, TIMER);
        write(timer, register::BITMODE, BITS_32);
        write(timer, register::PRESCALER, 0);
        // QEMU rounds its time at each compare event. An event happens once until it is cleared, so these are over
        // before anything is counted.
        for compare in 0..COMPARES {
            write(timer, register::CC0 + 4 * compare, 1);
        }
        write(timer, register::CLEAR, 1);
        write(timer, register::START, 1);
        Self { timer, total: Cell::new(0) }
    }
}

impl Clock for Nordic {
    fn unit(&self) -> Unit {
        Unit::Instructions
    }

    // Inlined into the observer's two calls, of which there is one copy each.
    #[inline(always)]
    fn ticks(&self) -> u32 {
        write(self.timer, register::CAPTURE0, 1);
        let ticks = read(self.timer, register::CC0);
        write(self.timer, register::CLEAR, 1);
        self.total.set(self.total.get().wrapping_add(ticks));
        self.total.get()
    }

    /// Of the interval that `end` ended; `begin` is the reading before it.
    fn units(&self, begin: u32, end: u32) -> u32 {
        self.timer.instructions(end.wrapping_sub(begin))
    }

    fn spin(&self, loops: u32) {
        spin(loops);
    }
}
