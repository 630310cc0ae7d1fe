//! Boards at a debug probe, made of bytes: flashed, greeted over RTT, and run by the device's own server.
//!
//! The board's flash, its sectors and its core are the chip's in probe-rs's table; what answers over its rings is the
//! server that runs in every runner. What this leaves out is USB, SWD and the chip.

#![cfg(feature = "probe")]

use std::cell::Cell;
use std::fs;
use std::ops::ControlFlow;
use std::sync::Arc;

use releq::bench::model::time;
use releq::target::lab::{Lab, Opened};
use releq::target::wired::{self, Choice, Runner, Written};
use releq::target::{TargetError, native};
use releq_device::Region;
use releq_device::board::{Board, NRF52840_DK, NUCLEO_F446RE};
use releq_device::clock::Clock;
use releq_device::resident::any;
use releq_device::server::{Server, Setup};
use releq_format::image::{Image, ImageBuffer, SelfTest};
use releq_format::wire::Unit;
use releq_probe::mock::elf::{elf, loaded};
use releq_probe::mock::{self, Echo, Event, Fault, Program, Shared};
use releq_probe::{Attached, Memory, ProbeError};
use tempfile::TempDir;

const BOARD: &Board = &NUCLEO_F446RE;
const VERSION: &str = env!("CARGO_PKG_VERSION");
const TINY: &[u8] = include_bytes!("../../format/golden/v1/tiny.rlq");
const OTHER: &[u8] = include_bytes!("../../format/golden/v1/every-op.rlq");
/// Where runners have their control block.
const RINGS: u32 = 0x2000_0100;

/// A cycle counter that moves by itself, by more at each reading.
#[derive(Debug, Default)]
struct Cycles {
    now: Cell<u32>,
    step: Cell<u32>,
}

impl Clock for Cycles {
    fn unit(&self) -> Unit {
        Unit::Cycles
    }

    fn ticks(&self) -> u32 {
        self.step.set(self.step.get() + 1);
        self.now.set(self.now.get().wrapping_add(self.step.get()));
        self.now.get()
    }

    fn units(&self, begin: u32, end: u32) -> u32 {
        end.wrapping_sub(begin)
    }

    fn spin(&self, _: u32) {}
}

/// What starts on the board: the server, if its flash begins with the words `runner BOARD VERSION`.
struct Firmware {
    server: Option<Server<'static, Cycles, 64>>,
    /// Answers it gives before it falls silent.
    answers: usize,
}

impl std::fmt::Debug for Firmware {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Firmware").finish_non_exhaustive()
    }
}

impl Program for Firmware {
    fn start(&mut self, memory: &dyn Fn(u32, usize) -> Vec<u8>) -> bool {
        let code = memory(BOARD.code.origin, 64);
        let words = String::from_utf8_lossy(code.split(|&byte| byte == 0).next().unwrap()).into_owned();
        let ["runner", board, version] = words.split(' ').collect::<Vec<_>>()[..] else { return false };
        let leak = |text: &str| -> &'static str { Box::leak(text.to_owned().into_boxed_str()) };
        // Aligned as the board's region is.
        let flash = ImageBuffer::from(&memory(BOARD.model.origin, BOARD.model.length as usize)[..]);
        let arena: &mut [u64] = Box::leak(vec![0; BOARD.arena_bytes / 8].into_boxed_slice());
        self.server = Some(Server::new(Setup {
            board: leak(board),
            version: leak(version),
            clock: Cycles::default(),
            stack: || Some((1000, 4096)),
            model: Region::fixed(Box::leak(Box::new(flash))),
            door: any,
            arena: bytemuck::cast_slice_mut(arena),
        }));
        true
    }

    fn answer(&mut self, mut bytes: &[u8]) -> Vec<u8> {
        let mut answers = Vec::new();
        while !bytes.is_empty() && self.answers > 0 {
            let Some(server) = &mut self.server else { break };
            let answer = server.poll(&mut bytes);
            self.answers -= usize::from(!answer.is_empty());
            answers.extend_from_slice(answer);
        }
        answers
    }

    fn says(&mut self) -> Vec<u8> {
        let dead = self.answers == 0 && self.server.take().is_some();
        if dead { b"hard fault at 0x08001234\n".to_vec() } else { Vec::new() }
    }
}

/// A board, its diary, and a lab with the runner of this version.
struct Bench {
    lab: Lab,
    board: Shared,
    _runners: TempDir,
}

/// The runner's first words and some code behind them, more than a sector.
fn runner(words: &str) -> Vec<u8> {
    let mut code = format!("{words}\0").into_bytes();
    code.extend((0..20_000u32).map(|i| (i * 7 % 251) as u8));
    code
}

fn blank() -> mock::Board {
    firmware(usize::MAX, Echo::at(RINGS, 1024))
}

