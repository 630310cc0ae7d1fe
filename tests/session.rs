//! A conversation over a pipe that loses, repeats, truncates and damages frames: never a wrong answer, never a hang.

mod suite;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use releq::target::faulty::Faulty;
use releq::target::local::Local;
use releq::target::native;
use releq::target::session::{Greeted, Patience, Session};
use releq::target::{TargetError, Transport};
use releq_device::Region;
use releq_device::board::VIRT_M4;
use releq_device::clock::Clock;
use releq_device::resident::any;
use releq_device::server::{Server, Setup};
use releq_format::graph::KernelHint;
use releq_format::image::Image;
use releq_format::wire::{CHUNK, FaultCode, Unit};
use suite::{Fill, TestNet, store};

/// Counts as the firmware's clock does: its own readings, and two for each turn of the loop.
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

/// A server of firmware 1.2.3 on virt-m4 in this process.
fn local<'a>(model: Region<'a>, arena: &'a mut [u64]) -> Local<'a, Ticker, 16> {
    let arena = bytemuck::cast_slice_mut(arena);
    let (board, version) = (VIRT_M4.name, "1.2.3");
    Local::new(Server::new(Setup {
        board,
        version,
        clock: Ticker(Cell::new(0)),
        stack: || Some((1000, 4096)),
        model,
        door: any,
        arena,
    }))
}

/// A network of pieces: its input, its logits and its image take several frames each.
fn net() -> TestNet {
    let mut net = TestNet::new(5, Fill::Random, [7, 7, 23], 8);
    net.conv(9, 3, 4);
    net.dense(140, 2, None)
}

/// An attempt waits for nothing, since a server in this process has answered by then or never will.
const PATIENCE: Patience = Patience { attempt: Duration::ZERO, attempts: 60 };
/// Questions and answers that the promise below is tested with, those that a host repeats included.
const EXCHANGES: usize = 100_000;
/// Images of one conversation: greeting, clock, loading, opening, self-test, then for each input, runs and readings.
const IMAGES: usize = 12;

/// Loads, opens and runs over pipes that harm none to half of what passes, until so many exchanges have set out.
#[test]
fn faults_never_change_an_answer() {
    let mut net = net();
    let bytes = net.image(KernelHint::PACKED);
    let image = Image::open(&bytes).unwrap();
    let (mut frames, mut harms) = (0, BTreeMap::new());
    for (seed, share) in (0..).zip([0.0, 0.02, 0.1, 0.3, 0.5].into_iter().cycle()) {
        let mut region = vec![0u64; image.len().div_ceil(8)];
        let mut arena = vec![0u64; image.arena_bytes().div_ceil(8) + image.input_bytes().div_ceil(8)];
        let region = Region::writable(bytemuck::cast_slice_mut(&mut region));
        let mut faulty = Faulty::new(local(region, &mut arena), share, seed);
        conversation(&mut faulty, &mut net, &image).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        frames += faulty.frames();
        faulty.done().iter().for_each(|(harm, done)| *harms.entry(*harm).or_insert(0) += done);
        if frames >= 2 * EXCHANGES {
            break;
        }
    }
    assert!(harms.len() == 5 && harms.values().all(|&done| done > 1000), "{harms:?}");
    println!("figure: frames of conversations over harmful pipes {frames}");
    harms.iter().for_each(|(harm, done)| println!("figure: frames harmed ({harm:?}) {done}"));
}

/// One host's whole day. Sixty attempts outlast even a pipe that harms half of what passes, so nothing may fail.
fn conversation(pipe: &mut impl Transport, net: &mut TestNet, image: &Image<'_>) -> Result<(), TargetError> {
    let mut greeted = Greeted::greet(&VIRT_M4, pipe, PATIENCE)?;
    greeted.load(image, &mut |_| ())?;
    let mut session = greeted.open(image)?;
    for index in 0..IMAGES {
        let codes = net.input_codes();
        let input = store(&net.input, &codes);
        let expected = native::infer(image, &input).unwrap();
        if index % 2 == 0 {
            assert_eq!(session.infer(&input)?.inference, expected);
        } else {
            let timed = session.infer_many(&input, 3)?;
            assert_eq!((timed.inference, timed.runs.len()), (expected, 3));
        }
    }
    Ok(())
}

/// A load that was broken off goes on where it stopped, also from another host, and a damaged one is mended.
#[test]
fn loading_resumes() {
    let bytes = net().image(KernelHint::PACKED);
    let image = Image::open(&bytes).unwrap();
    let mut region = vec![0u64; image.len().div_ceil(8)];
    let mut arena = vec![0u64; image.arena_bytes().div_ceil(8)];
    let mut pipe = local(Region::writable(bytemuck::cast_slice_mut(&mut region)), &mut arena);
    let loaded = |pipe: &mut Local<'_, Ticker, 16>, image: &Image<'_>| {
        let mut steps = Vec::new();
        Greeted::greet(&VIRT_M4, pipe, PATIENCE).unwrap().load(image, &mut |held| steps.push(held)).unwrap();
        steps
    };
    assert_eq!(Greeted::greet(&VIRT_M4, &mut pipe, PATIENCE).unwrap().stack().unwrap(), Some((1000, 4096)));
    // The first 3 pieces, as a host that was killed leaves them.
    let mut greeted = Greeted::greet(&VIRT_M4, &mut pipe, PATIENCE).unwrap();
    let killed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        greeted.load(&image, &mut |held| assert!(held < 3 * CHUNK, "killed"))
    }));
    assert!(killed.is_err());
    assert_eq!(loaded(&mut pipe, &image)[0], 3 * CHUNK);
    assert_eq!(loaded(&mut pipe, &image), [image.len()], "all of it is there");
    println!("figure: kills of a load survived 1");
}

