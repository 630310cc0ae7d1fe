//! How much a plan loses by the float network's own probabilities: labels of 2,000 images are too coarse a scale.
//!
//! Two networks differ on some images, and a label says of each only who was right: where 7 % differ (SimpleNet at four
//! bits), 2,000 labels know a loss to 0.6 points. The checkpoint's probabilities grade every answer instead, `p(answer of
//! the fine-tuned float network) − p(answer of the plan)`, and that mean foretells losses twice as well (docs/adr/0006). What it
//! is worth in labels is a factor near one, learned from the anchors.

use super::SearchError;
use super::bench::log_softmax;
use super::verdict::Answers;
use crate::data::Dataset;
use crate::network::Network;
use crate::train::fit;
use crate::train::model::Model;

/// A loss, 0 to 1, and its deviation.
pub type Loss = (f64, f64);

/// Factor from graded to counted losses that is believed in before any anchor, and the deviation of that belief.
const FACTOR: [f64; 2] = [1.0, 0.2];

/// Grades answers to the validation images.
#[derive(Clone, Debug)]
pub struct Judge {
    /// Probabilities of the classes by the float network as it came, one row an image.
    float: Vec<Vec<f64>>,
    /// What a graded loss is worth in counted ones.
    factor: f64,
}

impl Judge {
    /// A judge by the probabilities of `float`, the checkpoint, for the images of `data`; it knows of no anchor yet.
    ///
    /// # Errors
    /// Only Candle's own.
    pub fn of(float: &Network, data: &Dataset) -> Result<Self, SearchError> {
        let logits = fit::logits(&Model::new(float)?, data)?;
        let probabilities = |row: &Vec<f32>| log_softmax(row).into_iter().map(f64::exp).collect();
        Ok(Self { float: logits.iter().map(probabilities).collect(), factor: FACTOR[0] })
    }

    /// Mean over images of how much less probable `answers` are than those of `float`, and its deviation.
    pub fn graded(&self, float: &Answers, answers: &Answers) -> Loss {
        let grades = self.float.iter().zip(float.classes.iter().zip(&answers.classes));
        let lost: Vec<f64> = grades.map(|(row, (&float, &own))| row[float] - row[own]).collect();
        let count = lost.len().max(1) as f64;
        let mean = lost.iter().sum::<f64>() / count;
        let spread = lost.iter().map(|one| (one - mean).powi(2)).sum::<f64>() / count;
        (mean, (spread / count).sqrt())
    }

    /// Learns the factor from plans whose losses labels tell best. All are counted on the same images against the same
    /// answers, whose luck they share, so together they say as much as one of them.
    pub fn calibrate(&mut self, float: &Answers, anchors: &[Answers]) {
        let belief = FACTOR[1].powi(-2);
        let (mut product, mut square) = (FACTOR[0] * belief, belief);
        for answers in anchors {
            let ((graded, _), (counted, deviation)) = (self.graded(float, answers), answers.loss_against(float));
            let precision = deviation.max(1e-6).powi(-2) / anchors.len() as f64;
            product += counted * graded * precision;
            square += graded * graded * precision;
        }
        self.factor = product / square;
    }

    /// The loss of `answers` against `float`: graded and counted, each weighted by its precision.
    pub fn loss(&self, float: &Answers, answers: &Answers) -> Loss {
        let (graded, sampled) = self.graded(float, answers);
        let graded = self.factor * graded;
        let doubted = (self.factor * sampled).hypot(FACTOR[1] * graded);
        weighted((graded, doubted), answers.loss_against(float))
    }
}

/// The mean of two estimates of one number, each weighted by its precision.
pub fn weighted(one: Loss, other: Loss) -> Loss {
    let precision = |(_, deviation): Loss| deviation.max(1e-6).powi(-2);
    let (own, others) = (precision(one), precision(other));
    ((one.0 * own + other.0 * others) / (own + others), (own + others).sqrt().recip())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 1,000 images of which the float network is sure, and 1,000 that it finds as likely one thing as another.
    fn judge() -> Judge {
        let rows = [[0.98, 0.01, 0.01], [0.5, 0.49, 0.01]];
        let float = rows.into_iter().flat_map(|row| std::iter::repeat_n(row.to_vec(), 1000)).collect();
        Judge { float, factor: FACTOR[0] }
    }

    /// Answers that differ from all zeros on images `from..from + count`; labels say that all of these are wrong.
    fn differing(from: usize, count: usize) -> Answers {
        let mut classes = vec![0; 2000];
        classes[from..from + count].fill(1);
        let right = classes.iter().map(|class| *class == 0).collect();
        Answers { classes, right }
    }

    #[test]
    fn toss_ups_cost_little_and_plain_mistakes_all() {
        let judge = judge();
        let float = differing(0, 0);
        let (plain, _) = judge.graded(&float, &differing(0, 20));
        let (toss_ups, deviation) = judge.graded(&float, &differing(1000, 20));
        assert!((plain - 0.01 * 0.97).abs() < 1e-9 && (toss_ups - 0.01 * 0.01).abs() < 1e-9);
        let (counted, coarse) = differing(1000, 20).loss_against(&float);
        assert!((counted - 0.01).abs() < 1e-12 && deviation < coarse / 50.0);
        // The graded loss is known far better, so it decides.
        let (loss, known) = judge.loss(&float, &differing(1000, 20));
        assert!(loss < 0.0002 && known < 0.0001, "{loss} {known}");
    }

    #[test]
    fn anchors_say_what_a_grade_is_worth() {
        let (mut judge, float) = (judge(), differing(0, 0));
        judge.calibrate(&float, &[]);
        assert!((judge.factor - 1.0).abs() < 1e-12);
        // Labels find most of what it calls toss-ups wrong: grades are worth more than one, as far as that is known.
        judge.calibrate(&float, &[differing(900, 400)]);
        assert!(judge.factor > 1.5, "{}", judge.factor);
        let (certain, _) = judge.loss(&float, &differing(0, 20));
        assert!(certain > 0.009 && certain < 0.02, "{certain}");
    }

    #[test]
    fn estimates_lean_to_what_is_known_better() {
        let (mean, deviation) = weighted((0.4, 0.2), (0.2, 0.2));
        assert!((mean - 0.3).abs() < 1e-12 && (deviation - 0.2 / 2f64.sqrt()).abs() < 1e-12);
        assert!((weighted((0.8, 0.4), (0.3, 1e-9)).0 - 0.3).abs() < 1e-6);
    }
}
