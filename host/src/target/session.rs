//! A conversation with a board: requests in order, each asked again until it is answered, over any byte pipe.
//!
//! The server answers a repeated id from memory, so asking again is always safe: nothing runs twice and no answer of
//! an earlier question is taken for this one's.

use std::time::Duration;

use releq_device::board::Board;
use releq_format::image::Image;
use releq_format::wire::{
    self, CHUNK, Description, FaultCode, FrameDecoder, LAYER_RECORD, MAX_FRAME, PROTOCOL, Request, Response, Unit,
};

use super::native::Inference;
use super::{TargetError, Transport};

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

/// How long one attempt waits, and how many there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Wait for an answer before asking again.
    pub attempt: Duration,
    /// Attempts before giving up, at least 1.
    pub attempts: u32,
}

impl Default for Patience {
    /// A minute in all: an emulated inference of a large network takes seconds.
    fn default() -> Self {
        Self { attempt: Duration::from_secs(20), attempts: 3 }
    }
}

/// An open image on a board.
#[derive(Debug)]
pub struct Session<T> {
    line: Line<T>,
    unit: Unit,
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
    /// Greets the board, checks its clock, opens the image that lies in its model region and runs the self-test.
    ///
    /// # Errors
    /// [`TargetError`]: another board, protocol or image than expected, a clock that miscounts, a wrong self-test.
    pub fn open(
        board: &'static Board,
        transport: T,
        image: &Image<'_>,
        patience: Patience,
    ) -> Result<Self, TargetError> {
        let mut line = Line { board, transport, patience, decoder: FrameDecoder::new(), id: 0 };
        let unit = line.greet()?;
        line.check_clock(unit)?;
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
        line.self_test()?;
        Ok(Self { line, unit, shape })
    }

    /// Runs once on packed input codes.
    ///
    /// # Errors
    /// [`TargetError`] where the board is gone, refuses or makes no sense.
    pub fn infer(&mut self, input: &[u8]) -> Result<Measured, TargetError> {
        for (index, bytes) in input.chunks(CHUNK).enumerate() {
            let write = Request::WriteInput { offset: (index * CHUNK) as u32, bytes };
            self.line.ask(write, "write input", |response| matches!(response, Response::Done).then_some(()))?;
        }
        let top1 = self.line.ask(Request::Infer, "infer", |response| match response {
            Response::Inferred { top1 } => Some(top1 as usize),
            _ => None,
        })?;
        let logits = self.line.read(self.shape.outputs, |first| Request::ReadLogits { first }, i32::from_le_bytes)?;
        let records = self.line.read(self.shape.layers, |first| Request::ReadLayers { first }, layer_record)?;
        let (digests, counts) = records.into_iter().unzip();
        Ok(Measured { inference: Inference { logits, top1, digests }, unit: self.unit, counts })
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

    /// Bytes of the packed input.
    pub const fn input_bytes(&self) -> usize {
        self.shape.input_bytes
    }
}

/// Digest and count of one layer.
fn layer_record([d0, d1, d2, d3, c0, c1, c2, c3]: [u8; LAYER_RECORD]) -> (u32, u32) {
    (u32::from_le_bytes([d0, d1, d2, d3]), u32::from_le_bytes([c0, c1, c2, c3]))
}

/// The pipe, and the ids of what was asked over it.
#[derive(Debug)]
struct Line<T> {
    board: &'static Board,
    transport: T,
    patience: Patience,
    decoder: FrameDecoder,
    id: u32,
}

/// What one attempt heard.
enum Heard<A> {
    Answer(Result<A, TargetError>),
    /// The board could not read the frame.
    AskAgain,
    Nothing,
}

impl<T: Transport> Line<T> {
    fn greet(&mut self) -> Result<Unit, TargetError> {
        let board = self.board.name;
        let (protocol, found, unit) = self.ask(Request::Describe, "describe", |response| match response {
            Response::Description(Description { protocol, board, unit, .. }) => {
                Some((protocol, board.to_owned(), unit))
            }
            _ => None,
        })?;
        if protocol != PROTOCOL {
            return Err(TargetError::Protocol { board, theirs: protocol, ours: PROTOCOL });
        }
        if found != board {
            return Err(TargetError::WrongBoard { board, found });
        }
        Ok(unit)
    }

