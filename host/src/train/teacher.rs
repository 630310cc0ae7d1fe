//! Distillation: the float network's softened answers, which guide what is fine-tuned from it.

use candle_core::{D, Result, Tensor};

use super::device;
use super::fit::{Views, logits};
use super::model::Model;
use crate::data::Dataset;

/// How much a network learns from its teacher's answers, and how softened: the loss of a step is `share` · T² · cross
/// entropy against the teacher, both softened by T, and the rest of one against labels (arXiv 1503.02531, §2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distillation {
    /// T, what logits are divided by, above 0; by default half the standard deviation of the teacher's logits, at least 2.
    /// A teacher that knows its training images by heart says more of them the softer it speaks.
    pub temperature: Option<f64>,
    /// The teacher's share of the loss, 0..=1.
    pub share: f64,
}

impl Default for Distillation {
    fn default() -> Self {
        Self { temperature: None, share: 0.7 }
    }
}

/// Temperature that is not given, in standard deviations of the logits of one image, and the least.
const SOFTNESS: f64 = 0.5;
const LEAST: f64 = 2.0;
/// Images whose logits tell their deviation.
const GAUGED: usize = 1000;

/// What distillation follows: the float network, and its softened answers to every image of one dataset, computed once.
#[derive(Clone, Debug)]
pub struct Teacher {
    model: Model,
    temperature: f64,
    share: f64,
    /// Softened probabilities, one row of classes an image; none if each view is answered when it is seen.
    answers: Vec<f32>,
    classes: usize,
}

impl Teacher {
    /// A teacher for trainings on `data`: it answers all images here, unless it will see other views of them
    /// (`augmented`).
    ///
    /// # Errors
    /// Only Candle's own.
    pub fn of(model: &Model, data: &Dataset, augmented: bool, how: Distillation) -> Result<Self> {
        let gauged = data.slice(0..data.len().min(GAUGED));
        let logits = logits(model, if augmented { &gauged } else { data })?;
        let temperature = how.temperature.unwrap_or_else(|| (SOFTNESS * deviation(&logits[..gauged.len()])).max(LEAST));
        let silent =
            Self { model: model.clone(), temperature, share: how.share, answers: Vec::new(), classes: data.classes };
        if augmented {
            return Ok(silent);
        }
        let classes = logits.first().map_or(0, Vec::len);
        let rows = Tensor::from_vec(logits.concat(), (data.len(), classes), &device::current())?;
        Ok(Self { answers: silent.softened(&rows)?.flatten_all()?.to_vec1()?, classes, ..silent })
    }

    /// What logits are divided by.
    pub fn temperature(&self) -> f64 {
        self.temperature
    }

    /// The loss of a student that answers `logits` to the images `indices`, which `views` shows, and whose labels cost
    /// `hard`.
    pub(super) fn loss(&self, logits: &Tensor, hard: &Tensor, indices: &[usize], views: &Views<'_>) -> Result<Tensor> {
        let student = candle_nn::ops::log_softmax(&(logits / self.temperature)?, D::Minus1)?;
        let soft = (self.target(indices, views)? * student)?.sum(D::Minus1)?.mean_all()?.neg()?;
        (soft * (self.share * self.temperature.powi(2)))? + (hard * (1.0 - self.share))?
    }

    /// Its answers to the images `indices`, which `views` shows.
    fn target(&self, indices: &[usize], views: &Views<'_>) -> Result<Tensor> {
        if views.augmented || self.answers.is_empty() {
            let logits = self.model.forward(&self.model.input(views.data, views.indices)?, false)?;
            return self.softened(&logits.detach());
        }
        let row = |&index: &usize| &self.answers[index * self.classes..(index + 1) * self.classes];
        let rows: Vec<f32> = indices.iter().flat_map(row).copied().collect();
        Tensor::from_vec(rows, (indices.len(), self.classes), &device::current())
    }

    /// Probabilities of `logits`, softened.
    fn softened(&self, logits: &Tensor) -> Result<Tensor> {
        candle_nn::ops::softmax(&(logits / self.temperature)?, D::Minus1)
    }
}

/// The standard deviation of the logits of one image, in the mean over images.
fn deviation(rows: &[Vec<f32>]) -> f64 {
    let one = |row: &Vec<f32>| {
        let count = row.len().max(1) as f64;
        let mean = row.iter().copied().map(f64::from).sum::<f64>() / count;
        (row.iter().map(|&logit| (f64::from(logit) - mean).powi(2)).sum::<f64>() / count).sqrt()
    };
    rows.iter().map(one).sum::<f64>() / rows.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::glyphs;
    use crate::zoo;

    #[test]
    fn deviations_by_hand() {
        assert_eq!(deviation(&[]), 0.0);
        assert_eq!(deviation(&[vec![1.0, 3.0], vec![4.0, 4.0], vec![0.0, 10.0]]), (1.0 + 0.0 + 5.0) / 3.0);
    }

    /// A student that answers as its teacher learns nothing from it: the gradient of the soft part is zero.
    #[test]
    fn what_agrees_with_the_teacher_stays() {
        let data = glyphs::generate(1, 32);
        let model = Model::new(&zoo::build("lenet", data.shape, data.classes, 1).unwrap()).unwrap();
        let how = Distillation { temperature: Some(3.0), share: 1.0 };
        let teacher = Teacher::of(&model, &data, false, how).unwrap();
        let indices: Vec<usize> = (0..data.len()).collect();
        let views = Views { data: &data, indices: &indices, augmented: false };
        let gradient = |more: f64| {
            let answers = (model.forward(&model.input(&data, &indices).unwrap(), false).unwrap() * more).unwrap();
            let answers = candle_core::Var::from_tensor(&answers).unwrap();
            let hard = Tensor::new(0f32, answers.device()).unwrap();
            let loss = teacher.loss(&answers, &hard, &indices, &views).unwrap();
            let gradient = loss.backward().unwrap().get(&answers).unwrap().abs().unwrap();
            gradient.flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap()
        };
        assert!(gradient(1.0) < 1e-6 && gradient(2.0) > 1e-4, "{} {}", gradient(1.0), gradient(2.0));
    }

    /// A temperature that is not given follows the logits, whether images come as they are or not; a faint network's is 2.
    #[test]
    fn temperatures_follow_the_teacher() {
        let data = glyphs::generate(1, 64);
        let mut network = zoo::build("lenet", data.shape, data.classes, 1).unwrap();
        let of = |network: &_, augmented, how| {
            Teacher::of(&Model::new(network).unwrap(), &data, augmented, how).unwrap().temperature()
        };
        let free = Distillation::default();
        assert_eq!(of(&network, false, free), LEAST);
        let last = network.parameters.get_mut("fc2.weight").expect("LeNet's last layer");
        last.data.iter_mut().for_each(|weight| *weight *= 1000.0);
        assert!(of(&network, false, free) > LEAST);
        assert_eq!(of(&network, true, free), of(&network, false, free));
        assert_eq!(of(&network, false, Distillation { temperature: Some(8.0), ..free }), 8.0);
    }
}
