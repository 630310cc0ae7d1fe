//! From a short fine-tune to the loss after a long one: a power law through plans that were fine-tuned both ways.
//!
//! A short fine-tune leaves losses several times those of a long one, and top-1 on 2,000 images cannot tell 0.2 points
//! from 0.4. So plans are compared by divergence from the float network's answers, which every image has a say in, less
//! the divergence that the same fine-tune gives the network unquantized: what is left is the quantization's own.
//! `loss = scale · excess^exponent` turns it into points, with scale and exponent from anchors: uniform plans.

use releq_search::plan::BitPlan;
use releq_search::space::Space;
use serde::{Deserialize, Serialize};

use super::SearchError;
use super::bench::{Bench, Stage};
use super::hunt::{Reference, Request};
use super::judge::{Judge, Loss};
use super::shelf::{Shelf, Tuned};
use super::verdict::Answers;

/// One plan: its divergence after one fine-tune, and what a long one leaves of the loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Anchor {
    /// Divergence from the float network after the fine-tune that the law is for, nats an image.
    pub divergence: f64,
    /// Top-1 loss after the long one, 0 to 1; may be negative.
    pub loss: f64,
    /// Deviation of that loss, for the images and the judge it was measured by.
    pub deviation: f64,
}

/// The power law.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// Divergence of the network given the same fine-tune unquantized, nats an image.
    pub floor: f64,
    /// Loss at an excess of one nat, 0 to 1.
    pub scale: f64,
    /// How fast loss grows with the excess.
    pub exponent: f64,
}

/// Exponent believed in before any anchor, and the deviation of that belief. Small disturbances change the log-odds of
/// answers in proportion, and both divergence and accuracy lost by their square; a long fine-tune mends small ones better.
const EXPONENT: [f64; 2] = [1.0, 0.5];
/// Exponents that are tried: the first, the step, and how many.
const TRIED: (f64, f64, usize) = (0.3, 0.01, 300);
/// Least excess, nats: below it, plans lose alike.
const FAINT: f64 = 1e-5;

impl Forecast {
    /// The likeliest law: square errors of the anchors and of the exponent, each in its own deviations.
    pub fn fit(anchors: &[Anchor], floor: f64) -> Self {
        let excess = |anchor: &Anchor| (anchor.divergence - floor).max(FAINT);
        let through = |exponent: f64| {
            let term = |anchor: &Anchor| (excess(anchor).powf(exponent), anchor.deviation.max(1e-6).powi(-2));
            let sum = |of: &dyn Fn(&Anchor, f64) -> f64| -> f64 {
                anchors.iter().map(|anchor| (anchor, term(anchor))).map(|(anchor, (x, w))| w * of(anchor, x)).sum()
            };
            let scale = sum(&|anchor, x| anchor.loss * x) / sum(&|_, x| x * x).max(1e-12);
            // Where all is lost in noise, losses are small, not negative.
            let scale = scale.max(LEAST / sum(&|_, x| x * x).max(1e-12).sqrt());
            let error = sum(&|anchor, x| (anchor.loss - scale * x).powi(2));
            (error + ((exponent - EXPONENT[0]) / EXPONENT[1]).powi(2), Self { floor, scale, exponent })
        };
        let (first, step, count) = TRIED;
        let laws = (0..count).map(|index| through(first + step * index as f64));
        laws.min_by(|one, other| one.0.total_cmp(&other.0)).expect("exponents are tried").1
    }

    /// Predicted top-1 loss after a long fine-tune, 0 to 1, at `divergence` after a short one.
    pub fn loss(&self, divergence: f64) -> f64 {
        (self.scale * (divergence - self.floor).max(FAINT).powf(self.exponent)).min(1.0)
    }
}

/// Least scale, in deviations of what anchors say of it.
const LEAST: f64 = 0.5;

/// Widest uniform plan that anchors the forecast; wider ones lose nothing that could be measured.
const ANCHOR_BITS: u8 = 4;

/// Uniform plans of the few widths at which something is lost, as far as the space has them; where activations are searched,
/// with these as narrow as the weights, or as nearly as may be.
pub fn anchor_plans(space: &Space) -> Vec<BitPlan> {
    let uniform = (1..=ANCHOR_BITS).map(|bits| (bits, space.uniform(bits, bits)));
    let level = uniform.filter(|(bits, plan)| plan.weights().all(|width| width == *bits));
    let plans: Vec<BitPlan> = level.map(|(_, plan)| plan).collect();
    if plans.is_empty() { vec![space.slimmest(), space.widest()] } else { plans }
}

/// The laws from divergence to final loss, after a short and after a longer fine-tune.
#[derive(Clone, Copy, Debug)]
pub struct Laws {
    /// After a short one.
    pub short: Forecast,
    /// After a longer one.
    pub long: Forecast,
}

