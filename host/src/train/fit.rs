//! The training loop: shuffled batches, cross entropy with optional distillation, and a descent.

use std::ops::ControlFlow;

use candle_core::backprop::GradStore;
use candle_core::{D, Device, Result, Tensor};
use rand::seq::SliceRandom;
use releq_search::seed;

use super::adam::Adam;
use super::model::Model;
use super::momentum::Momentum;
use crate::data::Dataset;

/// How to train.
#[derive(Clone, Debug, PartialEq)]
pub struct Schedule {
    /// Passes over the data; may be a fraction.
    pub epochs: f64,
    /// Images a step.
    pub batch: usize,
    /// Learning rate at the start.
    pub rate: f64,
    /// How gradients become steps.
    pub descent: Descent,
    /// The one seed of everything random.
    pub seed: u64,
}

impl Schedule {
    /// Adam from a rate of 1e-3 at 64 images a step.
    pub fn adam(epochs: f64, seed: u64) -> Self {
        Self { epochs, batch: 64, rate: 1e-3, descent: Descent::Adam, seed }
    }
}

/// How gradients become steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Descent {
    /// Adam, its rate falling to zero along a half cosine.
    Adam,
    /// Gradient descent with momentum 0.9 and weight decay 1e-4 at a constant rate, as ReLeQ's authors retrain.
    Momentum,
}

/// What a step taught.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Loss of the last batch, nats.
    pub loss: f32,
}

/// Why training ended early.
#[derive(Debug, thiserror::Error)]
pub enum FitError {
    /// The loss is no number any more.
    #[error("training diverged at step {step}: the loss is {loss}; lower the learning rate or raise the bit-widths")]
    Diverged {
        /// The step.
        step: usize,
        /// The loss.
        loss: f32,
    },
    /// The watcher said stop.
    #[error("training was interrupted; nothing was written; run the same command to start again")]
    Interrupted,
    /// There is nothing to train on.
    #[error("the training set is empty; give --data a set with images")]
    NoData,
    /// Candle failed.
    #[error("training failed: {0}")]
    Candle(#[from] candle_core::Error),
}

/// Temperature and share of the distillation loss.
const TEMPERATURE: f64 = 2.0;
const DISTILLED: f64 = 0.7;

/// What distillation follows: softened answers of the float network to every image of one dataset, computed once.
#[derive(Clone, Debug)]
pub struct Teacher {
    /// Probabilities at [`TEMPERATURE`], one row of classes an image.
    answers: Vec<f32>,
    classes: usize,
}

impl Teacher {
    /// The answers of `model` to `data`.
    ///
    /// # Errors
    /// Only Candle's own.
    pub fn of(model: &Model, data: &Dataset) -> Result<Self> {
        let logits = logits(model, data)?;
        let classes = logits.first().map_or(0, Vec::len);
        let softened = Tensor::from_vec(logits.concat(), (data.len(), classes), &Device::Cpu)?;
        let answers = candle_nn::ops::softmax(&(softened / TEMPERATURE)?, D::Minus1)?.flatten_all()?.to_vec1()?;
        Ok(Self { answers, classes })
    }

    fn rows(&self, indices: &[usize]) -> Result<Tensor> {
        let row = |&index: &usize| &self.answers[index * self.classes..(index + 1) * self.classes];
        let rows: Vec<f32> = indices.iter().flat_map(row).copied().collect();
        Tensor::from_vec(rows, (indices.len(), self.classes), &Device::Cpu)
    }
}

/// Trains `model` on `data`, guided by the answers of `teacher` to the same data if there is one. `watch` sees every step and may stop.
///
/// # Errors
/// [`FitError`]; the model then holds a half-trained state.
pub fn fit(
    model: &Model,
    teacher: Option<&Teacher>,
    data: &Dataset,
    schedule: &Schedule,
    watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> std::result::Result<(), FitError> {
    if data.is_empty() {
        return Err(FitError::NoData);
    }
    let batch = schedule.batch.clamp(1, data.len());
    let steps = ((schedule.epochs * data.len() as f64) / batch as f64).round() as usize;
    let mut descent: Box<Descend<'_>> = match schedule.descent {
        Descent::Adam => {
            let mut adam = Adam::new(model.variables());
            Box::new(move |step, gradients| adam.step(gradients, (schedule.rate * cosine(step, steps)) as f32))
        }
        Descent::Momentum => {
            let mut momentum = Momentum::new(model.variables());
            Box::new(move |_, gradients| momentum.step(gradients, schedule.rate as f32))
        }
    };
    let mut order = Shuffled::new(data.len(), schedule.seed);
    for step in 0..steps {
        let indices = order.take(batch);
        let loss = loss(model, teacher, data, &indices)?;
        let value: f32 = loss.to_scalar()?;
        if !value.is_finite() {
            return Err(FitError::Diverged { step, loss: value });
        }
        descent(step, &loss.backward()?)?;
        if watch(Progress { step: step + 1, steps, loss: value }).is_break() {
            return Err(FitError::Interrupted);
        }
    }
    Ok(())
}

/// One step of a descent, by its number and the gradients.
type Descend<'a> = dyn FnMut(usize, &GradStore) -> Result<()> + 'a;

/// From 1 at step 0 towards 0 at the last.
fn cosine(step: usize, steps: usize) -> f64 {
    0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos())
}

