//! A board made of an array of bytes, that can fail in chosen ways: for tests of this crate and of whoever uses it.
//!
//! [`Shared`] is one that is attached to again and again, as boards are; [`elf`] makes firmware files for it.

pub mod elf;
mod shared;

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use crate::rtt::{DESCRIPTOR, HEADER, ID};
use crate::wire::{Architecture, Block, Memory, Sector, Wire, WireError};

pub use shared::Shared;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The byte of flash at this address stays erased.
    WornCell(u32),
    /// The probe goes away after this many programmed bytes.
    GoneAfter(u64),
    /// The probe goes away after this many more reads.
    GoneAfterReads(u64),
    /// The flash algorithm refuses.
    WriteProtected,
    /// The chip answers nothing.
    Silent,
    /// The core halts by itself at the first read after it was let run.
    Stops,
    /// Its register CPUID reads so.
    Cpuid(u32),
}

/// What was done to the board.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The sector at this address was erased.
    Erased(u32),
    /// Bytes were programmed.
    Programmed {
        /// First address.
        address: u32,
        /// How many.
        bytes: usize,
    },
    /// It was reset and halted.
    Reset,
    /// It was let run.
    Ran,
}

/// What was done to the board, in order; also after the board was given away.
#[derive(Clone, Debug, Default)]
pub struct Diary(Arc<Mutex<Vec<Event>>>);

impl Diary {
    fn note(&self, event: Event) {
        locked(&self.0).push(event);
    }

    /// Everything so far.
    pub fn events(&self) -> Vec<Event> {
        locked(&self.0).clone()
    }
}

/// What firmware does with what it gets on RTT channel 1; without one it sends that back.
pub trait Program: Debug + Send {
    /// Starts after a reset, with what memory holds; false if that is no such program, and then nothing runs.
    fn start(&mut self, memory: &dyn Fn(u32, usize) -> Vec<u8>) -> bool;

    /// What it sends after getting `bytes`, of which there may be none.
    fn answer(&mut self, bytes: &[u8]) -> Vec<u8>;

    /// What it says on channel 0 since it was last asked.
    fn says(&mut self) -> Vec<u8> {
        Vec::new()
    }
}

/// Firmware that sends back on RTT channel 1 what it gets there, a few bytes whenever the host reads memory.
#[derive(Clone, Debug)]
pub struct Echo {
    /// Address of its control block, in RAM and on a word; the buffers follow.
    pub block: u32,
    /// Bytes of each of its three rings.
    pub ring: u32,
    /// How often memory is read after a reset before the control block is there.
    pub boot_reads: u32,
    /// Most bytes it moves at once; 0 for firmware that is stuck.
    pub pace: usize,
    /// What it says on channel 0.
    pub says: Vec<u8>,
    /// Channels in each direction: 2, or fewer to lack some.
    pub channels: u32,
}

impl Echo {
    /// Rings of `ring` bytes behind a control block at `block`; ready at once, fast, and without a word.
    pub const fn at(block: u32, ring: u32) -> Self {
        Self { block, ring, boot_reads: 0, pace: usize::MAX, says: Vec::new(), channels: 2 }
    }

    /// Address of a descriptor: up channels are numbered from 0, down channels follow.
    pub const fn descriptor(&self, channel: u32) -> u32 {
        self.block + HEADER + DESCRIPTOR * channel
    }

    fn ring_of(&self, channel: u32) -> u32 {
        self.descriptor(2 * self.channels) + self.ring * channel
    }
}

/// A board made of an array of bytes.
#[derive(Clone, Debug)]
pub struct Board {
    memory: Memory,
    /// What is not here reads as 0, in flash as an erased byte.
    bytes: BTreeMap<u32, u8>,
    faults: Vec<Fault>,
    halted: bool,
    reads: u64,
    programmed: u64,
    firmware: Option<(Echo, u32)>,
    program: Option<Arc<Mutex<dyn Program>>>,
    /// What the program has sent and the ring had no room for.
    waiting: VecDeque<u8>,
    diary: Diary,
}

impl Board {
    /// A board with `memory`, its flash erased, its core running.
    pub fn new(memory: Memory) -> Self {
        Self {
            memory,
            bytes: BTreeMap::new(),
            faults: Vec::new(),
            halted: false,
            reads: 0,
            programmed: 0,
            firmware: None,
            program: None,
            waiting: VecDeque::new(),
            diary: Diary::default(),
        }
    }

    /// With `bytes` at `address`.
    pub fn holding(mut self, address: u32, bytes: &[u8]) -> Self {
        self.put(address, bytes);
        self
    }

