//! How counts of equal runs lie: the middle, how far from it, and the ends.

use serde::Serialize;

/// Counts of at least one run, in the board's unit.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// Runs.
    pub runs: usize,
    /// Their median.
    pub median: f64,
    /// Median distance from the median.
    pub mad: f64,
    /// The smallest.
    pub min: u32,
    /// The largest.
    pub max: u32,
}

impl Spread {
    /// Of `counts`; `None` of none.
    pub fn of(counts: &[u32]) -> Option<Self> {
        let (&min, &max) = (counts.iter().min()?, counts.iter().max()?);
        let median = median(counts.iter().copied().map(f64::from).collect());
        let mad = median_distance(counts, median);
        Some(Self { runs: counts.len(), median, mad, min, max })
    }
}

fn median_distance(counts: &[u32], from: f64) -> f64 {
    median(counts.iter().map(|&count| (f64::from(count) - from).abs()).collect())
}

/// The middle, or the mean of the two middle ones; 0 of nothing.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let upper = values.len() / 2;
    match values.len() {
        0 => 0.0,
        length if length.is_multiple_of(2) => f64::midpoint(values[upper - 1], values[upper]),
        _ => values[upper],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_is_not_moved_by_an_outlier() {
        let spread = Spread::of(&[5, 1_000_000, 3, 4]).unwrap();
        assert_eq!(spread, Spread { runs: 4, median: 4.5, mad: 1.0, min: 3, max: 1_000_000 });
        assert_eq!(Spread::of(&[7]).unwrap(), Spread { runs: 1, median: 7.0, mad: 0.0, min: 7, max: 7 });
        assert_eq!(Spread::of(&[]), None);
    }
}
