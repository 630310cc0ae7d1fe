//! A fully connected layer with its bias and rectifier, forward and gradient.

use super::number::{Form, Real};

/// What follows the sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activation {
    /// Nothing.
    Linear,
    /// Negative values become zero.
    Relu,
}

/// `activation(inputs · weights + bias)`, `[rows, outputs]`; the last row of `weights` is the bias.
pub(super) fn dense<T: Real>(inputs: &[T], weights: &[T], outputs: usize, activation: Activation) -> Vec<T> {
    let (matrix, bias) = weights.split_at(weights.len() - outputs);
    let width = matrix.len() / outputs;
    let rows = inputs.len() / width;
    let mut sums = bias.repeat(rows);
    T::product(Form::Plain, inputs, matrix, &mut sums, [rows, width, outputs]);
    if activation == Activation::Relu {
        let zero = T::from_f64(0.0);
        sums.iter_mut().for_each(|sum| *sum = if *sum > zero { *sum } else { zero });
    }
    sums
}

/// Gradients of inputs and weights, from that of the sums.
pub(super) fn gradients<T: Real>(inputs: &[T], weights: &[T], grad_sums: &[T], outputs: usize) -> (Vec<T>, Vec<T>) {
    let zero = T::from_f64(0.0);
    let matrix = &weights[..weights.len() - outputs];
    let (width, rows) = (matrix.len() / outputs, grad_sums.len() / outputs);
    let mut grad_inputs = vec![zero; inputs.len()];
    T::product(Form::RightTransposed, grad_sums, matrix, &mut grad_inputs, [rows, outputs, width]);
    let mut grad_weights = vec![zero; weights.len()];
    let (grad_matrix, grad_bias) = grad_weights.split_at_mut(matrix.len());
    T::product(Form::LeftTransposed, inputs, grad_sums, grad_matrix, [width, rows, outputs]);
    for row in grad_sums.chunks_exact(outputs) {
        grad_bias.iter_mut().zip(row).for_each(|(sum, grad)| *sum += *grad);
    }
    (grad_inputs, grad_weights)
}

/// Drops the gradient where the rectifier let nothing through to `results`.
pub(super) fn rectify<T: Real>(results: &[T], grad: &mut [T]) {
    let zero = T::from_f64(0.0);
    for (grad, result) in grad.iter_mut().zip(results) {
        *grad = if *result > zero { *grad } else { zero };
    }
}
