//! Answers a host's requests: the runner firmware without its port. Bytes in, bytes out.
//!
//! The same server runs on boards, in the emulator and inside tests; who owns the port calls [`Server::poll`] with
//! whatever arrived and sends back what it returns. Each layer is timed by itself, and its digest is taken after its
//! clock has stopped.

use releq_format::crc::crc32;
use releq_format::image::ImageError;
use releq_format::wire::{
    CHUNK, Description, FaultCode, FrameDecoder, FrameError, MAX_FRAME, MAX_RUNS, PROTOCOL, Request, Response, STALE,
    encode, parse,
};

use crate::clock::Clock;
use crate::engine::OpenError;
use crate::kernels;
use crate::resident::{Door, Parts, Region, Resident, ResidentError};
use crate::stopwatch::Stopwatch;

/// A refusal: why, and where.
type Fault = (FaultCode, u32);

/// What a server is made of.
#[derive(Debug)]
pub struct Setup<'a, C> {
    /// Name of the board, as in the board table.
    pub board: &'a str,
    /// Version of the firmware, as `0.1.0`.
    pub version: &'a str,
    /// What layers are timed with.
    pub clock: C,
    /// Most bytes of stack in use at any moment since the start, and bytes there are; `None` where it is not measured.
    pub stack: fn() -> Option<(u32, u32)>,
    /// Where images lie.
    pub model: Region<'a>,
    /// Which of them it runs.
    pub door: Door,
    /// Where they run; at a multiple of 8 bytes.
    pub arena: &'a mut [u8],
}

/// One board's side of the conversation, for images of at most `N` layers.
#[derive(Debug)]
pub struct Server<'a, C, const N: usize> {
    decoder: FrameDecoder,
    bench: Bench<'a, C, N>,
    answer: Answer,
}

impl<'a, C: Clock, const N: usize> Server<'a, C, N> {
    /// A server with no image open.
    pub fn new(setup: Setup<'a, C>) -> Self {
        let Setup { board, version, clock, stack, model, door, arena } = setup;
        let about = About {
            board,
            version,
            arena_bytes: arena.len() as u32,
            model_bytes: model.bytes().len() as u32,
            writable: model.is_writable(),
        };
        let bench = Bench { about, stack, door, watch: Stopwatch::new(clock), state: State::Closed((model, arena)) };
        Self { decoder: FrameDecoder::new(), bench, answer: Answer::new() }
    }

    /// Takes bytes from the front of `input` up to the end of the next frame, and returns the frame that answers it.
    ///
    /// Nothing is returned when `input` is used up, and for a request that came too late; call until it is used up.
    pub fn poll(&mut self, input: &mut &[u8]) -> &[u8] {
        let Some(frame) = self.decoder.next(input) else { return &[] };
        match frame.and_then(parse::<Request<'_>>) {
            Ok((id, request)) => match self.answer.age(id) {
                // The answer was lost, and running twice would overwrite what the first run left.
                Age::Repeated => {}
                Age::Late => return &[],
                Age::New => self.bench.serve(id, request, &mut self.answer),
            },
            Err(FrameError::Message) => return self.answer.complain((FaultCode::Unknown, u32::from(PROTOCOL))),
            Err(_) => return self.answer.complain((FaultCode::Garbled, 0)),
        }
        self.answer.frame()
    }
}

/// How a request stands to the newest one.
enum Age {
    New,
    Repeated,
    Late,
}

/// The last answer, kept for a host that asks again.
#[derive(Debug)]
struct Answer {
    id: u32,
    frame: [u8; MAX_FRAME],
    length: usize,
    /// Where complaints about frames are written, so that they do not overwrite the answer to be asked for again.
    complaint: [u8; MAX_FRAME],
}

impl Answer {
    const fn new() -> Self {
        Self { id: 0, frame: [0; MAX_FRAME], length: 0, complaint: [0; MAX_FRAME] }
    }

    const fn age(&self, id: u32) -> Age {
        match self.id.wrapping_sub(id) {
            _ if self.id == 0 || id == 0 => Age::New,
            0 => Age::Repeated,
            1..=STALE => Age::Late,
            _ => Age::New,
        }
    }

    fn set(&mut self, id: u32, response: &Response<'_>) {
        self.id = id;
        // Payloads are at most CHUNK bytes, which always fit.
        self.length = encode(id, response, &mut self.frame).unwrap_or(0);
    }

    fn complain(&mut self, (code, detail): Fault) -> &[u8] {
        let length = encode(0, &Response::Fault { code, detail }, &mut self.complaint).unwrap_or(0);
        self.complaint.get(..length).unwrap_or(&[])
    }

