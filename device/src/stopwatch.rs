//! Times layers and runs, and keeps each layer's digest.

use releq_format::crc::crc32;
use releq_format::wire::{CHUNK, LAYER_RECORD, MAX_RUNS, Unit};

use crate::clock::Clock;
use crate::observe::Observer;

/// What the runs of one request counted for a layer.
#[derive(Clone, Copy, Debug)]
struct Layer {
    digest: u32,
    least: u32,
    most: u32,
    sum: u64,
}

impl Layer {
    fn record(&self) -> [u8; LAYER_RECORD] {
        let [d0, d1, d2, d3] = self.digest.to_le_bytes();
        let [l0, l1, l2, l3] = self.least.to_le_bytes();
        let [m0, m1, m2, m3] = self.most.to_le_bytes();
        let [s0, s1, s2, s3, s4, s5, s6, s7] = self.sum.to_le_bytes();
        [d0, d1, d2, d3, l0, l1, l2, l3, m0, m1, m2, m3, s0, s1, s2, s3, s4, s5, s6, s7]
    }
}

/// A clock with what it counted, for images of at most `N` layers.
#[derive(Debug)]
pub(crate) struct Stopwatch<C, const N: usize> {
    clock: C,
    /// What an empty region counts.
    overhead: u32,
    /// When the running layer began, in ticks.
    begin: u32,
    layers: heapless::Vec<Layer, N>,
    runs: heapless::Vec<u32, { MAX_RUNS as usize }>,
    /// What the current run has counted so far.
    run: u32,
    /// Whether every digest has been what the first run's was.
    steady: bool,
}

impl<C: Clock, const N: usize> Stopwatch<C, N> {
    /// Measures the empty region as layers are measured, through the same two calls.
    pub(crate) fn new(clock: C) -> Self {
        let (layers, runs) = (heapless::Vec::new(), heapless::Vec::new());
        let mut watch = Self { clock, overhead: 0, begin: 0, layers, runs, run: 0, steady: true };
        // The first pass warms caches on real boards.
        watch.count(|_| ());
        watch.overhead = watch.count(|_| ());
        watch
    }

    pub(crate) fn unit(&self) -> Unit {
        self.clock.unit()
    }

    pub(crate) const fn overhead(&self) -> u32 {
        self.overhead
    }

    /// Whether the runs since the last start gave equal digests.
    pub(crate) const fn steady(&self) -> bool {
        self.steady
    }

    /// Forgets every run.
    pub(crate) fn restart(&mut self) {
        self.layers.clear();
        self.runs.clear();
        self.run = 0;
        self.steady = true;
    }

    /// Adds the run that has just ended to the list; nothing is lost up to [`MAX_RUNS`].
    pub(crate) fn end_run(&mut self) {
        let _ = self.runs.push(core::mem::take(&mut self.run));
    }

    /// Counts `work` as a layer is counted. Forgets every run.
    pub(crate) fn count(&mut self, work: impl FnOnce(&C)) -> u32 {
        self.restart();
        self.begin(0);
        work(&self.clock);
        self.end(0, &[]);
        let count = self.run;
        self.restart();
        count
    }

    /// Layer records from `first` on, as many as fit.
    pub(crate) fn read_layers<'r>(&self, first: u32, piece: &'r mut [u8; CHUNK]) -> &'r [u8] {
        let mut used = 0;
        let layers = self.layers.iter().skip(first as usize);
        for (place, layer) in piece.as_chunks_mut::<LAYER_RECORD>().0.iter_mut().zip(layers) {
            *place = layer.record();
            used += LAYER_RECORD;
        }
        piece.get(..used).unwrap_or(&[])
    }

    /// What each run counted.
    pub(crate) fn read_runs<'r>(&self, piece: &'r mut [u8; CHUNK]) -> &'r [u8] {
        let mut used = 0;
        for (place, run) in piece.as_chunks_mut::<4>().0.iter_mut().zip(&self.runs) {
            *place = run.to_le_bytes();
            used += place.len();
        }
        piece.get(..used).unwrap_or(&[])
    }
}

// Out of line, so that an empty region costs what a layer's two calls cost.
impl<C: Clock, const N: usize> Observer for Stopwatch<C, N> {
    #[inline(never)]
    fn begin(&mut self, _: usize) {
        self.begin = self.clock.ticks();
    }

    #[inline(never)]
    fn end(&mut self, layer: usize, output: &[u8]) {
        // First of all, so that nothing below is counted.
        let end = self.clock.ticks();
        let count = self.clock.units(self.begin, end).saturating_sub(self.overhead);
        let digest = crc32(output);
        self.run = self.run.saturating_add(count);
        match self.layers.get_mut(layer) {
            Some(record) => {
                self.steady &= record.digest == digest;
                record.least = record.least.min(count);
                record.most = record.most.max(count);
                record.sum = record.sum.saturating_add(u64::from(count));
            }
            // An open image has at most N layers.
            None => {
                let _ = self.layers.push(Layer { digest, least: count, most: count, sum: u64::from(count) });
            }
        }
    }
}
