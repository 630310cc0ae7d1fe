//! What else the chosen plan's bits would have bought: uniform and random plans given the same long fine-tune.
//!
//! Nothing is chosen here. Where the validation images are test images, both parts are judged together, so that rows of
//! different searches are about the same images.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use releq_search::plan::BitPlan;
use releq_search::seed;
use releq_search::space::Space;
use serde::{Deserialize, Serialize};

use super::SearchError;
use super::bench::Bench;
use super::hunt::Request;
use super::shelf::{Shelf, Tuned};
use super::split::Origin;
use super::verdict::{Answers, Floats, interval};
use crate::network::Network;

/// Why a row is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The float checkpoint as it came.
    Checkpoint,
    /// The checkpoint given the same fine-tune unquantized.
    Control,
    /// The chosen plan.
    Searched,
    /// One width for all weights and one for all activations: the means of the chosen plan, or their neighbours below and above.
    Uniform,
    /// A random plan of as many bits in all.
    Random,
}

/// One network on all test images.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Why it is there.
    pub kind: Kind,
    /// Its plan; none in floats.
    pub plan: Option<BitPlan>,
    /// Mean weight bits; 32 in floats.
    pub mean_weight_bits: f64,
    /// Top-1, percent.
    pub top1: f64,
    /// Points lost against the better of checkpoint and control.
    pub loss: f64,
    /// 95 % interval of that loss, from the images where the two differ.
    pub loss_interval: [f64; 2],
    /// Flash bytes of the image; 0 in floats.
    pub bytes: usize,
    /// How many images it was judged on.
    pub images: usize,
    /// Numbers of the images that it answers wrongly.
    pub wrong: Vec<usize>,
    /// Why it diverged, if it did: it answers nothing then, and every image counts as wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged: Option<String>,
}

/// Checkpoint, control, the chosen plan, uniform plans around its mean and random ones of its mean.
///
/// # Errors
/// [`SearchError`]; long fine-tunes stay on the shelf.
pub fn compare(
    bench: &Bench<'_>,
    shelf: &Shelf,
    request: &Request,
    chosen: &BitPlan,
    control: &Network,
) -> Result<Vec<Row>, SearchError> {
    if request.baselines == 0 {
        return Ok(Vec::new());
    }
    let floats = Floats { checkpoint: of_floats(bench, bench.network)?, control: of_floats(bench, control)? };
    let float = floats.better();
    let row = |kind, plan: Option<&BitPlan>, bytes, answers: &Answers| {
        let (loss, loss_interval) = interval(answers.loss_against(float));
        Row {
            kind,
            plan: plan.cloned(),
            mean_weight_bits: plan.map_or(32.0, BitPlan::mean_weight_bits),
            top1: 100.0 * answers.share(),
            loss,
            loss_interval,
            bytes,
            images: answers.right.len(),
            wrong: answers.wrong(),
            diverged: None,
        }
    };
    let mut rows =
        vec![row(Kind::Checkpoint, None, 0, &floats.checkpoint), row(Kind::Control, None, 0, &floats.control)];
    let plans = plans(&request.space, chosen, request.baselines, request.seed);
    let asked: Vec<&BitPlan> = plans.iter().map(|(_, plan)| plan).collect();
    let judged = bench.side_by_side(&asked, |plan: &BitPlan| of_plan(bench, shelf, plan, request.last))?;
    for ((kind, plan), judged) in plans.iter().zip(judged) {
        let (tuned, answers) = judged?;
        let row = row(*kind, Some(plan), tuned.image().map_or(0, |image| image.len()), &answers);
        rows.push(match tuned {
            Tuned::Image(_) => row,
            Tuned::Diverged(why) => Row { diverged: Some(why), ..row },
        });
    }
    Ok(rows)
}

