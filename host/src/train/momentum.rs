//! Gradient descent with momentum over Candle variables, as the scripts of ReLeQ's authors retrain.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};

const MOMENTUM: f32 = 0.9;
const DECAY: f32 = 1e-4;

/// The optimiser's state: v = 0.9 v + g + 1e-4 w, w = w - rate v.
#[derive(Debug)]
pub struct Momentum {
    slots: Vec<Slot>,
}

/// One variable with its velocity.
#[derive(Debug)]
struct Slot {
    var: Var,
    factor: f32,
    velocity: Vec<f32>,
}

impl Momentum {
    /// An optimiser of `variables`, each with its factor on the learning rate.
    pub fn new(variables: Vec<(Var, f32)>) -> Self {
        let slot = |(var, factor): (Var, f32)| Slot { velocity: vec![0.0; var.elem_count()], var, factor };
        Self { slots: variables.into_iter().map(slot).collect() }
    }

    /// The velocity of every variable.
    pub(super) fn velocities(&self) -> Vec<Vec<f32>> {
        self.slots.iter().map(|slot| slot.velocity.clone()).collect()
    }

    /// Goes on from [`Momentum::velocities`].
    pub(super) fn restore(&mut self, velocities: impl Iterator<Item = Vec<f32>>) {
        self.slots.iter_mut().zip(velocities).for_each(|(slot, velocity)| slot.velocity = velocity);
    }

    /// One step against `gradients` at learning rate `rate`. Variables without a gradient stay.
    ///
    /// # Errors
    /// Only Candle's own.
    pub fn step(&mut self, gradients: &GradStore, rate: f32) -> Result<()> {
        for slot in &mut self.slots {
            if let Some(gradient) = gradients.get(slot.var.as_tensor()) {
                slot.step(&gradient.flatten_all()?.to_vec1()?, rate)?;
            }
        }
        Ok(())
    }
}

impl Slot {
    fn step(&mut self, gradient: &[f32], rate: f32) -> Result<()> {
        let mut values: Vec<f32> = self.var.flatten_all()?.to_vec1()?;
        for ((value, velocity), gradient) in values.iter_mut().zip(&mut self.velocity).zip(gradient) {
            *velocity = MOMENTUM * *velocity + gradient + DECAY * *value;
            *value -= rate * self.factor * *velocity;
        }
        self.var.set(&Tensor::from_vec(values, self.var.shape(), self.var.device())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// On w²/2 the gradient is w: two steps by hand.
    #[test]
    fn two_steps_by_hand() {
        let var = Var::from_slice(&[2f32], 1, &Device::Cpu).unwrap();
        let mut momentum = Momentum::new(vec![(var.clone(), 1.0)]);
        let mut expected = (2f32, 0f32);
        for _ in 0..2 {
            let loss = (var.as_tensor().sqr().unwrap().sum_all().unwrap() * 0.5).unwrap();
            momentum.step(&loss.backward().unwrap(), 0.1).unwrap();
            expected.1 = 0.9 * expected.1 + expected.0 * 1.0001;
            expected.0 -= 0.1 * expected.1;
        }
        let found = var.as_tensor().to_vec1::<f32>().unwrap()[0];
        assert!((found - expected.0).abs() < 1e-6 && (found - 1.4398).abs() < 1e-3, "{found}");
    }
}
