//! RTT: SEGGER's ring buffers in the board's RAM, read and written through the probe while the core runs.
//!
//! A control block is `"SEGGER RTT"` padded to 16 bytes, the number of up and of down channels, then that many
//! descriptors of six words: name, buffer, size, write offset, read offset, flags. Up is from the board to the host.
//! Whoever writes moves the write offset, whoever reads the read offset, each after the bytes; a full ring has one byte
//! free. Channel 0 is text, channel 1 the binary protocol.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use crate::attached::Attached;
use crate::error::ProbeError;
use crate::image::Image;

/// What a control block begins with.
pub(crate) const ID: [u8; 16] = *b"SEGGER RTT\0\0\0\0\0\0";
/// Bytes in front of the descriptors.
pub(crate) const HEADER: u32 = 24;
/// Bytes of a descriptor.
pub(crate) const DESCRIPTOR: u32 = 24;
/// Most channels in one direction that are believed.
const MAX_CHANNELS: u32 = 16;
/// The channel of text.
const TEXT: usize = 0;
/// The channel of the binary protocol.
const BINARY: usize = 1;
/// Between two looks at a ring that was empty or full.
const POLL: Duration = Duration::from_micros(500);
/// How long [`Rtt::send`] waits for the firmware to make room.
const ROOM: Duration = Duration::from_secs(5);
/// Most control blocks of earlier runs that are wiped.
const STALE: usize = 4;
/// Bytes read at once while looking for a control block.
const SCAN: usize = 4096;

/// Where the control block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlBlock {
    /// At this address.
    At(u32),
    /// Somewhere in RAM; finding it reads RAM up to it, 100 to 500 KiB a second.
    Scan,
}

impl ControlBlock {
    /// Where the firmware of the ELF file at `path` has it: its symbol `_SEGGER_RTT`, or somewhere.
    ///
    /// # Errors
    /// As of [`Image::elf`].
    pub fn of_elf(path: &Path) -> Result<Self, ProbeError> {
        Ok(Image::elf(path)?.control_block().map_or(Self::Scan, Self::At))
    }
}

/// A ring buffer in the board's RAM.
#[derive(Clone, Copy, Debug)]
struct Ring {
    buffer: u32,
    size: u32,
    /// Address of the write offset; the read offset follows.
    offsets: u32,
}

/// A pipe of bytes to the firmware of a board, and its log.
#[derive(Debug)]
pub struct Rtt {
    board: Attached,
    up: Ring,
    down: Ring,
    /// None if the firmware has no channel for text.
    text: Option<Ring>,
    /// The beginning of a character whose end is not there yet.
    partial: Vec<u8>,
}

impl Rtt {
    /// Resets `board`, lets it run, and waits at most `patience` for the control block of the firmware that starts.
    ///
    /// A block that an earlier run left in RAM is wiped first. RAM that holds none is looked through once before the
    /// reset, which is why [`ControlBlock::At`] is faster.
    ///
    /// # Errors
    /// [`ProbeError::NoControlBlock`] if none came, [`ProbeError::NoChannel`] if it lacks channel 1.
    pub fn restart(mut board: Attached, place: ControlBlock, patience: Duration) -> Result<Self, ProbeError> {
        let halted = board.wire().reset_and_halt();
        board.named(halted, || "resetting it".into())?;
        for _ in 0..STALE {
            let Some(stale) = find(&mut board, place)? else { break };
            let wiped = board.wire().write(stale, &[0; ID.len()]);
            board.named(wiped, || "wiping the RTT control block of the last run".into())?;
        }
        Self::attach(board, place, patience)
    }

    /// Lets `board` run if it is halted, and waits at most `patience` for its firmware's control block.
    ///
    /// Waiting bytes are kept: what the firmware sent before is received.
    ///
    /// # Errors
    /// As of [`Rtt::restart`].
    pub fn attach(mut board: Attached, place: ControlBlock, patience: Duration) -> Result<Self, ProbeError> {
        let running = board.wire().run();
        board.named(running, || "letting it run".into())?;
        let deadline = Instant::now() + patience;
        let block = loop {
            match find(&mut board, place)? {
                Some(block) => break block,
                None if Instant::now() < deadline => thread::sleep(POLL),
                None => return Err(no_block(&board, place)),
            }
        };
        Self::open(board, block)
    }

