//! The training loop: shuffled batches, cross entropy with optional distillation, and a descent.

use std::ops::ControlFlow;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};
use rand::seq::SliceRandom;
use releq_search::seed;

use super::adam::Adam;
use super::model::Model;
use super::momentum::Momentum;
use super::resume::{Clock, Resume, State};
use super::teacher::Teacher;
use crate::data::Dataset;
use crate::data::augment::Augment;

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
    /// Which views of the images are learned from.
    pub augment: Augment,
    /// The one seed of everything random.
    pub seed: u64,
}

impl Schedule {
    /// Adam from a rate of 1e-3 at 64 images a step, as they are.
    pub fn adam(epochs: f64, seed: u64) -> Self {
        Self { epochs, batch: 64, rate: 1e-3, descent: Descent::Adam, augment: Augment::NONE, seed }
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
    /// The loss was a number to the end, and what the last step made of the network is none.
    #[error(
        "training diverged in its last step: its parameters are no numbers any more; lower the learning rate or raise \
         the bit-widths"
    )]
    Lost,
    /// The watcher said stop.
    #[error("training was interrupted; what was to be written is not there yet; run the same command to go on")]
    Interrupted,
    /// The state so far cannot be kept.
    #[error(
        "training cannot keep its state: {0}; without it a kill would lose the work; make room beside the output and give \
         the same command again, or write elsewhere"
    )]
    Keep(std::io::Error),
    /// There is nothing to train on.
    #[error("the training set is empty; give --data a set with images")]
    NoData,
    /// Candle failed.
    #[error("training failed: {0}")]
    Candle(#[from] candle_core::Error),
}

impl FitError {
    /// Whether the training came to no numbers, which the same training will each time.
    pub const fn is_divergence(&self) -> bool {
        matches!(self, Self::Diverged { .. } | Self::Lost)
    }
}

/// The images of one step.
pub(super) struct Views<'a> {
    pub data: &'a Dataset,
    pub indices: &'a [usize],
    pub augmented: bool,
}

/// Trains `model` on `data`, guided by `teacher` if there is one. `watch` sees every step and may stop.
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
    fit_kept(model, teacher, data, schedule, None, watch)
}

/// [`fit`], with its state kept by `resume` if there is one: it goes on from the state that is there, to the end that
/// it would have had.
///
/// # Errors
/// [`FitError`].
pub fn fit_kept(
    model: &Model,
    teacher: Option<&Teacher>,
    data: &Dataset,
    schedule: &Schedule,
    resume: Option<&Resume>,
    watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> std::result::Result<(), FitError> {
    if data.is_empty() {
        return Err(FitError::NoData);
    }
    let batch = schedule.batch.clamp(1, data.len());
    let steps = ((schedule.epochs * data.len() as f64) / batch as f64).round() as usize;
    let mut training = Training::new(model, schedule);
    let reached = resume.and_then(Resume::load).map_or(Ok(0), |(step, state)| training.restore(step, state))?;
    let mut clock = resume.map(Clock::of);
    let mut order = Shuffled::new(data.len(), schedule.seed);
    (0..reached).for_each(|_| drop(order.take(batch)));
    for step in reached..steps {
        let indices = order.take(batch);
        let value = training.step(step, steps, teacher, data, &indices)?;
        let stopped = watch(Progress { step: step + 1, steps, loss: value }).is_break();
        if let (Some(resume), Some(clock)) = (resume, &mut clock)
            && (clock.strikes() || stopped || step + 1 == steps)
        {
            resume.save(step + 1, &training.state()?).map_err(FitError::Keep)?;
        }
        if stopped {
            return Err(FitError::Interrupted);
        }
    }
    if training.is_finite()? { Ok(()) } else { Err(FitError::Lost) }
}

/// A model in training.
struct Training<'a> {
    model: &'a Model,
    schedule: &'a Schedule,
    variables: Vec<Var>,
    optimiser: Optimiser,
}

enum Optimiser {
    Adam(Adam),
    Momentum(Momentum),
}

impl<'a> Training<'a> {
    fn new(model: &'a Model, schedule: &'a Schedule) -> Self {
        let variables = model.variables();
        let optimiser = match schedule.descent {
            Descent::Adam => Optimiser::Adam(Adam::new(variables.clone())),
            Descent::Momentum => Optimiser::Momentum(Momentum::new(variables.clone())),
        };
        Self { model, schedule, variables: variables.into_iter().map(|(var, _)| var).collect(), optimiser }
    }

    /// One step on the images `indices`; gives its loss.
    fn step(
        &mut self,
        step: usize,
        steps: usize,
        teacher: Option<&Teacher>,
        data: &Dataset,
        indices: &[usize],
    ) -> std::result::Result<f32, FitError> {
        let augment = self.schedule.augment;
        let (loss, gradients) = if augment.is_any() {
            // A stream for each step, so that a training taken up again sees the views it would have seen.
            let mut rng = seed::stream(self.schedule.seed, &format!("views {step}"));
            let views = augment.views(data, indices, &mut rng);
            let all: Vec<usize> = (0..views.len()).collect();
            descent(self.model, teacher, indices, &Views { data: &views, indices: &all, augmented: true })?
        } else {
            descent(self.model, teacher, indices, &Views { data, indices, augmented: false })?
        };
        if !loss.is_finite() {
            return Err(FitError::Diverged { step, loss });
        }
        let rate = self.schedule.rate;
        match &mut self.optimiser {
            Optimiser::Adam(adam) => adam.step(&gradients, (rate * cosine(step, steps)) as f32)?,
            Optimiser::Momentum(momentum) => momentum.step(&gradients, rate as f32)?,
        }
        Ok(loss)
    }

