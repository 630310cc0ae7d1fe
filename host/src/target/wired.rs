//! The pipe to a board at a debug probe: RTT, and what lies in its flash brought up to date first.
//!
//! The runner is replaced where none of this protocol and version answers, the image where another one lies in the model
//! region. Whether it does is asked of the runner by checksum, so that a board that is up to date is not even halted.

use std::env;
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use releq_device::board::{Board, Reach};
use releq_format::image::Image;
use releq_probe::{Attached, ControlBlock, Flashed, Found, Link, Memory, Plan, ProbeError, Progress, Rtt};

use super::lab::Lab;
use super::session::{Greeted, Patience};
use super::{TargetError, Transport};
use crate::terminal;

/// Attaches to a board; called anew whenever one is needed.
pub type Attach = Arc<dyn Fn(&'static Board) -> Result<Attached, ProbeError> + Send + Sync>;

/// Which probe, which chip, and how to talk to it.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    /// `VID:PID` or `VID:PID:Serial`; the only probe there is if `None`.
    pub probe: Option<String>,
    /// probe-rs's name of the chip; the board's own if `None`.
    pub chip: Option<String>,
    /// How to talk to it.
    pub link: Link,
    /// Asks which of several probes is meant, where nothing says so.
    pub ask: Option<Ask>,
}

/// Chooses among probes by their place in the list; `None` leaves it open.
pub type Ask = fn(&[Found]) -> Option<usize>;

impl Choice {
    /// The probe that `RELEQ_PROBE` names, else `PROBE_RS_PROBE`.
    pub fn from_env() -> Self {
        let probe = ["RELEQ_PROBE", "PROBE_RS_PROBE"].iter().find_map(|name| env::var(name).ok());
        Self { probe, ..Self::default() }
    }

    /// The chip of `board`.
    fn chip<'a>(&'a self, board: &'a Board) -> &'a str {
        match (&self.chip, &board.reach) {
            (Some(chip), _) => chip,
            (None, Reach::Probe { chip }) => chip,
            // No chip's name, so that it is refused as one.
            (None, Reach::Qemu { machine }) => machine,
        }
    }

    /// The way there.
    pub fn attach(self) -> Attach {
        // Whoever has been asked is not asked again.
        let chosen = OnceLock::<String>::new();
        Arc::new(move |board| {
            let open = |probe| Attached::open(probe, self.chip(board), self.link);
            let opened = open(chosen.get().map(String::as_str).or(self.probe.as_deref()));
            let Err(ProbeError::SeveralProbes { found }) = opened else { return opened };
            match self.ask.and_then(|ask| ask(&found)).and_then(|at| found.get(at)) {
                Some(probe) => open(Some(chosen.get_or_init(|| probe.identifier.clone()))),
                None => Err(ProbeError::SeveralProbes { found }),
            }
        })
    }

    /// What the chip's memory looks like; needs no probe.
    ///
    /// # Errors
    /// Where probe-rs does not know the chip.
    pub fn memory(&self, board: &Board) -> Result<Memory, ProbeError> {
        Memory::of(self.chip(board))
    }
}

/// A pipe of bytes to the runner of a board.
#[derive(Debug)]
pub struct Wired {
    board: &'static Board,
    rtt: Rtt,
}

impl Wired {
    /// Once greeted, a runner says something only when it dies; what it says then is better than a silence.
    fn last_words(&mut self) -> Result<(), TargetError> {
        let said = self.rtt.log().unwrap_or_default();
        match said.trim() {
            "" => Ok(()),
            said => Err(TargetError::Ended {
                board: self.board.name,
                status: "its firmware stopped".to_owned(),
                said: said.replace('\n', "; "),
            }),
        }
    }

    fn into_attached(self) -> Attached {
        self.rtt.into_board()
    }
}

impl Transport for Wired {
    fn send(&mut self, bytes: &[u8]) -> Result<(), TargetError> {
        Ok(self.rtt.send(bytes)?)
    }

