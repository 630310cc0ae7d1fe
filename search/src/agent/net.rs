//! The agent's network: one recurrent layer shared by the policy head and the value head (paper, appendix).

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::dense::{Activation, dense, gradients, rectify};
use super::lstm::{self, GATES, Memory, Trace, UNITS};
use super::number::Real;

/// Share of the usual range that the logits' weights start in, so that the first policy is uniform to 1 %.
const FIRST_LOGITS: f64 = 0.002;

/// Reach of the weights that observations meet first, ten times Glorot's.
///
/// Observations of neighbouring layers differ little. With Glorot's the policy settles on one width for all of them,
/// by the logits' biases, before the recurrent layer tells them apart: (3,3,3,3) on LeNet in every seed.
const OBSERVED: f64 = 1.0;

/// Widths of the two inner layers of each head.
const POLICY: [usize; 2] = [128, 128];
const VALUE: [usize; 2] = [128, 64];

/// How many matrices a network has: the recurrent layer's, three of the policy head, three of the value head.
pub(super) const MATRICES: usize = 7;

/// One number for each parameter, matrix by matrix in the order they are drawn and saved.
///
/// Each matrix is row-major, a column an output, with the biases in its last row.
pub(super) type Matrices<T> = [Vec<T>; MATRICES];

/// The network.
#[derive(Debug)]
pub(super) struct Network<T> {
    /// Numbers of an observation.
    pub(super) features: usize,
    /// Actions of the policy.
    pub(super) actions: usize,
    /// What learns.
    pub(super) parameters: Matrices<T>,
}

/// What the network says of each of `n` observations, and what its gradient needs.
#[derive(Debug)]
pub(super) struct Pass<T> {
    /// Unnormalised log-probabilities, `[n, actions]`.
    pub(super) logits: Vec<T>,
    /// Expected returns, `[n]`.
    pub(super) values: Vec<T>,
    trace: Trace<T>,
    hidden: Vec<T>,
    policy: [Vec<T>; 2],
    value: [Vec<T>; 2],
}

impl<T: Real> Network<T> {
    /// Draws every parameter from `rng`: uniform weights, Glorot's or before rectifiers He's, zero biases, open forget
    /// gates.
    pub(super) fn new(features: usize, actions: usize, rng: &mut ChaCha8Rng) -> Self {
        let glorot = |inputs: usize, outputs: usize| (6.0 / (inputs + outputs) as f64).sqrt();
        let he = |inputs: usize| (6.0 / inputs as f64).sqrt();
        let mut draw = |inputs, outputs, reach| uniform(inputs, outputs, reach, rng);
        let mut parameters = [
            draw(features + UNITS, GATES, glorot(features + UNITS, GATES)),
            draw(UNITS, POLICY[0], he(UNITS)),
            draw(POLICY[0], POLICY[1], he(POLICY[0])),
            draw(POLICY[1], actions, FIRST_LOGITS * glorot(POLICY[1], actions)),
            draw(UNITS, VALUE[0], he(UNITS)),
            draw(VALUE[0], VALUE[1], he(VALUE[0])),
            draw(VALUE[1], 1, glorot(VALUE[1], 1)),
        ];
        let widen = T::from_f64(OBSERVED / glorot(features + UNITS, GATES));
        parameters[0][..features * GATES].iter_mut().for_each(|weight| *weight *= widen);
        // A forget gate that starts open lets the gradients of the first layers through.
        let biases = parameters[0].len() - GATES;
        parameters[0][biases + UNITS..biases + 2 * UNITS].fill(T::from_f64(1.0));
        Self { features, actions, parameters }
    }

    /// What it says of one more observation of each row, `[rows, features]`: logits `[rows, actions]` and values.
    pub(super) fn step(&self, observations: &[T], memory: &mut Memory<T>) -> (Vec<T>, Vec<T>) {
        memory.advance(observations, &self.parameters[0]);
        (self.policy(&memory.hidden).1, self.value(&memory.hidden).1)
    }

