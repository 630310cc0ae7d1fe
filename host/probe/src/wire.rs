//! The few primitives that flashing and RTT are built from, so that tests can put an array of bytes in the probe's place.

use std::ops::Range;

use crate::error::ProbeError;

/// The smallest stretch of flash that can be erased by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sector {
    /// First address.
    pub address: u32,
    /// Size in bytes; a whole number of the pages that the chip programs.
    pub bytes: u32,
    /// What an erased byte reads as, 0xff nearly everywhere.
    pub erased: u8,
}

impl Sector {
    /// The address behind the last byte; 64 bits wide, as flash may end at the top of the address space.
    pub const fn end(&self) -> u64 {
        self.address as u64 + self.bytes as u64
    }
}

/// The architecture of a chip's first core: what can be told about a chip without knowing its maker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// Cortex-M0, M0+ and M1.
    Armv6M,
    /// Cortex-M3.
    Armv7M,
    /// Cortex-M4 and M7.
    Armv7EM,
    /// Cortex-M23, M33, M55 and M85.
    Armv8M,
}

impl Architecture {
    /// Its cores, in words.
    pub(crate) const fn cores(self) -> &'static str {
        match self {
            Self::Armv6M => "Cortex-M0, M0+ or M1",
            Self::Armv7M => "Cortex-M3",
            Self::Armv7EM => "Cortex-M4 or M7",
            Self::Armv8M => "Cortex-M23, M33, M52, M55 or M85",
        }
    }
}

/// What a chip's memory looks like, as far as flashing and RTT need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The chip's full name.
    pub chip: String,
    /// The architecture of its first core.
    pub architecture: Architecture,
    /// Every sector of flash for programs and data, by ascending address, none over another.
    ///
    /// Option bytes, one-time-programmable memory and configuration pages are left out. Flash outside the chip (RP2040,
    /// RP2350) is there as large as the chip can address: what the board has, only its user knows.
    pub sectors: Vec<Sector>,
    /// RAM of the first core, aliases included, by ascending address.
    pub ram: Vec<Range<u32>>,
}

impl Memory {
    /// The memory of the chip named `chip`, from probe-rs's table; needs no probe.
    ///
    /// A name may be shortened, and a lowercase `x` stands for any character, as long as one chip fits.
    ///
    /// # Errors
    /// [`ProbeError::UnknownChip`], [`ProbeError::AmbiguousChip`], or [`ProbeError::NotCortexM`].
    pub fn of(chip: &str) -> Result<Self, ProbeError> {
        crate::device::memory(chip)
    }

    /// Whether all of `address..address + bytes` is RAM.
    pub(crate) fn is_ram(&self, address: u32, bytes: u32) -> bool {
        let end = u64::from(address) + u64::from(bytes);
        self.ram.iter().any(|ram| ram.start <= address && end <= u64::from(ram.end))
    }
}

/// Bytes for one sector of flash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// First address, in a sector.
    pub address: u32,
    /// What is to stand there; at least one byte, none beyond the sector.
    pub bytes: Vec<u8>,
}

/// Why a primitive failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// The probe does not answer any more.
    #[error("{0}")]
    Gone(String),
    /// The probe answers, the chip does not do what it is told.
    #[error("{0}")]
    Chip(String),
}

/// A chip at the end of a debug probe.
///
/// Addresses are those of the chip's first core. All of it blocks.
pub trait Wire: Send {
    /// What the chip's memory looks like.
    fn memory(&self) -> &Memory;

    /// Reads memory, whether the core runs or not. Aligned words are read as words.
    ///
    /// # Errors
    /// Where the probe is gone or the chip refuses.
    fn read(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), WireError>;

    /// Writes RAM or registers, whether the core runs or not. Aligned words are written as words.
    ///
    /// # Errors
    /// Where the probe is gone or the chip refuses.
    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), WireError>;

    /// Erases the sector of each of `blocks` and programs its bytes; leaves the core halted.
    ///
    /// No two blocks are in one sector. `programmed` is told how many bytes were programmed since it was last called.
    ///
    /// # Errors
    /// Where the probe is gone or the chip refuses; flash is then in between.
    fn program(&mut self, blocks: &[Block], programmed: &mut dyn FnMut(u64)) -> Result<(), WireError>;

    /// Whether the core is halted.
    ///
    /// # Errors
    /// Where the probe is gone or the chip refuses.
    fn halted(&mut self) -> Result<bool, WireError>;

    /// Resets the chip and halts the core in front of its first instruction.
    ///
    /// # Errors
    /// Where the probe is gone or the chip refuses.
    fn reset_and_halt(&mut self) -> Result<(), WireError>;

    /// Lets the core run on; nothing if it runs.
    ///
    /// # Errors
    /// Where the probe is gone or the chip refuses.
    fn run(&mut self) -> Result<(), WireError>;
}
