//! What boards are reached with: the emulator, the runners and the way to a debug probe, behind one call.

use std::fmt::{self, Debug, Formatter};
use std::time::Duration;

use releq_device::board::{Board, Reach, Writing};
use releq_format::image::Image;

use super::marks::Marks;
use super::qemu::{Launch, NoPlugin, Qemu};
use super::serial::Serial;
use super::session::{Greeted, Patience, Session};
#[cfg(feature = "probe")]
use super::wired::{self, Attach, Wired};
use super::{TargetError, Transport};

/// How images get onto boards, whichever way a board is reached.
#[derive(Clone)]
pub struct Lab {
    /// The emulator, and the runners of all boards.
    pub launch: Launch,
    /// The serial port of a board to buy, which is then reached by its UART.
    pub serial: Option<String>,
    /// The way to a board at a debug probe.
    #[cfg(feature = "probe")]
    pub attach: Attach,
}

impl Debug for Lab {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lab").field("launch", &self.launch).finish_non_exhaustive()
    }
}

/// An image, open on a board.
#[derive(Debug)]
pub struct Opened {
    /// The conversation.
    pub session: Session<Pipe>,
    /// What the emulator's plugin writes down of cycles, or why there is nothing.
    pub marks: Result<Marks, NoPlugin>,
}

impl Lab {
    /// The emulator and runners as [`Launch::from_env`] finds them, and the only probe there is or the one that
    /// `RELEQ_PROBE` or `PROBE_RS_PROBE` names.
    pub fn from_env() -> Self {
        Self {
            launch: Launch::from_env(),
            serial: None,
            #[cfg(feature = "probe")]
            attach: wired::Choice::from_env().attach(),
        }
    }

    /// Puts `image` on `board`, which has room for it (see [`check_fit`](super::fit::check_fit)), and opens it there.
    ///
    /// An emulated board starts anew. What a board at a probe lacks of runner and image is flashed; the rest of its flash
    /// stays as it is.
    ///
    /// # Errors
    /// [`TargetError`] where the board is missing, misbehaves or computes the image's self-test wrong.
    pub fn open(&self, board: &'static Board, image: &Image<'_>) -> Result<Opened, TargetError> {
        if let Some(path) = &self.serial {
            return over_serial(board, path, image);
        }
        match board.reach {
            Reach::Qemu { .. } => {
                let qemu = Qemu::start(board, image, &self.launch)?;
                let marks = qemu.marks();
                Ok(Opened { session: Session::open(board, Pipe::Emulated(qemu), image, Patience::default())?, marks })
            }
            #[cfg(feature = "probe")]
            Reach::Probe { .. } => {
                let (greeted, _) = wired::up_to_date(board, image, self, wired::Runner::IfOther, &mut |_, _| ())?;
                Ok(Opened { session: greeted.map(Pipe::Wired).open(image)?, marks: Err(NoPlugin::Wired) })
            }
            #[cfg(not(feature = "probe"))]
            Reach::Probe { .. } => Err(TargetError::Unprobed { board: board.name }),
        }
    }

    /// Starts an emulated `board` with nothing in its model region, loads `image` into it over the protocol, as far as
    /// that is RAM, and opens it there; `watch` learns how many bytes are there.
    ///
    /// # Errors
    /// As [`Lab::open`]; and [`TargetError::NotEmulated`].
    pub fn load(
        &self,
        board: &'static Board,
        image: &Image<'_>,
        watch: &mut dyn FnMut(usize),
    ) -> Result<Session<Pipe>, TargetError> {
        let qemu = match board.model_writing {
            Writing::Ram => Qemu::empty(board, &self.launch)?,
            Writing::Loader | Writing::Flash { .. } => Qemu::start(board, image, &self.launch)?,
        };
        let mut greeted = Greeted::greet(board, Pipe::Emulated(qemu), Patience::default())?;
        greeted.load(image, watch)?;
        greeted.open(image)
    }
}

/// Opens an image that lies in the flash of a board already, or loads it where the model region is RAM.
fn over_serial(board: &'static Board, path: &str, image: &Image<'_>) -> Result<Opened, TargetError> {
    let mut greeted = Greeted::greet(board, Pipe::Serial(Serial::open(board, path)?), Patience::default())?;
    if greeted.greeting().writable {
        greeted.load(image, &mut |_| ())?;
    } else if !greeted.holds(image)? {
        return Err(TargetError::NotHeld { board: board.name, address: board.model.origin });
    }
    Ok(Opened { session: greeted.open(image)?, marks: Err(NoPlugin::Wired) })
}

/// The pipe to a board.
#[derive(Debug)]
pub enum Pipe {
    /// To a UART.
    Serial(Serial),
    /// To an emulator.
    Emulated(Qemu),
    /// To a debug probe.
    #[cfg(feature = "probe")]
    Wired(Wired),
}

impl Pipe {
    fn transport(&mut self) -> &mut dyn Transport {
        match self {
            Self::Serial(serial) => serial,
            Self::Emulated(qemu) => qemu,
            #[cfg(feature = "probe")]
            Self::Wired(wired) => wired,
        }
    }
}

impl Transport for Pipe {
    fn send(&mut self, bytes: &[u8]) -> Result<(), TargetError> {
        self.transport().send(bytes)
    }

    fn receive(&mut self, patience: Duration) -> Result<Option<Vec<u8>>, TargetError> {
        self.transport().receive(patience)
    }
}
