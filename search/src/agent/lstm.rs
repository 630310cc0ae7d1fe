//! The long short-term memory that the agent carries from layer to layer, over whole sequences with its gradient.
//!
//! Written out, not composed of Candle operations: for one row of episodes their bookkeeping costs more than the sums.

use super::number::{Form, Real};

/// Units of the memory (paper, appendix).
pub(super) const UNITS: usize = 128;

/// Rows of the weight matrix for observations of `features` numbers: the observation, the last output and the bias.
pub(super) const fn inputs(features: usize) -> usize {
    features + UNITS + 1
}

/// Columns of the weight matrix: input, forget and output gates, then the candidate.
pub(super) const GATES: usize = 4 * UNITS;

/// What one step carries to the next, a row an episode.
#[derive(Clone, Debug)]
pub(super) struct Memory<T> {
    /// Outputs, `[rows, UNITS]`.
    pub(super) hidden: Vec<T>,
    /// Cell states, `[rows, UNITS]`.
    cells: Vec<T>,
}

impl<T: Real> Memory<T> {
    /// The memory at the start of an episode: empty.
    pub(super) fn new(rows: usize) -> Self {
        let zeros = vec![T::from_f64(0.0); rows * UNITS];
        Self { hidden: zeros.clone(), cells: zeros }
    }

    /// Takes one observation a row, `[rows, features]`.
    pub(super) fn advance(&mut self, observations: &[T], weights: &[T]) {
        let rows = self.hidden.len() / UNITS;
        let joined = join(observations, &self.hidden, rows);
        let mut gates = vec![T::from_f64(0.0); rows * GATES];
        T::product(Form::Plain, &joined, weights, &mut gates, [rows, joined.len() / rows, GATES]);
        let mut squashed = self.hidden.clone();
        activate(&mut gates, &mut self.cells, &mut squashed, &mut self.hidden);
    }
}

/// Rows of `[observation, hidden, 1]`.
fn join<T: Real>(observations: &[T], hidden: &[T], rows: usize) -> Vec<T> {
    let features = observations.len() / rows;
    let mut joined = Vec::with_capacity(rows * inputs(features));
    for (observation, hidden) in observations.chunks_exact(features).zip(hidden.chunks_exact(UNITS)) {
        joined.extend_from_slice(observation);
        joined.extend_from_slice(hidden);
        joined.push(T::from_f64(1.0));
    }
    joined
}

/// Squashes `gates` in place, advances `cells` in place, and writes their tanh and the outputs.
fn activate<T: Real>(gates: &mut [T], cells: &mut [T], squashed: &mut [T], hidden: &mut [T]) {
    let states =
        cells.chunks_exact_mut(UNITS).zip(squashed.chunks_exact_mut(UNITS).zip(hidden.chunks_exact_mut(UNITS)));
    for (gates, (cells, (squashed, hidden))) in gates.chunks_exact_mut(GATES).zip(states) {
        let (sigmoids, candidate) = gates.split_at_mut(3 * UNITS);
        sigmoids.iter_mut().for_each(|gate| *gate = gate.sigmoid());
        candidate.iter_mut().for_each(|gate| *gate = gate.tanh());
        let (input, rest) = sigmoids.split_at(UNITS);
        let (forget, output) = rest.split_at(UNITS);
        for ((cell, candidate), (input, forget)) in cells.iter_mut().zip(candidate).zip(input.iter().zip(forget)) {
            *cell = *forget * *cell + *input * *candidate;
        }
        for ((squashed, hidden), (cell, output)) in squashed.iter_mut().zip(hidden).zip(cells.iter().zip(output)) {
            *squashed = cell.tanh();
            *hidden = *output * *squashed;
        }
    }
}

/// What a pass over a sequence leaves for its gradient; each is step-major.
#[derive(Debug)]
pub(super) struct Trace<T> {
    rows: usize,
    /// `[steps, rows, inputs]`
    joined: Vec<T>,
    /// `[steps, rows, GATES]`, squashed.
    gates: Vec<T>,
    /// `[steps + 1, rows, UNITS]`, the first being empty memory.
    cells: Vec<T>,
    /// `[steps, rows, UNITS]`: tanh of the cells after each step.
    squashed: Vec<T>,
}