    /// With one more fault.
    pub fn with(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// Without faults from now on: the cable is plugged in again, the worn cell is another's.
    #[must_use]
    pub fn mended(mut self) -> Self {
        self.faults.clear();
        self
    }

    /// With firmware, that starts at the next reset; or now, if `running`.
    pub fn running(mut self, firmware: Echo, running: bool) -> Self {
        self.firmware = Some((firmware, if running { 0 } else { u32::MAX }));
        if running {
            self.boot();
        }
        self
    }

    /// With firmware that does something, on the rings of `rings`; it starts at the next reset.
    pub fn programmed(mut self, rings: Echo, program: impl Program + 'static) -> Self {
        self.program = Some(Arc::new(Mutex::new(program)));
        self.running(rings, false)
    }

    /// What is done to it.
    pub fn diary(&self) -> Diary {
        self.diary.clone()
    }

    fn byte(&self, address: u32) -> u8 {
        let erased = || self.sector(address).map_or(0, |sector| sector.erased);
        self.bytes.get(&address).copied().unwrap_or_else(erased)
    }

    fn put(&mut self, address: u32, bytes: &[u8]) {
        self.bytes.extend((address..).zip(bytes.iter().copied()));
    }

    fn sector(&self, address: u32) -> Option<Sector> {
        let holds = |sector: &&Sector| sector.address <= address && u64::from(address) < sector.end();
        self.memory.sectors.iter().find(holds).copied()
    }

    fn word(&self, address: u32) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|i| self.byte(address + i as u32)))
    }

    fn put_word(&mut self, address: u32, word: u32) {
        self.put(address, &word.to_le_bytes());
    }

    fn gone(&self) -> bool {
        self.faults.iter().any(|fault| match *fault {
            Fault::GoneAfter(bytes) => self.programmed >= bytes,
            Fault::GoneAfterReads(reads) => self.reads > reads,
            _ => false,
        })
    }

    /// Fails if a fault says so.
    fn answer(&self) -> Result<(), WireError> {
        if self.gone() {
            return Err(WireError::Gone("USB device disconnected".into()));
        }
        match self.faults.contains(&Fault::Silent) {
            true => Err(WireError::Chip("No target responded to the debug port".into())),
            false => Ok(()),
        }
    }

    /// Lays out the firmware's control block and rings, as its start would; false if nothing starts.
    fn boot(&mut self) -> bool {
        let Some((echo, _)) = self.firmware.clone() else { return false };
        self.waiting.clear();
        if !self.starts() {
            return false;
        }
        for channel in 0..2 * echo.channels {
            let descriptor = echo.descriptor(channel);
            for (i, word) in [0, echo.ring_of(channel), echo.ring, 0, 0, 0].into_iter().enumerate() {
                self.put_word(descriptor + 4 * i as u32, word);
            }
        }
        self.put_word(echo.block + 16, echo.channels);
        self.put_word(echo.block + 20, echo.channels);
        self.put(echo.block, &ID);
        true
    }

    /// Whether there is something in flash that starts.
    fn starts(&self) -> bool {
        let memory =
            |address: u32, bytes: usize| (address..).take(bytes).map(|address| self.byte(address)).collect::<Vec<u8>>();
        self.program.as_ref().is_none_or(|program| locked(program).start(&memory))
    }

    /// What the core does between two accesses of the debugger.
    fn step(&mut self) {
        let Some((echo, wait)) = self.firmware.clone().filter(|_| !self.halted) else { return };
        let left = match wait {
            u32::MAX => return,
            1 if !self.boot() => u32::MAX,
            wait => wait.saturating_sub(1),
        };
        self.firmware = Some((echo.clone(), left));
        if wait == 0 && echo.channels == 2 {
            self.talk(echo);
        }
    }

    fn talk(&mut self, mut echo: Echo) {
        if let Some(program) = &self.program {
            echo.says.extend(locked(program).says());
        }
        let said = echo.says.len().min(self.room(&echo, 0)).min(echo.pace);
        let text: Vec<u8> = echo.says.drain(..said).collect();
        self.push(&echo, 0, &text);
        let most = if self.program.is_some() { echo.pace } else { echo.pace.min(self.room(&echo, 1)) };
        let got = self.pull(&echo, most);
        let answer = self.program.as_ref().map_or_else(|| got.clone(), |program| locked(program).answer(&got));
        self.waiting.extend(answer);
        let room = self.waiting.len().min(self.room(&echo, 1)).min(echo.pace);
        let sent: Vec<u8> = self.waiting.drain(..room).collect();
        self.push(&echo, 1, &sent);
        self.firmware = Some((echo, 0));
    }

    /// At most `most` bytes that the host has sent.
    fn pull(&mut self, echo: &Echo, most: usize) -> Vec<u8> {
        let down = echo.descriptor(3);
        let mut got = Vec::new();
        let (write, mut read) = (self.word(down + 12), self.word(down + 16));
        while read != write && got.len() < most {
            got.push(self.byte(self.word(down + 4) + read));
            read = (read + 1) % echo.ring;
        }
        self.put_word(down + 16, read);
        got
    }

    fn room(&self, echo: &Echo, channel: u32) -> usize {
        let descriptor = echo.descriptor(channel);
        let (write, read) = (self.word(descriptor + 12), self.word(descriptor + 16));
        ((read + echo.ring - write % echo.ring - 1) % echo.ring) as usize
    }

    fn push(&mut self, echo: &Echo, channel: u32, bytes: &[u8]) {
        let descriptor = echo.descriptor(channel);
        for &byte in bytes {
            let write = self.word(descriptor + 12);
            self.put(self.word(descriptor + 4) + write, &[byte]);
            self.put_word(descriptor + 12, (write + 1) % echo.ring);
        }
    }

    fn erase(&mut self, sector: Sector) {
        self.bytes.retain(|&address, _| address < sector.address || u64::from(address) >= sector.end());
        self.diary.note(Event::Erased(sector.address));
    }

    /// Cells only go from 1 to 0, so that a sector programmed without being erased shows.
    fn burn(&mut self, address: u32, byte: u8) {
        if !self.faults.contains(&Fault::WornCell(address)) {
            let cell = self.byte(address) & byte;
            self.put(address, &[cell]);
        }
    }

    fn program_block(&mut self, block: &Block, programmed: &mut dyn FnMut(u64)) -> Result<(), WireError> {
        let sector = self.sector(block.address).ok_or_else(|| WireError::Chip("no flash there".into()))?;
        if u64::from(block.address) + block.bytes.len() as u64 > sector.end() {
            return Err(WireError::Chip("a block beyond its sector".into()));
        }
        self.erase(sector);
        for (address, page) in (block.address..).step_by(PAGE).zip(block.bytes.chunks(PAGE)) {
            for (address, &byte) in (address..).zip(page) {
                self.burn(address, byte);
            }
            self.programmed += page.len() as u64;
            programmed(page.len() as u64);
            self.answer()?;
        }
        self.diary.note(Event::Programmed { address: block.address, bytes: block.bytes.len() });
        Ok(())
    }
}

