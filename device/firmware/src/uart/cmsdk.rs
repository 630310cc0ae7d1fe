//! Arm's APB UART (Arm DDI 0479, §4.3), of which QEMU's MPS2 machines have several.

use super::Uart;

/// Registers (Arm DDI 0479, §4.3), as byte offsets.
mod register {
    pub(super) const DATA: usize = 0x00;
    pub(super) const STATE: usize = 0x04;
    pub(super) const CONTROL: usize = 0x08;
    pub(super) const DIVIDER: usize = 0x10;
}

/// State bits 0 and 1: the buffer to send from is full, the one that receives is.
const SENDING: u32 = 1 << 0;
const RECEIVED: u32 = 1 << 1;
/// Control bits 0 and 1: send and receive.
const ENABLE: u32 = 0b11;
/// The divider's least value. The emulator keeps no rate: it hands a byte over whenever the last one was taken.
const FASTEST: u32 = 16;

/// One of the UARTs of the machines `mps2-an385`, `mps2-an386` and `mps2-an500` (QEMU hw/arm/mps2.c, `uartbase`).
#[derive(Debug)]
pub struct Cmsdk {
    address: usize,
}

impl Cmsdk {
    /// UART0, QEMU's first `-serial`.
    pub fn uart0() -> Self {
        Self { address: 0x4000_4000 }.started()
    }

    /// UART1, QEMU's second `-serial`.
    pub fn uart1() -> Self {
        Self { address: 0x4000_5000 }.started()
    }

    fn started(self) -> Self {
        self.write(register::DIVIDER, FASTEST);
        self.write(register::CONTROL, ENABLE);
        self
    }

    fn register(&self, offset: usize) -> *mut u32 {
        core::ptr::without_provenance_mut(self.address + offset)
    }

    fn write(&self, offset: usize, value: u32) {
        // SAFETY: the constructors give the addresses of such UARTs, which have word registers at the offsets above,
        // and only runners of these machines call them. Writing the registers affects no memory.
        unsafe { self.register(offset).write_volatile(value) }
    }

    fn read(&self, offset: usize) -> u32 {
        // SAFETY: as for writing; reading DATA takes a byte out of the UART, and affects no memory either.
        unsafe { self.register(offset).read_volatile() }
    }

    fn has(&self, state: u32) -> bool {
        self.read(register::STATE) & state != 0
    }
}

impl Uart for Cmsdk {
    fn receive(&mut self) -> Option<u8> {
        self.has(RECEIVED).then(|| self.read(register::DATA) as u8)
    }

    fn send(&mut self, byte: u8) {
        while self.has(SENDING) {}
        self.write(register::DATA, byte.into());
    }
}
