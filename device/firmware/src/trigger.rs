//! A pin that is high while a layer runs, so that an oscilloscope or a power analyser sees when.

use core::cell::{Cell, RefCell};

use embedded_hal::digital::OutputPin;
use releq_device::clock::Clock;

/// A clock that raises a pin before the reading that begins a layer, and lowers it after the one that ends it.
///
/// The server reads its clock at these two moments only and in turns, also around the empty region that it measures
/// the cost of a reading by; so what the pin costs is taken off with the rest. Between layers, while digests are
/// taken, the pin is low.
#[derive(Debug)]
pub struct Triggered<C, P> {
    clock: C,
    pin: RefCell<P>,
    running: Cell<bool>,
}

impl<C: Clock, P: OutputPin> Triggered<C, P> {
    /// Lowers the pin.
    pub fn new(clock: C, pin: P) -> Self {
        let triggered = Self { clock, pin: RefCell::new(pin), running: Cell::new(false) };
        triggered.set(false);
        triggered
    }

    /// Sets the pin; chips' own pins cannot fail, and a measurement does not end for one that can.
    fn set(&self, high: bool) {
        if let Ok(mut pin) = self.pin.try_borrow_mut() {
            let _ = pin.set_state(high.into());
        }
        self.running.set(high);
    }
}

impl<C: Clock, P: OutputPin> Clock for Triggered<C, P> {
    fn unit(&self) -> releq_format::wire::Unit {
        self.clock.unit()
    }

    #[inline(always)]
    fn ticks(&self) -> u32 {
        if self.running.get() {
            let end = self.clock.ticks();
            self.set(false);
            return end;
        }
        self.set(true);
        self.clock.ticks()
    }

    fn units(&self, begin: u32, end: u32) -> u32 {
        self.clock.units(begin, end)
    }

    fn spin(&self, loops: u32) {
        self.clock.spin(loops);
    }
}
