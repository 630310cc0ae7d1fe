//! Answers a host's requests: the runner firmware without its port. Bytes in, bytes out.
//!
//! The same server runs on boards, in the emulator and inside tests; who owns the port calls [`Server::poll`] with
//! whatever arrived and sends back what it returns. Each layer is timed by itself, and its digest is taken after its
//! clock has stopped.

use releq_format::crc::crc32;
use releq_format::image::{Image, ImageError};
use releq_format::wire::{
    CHUNK, Description, FaultCode, FrameDecoder, FrameError, LAYER_RECORD, MAX_FRAME, PROTOCOL, Request, Response,
    encode, parse,
};

use crate::clock::Clock;
use crate::engine::{Engine, OpenError};
use crate::kernels;
use crate::observe::Observer;

/// A refusal: why, and where.
type Fault = (FaultCode, u32);

/// One board's side of the conversation, for images of at most `N` layers.
#[derive(Debug)]
pub struct Server<'a, C, const N: usize> {
    decoder: FrameDecoder,
    bench: Bench<'a, C, N>,
    answer: Answer,
}

impl<'a, C: Clock, const N: usize> Server<'a, C, N> {
    /// A server that finds images at the start of `model` and runs them in `arena`; both start at multiples of 8.
    pub fn new(board: &'a str, clock: C, model: &'a [u8], arena: &'a mut [u8]) -> Self {
        let arena_bytes = arena.len();
        let mut timer = Timer { clock, overhead: 0, begin: 0, records: heapless::Vec::new() };
        timer.calibrate();
        let bench = Bench { board, model, arena_bytes, timer, state: State::Closed(arena) };
        Self { decoder: FrameDecoder::new(), bench, answer: Answer::new() }
    }

    /// Takes bytes from the front of `input` up to the end of the next frame, and returns the frame that answers it.
    ///
    /// Nothing is returned when `input` is used up; call until it is.
    pub fn poll(&mut self, input: &mut &[u8]) -> &[u8] {
        let Some(frame) = self.decoder.next(input) else { return &[] };
        match frame.and_then(parse::<Request<'_>>) {
            // Asked again: the answer was lost, and running twice would overwrite what the first run left.
            Ok((id, _)) if self.answer.answers(id) => {}
            Ok((id, request)) => self.bench.serve(id, request, &mut self.answer),
            Err(FrameError::Message) => self.answer.fault(0, (FaultCode::Unknown, u32::from(PROTOCOL))),
            Err(_) => return self.answer.garbled(),
        }
        self.answer.frame()
    }
}

/// The last answer, kept for a host that asks again.
#[derive(Debug)]
struct Answer {
    id: u32,
    frame: [u8; MAX_FRAME],
    length: usize,
    /// Where "ask again" is written, so that it does not overwrite the answer it asks about.
    complaint: [u8; MAX_FRAME],
}

impl Answer {
    const fn new() -> Self {
        Self { id: 0, frame: [0; MAX_FRAME], length: 0, complaint: [0; MAX_FRAME] }
    }

    const fn answers(&self, id: u32) -> bool {
        id != 0 && self.id == id
    }

    fn set(&mut self, id: u32, response: &Response<'_>) {
        self.id = id;
        // Payloads are at most CHUNK bytes, which always fit.
        self.length = encode(id, response, &mut self.frame).unwrap_or(0);
    }

    fn fault(&mut self, id: u32, (code, detail): Fault) {
        self.set(id, &Response::Fault { code, detail });
    }

    fn garbled(&mut self) -> &[u8] {
        let response = Response::Fault { code: FaultCode::Garbled, detail: 0 };
        let length = encode(0, &response, &mut self.complaint).unwrap_or(0);
        self.complaint.get(..length).unwrap_or(&[])
    }

    fn frame(&self) -> &[u8] {
        self.frame.get(..self.length).unwrap_or(&[])
    }
}

/// The model, the arena and the clock: what requests act upon.
#[derive(Debug)]
struct Bench<'a, C, const N: usize> {
    board: &'a str,
    model: &'a [u8],
    arena_bytes: usize,
    timer: Timer<C, N>,
    state: State<'a, N>,
}

/// Who has the arena.
#[derive(Debug)]
enum State<'a, const N: usize> {
    Closed(&'a mut [u8]),
    Open(Engine<'a, N>),
}

impl<'a, const N: usize> State<'a, N> {
    /// Takes the arena back, leaving no model open and an empty arena.
    fn take_arena(&mut self) -> &'a mut [u8] {
        match core::mem::replace(self, Self::Closed(&mut [])) {
            Self::Closed(arena) => arena,
            Self::Open(engine) => engine.into_arena(),
        }
    }

    fn engine(&mut self) -> Result<&mut Engine<'a, N>, Fault> {
        match self {
            Self::Open(engine) => Ok(engine),
            Self::Closed(_) => Err((FaultCode::NotOpen, 0)),
        }
    }
}

