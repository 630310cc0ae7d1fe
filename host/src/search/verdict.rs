//! What images say of a plan against the float network: paired losses and their intervals.

use releq_format::image::Image;
use serde::{Deserialize, Serialize};

use super::SearchError;
use crate::data::Dataset;
use crate::lower;
use crate::network::Network;
use crate::target::native;
use crate::train::fit;
use crate::train::model::Model;

/// Most classes of which it is worth keeping how they are confused.
pub const CLASSES: usize = 100;

/// Answers to the images of a set, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// The class each was given.
    pub classes: Vec<usize>,
    /// Whether that is its label.
    pub right: Vec<bool>,
}

impl Answers {
    /// Those of a float network.
    ///
    /// # Errors
    /// Only Candle's own.
    pub fn of_floats(network: &Network, data: &Dataset) -> Result<Self, SearchError> {
        Ok(Self::of(fit::predict(&Model::new(network)?, data)?, data))
    }

    /// Those of the integer engine with an image.
    ///
    /// # Errors
    /// An image that does not run here.
    pub fn of_image(image: &[u8], data: &Dataset) -> Result<Self, SearchError> {
        let image = Image::open(image).map_err(lower::LowerError::Refused)?;
        Ok(Self::of(native::answers(&image, data)?, data))
    }

    /// No answer to any of `images` images, which is wrong of each.
    pub fn none(images: usize) -> Self {
        Self { classes: vec![0; images], right: vec![false; images] }
    }

    fn of(classes: Vec<usize>, data: &Dataset) -> Self {
        let right = classes.iter().zip(&data.labels).map(|(class, label)| *class == usize::from(*label)).collect();
        Self { classes, right }
    }

    /// Share that is right, 0 to 1.
    pub fn share(&self) -> f64 {
        self.right.iter().filter(|right| **right).count() as f64 / self.right.len().max(1) as f64
    }

    /// Loss against `float` on the same images, counted by labels, 0 to 1, and its deviation, from the pairs that differ.
    pub fn loss_against(&self, float: &Self) -> (f64, f64) {
        let count = float.right.len().max(1) as f64;
        let pairs = || float.right.iter().zip(&self.right);
        let lost = pairs().filter(|(float, own)| **float && !**own).count() as f64;
        let won = pairs().filter(|(float, own)| !**float && **own).count() as f64;
        let loss = (lost - won) / count;
        (loss, ((lost + won) - (lost - won).powi(2) / count).max(0.0).sqrt() / count)
    }

    /// Images by label, then by answer; none where there are more than [`CLASSES`] classes, or labels are not of these
    /// answers.
    pub fn confusion(&self, labels: &[u8]) -> Option<Vec<Vec<u32>>> {
        let labels = || labels.iter().map(|&label| usize::from(label));
        let classes = 1 + self.classes.iter().copied().chain(labels()).max()?;
        if classes > CLASSES || labels().len() != self.classes.len() {
            return None;
        }
        let mut counts = vec![vec![0; classes]; classes];
        labels().zip(&self.classes).for_each(|(label, &answer)| counts[label][answer] += 1);
        Some(counts)
    }

    /// Numbers of the images answered wrongly.
    pub fn wrong(&self) -> Vec<usize> {
        self.right.iter().enumerate().filter(|(_, right)| !**right).map(|(index, _)| index).collect()
    }

    /// These, then `others`.
    #[must_use]
    pub fn then(mut self, others: Self) -> Self {
        self.classes.extend(others.classes);
        self.right.extend(others.right);
        self
    }
}

/// The 95 % interval of a loss, both in points, from shares.
pub fn interval((loss, deviation): (f64, f64)) -> (f64, [f64; 2]) {
    (100.0 * loss, [100.0 * (loss - 1.96 * deviation), 100.0 * (loss + 1.96 * deviation)])
}

/// Mean loss of several fine-tunes, and half its 95 % interval, both in points: each is told by the numbers of those of
/// `images` that its float network answers wrongly, and of those that it does.
///
/// Fine-tunes are few and images many, so each image's losses are averaged over the fine-tunes first, and the interval
/// is that of the mean over images: what another test set would say, of these fine-tunes.
pub fn pooled(images: usize, fine_tunes: &[[&[usize]; 2]]) -> (f64, f64) {
    let mut losses = vec![0.0; images];
    let share = 1.0 / fine_tunes.len().max(1) as f64;
    for [float, own] in fine_tunes {
        own.iter().for_each(|&image| losses[image] += share);
        float.iter().for_each(|&image| losses[image] -= share);
    }
    let count = images.max(1) as f64;
    let loss = losses.iter().sum::<f64>() / count;
    let variance = losses.iter().map(|one| (one - loss).powi(2)).sum::<f64>() / count;
    (100.0 * loss, 196.0 * (variance / count).sqrt())
}