    fn receive(&mut self, patience: Duration) -> Result<Option<Vec<u8>>, TargetError> {
        let deadline = Instant::now() + patience;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let received = self.rtt.receive(left.min(LISTEN));
            if !matches!(received, Ok(Some(_))) {
                self.last_words()?;
            }
            if !matches!(received, Ok(None)) || left.is_zero() {
                return Ok(received?);
            }
        }
    }
}

/// When the runner is flashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// Where none of this protocol and version answers.
    IfOther,
    /// Where flash does not hold this one's bytes.
    IfDifferent,
}

/// What is flashed at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The runner firmware.
    Runner,
    /// The image.
    Model,
}

/// What was flashed; `None` for what was there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The runner firmware.
    pub runner: Option<Flashed>,
    /// The image.
    pub model: Option<Flashed>,
}

/// Called as flashing goes on.
pub type Watch<'a> = dyn FnMut(What, Progress) + 'a;

/// How long a runner has for its first words: it answers within microseconds of its start.
const GREETING: Patience = Patience { attempt: Duration::from_millis(500), attempts: 2 };
/// How long it may be silent before its last words are looked for.
const LISTEN: Duration = Duration::from_millis(200);
/// How long it has to start.
const START: Duration = Duration::from_secs(1);

/// Flashes what `board` lacks of its runner and of `image`, which has room there, and greets it.
///
/// # Errors
/// [`TargetError`]: no probe, no runner to flash where one is needed, another board's runner there, flash that fails.
pub fn up_to_date(
    board: &'static Board,
    image: &Image<'_>,
    lab: &Lab,
    runner: Runner,
    watch: &mut Watch<'_>,
) -> Result<(Greeted<Wired>, Written), TargetError> {
    let bench = Bench { board, lab };
    let mut written = Written::default();
    // Asked even where the answer makes no difference: another board's runner must be refused before anything is erased.
    let there = bench.running()?.filter(|_| runner == Runner::IfOther);
    let mut greeted = match there {
        Some(greeted) => greeted,
        None => {
            written.runner = Some(bench.flash_runner(&mut |progress| watch(What::Runner, progress))?);
            bench.restarted()?
        }
    };
    if !greeted.holds(image)? {
        let mut attached = greeted.into_transport().into_attached();
        let flashed = attached.flash_bin(board.model.origin, image.bytes(), |progress| watch(What::Model, progress))?;
        drop(attached);
        written.model = Some(flashed);
        greeted = bench.restarted()?;
    }
    Ok((greeted.patient(Patience::default()), written))
}

/// What [`up_to_date`] would flash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outlook {
    /// The runner firmware; `None` if one of this version answers.
    pub runner: Option<Plan>,
    /// The image.
    pub model: Plan,
    /// Whether the board was asked; without, flash is taken to hold nothing of use.
    pub asked: bool,
}

/// What [`up_to_date`] would flash; erases nothing and resets nothing.
///
/// # Errors
/// As [`up_to_date`], but a missing probe is none.
pub fn outlook(
    board: &'static Board,
    image: &Image<'_>,
    lab: &Lab,
    choice: &Choice,
    runner: Runner,
) -> Result<Outlook, TargetError> {
    let bench = Bench { board, lab };
    let model = releq_probe::Image::bin(board.model.origin, image.bytes())?;
    let mut attached = match (lab.attach)(board) {
        Ok(attached) => attached,
        Err(ProbeError::NoProbe) => {
            let memory = choice.memory(board)?;
            let runner = Some(Plan::of(&memory, &bench.runner()?)?);
            return Ok(Outlook { runner, model: Plan::of(&memory, &model)?, asked: false });
        }
        Err(error) => return Err(error.into()),
    };
    let model = attached.plan(&model, |_| ())?;
    drop(attached);
    let answers = bench.greeted(false)?.is_some() && runner == Runner::IfOther;
    let runner = match answers {
        true => None,
        false => Some((lab.attach)(board)?.plan(&bench.runner()?, |_| ())?),
    };
    Ok(Outlook { runner, model, asked: true })
}

