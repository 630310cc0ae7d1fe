//! Questions over a byte pipe, each asked again until it is answered.
//!
//! The server answers a repeated id from memory and passes over late ones, so asking again is always safe: nothing runs
//! twice, and no answer to an earlier question is taken for this one's.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use releq_device::board::Board;
use releq_format::wire::{self, FaultCode, FrameDecoder, MAX_FRAME, Request, Response, STALE};

use super::{TargetError, Transport};

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

/// The pipe, and the ids of what was asked over it.
#[derive(Debug)]
pub(super) struct Line<T> {
    pub(super) board: &'static Board,
    transport: T,
    patience: Patience,
    decoder: FrameDecoder,
    id: u32,
}

/// What was heard after asking once.
enum Heard<A> {
    Answer(Result<A, TargetError>),
    /// The board could not read the frame.
    AskAgain,
    Nothing,
}

impl<T: Transport> Line<T> {
    /// A line whose ids start anywhere, so that they are not taken for late ones of an earlier host.
    pub(super) fn new(board: &'static Board, transport: T, patience: Patience) -> Self {
        let id = RandomState::new().hash_one(board.name) as u32;
        Self { board, transport, patience, decoder: FrameDecoder::new(), id }
    }

    /// With another patience from now on.
    pub(super) fn patient(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Over another pipe, made of this one's.
    pub(super) fn map<U>(self, pipe: impl FnOnce(T) -> U) -> Line<U> {
        let Self { board, transport, patience, decoder, id } = self;
        Line { board, transport: pipe(transport), patience, decoder, id }
    }

    /// The pipe.
    pub(super) const fn transport(&mut self) -> &mut T {
        &mut self.transport
    }

    /// The pipe back.
    pub(super) fn into_transport(self) -> T {
        self.transport
    }

    /// Asks until `take` finds what it wants in the answer.
    pub(super) fn ask<A>(
        &mut self,
        request: Request<'_>,
        question: &'static str,
        take: impl Fn(Response<'_>) -> Option<A>,
    ) -> Result<A, TargetError> {
        self.advance(1);
        self.insist(|line| line.ask_once(&request, question, &take))
    }

    /// As [`Line::ask`] for a question that may be answered more than once: each time it has an id of its own, far from
    /// the last, so that one that happens to look late to the board is not lost for good.
    pub(super) fn ask_afresh<A>(
        &mut self,
        request: Request<'_>,
        question: &'static str,
        take: impl Fn(Response<'_>) -> Option<A>,
    ) -> Result<A, TargetError> {
        self.insist(|line| {
            line.advance(2 * STALE);
            line.ask_once(&request, question, &take)
        })
    }

    /// As many attempts as patience has. A frame that the board could not read is sent again at the expense of time
    /// alone: a burst of noise harms as many short ones as it is long.
    fn insist<A>(&mut self, mut ask: impl FnMut(&mut Self) -> Result<Heard<A>, TargetError>) -> Result<A, TargetError> {
        for _ in 0..self.patience.attempts.max(1) {
            let started = Instant::now();
            loop {
                match ask(self)? {
                    Heard::Answer(answer) => return answer,
                    Heard::AskAgain if started.elapsed() < self.patience.attempt => {}
                    Heard::AskAgain | Heard::Nothing => break,
                }
            }
        }
        Err(self.silent())
    }

    /// Reads `count` records of `N` bytes, as many at a time as the board sends.
    pub(super) fn read<R, const N: usize>(
        &mut self,
        count: usize,
        request: impl Fn(u32) -> Request<'static>,
        record: impl Fn([u8; N]) -> R,
    ) -> Result<Vec<R>, TargetError> {
        let mut records = Vec::with_capacity(count);
        while records.len() < count {
            let before = records.len();
            let piece = self.ask(request(before as u32), "read", |response| match response {
                Response::Logits { bytes } | Response::Layers { bytes } | Response::Runs { bytes } => {
                    Some(bytes.to_vec())
                }
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

    /// That the board answered another question.
    pub(super) const fn confused(&self, question: &'static str) -> TargetError {
        TargetError::Confused { board: self.board.name, question }
    }

    fn silent(&self) -> TargetError {
        let seconds = self.patience.attempt.as_secs() * u64::from(self.patience.attempts.max(1));
        TargetError::Silent { board: self.board.name, seconds }
    }

    /// 0 is the board's own.
    fn advance(&mut self, by: u32) {
        self.id = self.id.wrapping_add(by).max(1);
    }

    /// Asks once, under the current id.
    fn ask_once<A>(
        &mut self,
        request: &Request<'_>,
        question: &'static str,
        take: &impl Fn(Response<'_>) -> Option<A>,
    ) -> Result<Heard<A>, TargetError> {
        let mut frame = [0; MAX_FRAME];
        // Payloads are at most CHUNK bytes, which always fit.
        let length = wire::encode(self.id, request, &mut frame).map_err(|_| self.confused(question))?;
        self.transport.send(&frame[..length])?;
        self.listen(question, take)
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
                        return Ok(Heard::Answer(Err(TargetError::refused(board, code, detail))));
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
}