/// Outputs of every step, `[steps, rows, UNITS]`, from observations `[steps, rows, features]`, from empty memory.
pub(super) fn forward<T: Real>(
    observations: &[T],
    weights: &[T],
    [steps, rows, features]: [usize; 3],
) -> (Vec<T>, Trace<T>) {
    let zero = T::from_f64(0.0);
    let block = rows * UNITS;
    let mut hidden = vec![zero; (steps + 1) * block];
    let mut trace = Trace {
        rows,
        joined: Vec::with_capacity(steps * rows * inputs(features)),
        gates: vec![zero; steps * rows * GATES],
        cells: vec![zero; (steps + 1) * block],
        squashed: vec![zero; steps * block],
    };
    for step in 0..steps {
        let (before, after) = hidden[step * block..].split_at_mut(block);
        let joined = join(&observations[step * rows * features..][..rows * features], before, rows);
        let gates = &mut trace.gates[step * rows * GATES..][..rows * GATES];
        T::product(Form::Plain, &joined, weights, gates, [rows, inputs(features), GATES]);
        trace.joined.extend(joined);
        trace.cells.copy_within(step * block..(step + 1) * block, (step + 1) * block);
        let cells = &mut trace.cells[(step + 1) * block..][..block];
        activate(gates, cells, &mut trace.squashed[step * block..][..block], &mut after[..block]);
    }
    hidden.drain(..block);
    (hidden, trace)
}

/// Gradient of the weights, from that of every step's outputs.
pub(super) fn backward<T: Real>(trace: &Trace<T>, weights: &[T], grad_hidden: &[T]) -> Vec<T> {
    let zero = T::from_f64(0.0);
    let (rows, block) = (trace.rows, trace.rows * UNITS);
    let inputs = weights.len() / GATES;
    let recurrent = &weights[(inputs - 1 - UNITS) * GATES..(inputs - 1) * GATES];
    let mut grad_gates = vec![zero; trace.gates.len()];
    let mut grad_cells = vec![zero; block];
    let mut from_later = vec![zero; block];
    for step in (0..trace.squashed.len() / block).rev() {
        from_later.iter_mut().zip(&grad_hidden[step * block..]).for_each(|(later, now)| *later += *now);
        let grad_gates = &mut grad_gates[step * rows * GATES..][..rows * GATES];
        deactivate(trace, step, &from_later, &mut grad_cells, grad_gates);
        from_later.fill(zero);
        if step > 0 {
            T::product(Form::RightTransposed, grad_gates, recurrent, &mut from_later, [rows, GATES, UNITS]);
        }
    }
    let mut grad_weights = vec![zero; weights.len()];
    let samples = grad_gates.len() / GATES;
    T::product(Form::LeftTransposed, &trace.joined, &grad_gates, &mut grad_weights, [inputs, samples, GATES]);
    grad_weights
}

/// The gradient of one step's [`activate`]: `grad_cells` goes in for the cells after it and comes out for those before.
fn deactivate<T: Real>(trace: &Trace<T>, step: usize, grad_hidden: &[T], grad_cells: &mut [T], grad_gates: &mut [T]) {
    let one = T::from_f64(1.0);
    let block = trace.rows * UNITS;
    let gates = trace.gates[step * trace.rows * GATES..].chunks_exact(GATES);
    for (row, (gates, grad_gates)) in gates.zip(grad_gates.chunks_exact_mut(GATES)).enumerate() {
        let at = row * UNITS;
        let before = &trace.cells[step * block + at..][..UNITS];
        let squashed = &trace.squashed[step * block + at..][..UNITS];
        let (grad_hidden, grad_cells) = (&grad_hidden[at..][..UNITS], &mut grad_cells[at..][..UNITS]);
        let [input, forget, output, candidate] = quarters(gates);
        let (grad_input, rest) = grad_gates.split_at_mut(UNITS);
        let (grad_forget, rest) = rest.split_at_mut(UNITS);
        let (grad_output, grad_candidate) = rest.split_at_mut(UNITS);
        for unit in 0..UNITS {
            let (i, f, o, g, s) = (input[unit], forget[unit], output[unit], candidate[unit], squashed[unit]);
            let through = grad_cells[unit] + grad_hidden[unit] * o * (one - s * s);
            grad_input[unit] = through * g * i * (one - i);
            grad_forget[unit] = through * before[unit] * f * (one - f);
            grad_output[unit] = grad_hidden[unit] * s * o * (one - o);
            grad_candidate[unit] = through * i * (one - g * g);
            grad_cells[unit] = through * f;
        }
    }
}

/// One row of gates, gate by gate.
fn quarters<T>(gates: &[T]) -> [&[T]; 4] {
    std::array::from_fn(|gate| &gates[gate * UNITS..][..UNITS])
}

impl<T> Trace<T> {
    /// Steps times rows.
    pub(super) fn samples(&self) -> usize {
        self.gates.len() / GATES
    }
}