    /// What it says of every step of whole episodes; observations are `[steps, rows, features]`, answers step-major.
    ///
    /// Of the `steps · rows` answers only those of the rows in `kept` are given, if that is given.
    pub(super) fn forward(&self, observations: &[T], rows: usize, kept: Option<&[usize]>) -> Pass<T> {
        let steps = observations.len() / (rows * self.features);
        let (hidden, trace) = lstm::forward(observations, &self.parameters[0], [steps, rows, self.features]);
        let hidden = match kept {
            Some(kept) => kept.iter().flat_map(|row| &hidden[row * UNITS..][..UNITS]).copied().collect(),
            None => hidden,
        };
        let ((policy, logits), (value, values)) = (self.policy(&hidden), self.value(&hidden));
        Pass { logits, values, trace, hidden, policy, value }
    }

    /// Gradients of the parameters, from those of the logits and values of a pass with the same `kept`.
    pub(super) fn backward(&self, pass: &Pass<T>, logits: &[T], values: &[T], kept: Option<&[usize]>) -> Matrices<T> {
        let [_, p0, p1, p2, v0, v1, v2] = &self.parameters;
        let (from_policy, [g1, g2, g3]) = head_gradients(&pass.hidden, &pass.policy, [p0, p1, p2], POLICY, logits);
        let (from_value, [g4, g5, g6]) = head_gradients(&pass.hidden, &pass.value, [v0, v1, v2], VALUE, values);
        let mut hidden = from_policy;
        hidden.iter_mut().zip(from_value).for_each(|(sum, other)| *sum += other);
        let hidden = match kept {
            Some(kept) => spread(&hidden, kept, pass.trace.samples()),
            None => hidden,
        };
        [lstm::backward(&pass.trace, &self.parameters[0], &hidden), g1, g2, g3, g4, g5, g6]
    }

    fn policy(&self, hidden: &[T]) -> ([Vec<T>; 2], Vec<T>) {
        let [_, first, second, last, ..] = &self.parameters;
        head(hidden, [first, second, last], POLICY, self.actions)
    }

    fn value(&self, hidden: &[T]) -> ([Vec<T>; 2], Vec<T>) {
        let [.., first, second, last] = &self.parameters;
        head(hidden, [first, second, last], VALUE, 1)
    }
}

/// Inner activations and outputs of a head.
fn head<T: Real>(
    hidden: &[T],
    [first, second, last]: [&Vec<T>; 3],
    widths: [usize; 2],
    outputs: usize,
) -> ([Vec<T>; 2], Vec<T>) {
    let outer = dense(hidden, first, widths[0], Activation::Relu);
    let inner = dense(&outer, second, widths[1], Activation::Relu);
    let result = dense(&inner, last, outputs, Activation::Linear);
    ([outer, inner], result)
}

/// Gradients of a head's input and of its matrices, from that of its outputs.
fn head_gradients<T: Real>(
    hidden: &[T],
    [outer, inner]: &[Vec<T>; 2],
    [first, second, last]: [&Vec<T>; 3],
    widths: [usize; 2],
    outputs: &[T],
) -> (Vec<T>, [Vec<T>; 3]) {
    let count = outputs.len() / (hidden.len() / UNITS);
    let (mut grad_inner, grad_last) = gradients(inner, last, outputs, count);
    rectify(inner, &mut grad_inner);
    let (mut grad_outer, grad_second) = gradients(outer, second, &grad_inner, widths[1]);
    rectify(outer, &mut grad_outer);
    let (grad_hidden, grad_first) = gradients(hidden, first, &grad_outer, widths[0]);
    (grad_hidden, [grad_first, grad_second, grad_last])
}

/// Puts the kept rows back where they were, among zeros.
fn spread<T: Real>(hidden: &[T], kept: &[usize], samples: usize) -> Vec<T> {
    let mut all = vec![T::from_f64(0.0); samples * UNITS];
    for (row, hidden) in kept.iter().zip(hidden.chunks_exact(UNITS)) {
        all[row * UNITS..][..UNITS].copy_from_slice(hidden);
    }
    all
}

/// Weights drawn uniformly from `-reach..reach`, with a row of zeros below for the biases.
fn uniform<T: Real>(inputs: usize, outputs: usize, reach: f64, rng: &mut ChaCha8Rng) -> Vec<T> {
    let mut matrix: Vec<T> = (0..inputs * outputs).map(|_| T::from_f64(rng.random_range(-reach..reach))).collect();
    matrix.resize((inputs + 1) * outputs, T::from_f64(0.0));
    matrix
}