    /// Two loops of known lengths: what they differ by is exact, whatever the calls around them cost.
    fn check_clock(&mut self, unit: Unit) -> Result<(), TargetError> {
        const LOOPS: [u32; 2] = [1_000, 11_000];
        if unit != Unit::Instructions {
            return Ok(());
        }
        let mut spin = |loops| {
            self.ask(Request::Spin { loops }, "spin", |response| match response {
                Response::Spun { count } => Some(count),
                _ => None,
            })
        };
        let counted = spin(LOOPS[1])?.wrapping_sub(spin(LOOPS[0])?);
        let expected = 2 * (LOOPS[1] - LOOPS[0]);
        if counted == expected { Ok(()) } else { Err(TargetError::Clock { board: self.board.name, counted, expected }) }
    }

    fn self_test(&mut self) -> Result<(), TargetError> {
        let passed = self.ask(Request::SelfTest, "self-test", |response| match response {
            Response::SelfTested { passed } => Some(passed),
            _ => None,
        })?;
        if passed == Some(false) { Err(TargetError::SelfTest { board: self.board.name }) } else { Ok(()) }
    }

    /// Reads `count` records of `N` bytes, as many at a time as the board sends.
    fn read<R, const N: usize>(
        &mut self,
        count: usize,
        request: impl Fn(u32) -> Request<'static>,
        record: impl Fn([u8; N]) -> R,
    ) -> Result<Vec<R>, TargetError> {
        let mut records = Vec::with_capacity(count);
        while records.len() < count {
            let before = records.len();
            let piece = self.ask(request(before as u32), "read", |response| match response {
                Response::Logits { bytes } | Response::Layers { bytes } => Some(bytes.to_vec()),
                _ => None,
            })?;
            let (pieces, rest) = piece.as_chunks::<N>();
            records.extend(pieces.iter().copied().map(&record));
            if !rest.is_empty() || records.len() == before || records.len() > count {
                return Err(self.confused("read"));
            }
        }
        Ok(records)
    }

    /// Asks until `take` finds what it wants in the answer.
    fn ask<A>(
        &mut self,
        request: Request<'_>,
        question: &'static str,
        take: impl Fn(Response<'_>) -> Option<A>,
    ) -> Result<A, TargetError> {
        self.id = self.id.wrapping_add(1).max(1);
        let mut frame = [0; MAX_FRAME];
        // Payloads are at most CHUNK bytes, which always fit.
        let length = wire::encode(self.id, &request, &mut frame).map_err(|_| self.confused(question))?;
        for _ in 0..self.patience.attempts.max(1) {
            self.transport.send(&frame[..length])?;
            match self.listen(question, &take)? {
                Heard::Answer(answer) => return answer,
                Heard::AskAgain | Heard::Nothing => {}
            }
        }
        let seconds = self.patience.attempt.as_secs() * u64::from(self.patience.attempts.max(1));
        Err(TargetError::Silent { board: self.board.name, seconds })
    }

    fn listen<A>(
        &mut self,
        question: &'static str,
        take: &impl Fn(Response<'_>) -> Option<A>,
    ) -> Result<Heard<A>, TargetError> {
        while let Some(bytes) = self.transport.receive(self.patience.attempt)? {
            let mut rest = &bytes[..];
            while let Some(body) = self.decoder.next(&mut rest) {
                // A frame that was damaged on its way is one that did not come.
                let Ok((id, response)) = body.and_then(wire::parse::<Response<'_>>) else { continue };
                let board = self.board.name;
                match response {
                    Response::Fault { code: FaultCode::Garbled, .. } if id == 0 => return Ok(Heard::AskAgain),
                    Response::Fault { code, detail } if id == self.id || id == 0 => {
                        return Ok(Heard::Answer(Err(TargetError::Refused { board, code, detail })));
                    }
                    response if id == self.id => {
                        let confused = TargetError::Confused { board, question };
                        return Ok(Heard::Answer(take(response).ok_or(confused)));
                    }
                    // The answer to an earlier attempt.
                    _ => {}
                }
            }
        }
        Ok(Heard::Nothing)
    }

    const fn confused(&self, question: &'static str) -> TargetError {
        TargetError::Confused { board: self.board.name, question }
    }
}