#[test]
fn flash_is_not_written_over_the_line() {
    let bytes = net().image(KernelHint::PACKED);
    let image = Image::open(&bytes).unwrap();
    let mut arena = vec![0u64; image.arena_bytes().div_ceil(8)];
    let mut greeted = Greeted::greet(&VIRT_M4, local(Region::fixed(&bytes), &mut arena), PATIENCE).unwrap();
    assert!(!greeted.greeting().writable);
    greeted.load(&image, &mut |_| ()).expect("it is there already");
    let other = TestNet::new(6, Fill::Random, [2, 2, 3], 8).dense(2, 2, None).image(KernelHint::PACKED);
    let error = greeted.load(&Image::open(&other).unwrap(), &mut |_| ()).unwrap_err();
    assert!(matches!(error, TargetError::Refused { code: FaultCode::ReadOnly, .. }), "{error}");
}

/// Without room for a copy of the input, every run is one request, and the answers are the same.
#[test]
fn many_runs_need_no_spare_arena() {
    let mut net = net();
    let bytes = net.image(KernelHint::PACKED);
    let image = Image::open(&bytes).unwrap();
    let codes = net.input_codes();
    let input = store(&net.input, &codes);
    let run = |spare: usize, runs| {
        let mut arena = vec![0u64; image.arena_bytes().div_ceil(8) + spare];
        let pipe = local(Region::fixed(&bytes), &mut arena);
        Session::open(&VIRT_M4, pipe, &image, PATIENCE).unwrap().infer_many(&input, runs).unwrap()
    };
    for runs in [1, 2, 130] {
        let (with, without) = (run(image.input_bytes().div_ceil(8), runs), run(0, runs));
        assert_eq!(with, without);
        assert_eq!(with.runs.len(), runs);
        assert_eq!(with.inference, native::infer(&image, &input).unwrap());
    }
}

/// A pipe on which something else says a word before each of the first frames to the board.
struct Talked<T> {
    inner: T,
    over: usize,
}

impl<T: Transport> Transport for Talked<T> {
    fn send(&mut self, bytes: &[u8]) -> Result<(), TargetError> {
        if self.over > 0 {
            self.over -= 1;
            self.inner.send(b"noise")?;
        }
        self.inner.send(bytes)
    }

    fn receive(&mut self, patience: Duration) -> Result<Option<Vec<u8>>, TargetError> {
        self.inner.receive(patience)
    }
}

/// A frame that the board could not read is sent again for as long as an attempt may take, and no longer.
#[test]
fn noise_costs_time_and_no_attempts() {
    let bytes = net().image(KernelHint::PACKED);
    let image = Image::open(&bytes).unwrap();
    let mut region = vec![0u64; image.len().div_ceil(8)];
    let mut arena = vec![0u64; image.arena_bytes().div_ceil(8)];
    let mut pipe = local(Region::writable(bytemuck::cast_slice_mut(&mut region)), &mut arena);
    let mut load = |over, patience| {
        let mut greeted = Greeted::greet(&VIRT_M4, Talked { inner: &mut pipe, over: 0 }, patience)?;
        greeted.transport().over = over;
        greeted.load(&image, &mut |_| ())
    };
    load(1000, Patience { attempt: Duration::from_secs(60), attempts: 1 }).unwrap();
    let ended = load(usize::MAX, Patience { attempt: Duration::from_millis(20), attempts: 2 });
    assert!(matches!(ended, Err(TargetError::Silent { .. })), "{ended:?}");
}

#[test]
fn a_dead_line_is_given_up() {
    let net = TestNet::new(5, Fill::Random, [2, 2, 3], 8).dense(2, 2, None);
    let bytes = net.image(KernelHint::PACKED);
    let image = Image::open(&bytes).unwrap();
    struct Mute;
    impl Transport for Mute {
        fn send(&mut self, _: &[u8]) -> Result<(), TargetError> {
            Ok(())
        }
        fn receive(&mut self, _: Duration) -> Result<Option<Vec<u8>>, TargetError> {
            Ok(None)
        }
    }
    let patience = Patience { attempt: Duration::from_secs(1), attempts: 2 };
    let error = Session::open(&VIRT_M4, Mute, &image, patience).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "virt-m4 did not answer within 2 s; it may be stuck: reset it and run again");
}
