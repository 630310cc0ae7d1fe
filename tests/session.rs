//! A conversation over a pipe that loses, repeats, truncates and damages frames: never a wrong answer, never a hang.

mod suite;

use std::collections::VecDeque;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use releq::target::native;
use releq::target::session::{Patience, Session};
use releq::target::{TargetError, Transport};
use releq_device::board::VIRT_M4;
use releq_device::clock::Clock;
use releq_device::server::Server;
use releq_format::graph::KernelHint;
use releq_format::image::Image;
use releq_format::wire::Unit;
use suite::{Fill, TestNet, store};

/// Counts as the firmware's clock does: its own readings, and two for each turn of the loop.
struct Ticker(std::cell::Cell<u32>);

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

/// What can happen to a frame on its way.
#[derive(Clone, Copy, Debug)]
enum Harm {
    Lose,
    Repeat,
    Truncate,
    Damage,
}

/// A server in this process, behind a pipe that harms a share of what passes, in both directions.
struct Faulty<'a> {
    server: Server<'a, Ticker, 16>,
    answers: VecDeque<Vec<u8>>,
    rng: ChaCha8Rng,
    share: f64,
}

impl Faulty<'_> {
    fn harmed(&mut self, frame: &[u8]) -> Vec<u8> {
        if frame.is_empty() || !self.rng.random_bool(self.share) {
            return frame.to_vec();
        }
        let at = self.rng.random_range(0..frame.len());
        match [Harm::Lose, Harm::Repeat, Harm::Truncate, Harm::Damage][self.rng.random_range(0..4)] {
            Harm::Lose => Vec::new(),
            Harm::Repeat => [frame, frame].concat(),
            Harm::Truncate => frame[..at].to_vec(),
            Harm::Damage => {
                let mut damaged = frame.to_vec();
                damaged[at] ^= self.rng.random_range(1..=255u8);
                damaged
            }
        }
    }
}

impl Transport for Faulty<'_> {
    fn send(&mut self, bytes: &[u8]) -> Result<(), TargetError> {
        let arrived = self.harmed(bytes);
        let mut rest = &arrived[..];
        while !rest.is_empty() {
            let answer = self.server.poll(&mut rest).to_vec();
            let answer = self.harmed(&answer);
            self.answers.push_back(answer);
        }
        Ok(())
    }

    fn receive(&mut self, _: Duration) -> Result<Option<Vec<u8>>, TargetError> {
        Ok(self.answers.pop_front())
    }
}

/// Exchanges of one conversation: greeting, clock, opening, self-test, then for each image input, run and readings.
const IMAGES: usize = 40;

#[test]
fn faults_never_change_an_answer() {
    let mut net = TestNet::new(5, Fill::Random, [7, 7, 23], 8);
    net.conv(9, 3, 4);
    let mut net = net.dense(140, 2, None);
    let bytes = net.image(KernelHint::PACKED);
    let image = Image::open(&bytes).unwrap();
    let mut gave_up = 0;
    for (seed, share) in (0..60).zip([0.0, 0.05, 0.2, 0.5].into_iter().cycle()) {
        let mut arena = vec![0u64; image.arena_bytes().div_ceil(8)];
        let clock = Ticker(std::cell::Cell::new(0));
        let server = Server::new(VIRT_M4.name, clock, &bytes, bytemuck::cast_slice_mut(&mut arena));
        let faulty = Faulty { server, answers: VecDeque::new(), rng: ChaCha8Rng::seed_from_u64(seed), share };
        let patience = Patience { attempt: Duration::ZERO, attempts: 60 };
        let mut session = match Session::open(&VIRT_M4, faulty, &image, patience) {
            Ok(session) => session,
            Err(error) => {
                gave_up += honest(&error, share);
                continue;
            }
        };
        for _ in 0..IMAGES {
            let codes = net.input_codes();
            let input = store(&net.input, &codes);
            match session.infer(&input) {
                Ok(measured) => assert_eq!(measured.inference, native::infer(&image, &input).unwrap(), "seed {seed}"),
                Err(error) => {
                    gave_up += honest(&error, share);
                    break;
                }
            }
        }
    }
    // Sixty attempts outlast even a pipe that harms half of what passes.
    assert_eq!(gave_up, 0);
}

/// Giving up is allowed on a bad pipe; a good one has no excuse.
fn honest(error: &TargetError, share: f64) -> usize {
    assert!(share > 0.0 && matches!(error, TargetError::Silent { .. }), "{error}");
    1
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
