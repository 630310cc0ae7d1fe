//! An op of a network with its operands: its value, and the gradients of its operands.

use candle_core::{CustomOp1, CustomOp2, CustomOp3, Result, Tensor};

use super::batch_norm::BatchNorm;
use super::conv::Conv2d;
use super::dense::Dense;
use super::fake_quant::FakeQuantActivation;
use super::pool::Pool;
use super::relu::Relu;
use super::shortcut::Shortcut;
use super::storage::with_floats;
use super::vectors::zipped;

/// An op with its operands: what it reads of other nodes first, then its parameters.
#[derive(Clone, Debug)]
pub(super) enum Applied {
    Conv(Conv2d, [Tensor; 3]),
    Dense([Tensor; 3]),
    Norm(BatchNorm, [Tensor; 3]),
    Relu(Relu, Tensor),
    Pool(Pool, Tensor),
    Shortcut(Shortcut, Tensor),
    Add([Tensor; 2]),
    /// Of channels.
    Concat(Vec<Tensor>),
    Flatten(Tensor),
    /// Nothing: what comes next does it too.
    Same(Tensor),
    Rounded(FakeQuantActivation, [Tensor; 2]),
}

impl Applied {
    /// The result; batch normalisation takes the batch's own statistics in `training`.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub(super) fn value(&self, training: bool) -> Result<Tensor> {
        match self {
            Self::Conv(op, [x, weight, bias]) => op.clone().forward(x, weight, bias),
            Self::Dense([x, weight, bias]) => Dense.forward(&x.flatten_from(1)?, weight, bias),
            Self::Norm(op, [x, gamma, beta]) => op.clone().forward(x, gamma, beta, training),
            Self::Relu(op, x) => op.clone().forward(x),
            Self::Pool(op, x) => op.clone().forward(x),
            Self::Shortcut(op, x) => op.clone().forward(x),
            // Nobody goes back through Candle's own sum, which is one core's.
            Self::Add([left, right]) if left.device().is_cpu() && !left.track_op() && !right.track_op() => {
                sum(left, right)
            }
            Self::Add([left, right]) => left.add(right),
            Self::Concat(parts) => concat(parts),
            Self::Flatten(x) => x.flatten_from(1),
            Self::Same(x) => Ok(x.clone()),
            Self::Rounded(op, [x, scale]) => op.clone().forward(x, scale),
        }
    }

    /// Its parameters, in order.
    pub(super) fn parameters(&self) -> &[Tensor] {
        match self {
            Self::Conv(_, operands) | Self::Dense(operands) | Self::Norm(_, operands) => &operands[1..],
            Self::Rounded(_, operands) => &operands[1..],
            _ => &[],
        }
    }

    /// The gradients of all operands, where anybody needs them, given the op's `value` in training and its gradient.
    ///
    /// # Errors
    /// Only Candle's own.
    pub(super) fn gradients(&self, value: &Tensor, gradient: &Tensor) -> Result<Vec<Option<Tensor>>> {
        let three = |(x, weight, bias)| vec![x, weight, bias];
        Ok(match self {
            Self::Conv(op, [x, weight, bias]) => three(op.bwd(x, weight, bias, value, gradient)?),
            Self::Dense([x, weight, bias]) => three(Dense.bwd(&x.flatten_from(1)?, weight, bias, value, gradient)?),
            Self::Norm(op, [x, gamma, beta]) => {
                three(op.bwd(&planes(x)?, gamma, beta, &planes(value)?, &planes(gradient)?)?)
            }
            Self::Relu(op, x) => vec![op.bwd(x, value, gradient)?],
            Self::Pool(op, x) => vec![op.bwd(x, value, gradient)?],
            Self::Shortcut(op, x) => vec![op.bwd(x, value, gradient)?],
            Self::Add(_) => vec![Some(gradient.clone()), Some(gradient.clone())],
            Self::Concat(parts) => split(parts, gradient)?,
            Self::Flatten(_) | Self::Same(_) => vec![Some(gradient.clone())],
            Self::Rounded(op, [x, scale]) => {
                let (x, scale) = op.bwd(x, scale, value, gradient)?;
                vec![x, scale]
            }
        })
    }
}

/// `left + right` of one shape, on all cores.
///
/// # Errors
/// Only Candle's own.
pub(super) fn sum(left: &Tensor, right: &Tensor) -> Result<Tensor> {
    let sum = with_floats(left, |left| with_floats(right, |right| zipped(left, right, |left, right| left + right)))??;
    Tensor::from_vec(sum, left.shape(), left.device())
}

/// Features as planes of one pixel.
fn planes(x: &Tensor) -> Result<Tensor> {
    if x.rank() == 2 { x.unsqueeze(2)?.unsqueeze(3) } else { Ok(x.clone()) }
}

/// Channels one after the other; features are maps of one pixel where they meet such.
fn concat(parts: &[Tensor]) -> Result<Tensor> {
    if parts.iter().all(|x| x.rank() == parts[0].rank()) {
        return Tensor::cat(parts, 1);
    }
    Tensor::cat(&parts.iter().map(planes).collect::<Result<Vec<_>>>()?, 1)
}

/// The channels of `gradient` that each of the `parts` became.
fn split(parts: &[Tensor], gradient: &Tensor) -> Result<Vec<Option<Tensor>>> {
    let mut first = 0;
    let part = |part: &Tensor| {
        let channels = part.dim(1)?;
        first += channels;
        Ok(Some(gradient.narrow(1, first - channels, channels)?.contiguous()?))
    };
    parts.iter().map(part).collect()
}
