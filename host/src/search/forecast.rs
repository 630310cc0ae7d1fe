//! From a short fine-tune to the loss after a long one: a power law through plans that were measured both ways.
//!
//! A short fine-tune leaves losses several times those of a long one, and top-1 on 2,000 images cannot tell 0.2 points
//! from 0.4. So plans are compared by divergence from the float network's answers, which every image has a say in, and
//! `loss = scale · divergence^exponent` turns it into points, with scale and exponent from anchors: uniform plans
//! fine-tuned both short and long.

use releq_search::plan::BitPlan;
use releq_search::space::Space;
use serde::{Deserialize, Serialize};

use super::SearchError;
use super::bench::{Bench, Stage};

/// One plan: its divergence after one fine-tune, and what a long one leaves of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Anchor {
    /// Divergence from the float network after the fine-tune that the law is for, nats an image.
    pub divergence: f64,
    /// Top-1 loss after the long one, 0 to 1; may be negative.
    pub loss: f64,
}

/// The power law.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Loss at a divergence of one nat, 0 to 1.
    pub scale: f64,
    /// How fast loss grows with divergence.
    pub exponent: f64,
}

/// Exponents between which a fit is believed; loss can neither shrink with divergence nor jump.
const EXPONENTS: [f64; 2] = [0.5, 1.5];

impl Forecast {
    /// The law of least square error in logarithms. `resolution` is the smallest loss that the images can show.
    pub fn fit(anchors: &[Anchor], resolution: f64) -> Self {
        let points: Vec<[f64; 2]> =
            anchors.iter().map(|anchor| [anchor.divergence.max(1e-9).ln(), anchor.loss.max(resolution).ln()]).collect();
        let count = points.len().max(1) as f64;
        let mean = |axis: usize| points.iter().map(|point| point[axis]).sum::<f64>() / count;
        let [x, y] = [mean(0), mean(1)];
        let spread: f64 = points.iter().map(|point| (point[0] - x).powi(2)).sum();
        let together: f64 = points.iter().map(|point| (point[0] - x) * (point[1] - y)).sum();
        let slope = if spread > 0.0 { together / spread } else { 1.0 };
        let exponent = slope.clamp(EXPONENTS[0], EXPONENTS[1]);
        Self { scale: (y - exponent * x).exp(), exponent }
    }

    /// Predicted top-1 loss after a long fine-tune, 0 to 1, at `divergence` after a short one.
    pub fn loss(&self, divergence: f64) -> f64 {
        (self.scale * divergence.max(0.0).powf(self.exponent)).min(1.0)
    }
}

/// Widest uniform plan that anchors the forecast; wider ones lose nothing that could be measured.
const ANCHOR_BITS: u8 = 4;

/// Uniform plans of the few widths at which something is lost, as far as the space has them.
pub fn anchor_plans(space: &Space) -> Vec<BitPlan> {
    let uniform = (1..=ANCHOR_BITS).filter_map(|bits| BitPlan::uniform(bits, space.layers()).ok());
    let plans: Vec<BitPlan> = uniform.filter(|plan| space.contains(plan)).collect();
    if plans.is_empty() { vec![space.slimmest(), space.widest()] } else { plans }
}

/// The laws from divergence to final loss, after a short and after a long fine-tune.
#[derive(Clone, Copy, Debug)]
pub struct Laws {
    /// After a short one.
    pub short: Forecast,
    /// After a long one.
    pub long: Forecast,
}

impl Laws {
    /// From `plans` fine-tuned on `short` and on `long` images, the loss being against an accuracy of `float`, 0 to 1.
    ///
    /// # Errors
    /// As the bench's.
    pub fn measure(
        bench: &mut Bench<'_>,
        plans: &[BitPlan],
        [short, long]: [usize; 2],
        float: f64,
    ) -> Result<Self, SearchError> {
        let quick = bench.measure_all(Stage::Anchor, plans, short)?;
        let patient = bench.measure_all(Stage::Anchor, plans, long)?;
        let anchors = |measured: &[super::bench::Measurement]| -> Vec<Anchor> {
            let losses = patient.iter().map(|patient| float - patient.accuracy);
            measured.iter().zip(losses).map(|(one, loss)| Anchor { divergence: one.divergence, loss }).collect()
        };
        let resolution = 0.5 / bench.split.validation.len().max(1) as f64;
        let fit = |measured| Forecast::fit(&anchors(measured), resolution);
        Ok(Self { short: fit(&quick), long: fit(&patient) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn anchors_are_plans_of_the_space() {
        let space = Space::same(&[2, 3, 4, 5, 8], 4).unwrap();
        let plans: Vec<String> = anchor_plans(&space).iter().map(BitPlan::to_string).collect();
        assert_eq!(plans, ["2,2,2,2", "3,3,3,3", "4,4,4,4"]);
        let pinned = space.ends_pinned().unwrap();
        assert_eq!(anchor_plans(&pinned), [pinned.slimmest(), pinned.widest()]);
    }

    #[test]
    fn a_power_law_is_found_again() {
        let law = Forecast { scale: 0.05, exponent: 0.8 };
        let anchors = [0.01, 0.1, 0.5].map(|divergence| Anchor { divergence, loss: law.loss(divergence) });
        let found = Forecast::fit(&anchors, 1e-6);
        assert!((found.scale - law.scale).abs() < 1e-9 && (found.exponent - law.exponent).abs() < 1e-9);
    }

    #[test]
    fn noise_cannot_turn_it_around() {
        let anchors = [Anchor { divergence: 0.01, loss: 0.004 }, Anchor { divergence: 0.1, loss: -0.001 }];
        let found = Forecast::fit(&anchors, 2.5e-4);
        assert_eq!(found.exponent, EXPONENTS[0]);
        assert!(found.loss(0.2) > found.loss(0.1));
        assert_eq!(Forecast::fit(&anchors[..1], 2.5e-4).exponent, 1.0);
    }
}