/// The float network on one set of images: as it came, and given the same fine-tune unquantized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Floats {
    /// As it came.
    pub checkpoint: Answers,
    /// Fine-tuned.
    pub control: Answers,
}

impl Floats {
    /// What "float" means: the better of both.
    pub fn better(&self) -> &Answers {
        if self.control.share() > self.checkpoint.share() { &self.control } else { &self.checkpoint }
    }
}

/// What the test images say of the chosen plan against the float network, taken once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// How many test images.
    pub images: usize,
    /// Top-1 of the checkpoint, percent.
    pub checkpoint_top1: f64,
    /// Top-1 of the checkpoint given the same long fine-tune unquantized, percent.
    pub fine_tuned_top1: f64,
    /// The better of both: what "float" means.
    pub float_top1: f64,
    /// Top-1 of the integer engine, percent.
    pub final_top1: f64,
    /// Points lost against float on the same images.
    pub loss: f64,
    /// 95 % interval of that loss, from the images where the two differ.
    pub loss_interval: [f64; 2],
}

impl Verdict {
    /// Judges on paired answers to one set of images.
    pub fn new(floats: &Floats, integer: &Answers) -> Self {
        let (loss, loss_interval) = interval(integer.loss_against(floats.better()));
        Self {
            images: integer.right.len(),
            checkpoint_top1: 100.0 * floats.checkpoint.share(),
            fine_tuned_top1: 100.0 * floats.control.share(),
            float_top1: 100.0 * floats.better().share(),
            final_top1: 100.0 * integer.share(),
            loss,
            loss_interval,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(right: &[bool]) -> Answers {
        Answers { classes: right.iter().map(|right| usize::from(*right)).collect(), right: right.to_vec() }
    }

    #[test]
    fn fine_tunes_are_pooled_image_by_image() {
        // One of four images lost, by the first of two fine-tunes; the second loses it and wins another.
        let (loss, half) = pooled(4, &[[&[0], &[0, 1]], [&[0], &[1]]]);
        assert_eq!(loss, 12.5);
        // Images lose -1/2, 1, 0 and 0.
        assert!((half - 196.0 * (1.1875f64 / 16.0).sqrt()).abs() < 1e-9, "{half}");
        assert_eq!(pooled(4, &[]), (0.0, 0.0));
    }

    #[test]
    fn paired_images_give_a_narrower_interval() {
        let float = answered(&[true; 100]);
        let mut integer = float.clone();
        integer.right[..4].fill(false);
        let (loss, deviation) = integer.loss_against(&float);
        // sqrt(4 - 16/100) / 100
        assert!((loss - 0.04).abs() < 1e-12 && (deviation - 0.019_596).abs() < 1e-6);
        let (points, [low, high]) = interval((loss, deviation));
        assert!((points - 4.0).abs() < 1e-9 && (high - 4.0 - 3.8408).abs() < 1e-3 && (high + low - 8.0).abs() < 1e-9);
        assert_eq!(float.loss_against(&float), (0.0, 0.0));
        assert_eq!(integer.wrong(), [0, 1, 2, 3]);
    }

    #[test]
    fn confusion_counts_labels_by_answers() {
        let answers = Answers { classes: vec![0, 1, 1, 2], right: vec![true, true, false, true] };
        assert_eq!(answers.confusion(&[0, 1, 2, 2]), Some(vec![vec![1, 0, 0], vec![0, 1, 0], vec![0, 1, 1]]));
        assert_eq!(answers.confusion(&[0, 1, 2]), None);
        assert_eq!(answers.confusion(&[0, 1, 2, 100]), None);
        assert_eq!(answered(&[]).confusion(&[]), None);
    }

    #[test]
    fn float_is_the_better_of_checkpoint_and_control() {
        let (checkpoint, control) = (answered(&[true, false, true]), answered(&[true; 3]));
        let floats = Floats { checkpoint: checkpoint.clone(), control: control.clone() };
        let verdict = Verdict::new(&floats, &checkpoint);
        assert_eq!((verdict.float_top1, verdict.images), (100.0, 3));
        assert!((verdict.loss - 100.0 / 3.0).abs() < 1e-9);
        assert_eq!(Verdict::new(&floats, &control).loss, 0.0);
        assert_eq!(Floats { checkpoint: control.clone(), control: checkpoint }.better(), &control);
    }
}