    /// Whether all that a network is made of is numbers. A loss says so of every step but the last.
    fn is_finite(&self) -> Result<bool> {
        Ok(self.parts()?.iter().flatten().all(|value| value.is_finite()))
    }

    /// Variables and statistics.
    fn parts(&self) -> Result<State> {
        let mut parts: State = self.variables.iter().map(|var| var.flatten_all()?.to_vec1()).collect::<Result<_>>()?;
        for statistics in self.model.statistics() {
            let statistics = statistics.lock().expect("no panic while holding the lock");
            parts.extend([statistics.mean.clone(), statistics.variance.clone()]);
        }
        Ok(parts)
    }

    /// Variables, statistics, moments.
    fn state(&self) -> Result<State> {
        let mut state = self.parts()?;
        state.extend(match &self.optimiser {
            Optimiser::Adam(adam) => adam.moments(),
            Optimiser::Momentum(momentum) => momentum.velocities(),
        });
        Ok(state)
    }

    /// Goes on from `state` after `step` steps; from the beginning if it is another network's.
    fn restore(&mut self, step: usize, state: State) -> Result<usize> {
        let sizes = |state: &State| state.iter().map(Vec::len).collect::<Vec<_>>();
        if sizes(&state) != sizes(&self.state()?) {
            return Ok(0);
        }
        let mut parts = state.into_iter();
        for (var, values) in self.variables.iter().zip(&mut parts) {
            var.set(&Tensor::from_vec(values, var.shape(), var.device())?)?;
        }
        for statistics in self.model.statistics() {
            let mut statistics = statistics.lock().expect("no panic while holding the lock");
            let mut next = || parts.next().expect("as many parts as were counted");
            (statistics.mean, statistics.variance) = (next(), next());
        }
        match &mut self.optimiser {
            Optimiser::Adam(adam) => adam.restore(parts, step),
            Optimiser::Momentum(momentum) => momentum.restore(parts),
        }
        Ok(step)
    }
}

/// From 1 at step 0 towards 0 at the last.
fn cosine(step: usize, steps: usize) -> f64 {
    0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps as f64).cos())
}

/// The loss on `views`, and its gradients.
fn descent(model: &Model, teacher: Option<&Teacher>, indices: &[usize], views: &Views<'_>) -> Result<(f32, GradStore)> {
    let input = model.input(views.data, views.indices)?;
    model.gradients(&input, |logits| loss(logits, teacher, indices, views))
}

fn loss(logits: &Tensor, teacher: Option<&Teacher>, indices: &[usize], views: &Views<'_>) -> Result<Tensor> {
    let labels: Vec<u32> = views.indices.iter().map(|&index| u32::from(views.data.labels[index])).collect();
    let labels = Tensor::from_vec(labels, indices.len(), logits.device())?;
    let hard = candle_nn::loss::cross_entropy(logits, &labels)?;
    let Some(teacher) = teacher else { return Ok(hard) };
    teacher.loss(logits, &hard, indices, views)
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

#[cfg(test)]
mod tests {
    use super::super::teacher::Distillation;
    use super::*;
    use crate::data::glyphs;
    use crate::zoo;

    /// Stopped after some steps and taken up again, a training ends in the very floats it would have ended in.
    #[test]
    fn a_training_that_was_stopped_goes_on_to_the_same_end() {
        let data = glyphs::generate(1, 256);
        let network = zoo::build("resnet8", data.shape, data.classes, 1).unwrap();
        let directory = tempfile::tempdir().unwrap();
        for descent in [Descent::Adam, Descent::Momentum] {
            let schedule = Schedule { descent, batch: 32, augment: Augment::CROP_AND_FLIP, ..Schedule::adam(0.75, 3) };
            let teacher = Teacher::of(&Model::new(&network).unwrap(), &data, true, Distillation::default()).unwrap();
            let train = |resume: Option<&Resume>, most: usize| {
                let model = Model::new(&network).unwrap();
                let mut watch = |progress: Progress| {
                    if progress.step == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                };
                let ended = fit_kept(&model, Some(&teacher), &data, &schedule, resume, &mut watch);
                (ended.is_ok(), model.network().unwrap())
            };
            let whole = train(None, usize::MAX);
            let resume = Resume::new(&directory.path().join("part"), &format!("{descent:?}"));
            assert!(!train(Some(&resume), 2).0 && !train(Some(&resume), 5).0);
            assert_eq!(train(Some(&resume), usize::MAX), whole);
            assert_eq!(train(Some(&resume), usize::MAX), whole, "nothing was left to do");
        }
    }
}
