//! Why something could not be done on a board: each text says what happened, why, and what to do.

use std::path::PathBuf;

use crate::selection::Found;
use crate::wire::WireError;

/// What sort of failure an error is, for a program's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The request itself cannot be met: a wrong name, file or address.
    Request,
    /// There is no such probe.
    Absent,
    /// The probe or the chip does not do what it is told.
    Misbehaved,
    /// It was done, and reads back otherwise.
    Mismatch,
}

/// Why something could not be done on a board.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProbeError {
    /// No probe is plugged in.
    #[error(
        "no debug probe was found; nothing on USB answers as an ST-Link, J-Link, CMSIS-DAP v2 or another known probe; \
         check the cable (some only charge) and `lsusb`, and on Linux the udev rules of https://probe.rs/docs/getting-started/probe-setup"
    )]
    NoProbe,
    /// Several probes are plugged in, or fit the selector.
    #[error("{} debug probes fit; which one is meant is not said; add one of\n{}", .found.len(), flags(.found))]
    SeveralProbes {
        /// Those that fit.
        found: Vec<Found>,
    },
    /// None of the probes fits the selector.
    #[error(
        "there is no debug probe `{selector}`; it is not plugged in, or has another serial number; use one of\n{}",
        flags(.found)
    )]
    NoSuchProbe {
        /// What was asked for.
        selector: String,
        /// Every probe there is.
        found: Vec<Found>,
    },
    /// The selector cannot be read.
    #[error(
        "`{selector}` names no debug probe; a name is VID:PID or VID:PID:Serial, VID and PID in hexadecimal; \
         list the probes by `releq board probes`, and copy one's"
    )]
    Selector {
        /// What was asked for.
        selector: String,
    },
    /// The user may not use the probe.
    #[error(
        "no permission to use {name} ({identifier}); its USB device belongs to another user; \
         install the udev rules of https://probe.rs/docs/getting-started/probe-setup, then plug it in again"
    )]
    Denied {
        /// The probe's name.
        name: String,
        /// Its identifier.
        identifier: String,
    },
    /// The probe does not open.
    #[error(
        "cannot open debug probe {identifier}; {cause}; \
         close what else uses it (a debugger, another terminal), or plug it in again"
    )]
    Open {
        /// The probe's identifier.
        identifier: String,
        /// What probe-rs says.
        cause: String,
    },
    /// The chip is in no table.
    #[error("there is no chip `{chip}`; probe-rs's table does not have it; {}", near_text(.near))]
    UnknownChip {
        /// What was asked for.
        chip: String,
        /// Names that begin alike.
        near: Vec<String>,
    },
    /// The name fits several chips.
    #[error("`{chip}` fits several chips; {} and more begin so; give the whole name", .near.join(", "))]
    AmbiguousChip {
        /// What was asked for.
        chip: String,
        /// Some that fit.
        near: Vec<String>,
    },
    /// The chip is not a Cortex-M.
    #[error("{chip} cannot run releq; its first core is no Cortex-M; choose a chip with a Cortex-M")]
    NotCortexM {
        /// The chip.
        chip: String,
    },
    /// The chip does not answer.
    #[error(
        "{chip} does not answer the debug probe; {cause}; check its power and the SWD cable, \
         and try --connect-under-reset (firmware may have turned the debug pins off)"
    )]
    Silent {
        /// The chip.
        chip: String,
        /// What probe-rs says.
        cause: String,
    },
    /// The chip is protected against reading.
    #[error(
        "{chip} is locked; its read-out protection is on, and taking it off erases the whole chip, which releq never does; \
         if nothing on it is needed, unlock it by `probe-rs erase --allow-erase-all --chip {chip}`"
    )]
    Locked {
        /// The chip.
        chip: String,
    },
    /// Another chip than asked for.
    #[error(
        "the chip there is not a {chip}; it has a {found}, and {chip} a {expected}; \
         give the chip that is there with --chip, or choose another board with --probe"
    )]
    WrongChip {
        /// The chip asked for.
        chip: String,
        /// The core found.
        found: &'static str,
        /// The cores it may have.
        expected: &'static str,
    },
    /// The probe went away.
    #[error("the debug probe went away while {during}; {cause}; check the cable, plug it in again and repeat")]
    Gone {
        /// What was being done.
        during: String,
        /// What probe-rs says.
        cause: String,
    },
    /// The chip did not do what it was told.
    #[error("{chip} failed while {during}; {cause}; reset the board and repeat, or try --connect-under-reset")]
    Failed {
        /// The chip.
        chip: String,
        /// What was being done.
        during: String,
        /// What probe-rs says.
        cause: String,
    },
    /// Flashing ended half-way.
    #[error(
        "flashing {chip} ended after {done} of {total} bytes; {cause}; \
         flash from 0x{start:08x} up to 0x{end:08x} may be neither old nor new: {} and repeat",
        if *gone { "plug the probe in again" } else { "reset the board, take off any write protection" }
    )]
    Interrupted {
        /// The chip.
        chip: String,
        /// Bytes programmed.
        done: u64,
        /// Bytes to program.
        total: u64,
        /// First address of the first sector that was to be erased.
        start: u32,
        /// The address behind the last such sector.
        end: u64,
        /// Whether the probe went away; else the chip refused.
        gone: bool,
        /// What probe-rs says.
        cause: String,
    },
    /// Flash reads back otherwise.
    #[error(
        "flash of {chip} reads back otherwise; at 0x{address:08x} it holds 0x{found:02x} for 0x{expected:02x}, \
         and {count} of the sector's bytes differ in all; repeat, and if it stays the flash is worn or write-protected"
    )]
    Mismatch {
        /// The chip.
        chip: String,
        /// The first address that differs.
        address: u32,
        /// What was programmed.
        expected: u8,
        /// What was read.
        found: u8,
        /// How many bytes of the sector differ.
        count: usize,
    },
    /// Bytes that belong where no flash is.
    #[error(
        "0x{start:08x} up to 0x{end:08x} cannot be flashed on {chip}; it has no flash at 0x{missing:08x}; \
         check the address, the linker script's memory.x, and --chip"
    )]
    NotFlash {
        /// The chip.
        chip: String,
        /// First address.
        start: u32,
        /// The address behind the last.
        end: u64,
        /// First address outside flash.
        missing: u64,
    },
    /// Nothing to flash.
    #[error("there is nothing to flash; {name} holds no bytes for the chip; check that it is the right file")]
    Empty {
        /// The file, or what the bytes are.
        name: String,
    },
    /// Pieces of one image lie over each other.
    #[error("{name} cannot be flashed; two of its sections claim 0x{address:08x}; check the linker script")]
    Overlap {
        /// The file.
        name: String,
        /// The first address claimed twice.
        address: u32,
    },
    /// A file that cannot be read.
    #[error("cannot read {}; {cause}; check the path", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
    /// A file that is no ELF file for a 32-bit Arm.
    #[error("{name} is no firmware; {cause}; give the ELF file that cargo built for a thumb target")]
    Elf {
        /// The file.
        name: String,
        /// Why.
        cause: String,
    },
    /// No RTT control block.
    #[error(
        "no RTT control block on {chip} {place}; the runner is not in flash, or did not come as far as its start; \
         flash the runner of this version and reset the board"
    )]
    NoControlBlock {
        /// The chip.
        chip: String,
        /// Where it was looked for.
        place: String,
    },
    /// The control block lacks a channel.
    #[error(
        "the firmware on {chip} has no RTT channel {channel} {direction} the host; \
         it is not the runner, or one of another version; flash the runner of this version"
    )]
    NoChannel {
        /// The chip.
        chip: String,
        /// The channel.
        channel: usize,
        /// `to` or `from`.
        direction: &'static str,
    },
    /// The control block makes no sense.
    #[error(
        "the RTT control block of {chip} makes no sense at 0x{address:08x}; {what}, \
         so the firmware has overwritten it; reset the board, and report it if it repeats"
    )]
    Corrupt {
        /// The chip.
        chip: String,
        /// Address of the word.
        address: u32,
        /// What is wrong there.
        what: String,
    },
    /// The firmware does not read.
    #[error(
        "the firmware on {chip} reads nothing; its RTT buffer had no room for {left} more bytes for {milliseconds} ms; \
         it may be stuck: reset the board and run again"
    )]
    NotReading {
        /// The chip.
        chip: String,
        /// Bytes without room.
        left: usize,
        /// How long was waited, in milliseconds.
        milliseconds: u128,
    },
    /// The core has stopped.
    #[error(
        "the core of {chip} has stopped; a breakpoint, or a panic or fault that ends in one, halted it; \
         read its log, reset the board and run again"
    )]
    Stopped {
        /// The chip.
        chip: String,
    },
}

