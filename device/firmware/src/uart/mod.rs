//! UARTs that are polled byte by byte, without interrupts or DMA: nothing of them happens while a layer is timed.

mod cmsdk;
#[cfg(feature = "nrf52840-dk")]
mod nordic;
#[cfg(feature = "stm32")]
mod stm32;

use releq_device::board::BAUD;

pub use cmsdk::Cmsdk;
#[cfg(feature = "nrf52840-dk")]
pub use nordic::Nordic;
#[cfg(feature = "stm32")]
pub use stm32::stm32;

// What chips' crates set by default, and what Nordic's has a name for.
const _: () = assert!(BAUD == 115_200);

/// A UART at [`BAUD`], 8 bits a byte, no parity, one stop bit, no handshake.
pub trait Uart {
    /// A byte, if one is there. One that arrived damaged, or that nobody fetched in time, is none: the protocol notices
    /// and asks again.
    fn receive(&mut self) -> Option<u8>;

    /// Sends a byte, which may wait for those before it.
    fn send(&mut self, byte: u8);
}

/// What most chips' crates give.
#[cfg(feature = "probe")]
impl<U: embedded_hal_nb::serial::Read + embedded_hal_nb::serial::Write> Uart for U {
    fn receive(&mut self) -> Option<u8> {
        self.read().ok()
    }

    fn send(&mut self, byte: u8) {
        // A UART that cannot send has nowhere to say so.
        let _ = embedded_hal_nb::nb::block!(self.write(byte));
    }
}