impl Laws {
    /// From `plans`, each fine-tuned three times: short, longer, and as long as the chosen plan will be, which also
    /// calibrates the judge. One that diverges in any of them says nothing; where all do, the widest plan of all is the
    /// likeliest not to.
    ///
    /// # Errors
    /// As the bench's and the shelf's; [`SearchError::Diverged`] if the widest plan diverges, too.
    pub(super) fn measure(
        bench: &mut Bench<'_>,
        shelf: &Shelf,
        request: &Request,
        reference: &Reference,
        judge: &mut Judge,
        plans: &[BitPlan],
    ) -> Result<Self, SearchError> {
        let anchored = |bench: &mut Bench<'_>, judge: &mut Judge, plans: &[BitPlan]| {
            Self::anchored(bench, shelf, request, reference, judge, plans)
        };
        match anchored(bench, judge, plans)? {
            Ok(laws) => Ok(laws),
            Err(_) => anchored(bench, judge, &[request.space.widest()])?.map_err(|why| SearchError::Diverged { why }),
        }
    }

    /// The laws through `plans`, or why the last of them diverged if all did.
    fn anchored(
        bench: &mut Bench<'_>,
        shelf: &Shelf,
        request: &Request,
        reference: &Reference,
        judge: &mut Judge,
        plans: &[BitPlan],
    ) -> Result<Result<Self, String>, SearchError> {
        let short = bench.measure_all(Stage::Anchor, plans, request.short)?;
        let long = bench.measure_all(Stage::Anchor, plans, request.long)?;
        let all: Vec<&BitPlan> = plans.iter().collect();
        let last = |plan: &BitPlan| -> Result<Result<Answers, String>, SearchError> {
            Ok(match shelf.tuned(bench, plan, request.last)? {
                Tuned::Image(image) => Ok(Answers::of_image(&image, &bench.split.validation)?),
                Tuned::Diverged(why) => Err(why),
            })
        };
        let last = bench.side_by_side(&all, last)?.into_iter().collect::<Result<Vec<_>, _>>()?;
        let (mut anchors, mut answers, mut why) = (Vec::new(), Vec::new(), String::new());
        for ((short, long), last) in short.iter().zip(&long).zip(last) {
            match (short.divergence(), long.divergence(), last) {
                (Some(short), Some(long), Ok(last)) => {
                    anchors.push([short, long]);
                    answers.push(last);
                }
                (.., Err(last)) => why = last,
                _ => why = short.diverged().or(long.diverged()).unwrap_or_default().to_owned(),
            }
        }
        if anchors.is_empty() {
            return Ok(Err(why));
        }
        let float = reference.last.better();
        judge.calibrate(float, &answers);
        let losses: Vec<Loss> = answers.iter().map(|answers| judge.loss(float, answers)).collect();
        let law = |after: usize, floor: f64| {
            let pairs = anchors.iter().zip(&losses);
            let anchor = |(divergences, &(loss, deviation)): (&[f64; 2], &Loss)| Anchor {
                divergence: divergences[after],
                loss,
                deviation,
            };
            Forecast::fit(&pairs.map(anchor).collect::<Vec<_>>(), floor)
        };
        let floor = |images: usize| bench.divergence_of(&shelf.control(bench, images)?);
        Ok(Ok(Self { short: law(0, floor(request.short)?), long: law(1, floor(request.long)?) }))
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
        let both = space.clone().with_activations(&[3, 4, 8]).unwrap();
        let plans: Vec<String> = anchor_plans(&both).iter().map(BitPlan::to_string).collect();
        assert_eq!(plans, ["2:3,2:3,2:3,2:8", "3:3,3:3,3:3,3:8", "4:4,4:4,4:4,4:8"]);
        let pinned = space.ends_pinned().unwrap();
        assert_eq!(anchor_plans(&pinned), [pinned.slimmest(), pinned.widest()]);
    }

    #[test]
    fn a_power_law_is_found_again() {
        let law = Forecast { floor: 0.01, scale: 0.05, exponent: 0.8 };
        let sure = |divergence: f64| Anchor { divergence, loss: law.loss(divergence), deviation: 1e-6 };
        let found = Forecast::fit(&[0.02, 0.1, 0.5].map(sure), 0.01);
        assert!((found.scale - law.scale).abs() < 1e-6 && (found.exponent - law.exponent).abs() < 1e-6, "{found:?}");
        assert!(found.loss(0.01) < 1e-4 && found.loss(1e9) == 1.0);
    }

    /// What a long fine-tune mends: a small loss that is well known to be small bends the law.
    #[test]
    fn small_losses_bend_the_law() {
        let anchor = |divergence, loss, deviation| Anchor { divergence, loss, deviation };
        let found = Forecast::fit(&[anchor(0.023, 0.0005, 0.0004), anchor(0.053, 0.0055, 0.0012)], 0.0);
        assert!(found.exponent > 1.6 && found.loss(0.023) < 0.0015 && found.loss(0.053) > 0.003, "{found:?}");
    }

    /// What is known well decides; an anchor lost in noise turns nothing around.
    #[test]
    fn noise_has_little_say() {
        let anchor = |divergence, loss| Anchor { divergence, loss, deviation: 0.008 };
        let found = Forecast::fit(&[anchor(0.02, 0.011), anchor(0.16, 0.04)], 0.0);
        assert!((found.exponent - 1.0).abs() < 0.25, "{found:?}");
        assert!((found.loss(0.16) - 0.04).abs() < 0.006 && found.loss(0.02) < 0.008, "{found:?}");
        let negative = Forecast::fit(&[anchor(0.02, -0.011), anchor(0.16, 0.04)], 0.0);
        assert!(negative.loss(0.04) > negative.loss(0.02) && negative.loss(0.02) > 0.0);
    }
}
