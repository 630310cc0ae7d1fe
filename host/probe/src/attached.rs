//! A board at the end of a debug probe: how to get there, and what to do there.

use std::fmt::{self, Debug, Formatter};
use std::path::Path;

use crate::device;
use crate::error::ProbeError;
use crate::flash::{self, Difference, Flashed, Plan, Progress};
use crate::image::Image;
use crate::selection;
use crate::wire::{Architecture, Memory, Wire, WireError};

/// How to talk to the chip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Hold the chip in reset while attaching, for firmware that turns the debug pins off. Resets the chip.
    pub under_reset: bool,
    /// Clock of the wire in kHz; the probe's own choice if `None`, 1000 to 4000 as a rule.
    pub speed: Option<u32>,
}

/// A board at the end of a debug probe.
///
/// Dropping it leaves the core as it is, running or halted.
pub struct Attached {
    wire: Box<dyn Wire>,
}

impl Debug for Attached {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attached").field("chip", &self.wire.memory().chip).finish_non_exhaustive()
    }
}

impl Attached {
    /// Attaches to the `chip` at the probe that `selector` means, or at the only one there is, by SWD.
    ///
    /// The core keeps running, unless `link` resets it. Nothing is erased, not even to unlock a chip.
    ///
    /// # Errors
    /// Where the chip is not known, the probe is not there or cannot be used, or the chip does not answer, is locked,
    /// or has another core than `chip`.
    pub fn open(selector: Option<&str>, chip: &str, link: Link) -> Result<Self, ProbeError> {
        let memory = Memory::of(chip)?;
        let found = selection::list();
        let probe = selection::choose(&found, selector)?;
        Self::over(device::attach(probe, memory, link)?)
    }

    /// A board at the end of `wire`, which may be a [`mock`](crate::mock).
    ///
    /// # Errors
    /// [`ProbeError::WrongChip`] where its core is not the chip's, [`ProbeError::Silent`] where it does not answer.
    pub fn over(mut wire: Box<dyn Wire>) -> Result<Self, ProbeError> {
        check_core(wire.as_mut())?;
        Ok(Self { wire })
    }

    /// What the chip's memory looks like.
    pub fn memory(&self) -> &Memory {
        self.wire.memory()
    }

    /// Reads `bytes.len()` bytes from `address` on, whether the core runs or not.
    ///
    /// # Errors
    /// Where the probe is gone, or nothing answers at an address.
    pub fn read(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), ProbeError> {
        let end = u64::from(address) + bytes.len() as u64;
        let result = self.wire.read(address, bytes);
        self.named(result, || format!("reading 0x{address:08x} up to 0x{end:08x}"))
    }

    /// What flashing `image` would erase. Reads flash, changes nothing.
    ///
    /// # Errors
    /// As of [`Plan::of`], and where flash cannot be read.
    pub fn plan(&mut self, image: &Image, mut progress: impl FnMut(Progress)) -> Result<Plan, ProbeError> {
        Ok(Difference::find(self.wire.as_mut(), image, &mut progress)?.plan)
    }

    /// Flashes `image`: erases the sectors that hold other bytes, and only those, programs them and reads them back.
    ///
    /// What else lies in those sectors is programmed again as it was. If all bytes are there already, nothing happens
    /// and the core runs on; else it is left halted, for [`reset_and_run`](Self::reset_and_run).
    ///
    /// # Errors
    /// Where a byte belongs outside flash: then nothing is erased. [`ProbeError::Interrupted`] half-way,
    /// [`ProbeError::Mismatch`] where it reads back otherwise.
    pub fn flash(&mut self, image: &Image, mut progress: impl FnMut(Progress)) -> Result<Flashed, ProbeError> {
        flash::flash(self.wire.as_mut(), image, &mut progress)
    }

    /// [`flash`](Self::flash) of `bytes` at `address`.
    ///
    /// # Errors
    /// As of [`Image::bin`] and [`flash`](Self::flash).
    pub fn flash_bin(
        &mut self,
        address: u32,
        bytes: &[u8],
        progress: impl FnMut(Progress),
    ) -> Result<Flashed, ProbeError> {
        self.flash(&Image::bin(address, bytes)?, progress)
    }

    /// [`flash`](Self::flash) of the ELF file at `path`.
    ///
    /// # Errors
    /// As of [`Image::elf`] and [`flash`](Self::flash).
    pub fn flash_elf(&mut self, path: &Path, progress: impl FnMut(Progress)) -> Result<Flashed, ProbeError> {
        self.flash(&Image::elf(path)?, progress)
    }

    /// Resets the chip and lets it run.
    ///
    /// # Errors
    /// Where the probe is gone or the chip refuses.
    pub fn reset_and_run(&mut self) -> Result<(), ProbeError> {
        let result = self.wire.reset_and_halt().and_then(|()| self.wire.run());
        self.named(result, || "resetting it".into())
    }

    pub(crate) fn wire(&mut self) -> &mut dyn Wire {
        self.wire.as_mut()
    }

    /// A primitive's result, with the chip and what was being done.
    pub(crate) fn named<T>(&self, result: Result<T, WireError>, during: impl Fn() -> String) -> Result<T, ProbeError> {
        result.map_err(|error| ProbeError::of_wire(error, &self.wire.memory().chip, during()))
    }
}

/// Address of CPUID (Armv7-M ARM, B3.2.3; the same on Armv6-M and Armv8-M).
const CPUID: u32 = 0xe000_ed00;

/// Compares the core that is there with the chip's: the flash algorithm of another family would end badly.
///
/// Chips with the same architecture are not told apart, and a core that is in no table passes.
fn check_core(wire: &mut dyn Wire) -> Result<(), ProbeError> {
    let mut cpuid = [0; 4];
    let answer = wire.read(CPUID, &mut cpuid);
    let Memory { chip, architecture, .. } = wire.memory();
    answer.map_err(|error| ProbeError::Silent { chip: chip.clone(), cause: error.to_string() })?;
    match core(u32::from_le_bytes(cpuid)) {
        Some((found, its)) if its != *architecture => {
            Err(ProbeError::WrongChip { chip: chip.clone(), found, expected: architecture.cores() })
        }
        _ => Ok(()),
    }
}

/// Arm's cores by CPUID: implementer in bits 31 to 24, part number in bits 15 to 4.
fn core(cpuid: u32) -> Option<(&'static str, Architecture)> {
    if cpuid >> 24 != 0x41 {
        return None;
    }
    Some(match cpuid >> 4 & 0xfff {
        0xc20 => ("Cortex-M0", Architecture::Armv6M),
        0xc21 => ("Cortex-M1", Architecture::Armv6M),
        0xc60 => ("Cortex-M0+", Architecture::Armv6M),
        0xc23 => ("Cortex-M3", Architecture::Armv7M),
        0xc24 => ("Cortex-M4", Architecture::Armv7EM),
        0xc27 => ("Cortex-M7", Architecture::Armv7EM),
        0xd20 => ("Cortex-M23", Architecture::Armv8M),
        0xd21 => ("Cortex-M33", Architecture::Armv8M),
        0xd22 => ("Cortex-M55", Architecture::Armv8M),
        0xd23 => ("Cortex-M85", Architecture::Armv8M),
        0xd24 => ("Cortex-M52", Architecture::Armv8M),
        _ => return None,
    })
}