impl<C: Clock, const N: usize> Bench<'_, C, N> {
    fn serve(&mut self, id: u32, request: Request<'_>, answer: &mut Answer) {
        let mut piece = [0; CHUNK];
        match self.respond(request, &mut piece) {
            Ok(response) => answer.set(id, &response),
            Err(fault) => answer.fault(id, fault),
        }
    }

    fn respond<'r>(&'r mut self, request: Request<'_>, piece: &'r mut [u8; CHUNK]) -> Result<Response<'r>, Fault> {
        match request {
            Request::Describe => Ok(Response::Description(self.describe())),
            Request::Open { length, crc } => self.open(length, crc),
            Request::WriteInput { offset, bytes } => self.write_input(offset, bytes),
            Request::Infer => self.infer(),
            Request::ReadLogits { first } => self.read_logits(first, piece),
            Request::ReadLayers { first } => Ok(self.timer.read(first, piece)),
            Request::SelfTest => Ok(Response::SelfTested { passed: self.state.engine()?.self_test() }),
            Request::Spin { loops } => Ok(Response::Spun { count: self.timer.count(|clock| clock.spin(loops.max(1))) }),
            Request::ReadKernel { layer } => {
                Ok(Response::Kernel { name: self.state.engine()?.kernel_name(layer as usize).unwrap_or_default() })
            }
        }
    }

    fn describe(&self) -> Description<'_> {
        Description {
            protocol: PROTOCOL,
            board: self.board,
            unit: C::UNIT,
            arena_bytes: self.arena_bytes as u32,
            model_bytes: self.model.len() as u32,
            max_layers: N as u32,
            overhead: self.timer.overhead,
        }
    }

    fn open(&mut self, length: u32, crc: u32) -> Result<Response<'static>, Fault> {
        let arena = self.state.take_arena();
        self.state = State::Closed(arena);
        self.timer.records.clear();
        let bytes = self.model.get(..length as usize).ok_or((FaultCode::ModelTooLarge, self.model.len() as u32))?;
        let image = Image::open(bytes).map_err(image_fault)?;
        if image.crc() != crc {
            return Err((FaultCode::WrongModel, image.crc()));
        }
        // Tried on a loan first: a refusal must leave the arena here.
        if let State::Closed(arena) = &mut self.state {
            Engine::<N>::new(&image, arena, kernels::ALL).map_err(open_fault)?;
        }
        let arena = self.state.take_arena();
        self.state = State::Open(Engine::new(&image, arena, kernels::ALL).map_err(open_fault)?);
        Ok(Response::Opened {
            input_bytes: image.input_bytes() as u32,
            outputs: image.outputs() as u32,
            layers: image.layer_count() as u32,
        })
    }

    fn write_input(&mut self, offset: u32, bytes: &[u8]) -> Result<Response<'static>, Fault> {
        let input = self.state.engine()?.input_mut();
        let length = input.len() as u32;
        let place = input.get_mut(offset as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
        place.ok_or((FaultCode::InputRange, length))?.copy_from_slice(bytes);
        Ok(Response::Done)
    }

    fn infer(&mut self) -> Result<Response<'static>, Fault> {
        let engine = self.state.engine()?;
        self.timer.records.clear();
        engine.run(&mut self.timer);
        Ok(Response::Inferred { top1: engine.top1() as u32 })
    }

    fn read_logits<'r>(&mut self, first: u32, piece: &'r mut [u8; CHUNK]) -> Result<Response<'r>, Fault> {
        let logits = self.state.engine()?.logits().skip(first as usize);
        let mut used = 0;
        for (place, logit) in piece.as_chunks_mut::<4>().0.iter_mut().zip(logits) {
            *place = logit.to_le_bytes();
            used += place.len();
        }
        Ok(Response::Logits { bytes: piece.get(..used).unwrap_or(&[]) })
    }
}

fn image_fault(error: ImageError) -> Fault {
    let detail = match error {
        ImageError::Layer { layer, .. } => u32::from(layer),
        ImageError::Version(version) => u32::from(version),
        ImageError::Features(bits) => bits,
        _ => 0,
    };
    (FaultCode::from(error), detail)
}

fn open_fault(error: OpenError) -> Fault {
    match error {
        OpenError::ArenaTooSmall { given, .. } => (FaultCode::ArenaTooSmall, given as u32),
        OpenError::TooManyLayers { capacity, .. } => (FaultCode::TooManyLayers, capacity as u32),
        OpenError::MissingKernel { layer } => (FaultCode::MissingKernel, u32::from(layer)),
        // The server's owner promised alignment; there is no arena that fits.
        OpenError::ArenaMisaligned => (FaultCode::ArenaTooSmall, 0),
    }
}