/// What `plan` fine-tuned on `images` images left, from the shelf or put there, and its answers to every test image.
///
/// # Errors
/// [`SearchError`].
pub fn of_plan(
    bench: &Bench<'_>,
    shelf: &Shelf,
    plan: &BitPlan,
    images: usize,
) -> Result<(Tuned, Answers), SearchError> {
    let tuned = shelf.tuned(bench, plan, images)?;
    let answers = whole(bench, |data| match &tuned {
        Tuned::Image(image) => Answers::of_image(image, data),
        Tuned::Diverged(_) => Ok(Answers::none(data.len())),
    })?;
    Ok((tuned, answers))
}

/// The answers of a float network to every test image.
///
/// # Errors
/// Only Candle's own.
pub fn of_floats(bench: &Bench<'_>, network: &Network) -> Result<Answers, SearchError> {
    whole(bench, |data| Answers::of_floats(network, data))
}

/// Answers to every test image: those that validate first, where they are test images.
fn whole(
    bench: &Bench<'_>,
    answers: impl Fn(&crate::data::Dataset) -> Result<Answers, SearchError>,
) -> Result<Answers, SearchError> {
    let split = bench.split;
    let judged = answers(&split.test)?;
    if split.origin == Origin::TestPart { Ok(answers(&split.validation)?.then(judged)) } else { Ok(judged) }
}

/// The chosen plan and those beside it, none twice.
fn plans(space: &Space, chosen: &BitPlan, random: usize, seed: u64) -> Vec<(Kind, BitPlan)> {
    let mut plans = vec![(Kind::Searched, chosen.clone())];
    let (weights, activations) = (chosen.mean_weight_bits(), space.mean_activation_bits(chosen).unwrap_or(8.0));
    let ends: [fn(f64) -> f64; 2] = [f64::floor, f64::ceil];
    for round in ends {
        let uniform = (Kind::Uniform, space.uniform(round(weights) as u8, round(activations) as u8));
        if !plans.contains(&uniform) {
            plans.push(uniform);
        }
    }
    let mut rng = seed::stream(seed, "search/comparison");
    for _ in 0..100 * random {
        let plan = of_total(space, total(space, chosen), &mut rng);
        let random_ones = plans.iter().filter(|(kind, _)| *kind == Kind::Random).count();
        if random_ones < random && plans.iter().all(|(_, other)| *other != plan) {
            plans.push((Kind::Random, plan));
        }
    }
    plans
}

/// Bits of all that is chosen.
fn total(space: &Space, plan: &BitPlan) -> u32 {
    space.bits(plan).unwrap_or_default().into_iter().map(u32::from).sum()
}

/// A random plan whose bits add up to `wanted`, or as nearly as random steps from another get there.
fn of_total(space: &Space, wanted: u32, rng: &mut ChaCha8Rng) -> BitPlan {
    let mut plan = space.sample(rng);
    for _ in 0..1000 {
        let choice = rng.random_range(0..space.choices().len());
        let moved = match total(space, &plan).cmp(&wanted) {
            std::cmp::Ordering::Less => space.widened(&plan, choice),
            std::cmp::Ordering::Equal => return plan,
            std::cmp::Ordering::Greater => space.narrowed(&plan, choice),
        };
        plan = moved.unwrap_or(plan);
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_beside_the_chosen_one_cost_as_much() {
        let space = Space::same(&[1, 2, 3, 4], 4).unwrap();
        let chosen: BitPlan = "1,2,3,1".parse().unwrap();
        let plans = plans(&space, &chosen, 3, 1);
        let texts: Vec<String> = plans.iter().map(|(_, plan)| plan.to_string()).collect();
        assert_eq!(texts[..3], ["1,2,3,1", "1,1,1,1", "2,2,2,2"]);
        assert_eq!(plans.len(), 6);
        for (kind, plan) in &plans[3..] {
            assert_eq!((*kind, plan.total_weight_bits()), (Kind::Random, 7));
            assert!(space.contains(plan));
        }
        // A whole mean has one uniform plan beside it, and that may be the chosen one itself.
        let even = super::plans(&space, &"2,2,2,2".parse().unwrap(), 1, 1);
        assert_eq!(even.iter().filter(|(kind, _)| *kind == Kind::Uniform).count(), 1);
    }
}
