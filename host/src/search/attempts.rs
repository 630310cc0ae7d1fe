//! Which plan gets a long fine-tune next: what earlier ones lost corrects what the forecast says of the others.

use releq_search::ledger::Entry;
use releq_search::objective::Objective;
use releq_search::plan::BitPlan;
use serde::{Deserialize, Serialize};

use super::judge::{Loss, weighted};
use crate::hardware::budget::Checked;

/// Most long fine-tunes.
pub const ATTEMPTS: usize = 5;

/// One long fine-tune of a candidate, accepted or not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Attempt {
    /// The plan.
    pub plan: BitPlan,
    /// Loss predicted after re-ranking, points.
    pub predicted_loss: f64,
    /// Loss of the integer engine on the validation images, counted by their labels, points.
    pub validation_loss: f64,
    /// The same loss as the judge grades it, points.
    pub judged_loss: f64,
    /// Deviation of that, points.
    #[serde(default)]
    pub deviation: f64,
    /// What to believe after all of it, points.
    pub expected_loss: f64,
    /// Every budget, against the image that was built.
    #[serde(default)]
    pub budgets: Vec<Checked>,
    /// Whether the loss is allowed and the image keeps every budget.
    pub met: bool,
    /// Why it diverged, if it did: there is no image then, and every loss is all that can be lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub diverged: Option<String>,
}

impl Attempt {
    /// One that came to no numbers.
    pub fn diverged(plan: BitPlan, predicted_loss: f64, why: String) -> Self {
        let [validation_loss, judged_loss, expected_loss] = [100.0; 3];
        let (deviation, budgets, met, diverged) = (0.0, Vec::new(), false, Some(why));
        Self { plan, predicted_loss, validation_loss, judged_loss, deviation, expected_loss, budgets, met, diverged }
    }
}

/// How far a prediction may be off, as a share of itself: one deviation.
const DOUBT: f64 = 0.5;

/// What to believe of a loss that was predicted and then measured on a few images.
pub fn believed(predicted: f64, measured: Loss) -> Loss {
    weighted((predicted, DOUBT * predicted), measured)
}

/// A plan and its predicted loss, 0 to 1.
pub type Candidate = (BitPlan, f64);

/// Accepted attempts first, by cost; then the others, by loss.
pub fn rank(objective: &Objective, attempt: &Attempt) -> f64 {
    if attempt.met { objective.quantization(&attempt.plan) } else { 1.0 + objective.dearest() + attempt.expected_loss }
}

/// Each of `entries` with its predicted loss: the better forecast of those that were re-ranked.
pub fn candidates<'e>(
    objective: &Objective,
    entries: impl Iterator<Item = &'e Entry>,
    ranked: &[Candidate],
) -> Vec<Candidate> {
    let forecast = |entry: &Entry| {
        let longer = ranked.iter().find(|(plan, _)| *plan == entry.plan);
        let short = (entry.plan.clone(), objective.float() - entry.seen.accuracy);
        longer.cloned().unwrap_or(short)
    };
    entries.map(forecast).collect()
}

/// What to fine-tune at length after `done`, the first choice first: plans cheaper than what was accepted that the
/// forecast allows once the attempts have corrected it, by cost; while nothing was accepted and nothing is allowed, the
/// one with the least predicted loss.
pub fn next_attempts(objective: &Objective, all: &[Candidate], done: &[&Attempt], max_loss: f64) -> Vec<Candidate> {
    let correction = correction(done);
    let cost = |plan: &BitPlan| objective.quantization(plan);
    let accepted = done.iter().filter(|attempt| attempt.met).map(|attempt| cost(&attempt.plan)).reduce(f64::min);
    let untried = all.iter().filter(|(plan, _)| done.iter().all(|attempt| attempt.plan != *plan));
    let open: Vec<&Candidate> =
        untried.filter(|(plan, _)| accepted.is_none_or(|least| cost(plan) < least - 1e-9)).collect();
    let allowed = open.iter().filter(|(_, predicted)| predicted * correction <= max_loss);
    let mut allowed: Vec<Candidate> = allowed.copied().cloned().collect();
    allowed.sort_by(|one, other| cost(&one.0).total_cmp(&cost(&other.0)).then(one.1.total_cmp(&other.1)));
    if allowed.is_empty() && accepted.is_none() {
        allowed.extend(open.into_iter().min_by(|one, other| one.1.total_cmp(&other.1)).cloned());
    }
    allowed
}

