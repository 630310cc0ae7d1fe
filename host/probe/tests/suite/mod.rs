//! What several of these test files need: a small chip, and an ELF file for it.

#![allow(dead_code, reason = "each test file is a crate of its own, and uses a part")]

use releq_probe::mock::{Board, Diary, Fault};
use releq_probe::wire::Architecture;
use releq_probe::{Attached, Memory, ProbeError, Sector};

pub(crate) const FLASH: u32 = 0x0800_0000;
pub(crate) const RAM: u32 = 0x2000_0000;
pub(crate) const SMALL: u32 = 1024;
pub(crate) const LARGE: u32 = 4096;

/// Four sectors of 1 KiB and two of 4 KiB, 64 KiB of RAM in two pieces.
pub(crate) fn chip() -> Memory {
    let sector = |address, bytes| Sector { address, bytes, erased: 0xff };
    let small = (0..4).map(|i| sector(FLASH + i * SMALL, SMALL));
    let large = (0..2).map(|i| sector(FLASH + 4 * SMALL + i * LARGE, LARGE));
    Memory {
        chip: "TOY32F4".into(),
        architecture: Architecture::Armv7EM,
        sectors: small.chain(large).collect(),
        ram: vec![0x1000_0000..0x1000_4000, RAM..RAM + 0xc000],
    }
}

pub(crate) fn attach(board: Board) -> (Attached, Diary) {
    let diary = board.diary();
    (Attached::over(Box::new(board)).unwrap(), diary)
}

pub(crate) fn refused(fault: Fault) -> ProbeError {
    Attached::over(Box::new(Board::new(chip()).with(fault))).unwrap_err()
}

/// Bytes that differ from their neighbours, and from an erased byte.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 7 % 251) as u8).collect()
}