/// Times layers and keeps their digests.
#[derive(Debug)]
struct Timer<C, const N: usize> {
    clock: C,
    /// What an empty region counts.
    overhead: u32,
    /// When the running layer began, in ticks.
    begin: u32,
    records: heapless::Vec<[u8; LAYER_RECORD], N>,
}

impl<C: Clock, const N: usize> Timer<C, N> {
    /// Measures the empty region as layers are measured, through the same two calls.
    fn calibrate(&mut self) {
        self.overhead = 0;
        // The first pass warms caches on real boards.
        self.count(|_| ());
        self.overhead = self.count(|_| ());
    }

    /// Counts `work` as a layer is counted.
    fn count(&mut self, work: impl FnOnce(&C)) -> u32 {
        self.records.clear();
        self.begin(0);
        work(&self.clock);
        self.end(0, &[]);
        let count = self.records.pop().and_then(|record| record.last_chunk().copied());
        count.map_or(0, u32::from_le_bytes)
    }

    fn read<'r>(&self, first: u32, piece: &'r mut [u8; CHUNK]) -> Response<'r> {
        let records = self.records.iter().skip(first as usize);
        let mut used = 0;
        for (place, record) in piece.as_chunks_mut::<LAYER_RECORD>().0.iter_mut().zip(records) {
            *place = *record;
            used += LAYER_RECORD;
        }
        Response::Layers { bytes: piece.get(..used).unwrap_or(&[]) }
    }
}

// Out of line, so that an empty region costs what a layer's two calls cost.
impl<C: Clock, const N: usize> Observer for Timer<C, N> {
    #[inline(never)]
    fn begin(&mut self, _: usize) {
        self.begin = self.clock.ticks();
    }