fn firmware(answers: usize, rings: Echo) -> mock::Board {
    let memory = Memory::of("STM32F446RETx").unwrap();
    mock::Board::new(memory).programmed(rings, Firmware { server: None, answers })
}

impl Bench {
    fn new(board: mock::Board) -> Self {
        let runners = tempfile::tempdir().unwrap();
        let code = runner(&format!("runner {} {VERSION}", BOARD.name));
        let file = elf(&[loaded(".text", BOARD.code.origin, &code)], Some(RINGS));
        fs::write(runners.path().join("nucleo-f446re.elf"), file).unwrap();
        let board = Shared::new(board);
        let mut lab = Lab::from_env();
        lab.launch.runners = vec![runners.path().to_owned()];
        let wire = board.clone();
        lab.attach = Arc::new(move |_| Attached::over(Box::new(wire.clone())));
        Self { lab, board, _runners: runners }
    }

    /// With a runner in flash, that has not started.
    fn holding(words: &str) -> Self {
        Self::new(blank().holding(BOARD.code.origin, &runner(words)))
    }

    fn bring(&self, image: &Image<'_>, runner: Runner) -> Result<Written, TargetError> {
        wired::up_to_date(BOARD, image, &self.lab, runner, &mut |_, _| ()).map(|(_, written)| written)
    }

    /// Addresses of the sectors that were erased so far.
    fn erased(&self) -> Vec<u32> {
        let erased = |event| if let Event::Erased(address) = event { Some(address) } else { None };
        self.board.diary().events().into_iter().filter_map(erased).collect()
    }
}

fn input(image: &Image<'_>) -> Vec<u8> {
    let mut input = vec![0; image.input_bytes()];
    SelfTest::fill(image.header().self_test.seed, &image.header().input, &mut input);
    input
}

#[test]
fn a_blank_board_gets_runner_and_model_once() {
    let bytes = ImageBuffer::from(TINY);
    let image = Image::open(&bytes).unwrap();
    let bench = Bench::new(blank());
    let written = bench.bring(&image, Runner::IfOther).unwrap();
    // Two sectors of 16 KiB hold the runner's 20 KiB; one of 128 the model.
    assert_eq!((written.runner.unwrap().erased, written.model.unwrap().erased), (2, 1));
    assert_eq!(bench.erased(), [0x0800_0000, 0x0800_4000, BOARD.model.origin]);
    let again = bench.bring(&image, Runner::IfOther).unwrap();
    assert_eq!((again, bench.erased().len()), (Written::default(), 3));
    // A board that is up to date is not even reset.
    let resets = || bench.board.diary().events().iter().filter(|event| **event == Event::Reset).count();
    let before = resets();
    let Opened { mut session, .. } = bench.lab.open(BOARD, &image).unwrap();
    let measured = session.infer(&input(&image)).unwrap();
    assert_eq!(measured.inference, native::infer(&image, &input(&image)).unwrap());
    assert_eq!((measured.unit, resets()), (Unit::Cycles, before));
}

#[test]
fn only_what_is_another_is_written() {
    let (tiny, other) = (ImageBuffer::from(TINY), ImageBuffer::from(OTHER));
    let [tiny, other] = [&tiny, &other].map(|bytes| Image::open(bytes).unwrap());
    let older = Bench::holding(&format!("runner {} 0.0.1", BOARD.name));
    assert!(older.bring(&tiny, Runner::IfOther).unwrap().runner.is_some());
    assert!(Bench::holding("no runner at all").bring(&tiny, Runner::IfOther).unwrap().runner.is_some());
    // Of this version, though other bytes: it stays, unless its bytes are asked for.
    let bench = Bench::holding(&format!("runner {} {VERSION}", BOARD.name));
    assert!(bench.bring(&tiny, Runner::IfOther).unwrap().runner.is_none());
    assert!(bench.bring(&other, Runner::IfOther).unwrap().model.is_some());
    assert_eq!(bench.erased(), [BOARD.model.origin; 2]);
    assert_eq!(bench.bring(&other, Runner::IfDifferent).unwrap().runner.unwrap().erased, 0);
}

/// `--board` is then wrong, and so may be the flash algorithm.
#[test]
fn another_boards_runner_is_left_alone() {
    let bytes = ImageBuffer::from(TINY);
    let image = Image::open(&bytes).unwrap();
    let bench = Bench::holding(&format!("runner {} {VERSION}", NRF52840_DK.name));
    for runner in [Runner::IfOther, Runner::IfDifferent] {
        let refused = bench.bring(&image, runner).unwrap_err();
        assert!(matches!(&refused, TargetError::WrongBoard { found, .. } if found == "nrf52840-dk"), "{refused}");
    }
    assert!(bench.erased().is_empty());
}

