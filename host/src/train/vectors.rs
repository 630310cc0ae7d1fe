//! Loops over floats on the widest vectors that the processor has, whatever this program was compiled for.
//!
//! Half of a fine-tune's time is spent in such loops: rounding, normalising, summing. They give the same floats on every
//! width, since products and sums are not fused and what is summed side by side does not depend on it.

use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

/// Terms that are summed side by side, in every sum here.
const LANES: usize = 8;

/// Runs `work` compiled for the processor at hand.
#[inline]
pub(super) fn widest<R>(work: impl FnOnce() -> R) -> R {
    Arch::new().dispatch(work)
}

/// Elements that one task takes.
pub(super) const CHUNK: usize = 1 << 14;

/// `f` of each element, on all cores.
pub(super) fn mapped(x: &[f32], f: impl Fn(f32) -> f32 + Sync) -> Vec<f32> {
    let mut y = vec![0f32; x.len()];
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
        widest(|| y.iter_mut().zip(x).for_each(|(y, &x)| *y = f(x)));
    });
    y
}

/// `f` of each pair of elements, on all cores.
pub(super) fn zipped(left: &[f32], right: &[f32], f: impl Fn(f32, f32) -> f32 + Sync) -> Vec<f32> {
    let mut y = vec![0f32; left.len()];
    let pairs = left.par_chunks(CHUNK).zip(right.par_chunks(CHUNK));
    y.par_chunks_mut(CHUNK).zip(pairs).for_each(|(y, (left, right))| {
        let pairs = left.iter().zip(right);
        widest(|| y.iter_mut().zip(pairs).for_each(|(y, (&left, &right))| *y = f(left, right)));
    });
    y
}

/// `N` sums over pairs of floats, each in [`LANES`] parts until it is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sums<const N: usize>([[f64; LANES]; N]);

impl<const N: usize> Sums<N> {
    pub(super) const ZERO: Self = Self([[0.0; LANES]; N]);

    /// Adds `terms` of each pair.
    pub(super) fn add(&mut self, x: &[f32], y: &[f32], terms: impl Fn(f32, f32) -> [f64; N]) {
        Arch::new().dispatch(Adding { sums: self, x, y, terms });
    }

    /// At most one pair for each lane.
    #[inline(always)]
    fn each(&mut self, x: &[f32], y: &[f32], terms: &impl Fn(f32, f32) -> [f64; N]) {
        for (lane, (x, y)) in x.iter().zip(y).enumerate().take(LANES) {
            let terms = terms(*x, *y);
            self.0.iter_mut().zip(terms).for_each(|(sum, term)| sum[lane] += term);
        }
    }

    /// The sums.
    pub(super) fn totals(&self) -> [f64; N] {
        self.0.map(|lanes| lanes.iter().sum())
    }
}

/// An addition under way. Not a closure: one as large as this is called from the code for each processor instead of
/// becoming part of it, and is then compiled for none of them.
struct Adding<'a, F, const N: usize> {
    sums: &'a mut Sums<N>,
    x: &'a [f32],
    y: &'a [f32],
    terms: F,
}

impl<F: Fn(f32, f32) -> [f64; N], const N: usize> NullaryFnOnce for Adding<'_, F, N> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let ((x, x_rest), (y, y_rest)) = (self.x.as_chunks::<LANES>(), self.y.as_chunks::<LANES>());
        x.iter().zip(y).for_each(|(x, y)| self.sums.each(x, y, &self.terms));
        self.sums.each(x_rest, y_rest, &self.terms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whole numbers, so that any order has the same sum; every length, so that the rest is in it.
    #[test]
    fn every_pair_is_in_the_sums_once() {
        for length in 0..40usize {
            let x: Vec<f32> = (0..length).map(|index| index as f32).collect();
            let mut sums = Sums::<2>::ZERO;
            sums.add(&x, &x, |x, y| [f64::from(x), f64::from(y) + 1.0]);
            let triangle = (length * length.saturating_sub(1) / 2) as f64;
            assert_eq!(sums.totals(), [triangle, triangle + length as f64]);
        }
    }
}
