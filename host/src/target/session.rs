//! A conversation with a board: it is greeted, given an image, and runs it.
//!
//! A [`Greeted`] board has no image open; opening one makes a [`Session`] of it, and closing gives the board back, so
//! that many images run on a board that was started once.

use releq_device::board::Board;
use releq_format::crc::crc32;
use releq_format::image::Image;
use releq_format::wire::{CHUNK, Description, FaultCode, LAYER_RECORD, MAX_RUNS, PROTOCOL, Request, Response, Unit};

use super::line::Line;
pub use super::line::Patience;
use super::native::Inference;
use super::{TargetError, Transport};

/// What a board says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Version of its firmware.
    pub version: String,
    /// What it counts.
    pub unit: Unit,
    /// Bytes of arena.
    pub arena_bytes: u32,
    /// Bytes of the model region.
    pub model_bytes: u32,
    /// Whether images can be loaded over the line.
    pub writable: bool,
    /// Most layers of an image.
    pub max_layers: u32,
    /// What an empty timed region counts; already taken off every count.
    pub overhead: u32,
}

/// One run on a board: what it computed, and what each layer counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Measured {
    /// Logits, class and digests, to be compared with this machine's.
    pub inference: Inference,
    /// What [`Measured::counts`] are.
    pub unit: Unit,
    /// One a layer.
    pub counts: Vec<u32>,
}

impl Measured {
    /// The sum over layers.
    pub fn total(&self) -> u64 {
        self.counts.iter().copied().map(u64::from).sum()
    }
}

/// Several runs on one input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    /// What each of them computed; they computed the same.
    pub inference: Inference,
    /// What the counts are.
    pub unit: Unit,
    /// One a run, over all layers, the first run first.
    pub runs: Vec<u32>,
    /// One a layer, over all runs.
    pub layers: Vec<Counts>,
}

/// What a layer counted over several runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// The smallest count.
    pub least: u32,
    /// The largest count.
    pub most: u32,
    /// The sum of the counts.
    pub sum: u64,
}

impl Counts {
    fn merge(&mut self, other: &Self) {
        self.least = self.least.min(other.least);
        self.most = self.most.max(other.most);
        self.sum += other.sum;
    }
}

/// A board that has said who it is, with no image open.
#[derive(Debug)]
pub struct Greeted<T> {
    line: Line<T>,
    greeting: Greeting,
}

impl<T: Transport> Greeted<T> {
    /// Greets the board and checks its clock.
    ///
    /// # Errors
    /// [`TargetError`]: nobody there, another board or protocol than expected, a clock that miscounts.
    pub fn greet(board: &'static Board, transport: T, patience: Patience) -> Result<Self, TargetError> {
        let mut line = Line::new(board, transport, patience);
        let greeting = greeting(&mut line)?;
        check_clock(&mut line, greeting.unit)?;
        Ok(Self { line, greeting })
    }

    /// What the board says of itself.
    pub const fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// With another patience from now on.
    #[must_use]
    pub fn patient(self, patience: Patience) -> Self {
        Self { line: self.line.patient(patience), ..self }
    }

    /// Over another pipe, made of this one's.
    pub fn map<U>(self, pipe: impl FnOnce(T) -> U) -> Greeted<U> {
        Greeted { line: self.line.map(pipe), greeting: self.greeting }
    }

    /// The pipe.
    pub const fn transport(&mut self) -> &mut T {
        self.line.transport()
    }

    /// The pipe back.
    pub fn into_transport(self) -> T {
        self.line.into_transport()
    }

    /// Bytes of `image` that lie in the model region already, from its start: all of them, or a multiple of the piece
    /// that one message carries.
    ///
    /// # Errors
    /// [`TargetError`] where the board is gone, refuses or makes no sense.
    pub fn held(&mut self, image: &Image<'_>) -> Result<usize, TargetError> {
        if self.holds(image)? {
            return Ok(image.len());
        }
        // Pieces are written in order, so what is there is a prefix: its end is found by halving.
        let (mut held, mut missing) = (0, image.len().div_ceil(CHUNK));
        while missing - held > 1 {
            let middle = held.midpoint(missing);
            match self.holds_bytes(&image.bytes()[..middle * CHUNK])? {
                true => held = middle,
                false => missing = middle,
            }
        }
        Ok(held * CHUNK)
    }

    /// Whether all of `image` lies in the model region, from its start.
    ///
    /// # Errors
    /// As [`Greeted::held`].
    pub fn holds(&mut self, image: &Image<'_>) -> Result<bool, TargetError> {
        self.holds_bytes(image.bytes())
    }

