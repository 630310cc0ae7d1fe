//! Arm's APB timer (Arm DDI 0479, §4.4) as an instruction clock.

use releq_device::board::InstructionTimer;
use releq_device::clock::Clock;
use releq_format::wire::Unit;

use super::{read, spin, write};

/// Registers (Arm DDI 0479, table 4-7), as byte offsets.
mod register {
    pub(super) const CONTROL: u32 = 0x0;
    pub(super) const VALUE: u32 = 0x4;
    pub(super) const RELOAD: u32 = 0x8;
}

/// Control bit 0: count.
const ENABLE: u32 = 1;

/// Counts executed instructions, exactly.
#[derive(Debug)]
pub struct Cmsdk {
    timer: &'static InstructionTimer,
}

impl Cmsdk {
    /// Starts the timer at its full range.
    pub fn start(timer: &'static InstructionTimer) -> Self {
        write(timer, register::CONTROL, 0);
        write(timer, register::RELOAD, u32::MAX);
        write(timer, register::VALUE, u32::MAX);
        write(timer, register::CONTROL, ENABLE);
        Self { timer }
    }
}

impl Clock for Cmsdk {
    fn unit(&self) -> Unit {
        Unit::Instructions
    }

    // Inlined into the observer's two calls, of which there is one copy each.
    #[inline(always)]
    fn ticks(&self) -> u32 {
        // It counts down from u32::MAX.
        !read(self.timer, register::VALUE)
    }

    fn units(&self, begin: u32, end: u32) -> u32 {
        self.timer.instructions_between(begin, end)
    }

    fn spin(&self, loops: u32) {
        spin(loops);
    }
}
