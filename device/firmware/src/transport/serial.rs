//! A UART as a port.

use super::Port;
use crate::uart::Uart;

/// The protocol on a UART, alone on its wires.
#[derive(Debug)]
pub struct Serial<U> {
    uart: U,
}

impl<U: Uart> Serial<U> {
    /// On `uart`, which is running.
    pub const fn new(uart: U) -> Self {
        Self { uart }
    }
}

impl<U: Uart> Port for Serial<U> {
    fn read<'b>(&mut self, buffer: &'b mut [u8]) -> &'b [u8] {
        let received = core::iter::from_fn(|| self.uart.receive());
        let count = buffer.iter_mut().zip(received).map(|(slot, byte)| *slot = byte).count();
        buffer.get(..count).unwrap_or(&[])
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.uart.send(byte));
    }
}