    fn open(mut board: Attached, block: u32) -> Result<Self, ProbeError> {
        let [ups, downs] = words(&mut board, block + 16)?;
        let missing = |board: &Attached, channel, direction| ProbeError::NoChannel {
            chip: board.memory().chip.clone(),
            channel,
            direction,
        };
        let text = ring(&mut board, block, 0, ups, TEXT)?;
        let up = ring(&mut board, block, 0, ups, BINARY)?.ok_or_else(|| missing(&board, BINARY, "to"))?;
        let down = ring(&mut board, block, ups, downs, BINARY)?.ok_or_else(|| missing(&board, BINARY, "from"))?;
        Ok(Self { board, up, down, text, partial: Vec::new() })
    }

    /// Sends all of `bytes` on channel 1; waits at most 5 s whenever the firmware makes no room.
    ///
    /// # Errors
    /// [`ProbeError::NotReading`] if it made none, [`ProbeError::Stopped`] if its core is halted, and where the probe
    /// is gone.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), ProbeError> {
        self.send_within(bytes, ROOM)
    }

    /// As [`Rtt::send`], with another limit than 5 s.
    ///
    /// # Errors
    /// As of [`Rtt::send`].
    pub fn send_within(&mut self, mut bytes: &[u8], patience: Duration) -> Result<(), ProbeError> {
        let mut deadline = Instant::now() + patience;
        while !bytes.is_empty() {
            let sent = write(&mut self.board, self.down, bytes)?;
            bytes = &bytes[sent..];
            if sent > 0 {
                deadline = Instant::now() + patience;
            } else if Instant::now() < deadline {
                thread::sleep(POLL);
            } else {
                self.check_running()?;
                let chip = self.board.memory().chip.clone();
                return Err(ProbeError::NotReading { chip, left: bytes.len(), milliseconds: patience.as_millis() });
            }
        }
        Ok(())
    }

    /// Waits at most `patience` for bytes on channel 1, and takes all that are there; `None` if none came.
    ///
    /// # Errors
    /// [`ProbeError::Stopped`] if none came and the core is halted, and where the probe is gone.
    pub fn receive(&mut self, patience: Duration) -> Result<Option<Vec<u8>>, ProbeError> {
        let deadline = Instant::now() + patience;
        loop {
            let bytes = read(&mut self.board, self.up)?;
            if !bytes.is_empty() {
                return Ok(Some(bytes));
            }
            if Instant::now() >= deadline {
                self.check_running()?;
                return Ok(None);
            }
            thread::sleep(POLL);
        }
    }

    /// The text that waits on channel 0, empty if there is none. What is no UTF-8 becomes `U+FFFD`.
    ///
    /// # Errors
    /// Where the probe is gone, or the firmware has overwritten its control block.
    pub fn log(&mut self) -> Result<String, ProbeError> {
        let Some(ring) = self.text else { return Ok(String::new()) };
        self.partial.extend(read(&mut self.board, ring)?);
        let whole = match str::from_utf8(&self.partial) {
            // Only an end that may still become a character waits for the next call.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            _ => self.partial.len(),
        };
        let rest = self.partial.split_off(whole);
        let text = String::from_utf8_lossy(&std::mem::replace(&mut self.partial, rest)).into_owned();
        Ok(text)
    }

    /// The board, for reading its memory in between.
    pub const fn board(&mut self) -> &mut Attached {
        &mut self.board
    }

    /// The board back, its core running.
    pub fn into_board(self) -> Attached {
        self.board
    }

    fn check_running(&mut self) -> Result<(), ProbeError> {
        let halted = self.board.wire().halted();
        match self.board.named(halted, || "asking whether its core runs".into())? {
            true => Err(ProbeError::Stopped { chip: self.board.memory().chip.clone() }),
            false => Ok(()),
        }
    }
}

/// Reads `N` words.
fn words<const N: usize>(board: &mut Attached, address: u32) -> Result<[u32; N], ProbeError> {
    let mut bytes = vec![0; 4 * N];
    board.read(address, &mut bytes)?;
    let mut words = [0; N];
    for (word, bytes) in words.iter_mut().zip(bytes.chunks_exact(4)) {
        *word = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    }
    Ok(words)
}

/// The address of a control block, if there is one now.
fn find(board: &mut Attached, place: ControlBlock) -> Result<Option<u32>, ProbeError> {
    match place {
        ControlBlock::At(address) => Ok(is_block(board, address)?.then_some(address)),
        ControlBlock::Scan => scan(board),
    }
}

/// Whether a control block with a believable number of channels is at `address`.
fn is_block(board: &mut Attached, address: u32) -> Result<bool, ProbeError> {
    let mut header = [0; HEADER as usize];
    board.read(address, &mut header)?;
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    Ok(header[..16] == ID && number(16) <= MAX_CHANNELS && number(20) <= MAX_CHANNELS)
}

