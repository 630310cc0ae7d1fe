//! Flashing: which sectors an image touches, which of them hold other bytes, and only those erased, programmed, read back.

use std::fmt::{self, Display, Formatter};

use crate::error::ProbeError;
use crate::image::{Image, Piece};
use crate::wire::{Block, Memory, Sector, Wire, WireError};

/// What flashing does at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Reads what the sectors hold.
    Comparing,
    /// Erases and programs.
    Programming,
    /// Reads back.
    Verifying,
}

/// How far a phase of flashing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The phase; each begins at 0 bytes done.
    pub phase: Phase,
    /// Bytes done, at most `total`.
    pub done: u64,
    /// Bytes to do in this phase.
    pub total: u64,
}

/// What flashing an image would erase; nothing is erased by making or printing one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The chip.
    pub chip: String,
    /// Bytes of the image.
    pub bytes: u64,
    /// Sectors that would be erased, by ascending address.
    ///
    /// Their bytes outside the image are programmed again as they were.
    pub erased: Vec<Sector>,
    /// Sectors that hold the image's bytes already and stay as they are; empty if the board was not asked.
    pub unchanged: Vec<Sector>,
}

impl Plan {
    /// What flashing `image` erases at most, without asking a board.
    ///
    /// # Errors
    /// [`ProbeError::NotFlash`] where a byte of it belongs outside flash.
    pub fn of(memory: &Memory, image: &Image) -> Result<Self, ProbeError> {
        let erased = touched(memory, image)?;
        Ok(Self { chip: memory.chip.clone(), bytes: image.bytes(), erased, unchanged: Vec::new() })
    }

    /// Bytes of flash that would be erased.
    pub fn erased_bytes(&self) -> u64 {
        self.erased.iter().map(|sector| u64::from(sector.bytes)).sum()
    }
}

impl Display for Plan {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} bytes for flash of {}", self.bytes, self.chip)?;
        if self.erased.is_empty() {
            write!(f, "  erases nothing: flash holds them already")?;
        }
        for (i, run) in runs(&self.erased).into_iter().enumerate() {
            let (start, end) = (run[0].address, run[run.len() - 1].end());
            let newline = if i == 0 { "" } else { "\n" };
            write!(f, "{newline}  erases 0x{start:08x} up to 0x{end:08x}: {}", sizes(run))?;
        }
        if !self.erased.is_empty() && !self.unchanged.is_empty() {
            write!(f, "\n  leaves {} as it is: the bytes are there already", counted(self.unchanged.len()))?;
        }
        Ok(())
    }
}

/// Sectors without a gap between them, together.
fn runs(sectors: &[Sector]) -> Vec<&[Sector]> {
    sectors.chunk_by(|a, b| a.end() == u64::from(b.address)).collect()
}

/// `4 sectors of 16 KiB and 1 sector of 64 KiB`.
fn sizes(run: &[Sector]) -> String {
    let alike = run.chunk_by(|a, b| a.bytes == b.bytes);
    let texts: Vec<String> =
        alike.map(|alike| format!("{} of {}", counted(alike.len()), size(alike[0].bytes))).collect();
    texts.join(" and ")
}

fn counted(sectors: usize) -> String {
    if sectors == 1 { "1 sector".into() } else { format!("{sectors} sectors") }
}

fn size(bytes: u32) -> String {
    if bytes.is_multiple_of(1024) { format!("{} KiB", bytes / 1024) } else { format!("{bytes} bytes") }
}

/// What flashing did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flashed {
    /// Sectors erased and programmed.
    pub erased: usize,
    /// Sectors that held the image's bytes already.
    pub unchanged: usize,
    /// Bytes programmed, those of the erased sectors that stayed as they were included.
    pub programmed: u64,
}

/// Every sector that holds a byte of `image`, by ascending address.
fn touched(memory: &Memory, image: &Image) -> Result<Vec<Sector>, ProbeError> {
    let mut touched: Vec<Sector> = Vec::new();
    for piece in image.pieces() {
        let mut next = u64::from(piece.address);
        while next < piece.end() {
            let sector = sector_at(memory, next).ok_or_else(|| ProbeError::NotFlash {
                chip: memory.chip.clone(),
                start: piece.address,
                end: piece.end(),
                missing: next,
            })?;
            if touched.last() != Some(&sector) {
                touched.push(sector);
            }
            next = sector.end();
        }
    }
    Ok(touched)
}

fn sector_at(memory: &Memory, address: u64) -> Option<Sector> {
    let after = memory.sectors.partition_point(|sector| u64::from(sector.address) <= address);
    memory.sectors[..after].last().filter(|sector| address < sector.end()).copied()
}

/// A plan after asking the board, and what each of its sectors is to hold.
pub(crate) struct Difference {
    pub(crate) plan: Plan,
    blocks: Vec<Block>,
}

