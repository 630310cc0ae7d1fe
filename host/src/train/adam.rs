//! Adam over Candle variables, with a factor on the learning rate of each.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};
use rayon::prelude::*;

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;
const EPS: f32 = 1e-8;

/// The optimiser's state (arXiv 1412.6980, algorithm 1).
#[derive(Debug)]
pub struct Adam {
    slots: Vec<Slot>,
    steps: i32,
}

/// One variable with its moments.
#[derive(Debug)]
struct Slot {
    var: Var,
    factor: f32,
    mean: Vec<f32>,
    square: Vec<f32>,
}

impl Adam {
    /// An optimiser of `variables`, each with its factor on the learning rate.
    pub fn new(variables: Vec<(Var, f32)>) -> Self {
        let slot = |(var, factor): (Var, f32)| {
            let count = var.elem_count();
            Slot { var, factor, mean: vec![0.0; count], square: vec![0.0; count] }
        };
        Self { slots: variables.into_iter().map(slot).collect(), steps: 0 }
    }

    /// The moments of every variable: mean, then mean square.
    pub(super) fn moments(&self) -> Vec<Vec<f32>> {
        self.slots.iter().flat_map(|slot| [slot.mean.clone(), slot.square.clone()]).collect()
    }

    /// Goes on from [`Adam::moments`] after `steps` steps.
    pub(super) fn restore(&mut self, moments: impl Iterator<Item = Vec<f32>>, steps: usize) {
        self.steps = i32::try_from(steps).unwrap_or(i32::MAX);
        let places = self.slots.iter_mut().flat_map(|slot| [&mut slot.mean, &mut slot.square]);
        places.zip(moments).for_each(|(place, moment)| *place = moment);
    }

    /// One step against `gradients` at learning rate `rate`. Variables without a gradient stay.
    ///
    /// # Errors
    /// Only Candle's own.
    pub fn step(&mut self, gradients: &GradStore, rate: f32) -> Result<()> {
        self.steps += 1;
        let correction = (1.0 - BETA2.powi(self.steps)).sqrt() / (1.0 - BETA1.powi(self.steps));
        for slot in &mut self.slots {
            if let Some(gradient) = gradients.get(slot.var.as_tensor()) {
                slot.step(gradient, rate * correction)?;
            }
        }
        Ok(())
    }
}

impl Slot {
    fn step(&mut self, gradient: &Tensor, rate: f32) -> Result<()> {
        let gradient: Vec<f32> = gradient.flatten_all()?.to_vec1()?;
        let mut values: Vec<f32> = self.var.flatten_all()?.to_vec1()?;
        let rate = rate * self.factor;
        let moments = self.mean.par_iter_mut().zip(&mut self.square);
        values.par_iter_mut().zip(gradient).zip(moments).with_min_len(1 << 14).for_each(
            |((value, gradient), (mean, square))| {
                *mean += (1.0 - BETA1) * (gradient - *mean);
                *square += (1.0 - BETA2) * (gradient * gradient - *square);
                *value -= rate * *mean / (square.sqrt() + EPS);
            },
        );
        self.var.set(&Tensor::from_vec(values, self.var.shape(), self.var.device())?)
    }
}