    fn frame(&self) -> &[u8] {
        self.frame.get(..self.length).unwrap_or(&[])
    }
}

/// What a board says of itself.
#[derive(Debug)]
struct About<'a> {
    board: &'a str,
    version: &'a str,
    arena_bytes: u32,
    model_bytes: u32,
    writable: bool,
}

/// The model, the arena and the clock: what requests act upon.
#[derive(Debug)]
struct Bench<'a, C, const N: usize> {
    about: About<'a>,
    stack: fn() -> Option<(u32, u32)>,
    door: Door,
    watch: Stopwatch<C, N>,
    state: State<'a, N>,
}

/// Who has the model region and the arena.
#[derive(Debug)]
enum State<'a, const N: usize> {
    Closed(Parts<'a>),
    Open(Resident<'a, N>),
}

impl<'a, const N: usize> State<'a, N> {
    /// Takes both, leaving neither behind.
    fn take(&mut self) -> Parts<'a> {
        match core::mem::replace(self, Self::Closed((Region::fixed(&[]), &mut []))) {
            Self::Closed(parts) => parts,
            Self::Open(model) => model.close(),
        }
    }

    /// Closes what is open and works on the region.
    fn with_region<T>(&mut self, work: impl FnOnce(&mut Region<'a>) -> T) -> T {
        let (mut region, arena) = self.take();
        let result = work(&mut region);
        *self = Self::Closed((region, arena));
        result
    }

    fn model(&mut self) -> Result<&mut Resident<'a, N>, Fault> {
        match self {
            Self::Open(model) => Ok(model),
            Self::Closed(_) => Err((FaultCode::NotOpen, 0)),
        }
    }
}

impl<C: Clock, const N: usize> Bench<'_, C, N> {
    fn serve(&mut self, id: u32, request: Request<'_>, answer: &mut Answer) {
        let mut piece = [0; CHUNK];
        let response = self.respond(request, &mut piece);
        answer.set(id, &response.unwrap_or_else(|(code, detail)| Response::Fault { code, detail }));
    }

    fn respond<'r>(&'r mut self, request: Request<'_>, piece: &'r mut [u8; CHUNK]) -> Result<Response<'r>, Fault> {
        match request {
            Request::Describe => Ok(Response::Description(self.describe())),
            Request::Open { length, crc } => self.open(length, crc),
            Request::WriteInput { offset, bytes } => self.write_input(offset, bytes),
            Request::Infer { runs } => self.infer(runs),
            Request::ReadLogits { first } => self.read_logits(first, piece),
            Request::ReadLayers { first } => Ok(Response::Layers { bytes: self.watch.read_layers(first, piece) }),
            Request::ReadRuns => Ok(Response::Runs { bytes: self.watch.read_runs(piece) }),
            Request::SelfTest => Ok(Response::SelfTested { passed: self.state.model()?.self_test() }),
            Request::Spin { loops } => Ok(Response::Spun { count: self.watch.count(|clock| clock.spin(loops.max(1))) }),
            Request::ReadKernel { layer } => {
                Ok(Response::Kernel { name: self.state.model()?.kernel_name(layer as usize).unwrap_or_default() })
            }
            Request::WriteModel { offset, bytes } => self.write_model(offset, bytes),
            Request::CheckModel { offset, length } => self.check_model(offset, length),
            Request::ReadStack => Ok(Response::Stack { used: (self.stack)() }),
            Request::Reset => {
                self.watch.restart();
                self.state.with_region(|_| Ok(Response::Done))
            }
        }
    }

    fn describe(&self) -> Description<'_> {
        let About { board, version, arena_bytes, model_bytes, writable } = self.about;
        Description {
            protocol: PROTOCOL,
            version,
            board,
            unit: self.watch.unit(),
            arena_bytes,
            model_bytes,
            writable,
            max_layers: N as u32,
            overhead: self.watch.overhead(),
        }
    }

    fn open(&mut self, length: u32, crc: u32) -> Result<Response<'static>, Fault> {
        self.watch.restart();
        match Resident::open(self.state.take(), (length as usize, crc), self.door, kernels::ALL) {
            Ok(model) => {
                let response = Response::Opened {
                    input_bytes: model.input_bytes() as u32,
                    outputs: model.outputs() as u32,
                    layers: model.layer_count() as u32,
                };
                self.state = State::Open(model);
                Ok(response)
            }
            Err((parts, error)) => {
                self.state = State::Closed(parts);
                Err(resident_fault(error, self.about.model_bytes))
            }
        }
    }

    fn write_model(&mut self, offset: u32, bytes: &[u8]) -> Result<Response<'static>, Fault> {
        self.state.with_region(|region| {
            let room = region.bytes().len() as u32;
            let memory = region.bytes_mut().ok_or((FaultCode::ReadOnly, 0))?;
            let place = memory.get_mut(offset as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
            place.ok_or((FaultCode::ModelRange, room))?.copy_from_slice(bytes);
            Ok(Response::Done)
        })
    }

    fn check_model(&mut self, offset: u32, length: u32) -> Result<Response<'static>, Fault> {
        self.state.with_region(|region| {
            let room = region.bytes().len() as u32;
            let stretch = region.bytes().get(offset as usize..).and_then(|rest| rest.get(..length as usize));
            Ok(Response::Checksum { crc: crc32(stretch.ok_or((FaultCode::ModelRange, room))?) })
        })
    }

    fn write_input(&mut self, offset: u32, bytes: &[u8]) -> Result<Response<'static>, Fault> {
        let input = self.state.model()?.input_mut();
        let length = input.len() as u32;
        let place = input.get_mut(offset as usize..).and_then(|rest| rest.get_mut(..bytes.len()));
        place.ok_or((FaultCode::InputRange, length))?.copy_from_slice(bytes);
        Ok(Response::Done)
    }

    fn infer(&mut self, runs: u32) -> Result<Response<'static>, Fault> {
        if !(1..=MAX_RUNS).contains(&runs) {
            return Err((FaultCode::Runs, MAX_RUNS));
        }
        let model = self.state.model()?;
        if runs > 1 {
            keep_input(model)?;
        }
        self.watch.restart();
        for run in 0..runs {
            if run > 0 {
                restore_input(model);
            }
            model.run(&mut self.watch);
            self.watch.end_run();
        }
        Ok(Response::Inferred { top1: model.top1() as u32, steady: self.watch.steady() })
    }

    fn read_logits<'r>(&mut self, first: u32, piece: &'r mut [u8; CHUNK]) -> Result<Response<'r>, Fault> {
        let logits = self.state.model()?.logits().skip(first as usize);
        let mut used = 0;
        for (place, logit) in piece.as_chunks_mut::<4>().0.iter_mut().zip(logits) {
            *place = logit.to_le_bytes();
            used += place.len();
        }
        Ok(Response::Logits { bytes: piece.get(..used).unwrap_or(&[]) })
    }
}

