//! Nordic's UART (nRF52840 product specification 1.7, §6.33): the one before EasyDMA, six bytes deep.

use nrf52840_hal::gpio::{Input, Output, Pin, PullUp, PushPull};
use nrf52840_hal::pac::UART0;

use super::Uart;

/// UART0 with its two pins.
pub struct Nordic {
    uart: UART0,
}

impl Nordic {
    /// Starts both directions; parity and handshake are off after reset.
    pub fn start(uart: UART0, transmit: Pin<Output<PushPull>>, receive: Pin<Input<PullUp>>) -> Self {
        let [(tx, tx_port), (rx, rx_port)] = [split(transmit.psel_bits()), split(receive.psel_bits())];
        uart.psel.txd.write(|select| select.pin().variant(tx).port().bit(tx_port).connect().connected());
        uart.psel.rxd.write(|select| select.pin().variant(rx).port().bit(rx_port).connect().connected());
        uart.baudrate.write(|rate| rate.baudrate().baud115200());
        uart.enable.write(|enable| enable.enable().enabled());
        uart.tasks_starttx.write(|task| task.tasks_starttx().set_bit());
        uart.tasks_startrx.write(|task| task.tasks_startrx().set_bit());
        Self { uart }
    }
}

/// Number and port of a pin.
fn split(selection: u32) -> (u8, bool) {
    ((selection & 0x1F) as u8, selection & 0x20 != 0)
}

impl Uart for Nordic {
    fn receive(&mut self) -> Option<u8> {
        if self.uart.events_rxdrdy.read().events_rxdrdy().bit_is_clear() {
            return None;
        }
        // Before the byte is fetched, for the next one then makes the event anew (§6.33, "Reception").
        self.uart.events_rxdrdy.reset();
        Some(self.uart.rxd.read().rxd().bits())
    }

    fn send(&mut self, byte: u8) {
        self.uart.events_txdrdy.reset();
        self.uart.txd.write(|data| data.txd().variant(byte));
        while self.uart.events_txdrdy.read().events_txdrdy().bit_is_clear() {}
    }
}
