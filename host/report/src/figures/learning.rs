//! Reward, accuracy and State of Quantization over episodes: three small charts of one shape.

use super::Figure;
use crate::number;
use crate::plot::{Anchor, Bin, Plot, Scale, binned};
use crate::run::{Episode, Run};

const SIZE: [f64; 2] = [350.0, 210.0];
/// Sides of the frame.
const LEFT: f64 = 44.0;
const RIGHT: f64 = 292.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 166.0;
/// Most bins along the frame.
const BINS: usize = 240;

/// One quantity of an episode.
pub(crate) struct Quantity {
    pub(crate) name: &'static str,
    note: &'static str,
    of: fn(&Episode) -> Option<f64>,
}

/// What is learnt.
pub(crate) const QUANTITIES: [Quantity; 3] = [
    Quantity { name: "Reward", note: "summed over the steps of an episode", of: Episode::reward },
    Quantity {
        name: "Accuracy",
        note: "% of the validation images, as it is forecast or measured",

        of: |episode| episode.accuracy.map(|share| 100.0 * share),
    },
    Quantity {
        name: "State of Quantization",
        note: "what is made small; 1 with 8 bits everywhere",

        of: |episode| episode.state_of_quantization,
    },
];

/// All three.
pub(crate) fn figures(run: &Run) -> Vec<Figure> {
    QUANTITIES.iter().map(|quantity| quantity.figure(&run.episodes)).collect()
}

impl Quantity {
    /// Of each of `episodes`, not a number where it is not known.
    pub(crate) fn values(&self, episodes: &[Episode]) -> Vec<f64> {
        episodes.iter().map(|episode| (self.of)(episode).unwrap_or(f64::NAN)).collect()
    }

    fn figure(&self, episodes: &[Episode]) -> Figure {
        let values = self.values(episodes);
        let smooth = smoothed(&values);
        let last = smooth.iter().rev().copied().find(|value| value.is_finite());
        let said = number::fixed(last, 2);
        let name = format!("{} over {} episodes; the moving mean ends at {said}.", self.name, values.len());
        let mut plot = Plot::new(&name, SIZE);
        let bins = binned(&values, BINS);
        let x = episodes_scale(values.len(), [LEFT, RIGHT]);
        let y = Scale::over(bins.iter().flat_map(|bin| [bin.least, bin.largest]), [BOTTOM, TOP]).padded(0.05);
        plot.beside(&y, [LEFT, RIGHT], 6);
        plot.below(&x, BOTTOM, 5, "episode");
        self.marks(&mut plot, &bins, values.len(), &x, &y);
        plot.line("trend", binned(&smooth, BINS).iter().map(|bin| (x.at(bin.at), y.at(bin.mean))));
        if let Some(last) = last {
            plot.text("direct", [RIGHT + 6.0, y.at(last) + 4.0], Anchor::Start, &said);
        }
        Figure::small(self.name, self.note, &plot)
    }

    /// Every episode a dot, or the span of each bin where they are too many.
    fn marks(&self, plot: &mut Plot, bins: &[Bin], episodes: usize, x: &Scale, y: &Scale) {
        if bins.len() == episodes {
            plot.dots("dots", bins.iter().map(|bin| [x.at(bin.at), y.at(bin.mean)]));
        } else {
            let span = |bin: &Bin| [(x.at(bin.at), y.at(bin.least)), (x.at(bin.at), y.at(bin.largest))];
            let gap = (f64::NAN, f64::NAN);
            plot.line("span", bins.iter().flat_map(|bin| span(bin).into_iter().chain([gap])));
        }
    }
}

/// From the first of `count` episodes to the last.
pub(super) fn episodes_scale(count: usize, places: [f64; 2]) -> Scale {
    Scale::over([0.0, count.saturating_sub(1) as f64], places)
}

/// The mean of each value and those before it, a twentieth of all at most and five at least.
fn smoothed(values: &[f64]) -> Vec<f64> {
    let window = (values.len() / 20).max(5);
    let (mut sum, mut count) = (0.0, 0_usize);
    let mut add = |value: f64, back: bool| {
        if value.is_finite() {
            sum += if back { -value } else { value };
            count = if back { count - 1 } else { count + 1 };
        }
        (sum, count)
    };
    let mean = |index: usize| {
        if index >= window {
            add(values[index - window], true);
        }
        let (sum, count) = add(values[index], false);
        if count == 0 { f64::NAN } else { sum / count as f64 }
    };
    (0..values.len()).map(mean).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_moving_mean_looks_back_and_passes_over_gaps() {
        let values = [0.0, 2.0, f64::NAN, 4.0, 4.0, 4.0, 4.0];
        assert_eq!(smoothed(&values), [0.0, 1.0, 1.0, 2.0, 2.5, 3.5, 4.0]);
        assert!(smoothed(&[f64::NAN])[0].is_nan());
        assert!(smoothed(&[]).is_empty());
    }

    #[test]
    fn thousands_of_episodes_stay_small() {
        let episode = |index: usize| Episode {
            accuracy: Some((index % 97) as f64 / 97.0),
            rewards: vec![Some(index as f64)],
            ..Episode::default()
        };
        let run = Run { episodes: (0..20_000).map(episode).collect(), ..Run::default() };
        assert!(figures(&run).iter().map(|figure| figure.wide.len()).sum::<usize>() < 40_000);
    }
}