/// Looks through all RAM, at word boundaries.
fn scan(board: &mut Attached) -> Result<Option<u32>, ProbeError> {
    for ram in board.memory().ram.clone() {
        let mut start = ram.start;
        // Chunks overlap by a header, so that a block across their border is in one of them.
        while ram.end - start >= HEADER {
            let length = SCAN.min((ram.end - start) as usize);
            let mut bytes = vec![0; length];
            board.read(start, &mut bytes)?;
            for at in (0..=length - HEADER as usize).step_by(4) {
                let address = start + at as u32;
                if bytes[at..].starts_with(&ID) && is_block(board, address)? {
                    return Ok(Some(address));
                }
            }
            start += (length - HEADER as usize) as u32 + 4;
        }
    }
    Ok(None)
}

fn no_block(board: &Attached, place: ControlBlock) -> ProbeError {
    let ram = || board.memory().ram.iter().map(|ram| format!("from 0x{:08x} up to 0x{:08x}", ram.start, ram.end));
    let place = match place {
        ControlBlock::At(address) => format!("at 0x{address:08x}"),
        ControlBlock::Scan => format!("in RAM {}", ram().collect::<Vec<_>>().join(" and ")),
    };
    ProbeError::NoControlBlock { chip: board.memory().chip.clone(), place }
}

/// The ring of `channel`, behind `skipped` descriptors; `None` if there is none, or it was given no buffer.
fn ring(
    board: &mut Attached,
    block: u32,
    skipped: u32,
    channels: u32,
    channel: usize,
) -> Result<Option<Ring>, ProbeError> {
    if channel as u32 >= channels {
        return Ok(None);
    }
    let descriptor = block + HEADER + DESCRIPTOR * (skipped + channel as u32);
    let [_name, buffer, size] = words(board, descriptor)?;
    if size == 0 {
        return Ok(None);
    }
    match board.memory().is_ram(buffer, size) {
        true => Ok(Some(Ring { buffer, size, offsets: descriptor + 12 })),
        false => {
            Err(corrupt(board, descriptor + 4, format!("a buffer of {size} bytes at 0x{buffer:08x} is not in RAM")))
        }
    }
}

fn corrupt(board: &Attached, address: u32, what: String) -> ProbeError {
    ProbeError::Corrupt { chip: board.memory().chip.clone(), address, what }
}

/// The write and the read offset.
fn offsets(board: &mut Attached, ring: Ring) -> Result<(u32, u32), ProbeError> {
    let [write, read] = words(board, ring.offsets)?;
    for (address, offset) in [(ring.offsets, write), (ring.offsets + 4, read)] {
        if offset >= ring.size {
            return Err(corrupt(board, address, format!("offset {offset} is beyond a buffer of {} bytes", ring.size)));
        }
    }
    Ok((write, read))
}

fn set_offset(board: &mut Attached, address: u32, offset: u32) -> Result<(), ProbeError> {
    let written = board.wire().write(address, &offset.to_le_bytes());
    board.named(written, || "moving an RTT offset".into())
}

/// Takes all bytes that wait in `ring`.
fn read(board: &mut Attached, ring: Ring) -> Result<Vec<u8>, ProbeError> {
    let (write, read) = offsets(board, ring)?;
    if write == read {
        return Ok(Vec::new());
    }
    let wraps = write < read;
    let mut bytes = vec![0; (if wraps { ring.size - read } else { write - read }) as usize];
    board.read(ring.buffer + read, &mut bytes)?;
    if wraps && write > 0 {
        let mut rest = vec![0; write as usize];
        board.read(ring.buffer, &mut rest)?;
        bytes.extend(rest);
    }
    set_offset(board, ring.offsets + 4, write)?;
    Ok(bytes)
}

/// Puts as many of `bytes` into `ring` as it has room for, and says how many.
fn write(board: &mut Attached, ring: Ring, bytes: &[u8]) -> Result<usize, ProbeError> {
    let (write, read) = offsets(board, ring)?;
    let room = (read + ring.size - write - 1) % ring.size;
    let sent = bytes.len().min(room as usize);
    if sent == 0 {
        return Ok(0);
    }
    let straight = sent.min((ring.size - write) as usize);
    put(board, ring.buffer + write, &bytes[..straight])?;
    put(board, ring.buffer, &bytes[straight..sent])?;
    set_offset(board, ring.offsets, (write + sent as u32) % ring.size)?;
    Ok(sent)
}

fn put(board: &mut Attached, address: u32, bytes: &[u8]) -> Result<(), ProbeError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let written = board.wire().write(address, bytes);
    board.named(written, || "filling an RTT buffer".into())
}
