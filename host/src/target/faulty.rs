//! A pipe that harms what passes, for tests of whoever talks over pipes.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use super::{TargetError, Transport};

/// What can happen to a frame on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    /// It never arrives.
    Lose,
    /// It arrives twice.
    Repeat,
    /// Its end is missing.
    Truncate,
    /// One byte is another.
    Damage,
    /// It arrives once more, after frames that were sent later.
    Late,
}

const HARMS: [Harm; 5] = [Harm::Lose, Harm::Repeat, Harm::Truncate, Harm::Damage, Harm::Late];

/// A pipe that harms a share of the frames that pass, in both directions.
#[derive(Debug)]
pub struct Faulty<T> {
    inner: T,
    rng: ChaCha8Rng,
    share: f64,
    /// Frames kept back, to the board and from it, to come late.
    late: [Vec<Vec<u8>>; 2],
    done: BTreeMap<Harm, usize>,
    frames: usize,
}

/// Most frames kept back in one direction.
const KEPT: usize = 8;

impl<T> Faulty<T> {
    /// Harms each frame with probability `share`, 0 to 1.
    pub fn new(inner: T, share: f64, seed: u64) -> Self {
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Self { inner, rng, share, late: Default::default(), done: BTreeMap::new(), frames: 0 }
    }

    /// Frames that set out, in both directions.
    pub const fn frames(&self) -> usize {
        self.frames
    }

    /// How often each harm was done.
    pub const fn done(&self) -> &BTreeMap<Harm, usize> {
        &self.done
    }

    fn harmed(&mut self, frame: &[u8], direction: usize) -> Vec<u8> {
        self.frames += 1;
        if frame.is_empty() || !self.rng.random_bool(self.share) {
            return frame.to_vec();
        }
        let harm = HARMS[self.rng.random_range(0..HARMS.len())];
        *self.done.entry(harm).or_default() += 1;
        let at = self.rng.random_range(0..frame.len());
        match harm {
            Harm::Lose => Vec::new(),
            Harm::Repeat => [frame, frame].concat(),
            Harm::Truncate => frame[..at].to_vec(),
            Harm::Damage => {
                let mut damaged = frame.to_vec();
                damaged[at] ^= self.rng.random_range(1..=255u8);
                damaged
            }
            Harm::Late => [self.exchange(frame, direction), frame.to_vec()].concat(),
        }
    }

    /// Keeps a copy of this frame and gives one that was kept before, once there are enough.
    fn exchange(&mut self, frame: &[u8], direction: usize) -> Vec<u8> {
        let kept = &mut self.late[direction];
        kept.push(frame.to_vec());
        if kept.len() < KEPT { Vec::new() } else { kept.swap_remove(self.rng.random_range(0..KEPT)) }
    }
}

impl<T: Transport> Transport for Faulty<T> {
    fn send(&mut self, bytes: &[u8]) -> Result<(), TargetError> {
        let harmed = self.harmed(bytes, 0);
        self.inner.send(&harmed)
    }

    fn receive(&mut self, patience: Duration) -> Result<Option<Vec<u8>>, TargetError> {
        let received = self.inner.receive(patience)?;
        Ok(received.map(|bytes| self.harmed(&bytes, 1)))
    }
}