fn loss(model: &Model, teacher: Option<&Teacher>, data: &Dataset, indices: &[usize]) -> Result<Tensor> {
    let logits = model.forward(&model.input(data, indices)?, true)?;
    let labels: Vec<u32> = indices.iter().map(|&index| u32::from(data.labels[index])).collect();
    let labels = Tensor::from_vec(labels, indices.len(), logits.device())?;
    let hard = candle_nn::loss::cross_entropy(&logits, &labels)?;
    let Some(teacher) = teacher else { return Ok(hard) };
    let target = teacher.rows(indices)?;
    let student = candle_nn::ops::log_softmax(&(&logits / TEMPERATURE)?, D::Minus1)?;
    let soft = (target * student)?.sum(D::Minus1)?.mean_all()?.neg()?;
    (soft * (DISTILLED * TEMPERATURE * TEMPERATURE))? + (hard * (1.0 - DISTILLED))?
}

/// Indices in random order, reshuffled after each pass.
struct Shuffled {
    order: Vec<usize>,
    next: usize,
    rng: rand_chacha::ChaCha8Rng,
}

impl Shuffled {
    fn new(count: usize, seed: u64) -> Self {
        Self { order: (0..count).collect(), next: count, rng: seed::stream(seed, "shuffle") }
    }

    fn take(&mut self, count: usize) -> Vec<usize> {
        if self.next + count > self.order.len() {
            self.order.shuffle(&mut self.rng);
            self.next = 0;
        }
        self.next += count;
        self.order[self.next - count..self.next].to_vec()
    }
}

/// Images a forward pass takes at once.
const EVALUATION_BATCH: usize = 200;

/// The class the model gives each image; the lowest index on a tie.
///
/// # Errors
/// Only Candle's own.
pub fn predict(model: &Model, data: &Dataset) -> Result<Vec<usize>> {
    Ok(logits(model, data)?.iter().map(|row| largest(row)).collect())
}

/// The logits the model gives each image, one row an image.
///
/// # Errors
/// Only Candle's own.
pub fn logits(model: &Model, data: &Dataset) -> Result<Vec<Vec<f32>>> {
    let mut rows = Vec::with_capacity(data.len());
    let indices: Vec<usize> = (0..data.len()).collect();
    for indices in indices.chunks(EVALUATION_BATCH) {
        rows.extend(model.forward(&model.input(data, indices)?, false)?.to_vec2::<f32>()?);
    }
    Ok(rows)
}

/// The index of the largest logit, the lowest on a tie.
pub fn largest(row: &[f32]) -> usize {
    let better = |best: usize, index: usize| if row[index] > row[best] { index } else { best };
    (0..row.len()).fold(0, better)
}

/// How many of `classes` are the labels of `data`.
pub fn correct(classes: &[usize], data: &Dataset) -> usize {
    classes.iter().zip(&data.labels).filter(|(class, label)| **class == usize::from(**label)).count()
}

/// Share of images classified right, 0..=1.
///
/// # Errors
/// Only Candle's own.
pub fn accuracy(model: &Model, data: &Dataset) -> Result<f64> {
    Ok(correct(&predict(model, data)?, data) as f64 / data.len().max(1) as f64)
}
