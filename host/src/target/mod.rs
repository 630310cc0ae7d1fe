//! Where images run: this machine ([`native`]) and boards, over one conversation ([`session`]) on any byte pipe.
//!
//! [`lab`] opens an image on any board: [`qemu`] is the pipe to an emulated one, and [`marks`] what its plugin says of
//! cycles; [`wired`] is the pipe to one at a debug probe, [`serial`] to one's UART. [`local`] is the pipe to a server in this process, and [`faulty`]
//! makes a bad one of any; [`fit`] says beforehand whether an image has room.
//! Nothing here knows how inference is done: the engine of `releq-device` runs on both sides.

pub mod faulty;
pub mod fit;
pub mod lab;
mod line;
pub mod local;
pub mod marks;
pub mod native;
pub mod qemu;
pub mod serial;
pub mod session;
#[cfg(feature = "probe")]
pub mod wired;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use releq_device::board::{self, Board};
use releq_format::wire::FaultCode;

/// A byte pipe to something that runs the server.
pub trait Transport {
    /// Sends all of `bytes`.
    ///
    /// # Errors
    /// Where the other side is gone.
    fn send(&mut self, bytes: &[u8]) -> Result<(), TargetError>;

    /// Waits at most `patience` for bytes; `None` if none came.
    ///
    /// # Errors
    /// Where the other side is gone.
    fn receive(&mut self, patience: Duration) -> Result<Option<Vec<u8>>, TargetError>;
}

/// A pipe on loan is a pipe.
impl<T: Transport + ?Sized> Transport for &mut T {
    fn send(&mut self, bytes: &[u8]) -> Result<(), TargetError> {
        (**self).send(bytes)
    }

    fn receive(&mut self, patience: Duration) -> Result<Option<Vec<u8>>, TargetError> {
        (**self).receive(patience)
    }
}