/// Copies the input to where running does not reach.
fn keep_input<const N: usize>(model: &mut Resident<'_, N>) -> Result<(), Fault> {
    let (input, spare) = model.input_and_spare_mut();
    let room = spare.len() as u32;
    spare.get_mut(..input.len()).ok_or((FaultCode::NoSpare, room))?.copy_from_slice(input);
    Ok(())
}

fn restore_input<const N: usize>(model: &mut Resident<'_, N>) {
    let (input, spare) = model.input_and_spare_mut();
    if let Some(kept) = spare.get(..input.len()) {
        input.copy_from_slice(kept);
    }
}

fn resident_fault(error: ResidentError, room: u32) -> Fault {
    match error {
        ResidentError::TooLong => (FaultCode::ModelTooLarge, room),
        ResidentError::Image(error) => image_fault(error),
        ResidentError::Unsigned => (FaultCode::Unsigned, 0),
        ResidentError::Foreign => (FaultCode::Foreign, 0),
        ResidentError::Another(crc) => (FaultCode::WrongModel, crc),
        ResidentError::Open(error) => open_fault(error),
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

#[cfg(test)]
mod tests {
    extern crate std;

    use core::cell::Cell;
    use std::vec::Vec;

    use releq_format::image::Image;
    use releq_format::wire::{LAYER_RECORD, Unit};

    use super::*;
    use crate::engine::Engine;
    use crate::resident;

    /// Counts its own readings: 3 for what lies between, and two for each turn of the loop.
    #[derive(Debug, Default)]
    struct Ticker(Cell<u32>);

    impl Clock for Ticker {
        fn unit(&self) -> Unit {
            Unit::Instructions
        }

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

    type Tested<'a> = Server<'a, Ticker, 4>;

    fn server<'a>(model: Region<'a>, arena: &'a mut [u64]) -> Tested<'a> {
        // Near the wrap, so that every test crosses it.
        let clock = Ticker(Cell::new(u32::MAX - 4));
        let arena = bytemuck::cast_slice_mut(arena);
        let door = resident::any;
        Server::new(Setup { board: "test", version: "1.2.3", clock, stack: || None, model, door, arena })
    }

    /// With room to keep the four bytes of input.
    fn with_server<T>(test: impl FnOnce(&mut Tested<'_>) -> T) -> T {
        test(&mut server(Region::fixed(MODEL), &mut [0u64; 8]))
    }

    fn ask(server: &mut Tested<'_>, id: u32, request: Request<'_>, check: impl FnOnce(u32, Response<'_>)) {
        let mut frame = [0; MAX_FRAME];
        let length = encode(id, &request, &mut frame).unwrap();
        let answer = server.poll(&mut &frame[..length]).to_vec();
        let mut decoder = FrameDecoder::new();
        let body = decoder.next(&mut &answer[..]).unwrap().unwrap();
        let (id, response) = parse(body).unwrap();
        check(id, response);
    }

    fn expect(server: &mut Tested<'_>, id: u32, request: Request<'_>, expected: Response<'_>) {
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
            expect(
                server,
                4,
                Request::Infer { runs: 1 },
                Response::Inferred { top1: engine.top1() as u32, steady: true },
            );
            expect(server, 5, Request::ReadLogits { first: 0 }, Response::Logits { bytes: &logits });
            expect(server, 6, Request::ReadLogits { first: 1 }, Response::Logits { bytes: &logits[4..] });
            expect(server, 7, Request::ReadLogits { first: 2 }, Response::Logits { bytes: &[] });
            ask(server, 8, Request::ReadLayers { first: 0 }, |_, response| {
                let Response::Layers { bytes } = response else { panic!("{response:?}") };
                assert_eq!(bytes.len(), 2 * LAYER_RECORD);
                // A region without work counts nothing, once the overhead is off.
                assert_eq!(bytes[4..20], [0; 16]);
                assert_eq!(bytes[20..24], crc32(&logits).to_le_bytes());
            });
            expect(server, 9, Request::SelfTest, Response::SelfTested { passed: Some(true) });
        });
    }

    /// Of a board whose region is RAM: loaded in pieces, run, written over while it is open, refused, and loaded again.
    #[test]
    fn one_image_after_another_is_loaded_and_run() {
        let (mut memory, mut arena) = ([0u64; 32], [0u64; 8]);
        let mut server = server(Region::writable(bytemuck::cast_slice_mut(&mut memory)), &mut arena);
        let server = &mut server;
        let piece = |number: u32, bytes: &'static [u8]| Request::WriteModel { offset: 100 * number, bytes };
        for round in 0..2 {
            for (number, bytes) in (0..).zip(MODEL.chunks(100)) {
                expect(server, 20 * round + number + 1, piece(number, bytes), Response::Done);
            }
            let crc = crc32(MODEL);
            let whole = Request::CheckModel { offset: 0, length: MODEL.len() as u32 };
            expect(server, 20 * round + 10, whole, Response::Checksum { crc });
            expect(server, 20 * round + 11, open(), OPENED);
            expect(server, 20 * round + 12, Request::SelfTest, Response::SelfTested { passed: Some(true) });
            expect(server, 20 * round + 13, piece(2, &[0xFF; 8]), Response::Done);
            expect(server, 20 * round + 14, Request::SelfTest, fault(FaultCode::NotOpen, 0));
            expect(server, 20 * round + 15, open(), fault(FaultCode::ImageDamaged, 0));
        }
    }

    #[test]
    fn a_repeated_id_never_runs_twice() {
        with_server(|server| {
            expect(server, 1, open(), OPENED);
            expect(server, 2, Request::Infer { runs: 1 }, Response::Inferred { top1: 1, steady: true });
            // Had it run again, this spin would count as the new request.
            expect(server, 2, Request::Spin { loops: 9 }, Response::Inferred { top1: 1, steady: true });
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
            expect(server, 1, Request::Infer { runs: 1 }, fault(FaultCode::NotOpen, 0));
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
            expect(server, 9, Request::Infer { runs: 1 }, fault(FaultCode::NotOpen, 0));
            expect(server, 10, open(), OPENED);
            expect(server, 11, Request::SelfTest, Response::SelfTested { passed: Some(true) });
        });
    }

    #[test]
    fn too_small_an_arena_is_refused_and_named() {
        let mut arena = [0u64; 1];
        let mut server = server(Region::fixed(MODEL), &mut arena);
        expect(&mut server, 1, open(), fault(FaultCode::ArenaTooSmall, 8));
    }
}