impl ProbeError {
    /// What sort of failure it is.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::NoProbe | Self::NoSuchProbe { .. } | Self::Denied { .. } | Self::Open { .. } => Kind::Absent,
            Self::Mismatch { .. } => Kind::Mismatch,
            Self::Silent { .. }
            | Self::Locked { .. }
            | Self::WrongChip { .. }
            | Self::Gone { .. }
            | Self::Failed { .. }
            | Self::Interrupted { .. }
            | Self::NoControlBlock { .. }
            | Self::NoChannel { .. }
            | Self::Corrupt { .. }
            | Self::NotReading { .. }
            | Self::Stopped { .. } => Kind::Misbehaved,
            _ => Kind::Request,
        }
    }

    /// What a primitive's failure means while `during` was done on `chip`.
    pub(crate) fn of_wire(error: WireError, chip: &str, during: impl Into<String>) -> Self {
        match error {
            WireError::Gone(cause) => Self::Gone { during: during.into(), cause },
            WireError::Chip(cause) => Self::Failed { chip: chip.into(), during: during.into(), cause },
        }
    }
}

/// One flag a line, each ready to be copied.
fn flags(found: &[Found]) -> String {
    let lines = found.iter().map(|probe| format!("  --probe {}   ({})", probe.identifier, probe.name));
    lines.collect::<Vec<_>>().join("\n")
}

/// The remedy for a chip that is not there.
fn near_text(near: &[String]) -> String {
    match near {
        [] => "look it up by `probe-rs chip list`".into(),
        near => format!("these begin alike: {}", near.join(", ")),
    }
}