#[test]
fn a_dry_run_changes_nothing_and_tells_the_truth() {
    let bytes = ImageBuffer::from(TINY);
    let image = Image::open(&bytes).unwrap();
    let outlook = |bench: &Bench, runner| {
        let outlook = wired::outlook(BOARD, &image, &bench.lab, &Choice::default(), runner).unwrap();
        (outlook.runner.map(|plan| plan.erased.len()), outlook.model.erased.len(), outlook.asked)
    };
    let bench = Bench::new(blank());
    assert_eq!(outlook(&bench, Runner::IfOther), (Some(2), 1, true));
    assert!(bench.erased().is_empty());
    bench.bring(&image, Runner::IfOther).unwrap();
    assert_eq!(outlook(&bench, Runner::IfOther), (None, 0, true));
    assert_eq!(outlook(&bench, Runner::IfDifferent), (Some(0), 0, true));
    // Without a probe: what it takes at most.
    let mut bench = bench;
    bench.lab.attach = Arc::new(|_| Err(ProbeError::NoProbe));
    assert_eq!(outlook(&bench, Runner::IfOther), (Some(2), 1, false));
}

#[test]
fn images_are_timed_in_cycles() {
    let bytes = ImageBuffer::from(OTHER);
    let image = Image::open(&bytes).unwrap();
    let bench = Bench::new(blank());
    let (timing, basis) = time(BOARD, &bench.lab, &image, 5, false).unwrap();
    assert_eq!((timing.unit, timing.spread.runs, timing.identical), ("cycles", 5, true));
    assert_eq!(timing.layers.len(), image.layer_count());
    assert!(timing.spread.min > 0 && timing.cycles_estimate.is_none());
    assert_eq!(basis.unwrap_err(), "the counts are cycles");
}

/// What a runner says when it dies is in the error, and so is the exit code of a board that misbehaves.
#[test]
fn last_words_are_heard() {
    let bytes = ImageBuffer::from(TINY);
    let image = Image::open(&bytes).unwrap();
    // Greeted twice, opened, tested, given its input; then no more.
    let bench = Bench::new(firmware(6, Echo::at(RINGS, 1024)));
    let Opened { mut session, .. } = bench.lab.open(BOARD, &image).unwrap();
    let error = session.infer(&input(&image)).unwrap_err();
    assert_eq!(error.exit_code(), 4);
    assert!(error.to_string().contains("hard fault at 0x08001234"), "{error}");
}

#[test]
fn failures_of_the_probe_have_their_exit_codes() {
    let bytes = ImageBuffer::from(TINY);
    let image = Image::open(&bytes).unwrap();
    let code = |board: mock::Board| Bench::new(board).bring(&image, Runner::IfOther).unwrap_err().exit_code();
    assert_eq!(code(blank().with(Fault::Silent)), 4);
    assert_eq!(code(blank().with(Fault::WornCell(BOARD.model.origin + 30))), 1);
    assert_eq!(code(blank().with(Fault::GoneAfter(500))), 4);
    assert_eq!(code(blank().with(Fault::WriteProtected)), 4);
    let mut bench = Bench::new(blank());
    bench.lab.attach = Arc::new(|_| Err(ProbeError::NoProbe));
    assert_eq!(bench.bring(&image, Runner::IfOther).unwrap_err().exit_code(), 3);
    bench.lab.launch.runners.clear();
    let wire = bench.board.clone();
    bench.lab.attach = Arc::new(move |_| Attached::over(Box::new(wire.clone())));
    assert_eq!(bench.bring(&image, Runner::IfOther).unwrap_err().exit_code(), 3, "no runner to flash");
}

/// A cable pulled half-way, plugged in again, and the same command: the board ends as if nothing had happened.
#[test]
fn a_flash_that_was_cut_short_is_done_again() {
    let bytes = ImageBuffer::from(OTHER);
    let image = Image::open(&bytes).unwrap();
    for programmed in [1, 5000, 20_100, 20_500] {
        let bench = Bench::new(blank().with(Fault::GoneAfter(programmed)));
        assert_eq!(bench.bring(&image, Runner::IfOther).unwrap_err().exit_code(), 4, "{programmed}");
        bench.board.touch(mock::Board::mended);
        bench.bring(&image, Runner::IfOther).unwrap();
        let Opened { mut session, .. } = bench.lab.open(BOARD, &image).unwrap();
        assert_eq!(session.infer(&input(&image)).unwrap().inference, native::infer(&image, &input(&image)).unwrap());
    }
}

#[test]
fn a_monitor_hears_the_firmware() {
    let says = b"hello from the board\n".to_vec();
    let code = runner(&format!("runner {} {VERSION}", BOARD.name));
    let board = firmware(usize::MAX, Echo { says, ..Echo::at(RINGS, 1024) }).holding(BOARD.code.origin, &code);
    let bench = Bench::new(board);
    let mut heard = String::new();
    let mut hear = |text: &str| {
        heard += text;
        if heard.ends_with('\n') { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    wired::listen(BOARD, &bench.lab, true, &mut hear).unwrap();
    assert_eq!(heard, "hello from the board\n");
}