    fn holds_bytes(&mut self, prefix: &[u8]) -> Result<bool, TargetError> {
        let check = Request::CheckModel { offset: 0, length: prefix.len() as u32 };
        let crc = self.line.ask(check, "check model", |response| match response {
            Response::Checksum { crc } => Some(crc),
            _ => None,
        });
        match crc {
            Ok(crc) => Ok(crc == crc32(prefix)),
            Err(TargetError::Refused { code: FaultCode::ModelRange, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Writes what is missing of `image` into the model region and checks the whole; `watch` learns how many bytes are
    /// there. Broken off, it goes on where it stopped.
    ///
    /// # Errors
    /// As [`Greeted::held`], and [`TargetError::Refused`] where the region is flash or too small.
    pub fn load(&mut self, image: &Image<'_>, watch: &mut dyn FnMut(usize)) -> Result<(), TargetError> {
        let held = self.held(image)?;
        watch(held);
        let mut offset = held;
        for bytes in image.bytes()[held..].chunks(CHUNK) {
            let write = Request::WriteModel { offset: offset as u32, bytes };
            self.line.ask(write, "write model", done)?;
            offset += bytes.len();
            watch(offset);
        }
        if held < image.len() && !self.holds(image)? {
            return Err(TargetError::NotKept { board: self.line.board.name });
        }
        Ok(())
    }

    /// Opens the image that lies in the model region and runs its self-test.
    ///
    /// # Errors
    /// [`TargetError`]: another image than expected, or a wrong self-test.
    pub fn open(self, image: &Image<'_>) -> Result<Session<T>, TargetError> {
        let Self { mut line, greeting } = self;
        let open = Request::Open { length: image.len() as u32, crc: image.crc() };
        let shape = line.ask(open, "open", |response| match response {
            Response::Opened { input_bytes, outputs, layers } => {
                let [input_bytes, outputs, layers] = [input_bytes, outputs, layers].map(|size| size as usize);
                Some(Shape { input_bytes, outputs, layers })
            }
            _ => None,
        })?;
        let expected =
            Shape { input_bytes: image.input_bytes(), outputs: image.outputs(), layers: image.layer_count() };
        if shape != expected {
            return Err(line.confused("open"));
        }
        self_test(&mut line)?;
        Ok(Session { line, greeting, shape })
    }

    /// Most bytes of stack that the board has used since its start, and bytes it has; `None` where it does not measure.
    ///
    /// # Errors
    /// As [`Greeted::held`].
    pub fn stack(&mut self) -> Result<Option<(u32, u32)>, TargetError> {
        stack(&mut self.line)
    }
}

fn done(response: Response<'_>) -> Option<()> {
    matches!(response, Response::Done).then_some(())
}

fn greeting<T: Transport>(line: &mut Line<T>) -> Result<Greeting, TargetError> {
    let board = line.board.name;
    let (protocol, found, greeting) = line.ask_afresh(Request::Describe, "describe", |response| match response {
        Response::Description(description) => {
            let Description { protocol, version, board, unit, arena_bytes, model_bytes, .. } = description;
            let Description { writable, max_layers, overhead, .. } = description;
            let version = version.to_owned();
            let greeting = Greeting { version, unit, arena_bytes, model_bytes, writable, max_layers, overhead };
            Some((protocol, board.to_owned(), greeting))
        }
        _ => None,
    })?;
    if protocol != PROTOCOL {
        return Err(TargetError::Protocol { board, theirs: protocol, ours: PROTOCOL });
    }
    if found != board {
        return Err(TargetError::WrongBoard { board, found });
    }
    Ok(greeting)
}

/// Two loops of known lengths: what they differ by is exact, whatever the calls around them cost.
fn check_clock<T: Transport>(line: &mut Line<T>, unit: Unit) -> Result<(), TargetError> {
    const LOOPS: [u32; 2] = [1_000, 11_000];
    if unit != Unit::Instructions {
        return Ok(());
    }
    let mut spin = |loops| {
        line.ask(Request::Spin { loops }, "spin", |response| match response {
            Response::Spun { count } => Some(count),
            _ => None,
        })
    };
    let counted = spin(LOOPS[1])?.wrapping_sub(spin(LOOPS[0])?);
    let expected = 2 * (LOOPS[1] - LOOPS[0]);
    if counted == expected { Ok(()) } else { Err(TargetError::Clock { board: line.board.name, counted, expected }) }
}

fn self_test<T: Transport>(line: &mut Line<T>) -> Result<(), TargetError> {
    let passed = line.ask(Request::SelfTest, "self-test", |response| match response {
        Response::SelfTested { passed } => Some(passed),
        _ => None,
    })?;
    if passed == Some(false) { Err(TargetError::SelfTest { board: line.board.name }) } else { Ok(()) }
}

fn stack<T: Transport>(line: &mut Line<T>) -> Result<Option<(u32, u32)>, TargetError> {
    line.ask(Request::ReadStack, "read stack", |response| match response {
        Response::Stack { used } => Some(used),
        _ => None,
    })
}

/// An open image on a board.
#[derive(Debug)]
pub struct Session<T> {
    line: Line<T>,
    greeting: Greeting,
    shape: Shape,
}

/// What the open image reads and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    input_bytes: usize,
    outputs: usize,
    layers: usize,
}

impl<T: Transport> Session<T> {
    /// Greets the board and opens the image that lies in its model region: [`Greeted::greet`] and [`Greeted::open`].
    ///
    /// # Errors
    /// As those.
    pub fn open(
        board: &'static Board,
        transport: T,
        image: &Image<'_>,
        patience: Patience,
    ) -> Result<Self, TargetError> {
        Greeted::greet(board, transport, patience)?.open(image)
    }

    /// Runs once on packed input codes.
    ///
    /// # Errors
    /// [`TargetError`] where the board is gone, refuses or makes no sense.
    pub fn infer(&mut self, input: &[u8]) -> Result<Measured, TargetError> {
        self.write_input(input)?;
        let (timed, _) = self.run(1)?;
        let counts = timed.layers.iter().map(|counts| counts.least).collect();
        Ok(Measured { inference: timed.inference, unit: timed.unit, counts })
    }

    /// Runs `runs` times, at least once, on packed input codes.
    ///
    /// # Errors
    /// As [`Session::infer`], and [`TargetError::Unsteady`] where the runs computed different things.
    pub fn infer_many(&mut self, input: &[u8], runs: usize) -> Result<Timed, TargetError> {
        self.write_input(input)?;
        let (mut timed, mut room) = self.run(runs.clamp(1, MAX_RUNS as usize) as u32)?;
        while timed.runs.len() < runs {
            self.write_input(input)?;
            let left = if room { (runs - timed.runs.len()).min(MAX_RUNS as usize) } else { 1 };
            let (more, room_now) = self.run(left as u32)?;
            room = room_now;
            if more.inference != timed.inference {
                return Err(TargetError::Unsteady { board: self.line.board.name });
            }
            timed.runs.extend(more.runs);
            timed.layers.iter_mut().zip(&more.layers).for_each(|(one, other)| one.merge(other));
        }
        Ok(timed)
    }

    fn write_input(&mut self, input: &[u8]) -> Result<(), TargetError> {
        for (index, bytes) in input.chunks(CHUNK).enumerate() {
            let write = Request::WriteInput { offset: (index * CHUNK) as u32, bytes };
            self.line.ask(write, "write input", done)?;
        }
        Ok(())
    }

    /// Runs on the input written before, once where the arena has no room to keep it; says whether it has.
    fn run(&mut self, runs: u32) -> Result<(Timed, bool), TargetError> {
        let mut infer = |runs| {
            self.line.ask(Request::Infer { runs }, "infer", |response| match response {
                Response::Inferred { top1, steady } => Some((top1 as usize, steady)),
                _ => None,
            })
        };
        let (runs, (top1, steady)) = match infer(runs) {
            Err(TargetError::Refused { code: FaultCode::NoSpare, .. }) => (1, infer(1)?),
            answer => (runs, answer?),
        };
        if !steady {
            return Err(TargetError::Unsteady { board: self.line.board.name });
        }
        let logits = self.line.read(self.shape.outputs, |first| Request::ReadLogits { first }, i32::from_le_bytes)?;
        let records = self.line.read(self.shape.layers, |first| Request::ReadLayers { first }, layer_record)?;
        let totals = self.line.read(runs as usize, |_| Request::ReadRuns, u32::from_le_bytes)?;
        let (digests, layers) = records.into_iter().unzip();
        let inference = Inference { logits, top1, digests };
        Ok((Timed { inference, unit: self.greeting.unit, runs: totals, layers }, runs > 1))
    }

    /// The kernel that the board runs layer `layer` with; empty past the last.
    ///
    /// # Errors
    /// As [`Session::infer`].
    pub fn kernel(&mut self, layer: usize) -> Result<String, TargetError> {
        self.line.ask(Request::ReadKernel { layer: layer as u32 }, "read kernel", |response| match response {
            Response::Kernel { name } => Some(name.to_owned()),
            _ => None,
        })
    }

    /// As [`Greeted::stack`].
    ///
    /// # Errors
    /// As [`Session::infer`].
    pub fn stack(&mut self) -> Result<Option<(u32, u32)>, TargetError> {
        stack(&mut self.line)
    }

    /// What the board said of itself.
    pub const fn greeting(&self) -> &Greeting {
        &self.greeting
    }

    /// Bytes of the packed input.
    pub const fn input_bytes(&self) -> usize {
        self.shape.input_bytes
    }

    /// Closes the image, so that another one can be loaded.
    ///
    /// # Errors
    /// As [`Session::infer`].
    pub fn close(mut self) -> Result<Greeted<T>, TargetError> {
        self.line.ask(Request::Reset, "reset", done)?;
        Ok(Greeted { line: self.line, greeting: self.greeting })
    }
}

/// Digest and counts of one layer.
fn layer_record(record: [u8; LAYER_RECORD]) -> (u32, Counts) {
    let [d0, d1, d2, d3, l0, l1, l2, l3, m0, m1, m2, m3, sum @ ..] = record;
    let [digest, least, most] = [[d0, d1, d2, d3], [l0, l1, l2, l3], [m0, m1, m2, m3]].map(u32::from_le_bytes);
    (digest, Counts { least, most, sum: u64::from_le_bytes(sum) })
}
