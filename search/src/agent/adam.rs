//! Adam (arXiv 1412.6980) over the agent's parameters, with the gradient's norm clipped and the moments saved.

use serde::{Deserialize, Serialize};

use super::net::Matrices;

const BETA1: f32 = 0.9;
const BETA2: f32 = 0.999;

/// The optimiser's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Adam {
    mean: Matrices<f32>,
    square: Matrices<f32>,
    steps: i32,
}

impl Adam {
    /// An optimiser of parameters shaped like `parameters` that has seen nothing.
    pub(super) fn new(parameters: &Matrices<f32>) -> Self {
        let zeros = || parameters.each_ref().map(|matrix| vec![0.0; matrix.len()]);
        Self { mean: zeros(), square: zeros(), steps: 0 }
    }

    /// Whether it optimises parameters shaped like `parameters`.
    pub(super) fn fits(&self, parameters: &Matrices<f32>) -> bool {
        let alike = |moments: &Matrices<f32>| moments.iter().zip(parameters).all(|(a, b)| a.len() == b.len());
        alike(&self.mean) && alike(&self.square)
    }

    /// One step of `parameters` against `gradients` times `share`.
    pub(super) fn step(
        &mut self,
        parameters: &mut Matrices<f32>,
        gradients: &Matrices<f32>,
        share: f64,
        rate: f64,
        epsilon: f64,
    ) {
        self.steps = self.steps.saturating_add(1);
        let correction = (1.0 - BETA2.powi(self.steps)).sqrt() / (1.0 - BETA1.powi(self.steps));
        let (share, rate, epsilon) = (share as f32, rate as f32 * correction, epsilon as f32);
        for ((values, gradient), (mean, square)) in
            parameters.iter_mut().zip(gradients).zip(self.mean.iter_mut().zip(&mut self.square))
        {
            for ((value, gradient), (mean, square)) in values.iter_mut().zip(gradient).zip(mean.iter_mut().zip(square))
            {
                let gradient = gradient * share;
                *mean += (1.0 - BETA1) * (gradient - *mean);
                *square += (1.0 - BETA2) * (gradient * gradient - *square);
                *value -= rate * *mean / (square.sqrt() + epsilon);
            }
        }
    }
}

/// The Euclidean norm of all gradients together.
pub(super) fn norm(gradients: &Matrices<f32>) -> f64 {
    // Short f32 sums inside a long f64 one: fast, exact enough, and in one order.
    gradients.iter().flat_map(|matrix| matrix.chunks(64)).map(square_sum).sum::<f64>().sqrt()
}

fn square_sum(numbers: &[f32]) -> f64 {
    let mut lanes = [0.0_f32; 8];
    for chunk in numbers.chunks(8) {
        lanes.iter_mut().zip(chunk).for_each(|(lane, number)| *lane += number * number);
    }
    f64::from(lanes.iter().sum::<f32>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrices(numbers: &[f32]) -> Matrices<f32> {
        let mut matrices = Matrices::default();
        matrices[2] = numbers.to_vec();
        matrices
    }

    /// The first step of Adam is the learning rate against the gradient's sign, however large the gradient.
    #[test]
    fn a_first_step_is_the_rate() {
        let mut parameters = matrices(&[1.0, 1.0]);
        let gradients = matrices(&[3.0, -4.0]);
        let mut adam = Adam::new(&parameters);
        assert!((norm(&gradients) - 5.0).abs() < 1e-6);
        adam.step(&mut parameters, &gradients, 0.1, 0.1, 1e-8);
        let values = &parameters[2];
        assert!((values[0] - 0.9).abs() < 1e-5 && (values[1] - 1.1).abs() < 1e-5, "{values:?}");
        // What it remembers is the shortened gradient, (0.3, -0.4).
        assert!((adam.mean[2][0] - 0.03).abs() < 1e-6 && (adam.mean[2][1] + 0.04).abs() < 1e-6);
    }
}