/// Hands on what the firmware of `board` says, until `hear` breaks off; it is asked every tenth of a second, with the
/// empty text where nothing was said.
///
/// # Errors
/// [`TargetError`]: no probe, firmware without a channel for text, a core that has stopped; what it said is heard before.
pub fn listen(
    board: &'static Board,
    lab: &Lab,
    restart: bool,
    hear: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> Result<(), TargetError> {
    let mut rtt = Bench { board, lab }.line(restart)?;
    loop {
        // Also tells whether the core still runs. What comes on the binary channel is nobody's answer.
        let received = rtt.receive(Duration::from_millis(100));
        if hear(&rtt.log()?).is_break() {
            return Ok(());
        }
        received?;
    }
}

/// A board, and what it is reached with.
struct Bench<'a> {
    board: &'static Board,
    lab: &'a Lab,
}

impl Bench<'_> {
    fn attached(&self) -> Result<Attached, TargetError> {
        let attached = (self.lab.attach)(self.board)?;
        terminal::detail(&format!("attached to {} for {}", attached.memory().chip, self.board.name));
        Ok(attached)
    }

    /// The runner's file.
    fn runner(&self) -> Result<releq_probe::Image, TargetError> {
        Ok(releq_probe::Image::elf(&self.lab.launch.runner(self.board)?)?)
    }

    fn flash_runner(&self, watch: &mut dyn FnMut(Progress)) -> Result<Flashed, TargetError> {
        let runner = self.runner()?;
        Ok(self.attached()?.flash(&runner, watch)?)
    }

    /// The runner of this protocol and version that is on the board, asked as it is, then after a reset.
    fn running(&self) -> Result<Option<Greeted<Wired>>, TargetError> {
        match self.greeted(false)? {
            Some(greeted) => Ok(Some(greeted)),
            None => self.greeted(true),
        }
    }

    /// The runner that was just flashed, or runs on after its model was.
    fn restarted(&self) -> Result<Greeted<Wired>, TargetError> {
        self.greet(true)
    }

    /// As [`Bench::greet`], but `None` if what is there is no runner of this protocol and version.
    ///
    /// Another board's runner is refused: `--board` may be wrong, and its chip would then be flashed with the wrong
    /// algorithm.
    fn greeted(&self, restart: bool) -> Result<Option<Greeted<Wired>>, TargetError> {
        match self.greet(restart) {
            Ok(greeted) if greeted.greeting().version == env!("CARGO_PKG_VERSION") => Ok(Some(greeted)),
            Ok(_) => Ok(None),
            Err(error) if is_stranger(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn greet(&self, restart: bool) -> Result<Greeted<Wired>, TargetError> {
        let rtt = self.line(restart)?;
        let mut greeted = Greeted::greet(self.board, Wired { board: self.board, rtt }, GREETING)?;
        // What it said when it started, as of a counter that does not move; `releq monitor --reset` shows it.
        greeted.transport().rtt.log()?;
        Ok(greeted)
    }

    fn line(&self, restart: bool) -> Result<Rtt, TargetError> {
        let attached = self.attached()?;
        let place = self.runner().ok().and_then(|runner| runner.control_block());
        let place = place.map_or(ControlBlock::Scan, ControlBlock::At);
        Ok(match restart {
            true => Rtt::restart(attached, place, START)?,
            false => Rtt::attach(attached, place, Duration::ZERO)?,
        })
    }
}

/// Whether what answered, or did not, is no runner of this protocol.
const fn is_stranger(error: &TargetError) -> bool {
    match error {
        TargetError::Protocol { .. }
        | TargetError::Silent { .. }
        | TargetError::Confused { .. }
        | TargetError::Ended { .. } => true,
        TargetError::Probe(error) => matches!(
            error,
            ProbeError::NoControlBlock { .. }
                | ProbeError::NoChannel { .. }
                | ProbeError::Corrupt { .. }
                | ProbeError::NotReading { .. }
                | ProbeError::Stopped { .. }
        ),
        _ => false,
    }
}