fn locked<T: ?Sized>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Bytes programmed between two reports.
const PAGE: usize = 256;
/// Address of CPUID.
const CPUID: u32 = 0xe000_ed00;

/// What CPUID reads as on the first core of each architecture's list that is sold alone.
const fn cpuid(architecture: Architecture) -> u32 {
    match architecture {
        Architecture::Armv6M => 0x410c_c601,
        Architecture::Armv7M => 0x412f_c231,
        Architecture::Armv7EM => 0x410f_c241,
        Architecture::Armv8M => 0x410f_d214,
    }
}

impl Wire for Board {
    fn memory(&self) -> &Memory {
        &self.memory
    }

    fn read(&mut self, address: u32, bytes: &mut [u8]) -> Result<(), WireError> {
        self.reads += 1;
        self.answer()?;
        self.step();
        if self.faults.contains(&Fault::Stops) && self.reads > 1 {
            self.halted = true;
        }
        if address == CPUID {
            let other =
                self.faults.iter().find_map(|fault| if let Fault::Cpuid(id) = fault { Some(*id) } else { None });
            self.put_word(CPUID, other.unwrap_or_else(|| cpuid(self.memory.architecture)));
        }
        for (address, byte) in (address..).zip(bytes.iter_mut()) {
            *byte = self.byte(address);
        }
        Ok(())
    }

    fn write(&mut self, address: u32, bytes: &[u8]) -> Result<(), WireError> {
        self.answer()?;
        // As on hardware: the debugger does not change flash by writing to it.
        if self.sector(address).is_none() {
            self.put(address, bytes);
        }
        Ok(())
    }

    fn program(&mut self, blocks: &[Block], programmed: &mut dyn FnMut(u64)) -> Result<(), WireError> {
        self.answer()?;
        self.halted = true;
        if self.faults.contains(&Fault::WriteProtected) {
            return Err(WireError::Chip("Failed to erase flash sector: the routine returned 1".into()));
        }
        blocks.iter().try_for_each(|block| self.program_block(block, programmed))
    }

    fn halted(&mut self) -> Result<bool, WireError> {
        self.answer()?;
        Ok(self.halted)
    }

    fn reset_and_halt(&mut self) -> Result<(), WireError> {
        self.answer()?;
        self.halted = true;
        if let Some((echo, wait)) = &mut self.firmware {
            *wait = echo.boot_reads + 1;
        }
        self.diary.note(Event::Reset);
        Ok(())
    }

    fn run(&mut self) -> Result<(), WireError> {
        self.answer()?;
        if std::mem::replace(&mut self.halted, false) {
            self.diary.note(Event::Ran);
        }
        Ok(())
    }
}