    #[inline(never)]
    fn end(&mut self, _: usize, output: &[u8]) {
        // First of all, so that nothing below is counted.
        let end = self.clock.ticks();
        let count = self.clock.units(self.begin, end).saturating_sub(self.overhead);
        let [d0, d1, d2, d3] = crc32(output).to_le_bytes();
        let [c0, c1, c2, c3] = count.to_le_bytes();
        // An open image has at most N layers.
        let _ = self.records.push([d0, d1, d2, d3, c0, c1, c2, c3]);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use core::cell::Cell;
    use std::vec::Vec;

    use releq_format::wire::Unit;

    use super::*;

    /// Counts its own readings: 3 for what lies between, and two for each turn of the loop.
    #[derive(Debug, Default)]
    struct Ticker(Cell<u32>);

    impl Clock for Ticker {
        const UNIT: Unit = Unit::Instructions;

        fn ticks(&self) -> u32 {
            self.0.set(self.0.get().wrapping_add(3));
            self.0.get()
        }

        fn units(&self, begin: u32, end: u32) -> u32 {
            end.wrapping_sub(begin)
        }

        fn spin(&self, loops: u32) {
            self.0.set(self.0.get().wrapping_add(2 * loops));
        }
    }

    const MODEL: &[u8] = crate::include_image!("../../format/golden/v1/tiny.rlq");

    fn with_server<T>(test: impl FnOnce(&mut Server<'_, Ticker, 4>) -> T) -> T {
        let mut arena = [0u64; 8];
        // Near the wrap, so that every test crosses it.
        let clock = Ticker(Cell::new(u32::MAX - 4));
        test(&mut Server::new("test", clock, MODEL, bytemuck::cast_slice_mut(&mut arena)))
    }

    fn ask(server: &mut Server<'_, Ticker, 4>, id: u32, request: Request<'_>, check: impl FnOnce(u32, Response<'_>)) {
        let mut frame = [0; MAX_FRAME];
        let length = encode(id, &request, &mut frame).unwrap();
        let answer = server.poll(&mut &frame[..length]).to_vec();
        let mut decoder = FrameDecoder::new();
        let body = decoder.next(&mut &answer[..]).unwrap().unwrap();
        let (id, response) = parse(body).unwrap();
        check(id, response);
    }

    fn expect(server: &mut Server<'_, Ticker, 4>, id: u32, request: Request<'_>, expected: Response<'_>) {
        ask(server, id, request, |answered, response| assert_eq!((answered, response), (id, expected)));
    }

    fn open() -> Request<'static> {
        Request::Open { length: MODEL.len() as u32, crc: Image::open(MODEL).unwrap().crc() }
    }

    const OPENED: Response<'static> = Response::Opened { input_bytes: 4, outputs: 2, layers: 2 };

    fn fault(code: FaultCode, detail: u32) -> Response<'static> {
        Response::Fault { code, detail }
    }

    #[test]
    fn a_whole_conversation_agrees_with_the_engine() {
        let input = [10, 200, 30, 250];
        let mut arena = [0u64; 8];
        let image = Image::open(MODEL).unwrap();
        let mut engine = Engine::<4>::new(&image, bytemuck::cast_slice_mut(&mut arena), kernels::ALL).unwrap();
        engine.input_mut().copy_from_slice(&input);
        engine.run(&mut ());
        let logits: Vec<u8> = engine.logits().flat_map(i32::to_le_bytes).collect();
        with_server(|server| {
            expect(server, 1, open(), OPENED);
            expect(server, 2, Request::WriteInput { offset: 0, bytes: &input[..3] }, Response::Done);
            expect(server, 3, Request::WriteInput { offset: 3, bytes: &input[3..] }, Response::Done);
            expect(server, 4, Request::Infer, Response::Inferred { top1: engine.top1() as u32 });
            expect(server, 5, Request::ReadLogits { first: 0 }, Response::Logits { bytes: &logits });
            expect(server, 6, Request::ReadLogits { first: 1 }, Response::Logits { bytes: &logits[4..] });
            expect(server, 7, Request::ReadLogits { first: 2 }, Response::Logits { bytes: &[] });
            ask(server, 8, Request::ReadLayers { first: 0 }, |_, response| {
                let Response::Layers { bytes } = response else { panic!("{response:?}") };
                assert_eq!(bytes.len(), 2 * LAYER_RECORD);
                // A region without work counts nothing, once the overhead is off.
                assert_eq!(bytes[4..8], [0; 4]);
                assert_eq!(bytes[8..12], crc32(&logits).to_le_bytes());
            });
            expect(server, 9, Request::SelfTest, Response::SelfTested { passed: Some(true) });
        });
    }

    #[test]
    fn a_repeated_id_never_runs_twice() {
        with_server(|server| {
            expect(server, 1, open(), OPENED);
            expect(server, 2, Request::Infer, Response::Inferred { top1: 1 });
            // Had it run again, this spin would count as the new request.
            expect(server, 2, Request::Spin { loops: 9 }, Response::Inferred { top1: 1 });
            expect(server, 3, Request::Spin { loops: 9 }, Response::Spun { count: 18 });
        });
    }

    #[test]
    fn a_damaged_frame_is_named_and_does_not_cost_the_last_answer() {
        with_server(|server| {
            expect(server, 1, open(), OPENED);
            let garbled = server.poll(&mut &[9, 9, 9, 0][..]).to_vec();
            let mut decoder = FrameDecoder::new();
            let body = decoder.next(&mut &garbled[..]).unwrap().unwrap();
            assert_eq!(parse(body), Ok((0, fault(FaultCode::Garbled, 0))));
            expect(server, 1, Request::Describe, OPENED);
        });
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let bytes = Request::WriteInput { offset: 2, bytes: &[1, 2, 3] };
        with_server(|server| {
            expect(server, 1, Request::Infer, fault(FaultCode::NotOpen, 0));
            expect(
                server,
                2,
                Request::Open { length: u32::MAX, crc: 0 },
                fault(FaultCode::ModelTooLarge, MODEL.len() as u32),
            );
            let crc = Image::open(MODEL).unwrap().crc();
            let length = MODEL.len() as u32;
            expect(server, 3, Request::Open { length, crc: !crc }, fault(FaultCode::WrongModel, crc));
            expect(server, 4, Request::Open { length: length - 1, crc }, fault(FaultCode::ImageDamaged, 0));
            expect(server, 5, open(), OPENED);
            expect(server, 6, bytes, fault(FaultCode::InputRange, 4));
            expect(server, 7, Request::WriteInput { offset: u32::MAX, bytes: &[1] }, fault(FaultCode::InputRange, 4));
            // A refused opening closes what was open, and the arena survives both.
            expect(server, 8, Request::Open { length, crc: !crc }, fault(FaultCode::WrongModel, crc));
            expect(server, 9, Request::Infer, fault(FaultCode::NotOpen, 0));
            expect(server, 10, open(), OPENED);
            expect(server, 11, Request::SelfTest, Response::SelfTested { passed: Some(true) });
        });
    }

    #[test]
    fn too_small_an_arena_is_refused_and_named() {
        let mut arena = [0u64; 1];
        let mut server = Server::<_, 4>::new("test", Ticker::default(), MODEL, bytemuck::cast_slice_mut(&mut arena));
        expect(&mut server, 1, open(), fault(FaultCode::ArenaTooSmall, 8));
    }
}
