//! A host that talks sense and nonsense to a server, and after it one that must be served as if nothing had been.

use std::cell::Cell;

use arbitrary::Arbitrary;
use releq_device::clock::Clock;
use releq_device::resident::any;
use releq_device::server::{Server, Setup};
use releq_device::{Region, board};
use releq_format::image::Image;
use releq_format::wire::{CHUNK, FrameDecoder, MAX_FRAME, Request, Response, Unit, encode, parse};

use crate::GOLDEN;

/// What lies in the model region, and what the host does.
#[derive(Arbitrary, Debug)]
pub struct Script<'a> {
    golden: u8,
    writable: bool,
    /// Words of arena beyond what the image needs.
    spare: u8,
    steps: Vec<Step<'a>>,
}

#[derive(Arbitrary, Debug)]
enum Step<'a> {
    Noise(&'a [u8]),
    Ask(Id, Ask<'a>),
}

#[derive(Arbitrary, Debug)]
enum Id {
    Next,
    Same,
    Any(u32),
}

/// Requests with any numbers, and the few that hosts that know the image make.
#[derive(Arbitrary, Debug)]
enum Ask<'a> {
    Describe,
    Open { length: u32, crc: u32 },
    OpenRightly,
    WriteInput { offset: u16, bytes: &'a [u8] },
    Infer { runs: u8 },
    ReadLogits { first: u32 },
    ReadLayers { first: u32 },
    ReadRuns,
    SelfTest,
    Spin { loops: u32 },
    ReadKernel { layer: u32 },
    WriteModel { offset: u16, bytes: &'a [u8] },
    WriteRightly { chunk: u8 },
    CheckModel { offset: u32, length: u32 },
    ReadStack,
    Reset,
}

impl<'a> Ask<'a> {
    fn request(&self, golden: &'a [u8]) -> Request<'a> {
        match *self {
            Self::Describe => Request::Describe,
            Self::Open { length, crc } => Request::Open { length, crc },
            Self::OpenRightly => open(golden),
            Self::WriteInput { offset, bytes } => Request::WriteInput { offset: offset.into(), bytes: piece(bytes) },
            Self::Infer { runs } => Request::Infer { runs: runs.into() },
            Self::ReadLogits { first } => Request::ReadLogits { first },
            Self::ReadLayers { first } => Request::ReadLayers { first },
            Self::ReadRuns => Request::ReadRuns,
            Self::SelfTest => Request::SelfTest,
            Self::Spin { loops } => Request::Spin { loops },
            Self::ReadKernel { layer } => Request::ReadKernel { layer },
            Self::WriteModel { offset, bytes } => Request::WriteModel { offset: offset.into(), bytes: piece(bytes) },
            Self::WriteRightly { chunk } => write(golden, usize::from(chunk)),
            Self::CheckModel { offset, length } => Request::CheckModel { offset, length },
            Self::ReadStack => Request::ReadStack,
            Self::Reset => Request::Reset,
        }
    }
}

/// The request that opens `image`.
fn open(image: &[u8]) -> Request<'_> {
    let crc = Image::open(image).expect("golden images open").crc();
    Request::Open { length: image.len() as u32, crc }
}

/// The request that writes a chunk of `image`; beyond its end it writes nothing.
fn write(image: &[u8], chunk: usize) -> Request<'_> {
    let start = (chunk * CHUNK).min(image.len());
    Request::WriteModel { offset: start as u32, bytes: piece(&image[start..]) }
}

fn piece(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.len().min(CHUNK)]
}

/// Counts its own readings.
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
        self.0.set(self.0.get().wrapping_add(loops.wrapping_mul(2)));
    }
}

/// A server, and what has been said to it.
struct Line<'s> {
    server: Server<'s, Ticker, 16>,
    id: u32,
    /// The answer to the last request that was answered, if nothing but it has been heard since.
    answer: Option<(u32, Vec<u8>)>,
}

impl Line<'_> {
    /// Sends `bytes` and returns the last answer.
    fn send(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut answer = Vec::new();
        while !bytes.is_empty() {
            answer = self.server.poll(&mut bytes).to_vec();
            assert!(answer.len() <= MAX_FRAME);
            if !answer.is_empty() {
                read(&answer, |_, _| ());
            }
        }
        answer
    }

    /// Asks, behind a zero that ends whatever noise came before.
    fn ask(&mut self, id: u32, request: &Request<'_>) -> Vec<u8> {
        self.send(&[0]);
        let mut frame = [0; MAX_FRAME];
        let length = encode(id, request, &mut frame).expect("chunks fit");
        let answer = self.send(&frame[..length]);
        if let Some((_, before)) = self.answer.take_if(|(last, _)| *last == id && id != 0) {
            assert_eq!(answer, before, "a repeated request has another answer");
        }
        if !answer.is_empty() {
            read(&answer, |answered, _| assert_eq!(answered, id, "an answer to somebody else"));
            self.answer = Some((id, answer.clone()));
        }
        answer
    }

    fn step(&mut self, step: &Step<'_>, golden: &'static [u8]) {
        match step {
            Step::Noise(bytes) => {
                self.send(bytes);
                self.answer = None;
            }
            Step::Ask(id, ask) => {
                self.id = match id {
                    Id::Next => self.id.wrapping_add(1),
                    Id::Same => self.id,
                    Id::Any(id) => *id,
                };
                self.ask(self.id, &ask.request(golden));
            }
        }
    }

    /// Loads, opens and tests, under id 0, which is never late.
    fn honest(&mut self, image: &[u8], writable: bool) {
        let done = |answer: &[u8]| read(answer, |_, response| assert_eq!(response, Response::Done));
        if writable {
            (0..image.len().div_ceil(CHUNK)).for_each(|chunk| done(&self.ask(0, &write(image, chunk))));
        }
        done(&self.ask(0, &Request::Reset));
        read(&self.ask(0, &open(image)), |_, response| assert!(matches!(response, Response::Opened { .. })));
        let passed = Response::SelfTested { passed: Some(true) };
        read(&self.ask(0, &Request::SelfTest), |_, response| assert_eq!(response, passed));
    }
}

/// The one message of an answer.
fn read(answer: &[u8], check: impl FnOnce(u32, Response<'_>)) {
    let mut decoder = FrameDecoder::new();
    let mut rest = answer;
    let body = decoder.next(&mut rest).expect("an answer is a frame").expect("an answer is sound");
    assert!(rest.is_empty(), "an answer is one frame");
    let (id, response) = parse(body).expect("an answer is a message");
    check(id, response);
}

impl Script<'_> {
    /// Plays the host against a server, and then an honest one.
    ///
    /// # Panics
    /// If an answer is none, or the honest host is not served.
    pub fn play(&self) {
        let golden = GOLDEN[usize::from(self.golden) % GOLDEN.len()];
        let image = Image::open(golden).expect("golden images open");
        let mut arena = vec![0u64; image.arena_bytes().div_ceil(8) + usize::from(self.spare)];
        let mut region = vec![0u64; golden.len().div_ceil(8)];
        let model: &mut [u8] = bytemuck::cast_slice_mut(&mut region);
        model[..golden.len()].copy_from_slice(golden);
        let server = Server::new(Setup {
            board: board::VIRT_M4.name,
            version: "0.0.0",
            clock: Ticker::default(),
            stack: || None,
            model: if self.writable { Region::writable(model) } else { Region::fixed(model) },
            door: any,
            arena: bytemuck::cast_slice_mut(&mut arena),
        });
        let mut line = Line { server, id: 0, answer: None };
        self.steps.iter().for_each(|step| line.step(step, golden));
        line.honest(golden, self.writable);
    }
}