/// Why a target could not be used, or what it did wrong.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// No board of that name.
    #[error("there is no board `{name}`; the boards are {known}; name one of them with --board")]
    UnknownBoard {
        /// What was asked for.
        name: String,
        /// Every board there is.
        known: String,
    },
    /// A board to buy, where an emulator is wanted.
    #[error(
        "{board} is reached by a debug probe and QEMU does not emulate it; the emulated boards are {emulated}; \
         name one of them with --board"
    )]
    NotEmulated {
        /// The board.
        board: &'static str,
        /// The names of those that are.
        emulated: String,
    },
    /// A board to buy, and no way to it.
    #[cfg(not(feature = "probe"))]
    #[error(
        "{board} is reached by a debug probe, and this releq was built without: install it with its feature `probe`, \
         which is on unless `--no-default-features` turns it off"
    )]
    Unprobed {
        /// The board.
        board: &'static str,
    },
    /// The way to a board to buy failed.
    #[cfg(feature = "probe")]
    #[error(transparent)]
    Probe(#[from] releq_probe::ProbeError),
    /// No serial port.
    #[error(
        "cannot open serial port {path}: {error}; the ports of this machine are {ports}; \
         name one of them with --serial, and on Linux be a member of its group (`ls -l {path}`)"
    )]
    NoPort {
        /// Its path or name.
        path: String,
        /// Why.
        error: String,
        /// Those there are.
        ports: String,
    },
    /// A board that is reached by its UART, and holds another image than is to run.
    #[error(
        "{board} does not hold this image, and nothing writes its flash over a UART; \
         write the file to {address:#010x} with your programmer, or use a debug probe and `releq flash`"
    )]
    NotHeld {
        /// The board.
        board: &'static str,
        /// Where its model region starts.
        address: u32,
    },
    /// The emulator is not installed.
    #[error(
        "cannot emulate {board}: {program} is not installed; \
         run `apt-get install qemu-system-arm`, or name the program in RELEQ_QEMU"
    )]
    NoEmulator {
        /// The board.
        board: &'static str,
        /// The program looked for.
        program: PathBuf,
    },
    /// The runner firmware was not found.
    #[error(
        "there is no runner firmware for {board}: {file} is in none of {looked}; \
         build it with `cargo xtask firmware`, or name its directory in RELEQ_RUNNERS"
    )]
    NoRunner {
        /// The board.
        board: &'static str,
        /// The file's name.
        file: String,
        /// Where it was looked for.
        looked: String,
    },
    /// The emulator could not be started.
    #[error("cannot start {program}: {error}; check that it runs by itself")]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The target ended by itself.
    #[error(
        "{board} ended in the middle of a conversation ({status}): {said}; run it again, and report it if it repeats"
    )]
    Ended {
        /// The board.
        board: &'static str,
        /// How it ended.
        status: String,
        /// What it said on its standard error.
        said: String,
    },
    /// No answer.
    #[error("{board} did not answer within {seconds} s; it may be stuck: reset it and run again")]
    Silent {
        /// The board.
        board: &'static str,
        /// How long was waited, retries included.
        seconds: u64,
    },
    /// The firmware speaks another version.
    #[error(
        "the firmware of {board} speaks protocol {theirs}, this program {ours}; \
         build and flash the runner of this version"
    )]
    Protocol {
        /// The board.
        board: &'static str,
        /// The firmware's version.
        theirs: u16,
        /// This program's.
        ours: u16,
    },
    /// Another board than asked for.
    #[error("the firmware says it runs on {found}, not on {board}; give the board that is there with --board")]
    WrongBoard {
        /// The board asked for.
        board: &'static str,
        /// What the firmware says.
        found: String,
    },
    /// The board runs only what its keys have signed, and this is something else.
    #[error(
        "{board} refused: {code}; \
         sign the image with `releq sign` and a key that the firmware was built with, or flash a runner without keys"
    )]
    NotOurs {
        /// The board.
        board: &'static str,
        /// Why.
        code: FaultCode,
    },
    /// The board refused a request.
    #[error("{board} refused: {code} (detail {detail}); load the image again, and report it if it repeats")]
    Refused {
        /// The board.
        board: &'static str,
        /// Why.
        code: FaultCode,
        /// Where.
        detail: u32,
    },
    /// A sound answer to another question.
    #[error("{board} gave an answer that does not fit the question ({question}); flash the runner of this version")]
    Confused {
        /// The board.
        board: &'static str,
        /// What was asked.
        question: &'static str,
    },
    /// The board does not keep what is written to it.
    #[error(
        "{board} does not keep the image that was loaded: what lies in its model region has another checksum; \
         reset the board and load again, and report it if it repeats"
    )]
    NotKept {
        /// The board.
        board: &'static str,
    },
    /// Equal runs gave unequal answers.
    #[error(
        "{board} computes different things from the same input: its memory or its clock cannot be trusted; \
         lower its clock, check its supply, and run again"
    )]
    Unsteady {
        /// The board.
        board: &'static str,
    },
    /// The image's known answer came out wrong.
    #[error(
        "{board} computes the image's self-test wrong: its arithmetic or memory cannot be trusted; \
         flash the runner of this version, and report it if it repeats"
    )]
    SelfTest {
        /// The board.
        board: &'static str,
    },
    /// The plugin counts other instructions than the board.
    #[error(
        "QEMU's plugin counts {plugin} instructions of layer {layer} of {board}, whose own clock counts {counted}, \
         so its cycles mean nothing; build both again with `cargo xtask firmware`, and report it if it repeats"
    )]
    Miscounted {
        /// The board.
        board: &'static str,
        /// The layer, from 0.
        layer: usize,
        /// The board's count.
        counted: u32,
        /// The plugin's; `None` where it has no mark.
        plugin: String,
    },
    /// The clock does not count what it says.
    #[error(
        "the clock of {board} counts {counted} for a loop of {expected} instructions, so no count of it can be trusted; \
         use QEMU 7.2 or later"
    )]
    Clock {
        /// The board.
        board: &'static str,
        /// What the clock said.
        counted: u32,
        /// What the loop has.
        expected: u32,
    },
}

impl TargetError {
    /// What a refusal of `board` means.
    pub(crate) const fn refused(board: &'static str, code: FaultCode, detail: u32) -> Self {
        match code {
            FaultCode::Unsigned | FaultCode::Foreign => Self::NotOurs { board, code },
            code => Self::Refused { board, code, detail },
        }
    }

    /// The exit code it means: 1 where the board takes no such image, 3 where there is no such target, 4 where the target
    /// misbehaved; of a probe also 2 where the request is wrong and 1 where flash holds something else than was written.
    pub const fn exit_code(&self) -> u8 {
        match self {
            #[cfg(not(feature = "probe"))]
            Self::Unprobed { .. } => 3,
            #[cfg(feature = "probe")]
            Self::Probe(error) => match error.kind() {
                releq_probe::Kind::Mismatch => 1,
                releq_probe::Kind::Request => 2,
                releq_probe::Kind::Absent => 3,
                releq_probe::Kind::Misbehaved => 4,
            },
            Self::NotOurs { .. } => 1,
            Self::UnknownBoard { .. }
            | Self::NotEmulated { .. }
            | Self::NoEmulator { .. }
            | Self::NoRunner { .. }
            | Self::NoPort { .. }
            | Self::Start { .. } => 3,
            _ => 4,
        }
    }
}

/// The board of that name.
///
/// # Errors
/// [`TargetError::UnknownBoard`], with the names there are.
pub fn board(name: &str) -> Result<&'static Board, TargetError> {
    Board::by_name(name).ok_or_else(|| {
        let known = board::ALL.iter().map(|board| board.name).collect::<Vec<_>>().join(", ");
        TargetError::UnknownBoard { name: name.to_owned(), known }
    })
}
