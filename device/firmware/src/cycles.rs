//! The cycle clock of real cores: CYCCNT where it counts, else SysTick.

use core::sync::atomic::{AtomicU32, Ordering};

use cortex_m::Peripherals;
use cortex_m::peripheral::SYST;
use cortex_m::peripheral::syst::SystClkSource;
use releq_device::board::Counter;
use releq_device::clock::Clock;
use releq_format::wire::Unit;
use rtt_target::rprintln;

/// SysTick counts 24 bits.
const SYSTICK_BITS: u32 = 24;
const SYSTICK_RANGE: u32 = (1 << SYSTICK_BITS) - 1;

/// Times that SysTick has reached 0.
static WRAPS: AtomicU32 = AtomicU32::new(0);

/// Counts a wrap of SysTick; a board's exception handler.
pub fn wrapped() {
    // Load and store, since Cortex-M0+ has no other; nothing else writes it.
    WRAPS.store(WRAPS.load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
}

/// Counts cycles of the core, 32 bits of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CycleClock {
    /// CYCCNT, with all interrupts masked.
    Dwt,
    /// SysTick, whose own exception is the one that is not masked: some 40 cycles in 16.8 million.
    SysTick,
}

impl CycleClock {
    /// Starts the board's counter. Where CYCCNT does not count, says so on RTT's channel 0 and takes SysTick.
    pub fn start(counter: Counter, core: &mut Peripherals) -> Self {
        if counter == Counter::Dwt {
            if start_cycle_counter(core) {
                cortex_m::interrupt::disable();
                return Self::Dwt;
            }
            rprintln!("firmware: CYCCNT does not count on this core; cycles are counted by SysTick");
        }
        start_systick(&mut core.SYST);
        Self::SysTick
    }
}

/// Whether CYCCNT counts now. The lock is the Cortex-M7's (CoreSight's LAR); other cores ignore it.
#[cfg(has_cycle_counter)]
fn start_cycle_counter(core: &mut Peripherals) -> bool {
    use cortex_m::peripheral::DWT;

    core.DCB.enable_trace();
    DWT::unlock();
    core.DWT.set_cycle_count(0);
    core.DWT.enable_cycle_counter();
    let before = DWT::cycle_count();
    cortex_m::asm::delay(16);
    DWT::has_cycle_counter() && DWT::cycle_count() != before
}

#[cfg(not(has_cycle_counter))]
fn start_cycle_counter(_: &mut Peripherals) -> bool {
    false
}

fn start_systick(systick: &mut SYST) {
    systick.set_clock_source(SystClkSource::Core);
    systick.set_reload(SYSTICK_RANGE);
    systick.clear_current();
    systick.enable_interrupt();
    systick.enable_counter();
}

#[cfg(has_cycle_counter)]
fn cycle_count() -> u32 {
    cortex_m::peripheral::DWT::cycle_count()
}

/// Never asked: no clock of such a core is [`CycleClock::Dwt`].
#[cfg(not(has_cycle_counter))]
fn cycle_count() -> u32 {
    systick_count()
}

/// SysTick counts down and wraps when it reaches 0, so 0 is the first count after a wrap.
fn systick_count() -> u32 {
    loop {
        let wraps = WRAPS.load(Ordering::Relaxed);
        let count = 0u32.wrapping_sub(SYST::get_current()) & SYSTICK_RANGE;
        // Lets the exception of a wrap that the count has seen be taken before the next line.
        cortex_m::asm::isb();
        if wraps == WRAPS.load(Ordering::Relaxed) {
            return (wraps << SYSTICK_BITS) | count;
        }
    }
}

impl Clock for CycleClock {
    fn unit(&self) -> Unit {
        Unit::Cycles
    }

    // Inlined into the observer's two calls, of which there is one copy each.
    #[inline(always)]
    fn ticks(&self) -> u32 {
        match self {
            Self::Dwt => cycle_count(),
            Self::SysTick => systick_count(),
        }
    }

    fn units(&self, begin: u32, end: u32) -> u32 {
        end.wrapping_sub(begin)
    }

    fn spin(&self, loops: u32) {
        crate::timer::spin(loops);
    }
}