/// Factor on every predicted loss: the least squares of what attempts lost over what was predicted of them, each in its
/// own deviations, and of the belief that predictions are right. So an attempt of little loss, which says little of
/// larger ones, corrects little; one that diverged says nothing of those that will not.
pub fn correction(done: &[&Attempt]) -> f64 {
    let belief = DOUBT.powi(-2);
    let precision = |attempt: &Attempt| attempt.deviation.max(1e-6).powi(-2);
    let done = || done.iter().filter(|attempt| attempt.diverged.is_none());
    let sum = |of: fn(&Attempt) -> f64| done().map(|attempt| of(attempt) * precision(attempt)).sum::<f64>();
    let factor =
        (belief + sum(|one| one.predicted_loss * one.judged_loss)) / (belief + sum(|one| one.predicted_loss.powi(2)));
    factor.max(LEAST)
}

/// Least correction: measured losses may be negative, true ones are not.
const LEAST: f64 = 0.25;

#[cfg(test)]
mod tests {
    use super::*;
    use releq_search::network::StateOfQuantization;
    use releq_search::objective::Goal;

    fn tried(plan: &str, predicted_loss: f64, expected_loss: f64) -> Attempt {
        let plan = plan.parse().unwrap();
        let [validation_loss, judged_loss] = [expected_loss; 2];
        let (deviation, met) = (0.01, expected_loss <= 0.3);
        let (budgets, diverged) = (Vec::new(), None);
        Attempt { plan, predicted_loss, validation_loss, judged_loss, deviation, expected_loss, budgets, met, diverged }
    }

    #[test]
    fn beliefs_lean_to_what_is_known_better() {
        assert!((believed(0.4, (0.2, 0.2)).0 - 0.3).abs() < 1e-12);
        assert!((believed(0.4, (-0.6, 0.9)).0 - 0.353).abs() < 1e-3);
        assert!(believed(0.0, (0.5, 0.1)).0.abs() < 1e-6);
    }

    /// A better attempt than predicted makes cheaper plans worth one; a worse one makes them not.
    #[test]
    fn an_attempt_corrects_the_forecast() {
        let layer = releq_search::network::LayerFeatures {
            weights: 9,
            macs: 9,
            inputs: 1,
            outputs: 1,
            kernel: 3,
            deviation: 0.1,
        };
        let network = releq_search::network::Network::new(vec![layer; 2]).unwrap();
        let objective = Objective::new(Goal::Floor(0.003), StateOfQuantization::Mean, network, 0.99);
        let all: Vec<Candidate> = [("3,3", 0.002), ("2,3", 0.005), ("2,2", 0.009), ("1,1", 0.03)]
            .map(|(plan, loss)| (plan.parse().unwrap(), loss))
            .to_vec();
        let next = |done: &[&Attempt]| -> Vec<String> {
            next_attempts(&objective, &all, done, 0.003).iter().map(|(plan, _)| plan.to_string()).collect()
        };
        assert_eq!(next(&[&tried("3,3", 0.2, 0.1)]), ["2,3"]);
        let much = tried("3,3", 0.2, 0.0);
        assert_eq!(next(&[&much]), ["2,2", "2,3"]);
        assert_eq!(next(&[&much, &tried("2,2", 0.9, 0.25)]), Vec::<String>::new());
        assert_eq!(next(&[&much, &tried("2,2", 0.9, 0.5)]), ["2,3"]);
        // Nothing accepted: the safest plan left.
        assert_eq!(next(&[&tried("2,3", 0.25, 0.9)]), ["3,3"]);
        // One that diverged is not tried again, and takes none of the others with it.
        let diverged = Attempt::diverged("3,3".parse().unwrap(), 0.2, "why".to_owned());
        assert_eq!((next(&[]), next(&[&diverged])), (vec!["3,3".to_owned()], vec!["2,3".to_owned()]));
        assert_eq!(correction(&[&diverged]), 1.0);
    }

    /// A loss of a tenth of a point that is known to a fifth says next to nothing of what loses three tenths.
    #[test]
    fn small_losses_correct_little() {
        let known_to = |deviation: f64, attempt: Attempt| Attempt { deviation, ..attempt };
        assert!(correction(&[&known_to(0.2, tried("3,3", 0.11, 0.05))]) > 0.95);
        let larger = correction(&[&known_to(0.2, tried("3,3", 0.36, 0.5))]);
        assert!(larger > 1.1 && larger < 1.25, "{larger}");
        assert!((correction(&[]) - 1.0).abs() < 1e-12);
    }
}