impl Difference {
    /// Reads every sector that `image` touches, and keeps those that hold other bytes.
    pub(crate) fn find(
        wire: &mut dyn Wire,
        image: &Image,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, ProbeError> {
        let most = Plan::of(wire.memory(), image)?;
        let mut tally = Tally::begin(Phase::Comparing, most.erased_bytes(), progress);
        let mut plan = Plan { erased: Vec::new(), ..most.clone() };
        let mut blocks = Vec::new();
        for sector in most.erased {
            let held = read(wire, sector.address, sector.bytes as usize, "reading flash")?;
            match changed(sector, held, image.pieces()) {
                Some(block) => {
                    plan.erased.push(sector);
                    blocks.push(block);
                }
                None => plan.unchanged.push(sector),
            }
            tally.add(u64::from(sector.bytes));
        }
        Ok(Self { plan, blocks })
    }
}

/// What `sector` is to hold instead of `held`, `None` if that is the same.
///
/// Bytes outside the image stay; erased ones behind the image's last byte need not be programmed.
fn changed(sector: Sector, held: Vec<u8>, pieces: &[Piece]) -> Option<Block> {
    let mut wanted = held.clone();
    let mut last = 0;
    for piece in pieces {
        let start = piece.address.max(sector.address);
        let end = piece.end().min(sector.end());
        if u64::from(start) >= end {
            continue;
        }
        let into = (start - sector.address) as usize..(end - u64::from(sector.address)) as usize;
        let from = (start - piece.address) as usize;
        last = into.end;
        wanted[into.clone()].copy_from_slice(&piece.bytes[from..from + into.len()]);
    }
    if wanted == held {
        return None;
    }
    let kept = wanted.iter().rposition(|&byte| byte != sector.erased).map_or(0, |i| i + 1);
    wanted.truncate(kept.max(last));
    Some(Block { address: sector.address, bytes: wanted })
}

/// Flashes `image`; leaves the core halted if anything was programmed.
pub(crate) fn flash(
    wire: &mut dyn Wire,
    image: &Image,
    progress: &mut dyn FnMut(Progress),
) -> Result<Flashed, ProbeError> {
    let Difference { plan, blocks } = Difference::find(wire, image, progress)?;
    if !blocks.is_empty() {
        program(wire, &plan, &blocks, progress)?;
        verify(wire, &blocks, progress)?;
    }
    Ok(Flashed { erased: plan.erased.len(), unchanged: plan.unchanged.len(), programmed: total(&blocks) })
}

fn total(blocks: &[Block]) -> u64 {
    blocks.iter().map(|block| block.bytes.len() as u64).sum()
}

fn program(
    wire: &mut dyn Wire,
    plan: &Plan,
    blocks: &[Block],
    progress: &mut dyn FnMut(Progress),
) -> Result<(), ProbeError> {
    let mut tally = Tally::begin(Phase::Programming, total(blocks), progress);
    let result = wire.program(blocks, &mut |bytes| tally.add(bytes));
    let (done, total) = (tally.now.done, tally.now.total);
    result.map_err(|error| ProbeError::Interrupted {
        chip: plan.chip.clone(),
        done,
        total,
        start: plan.erased[0].address,
        end: plan.erased[plan.erased.len() - 1].end(),
        gone: matches!(error, WireError::Gone(_)),
        cause: error.to_string(),
    })
}

fn verify(wire: &mut dyn Wire, blocks: &[Block], progress: &mut dyn FnMut(Progress)) -> Result<(), ProbeError> {
    let mut tally = Tally::begin(Phase::Verifying, total(blocks), progress);
    for block in blocks {
        let held = read(wire, block.address, block.bytes.len(), "reading flash back")?;
        let differ = || (0..held.len()).filter(|&i| held[i] != block.bytes[i]);
        if let Some(first) = differ().next() {
            return Err(ProbeError::Mismatch {
                chip: wire.memory().chip.clone(),
                address: block.address + first as u32,
                expected: block.bytes[first],
                found: held[first],
                count: differ().count(),
            });
        }
        tally.add(held.len() as u64);
    }
    Ok(())
}

fn read(wire: &mut dyn Wire, address: u32, length: usize, during: &str) -> Result<Vec<u8>, ProbeError> {
    let mut bytes = vec![0; length];
    match wire.read(address, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) => Err(ProbeError::of_wire(error, &wire.memory().chip, format!("{during} at 0x{address:08x}"))),
    }
}

/// Adds up what a phase has done, and says so.
struct Tally<'a> {
    now: Progress,
    progress: &'a mut dyn FnMut(Progress),
}

impl<'a> Tally<'a> {
    fn begin(phase: Phase, total: u64, progress: &'a mut dyn FnMut(Progress)) -> Self {
        let now = Progress { phase, done: 0, total };
        progress(now);
        Self { now, progress }
    }

    /// Flash algorithms count whole pages, so the sum is kept below the total.
    fn add(&mut self, bytes: u64) {
        self.now.done = self.now.total.min(self.now.done + bytes);
        (self.progress)(self.now);
    }
}
