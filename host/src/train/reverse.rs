//! The gradients of a loss in the variables of a model: back through the nodes of its graph, one op after the other.
//!
//! Candle's own way back makes zeros for each gradient and adds to them, on one core; with activations that takes a
//! seventh of a step. Parameters are small: from them to the variables behind them, through quantizers, Candle goes.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};

use super::applied::{Applied, sum};
use super::model::Model;
use crate::network::Source;

/// An op that was applied in training, and what it gave.
type Step = (Applied, Tensor);

/// What a node did: its op, and the rounding of what that gave.
struct Passed {
    op: Step,
    rounding: Option<Step>,
}

/// A parameter, and the gradient of the loss in it.
type Slope = (Tensor, Tensor);

impl Model {
    /// The `loss` of the logits for `x`, in training, and its gradients in the variables.
    ///
    /// # Errors
    /// Shapes that do not fit.
    pub(super) fn gradients(
        &self,
        x: &Tensor,
        loss: impl FnOnce(&Tensor) -> Result<Tensor>,
    ) -> Result<(f32, GradStore)> {
        if !x.device().is_cpu() {
            let loss = loss(&self.forward(x, true)?)?;
            return Ok((loss.to_scalar()?, loss.backward()?));
        }
        let passed = self.passed(x)?;
        let Some(last) = passed.last() else { candle_core::bail!("the network has no layers") };
        let logits = Var::from_tensor(&last.value().flatten_from(1)?)?;
        let loss = loss(logits.as_tensor())?;
        let Some(gradient) = loss.backward()?.remove(&logits) else {
            candle_core::bail!("the loss does not depend on the logits")
        };
        Ok((loss.to_scalar()?, in_variables(&self.slopes(passed, gradient)?)?))
    }

    /// All nodes, applied in training; Candle remembers nothing of it but where parameters come from.
    fn passed(&self, x: &Tensor) -> Result<Vec<Passed>> {
        let apply = |op: Applied| -> Result<Step> {
            let value = op.value(true)?.detach();
            Ok((op, value))
        };
        let mut passed: Vec<Passed> = Vec::new();
        let mut values = Vec::new();
        for index in 0..self.graph().nodes.len() {
            let op = apply(self.applied(index, x, &values)?)?;
            let rounding = self.rounding(index, &op.1).map(apply).transpose()?;
            passed.push(Passed { op, rounding });
            values.extend(passed.last().map(|node| node.value().clone()));
        }
        Ok(passed)
    }

    /// The gradients in the parameters, where that in the last value is `gradient`. What was passed is let go on the way.
    fn slopes(&self, mut passed: Vec<Passed>, gradient: Tensor) -> Result<Vec<Slope>> {
        let mut gradients: Vec<Option<Tensor>> = vec![None; passed.len().saturating_sub(1)];
        gradients.push(Some(gradient));
        let mut slopes = Vec::new();
        while let Some(Passed { op, rounding }) = passed.pop() {
            let index = passed.len();
            let Some(mut gradient) = gradients[index].take() else { continue };
            if let Some(rounding) = rounding {
                let Some(through) = back(&rounding, &gradient, &mut slopes)?.pop().flatten() else { continue };
                gradient = through;
            }
            let read = back(&op, &gradient, &mut slopes)?;
            for (source, gradient) in self.graph().nodes[index].inputs.iter().zip(read) {
                let (Source::Node(source), Some(gradient)) = (source, gradient) else { continue };
                let so_far = &mut gradients[*source];
                *so_far = Some(match so_far.take() {
                    Some(so_far) => sum(&so_far, &gradient)?,
                    None => gradient,
                });
            }
        }
        Ok(slopes)
    }
}

impl Passed {
    fn value(&self) -> &Tensor {
        &self.rounding.as_ref().unwrap_or(&self.op).1
    }
}

/// The gradients of what a step read; those of its parameters go to `slopes`.
fn back((op, value): &Step, gradient: &Tensor, slopes: &mut Vec<Slope>) -> Result<Vec<Option<Tensor>>> {
    let mut read = op.gradients(value, &gradient.reshape(value.shape())?)?;
    let parameters = op.parameters();
    let own = read.split_off(read.len() - parameters.len());
    slopes.extend(parameters.iter().zip(own).filter_map(|(parameter, slope)| Some((parameter.clone(), slope?))));
    Ok(read)
}

/// Gradients in the variables that parameters are made of: of the sum over parameters of `parameter · slope`.
fn in_variables(slopes: &[Slope]) -> Result<GradStore> {
    let mut sum = Tensor::zeros((), candle_core::DType::F32, &candle_core::Device::Cpu)?;
    for (parameter, slope) in slopes.iter().filter(|(parameter, _)| parameter.track_op()) {
        sum = (sum + (parameter * slope)?.sum_all()?)?;
    }
    sum.backward()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use releq_format::bits::{BitWidth, Levels};

    use super::*;
    use crate::data::glyphs;
    use crate::network::{Network, Node, Op};
    use crate::train::model::{ActivationState, Quantizers, Transform, WeightState};
    use crate::zoo;

    /// Learning scales everywhere, DoReFa's weights in every other layer.
    fn quantizers(network: &Network) -> Quantizers {
        let scales = |count: usize| Var::from_vec(vec![0.1f32; count], count, &candle_core::Device::Cpu).unwrap();
        let (mut weights, mut activations) = (BTreeMap::new(), BTreeMap::new());
        for (index, node) in network.graph.nodes.iter().enumerate() {
            let bits = BitWidth::new(3).unwrap();
            if let Op::Conv { out, .. } | Op::Dense { out, .. } = node.op {
                let transform = if index % 2 == 0 { Transform::Identity } else { Transform::Tanh };
                let state = WeightState { bits, levels: Levels::MidRise, scales: scales(out), learn: true, transform };
                weights.insert(index, state);
            }
            if node.op.rectifies() || node.op == Op::Add {
                let zero_point = u8::from(node.op == Op::Add) * 3;
                let state = ActivationState { bits, zero_point, scale: scales(1), learn: true };
                activations.insert(Source::Node(index), state);
            }
        }
        Quantizers { weights, activations }
    }

    /// A network that hands its logits on beside the features they are made of, which are maps of one pixel.
    fn joined() -> Network {
        let mut network = zoo::build("resnet8", [1, 8, 8], 5, 1).unwrap();
        let dense = network.graph.nodes.len() - 1;
        let inputs = vec![Source::Node(dense), network.graph.nodes[dense].inputs[0]];
        network.graph.nodes.push(Node { name: "joined".into(), op: Op::Concat, inputs });
        network
    }

    /// In every variable of every kind of layer, the very floats that Candle's way back has.
    #[test]
    fn the_way_back_is_candles() {
        let built = |(name, shape)| zoo::build(name, shape, 5, 1).unwrap();
        let shapes = [("lenet", [1, 16, 16]), ("resnet20", [1, 8, 8]), ("mobilenetv1-0.25", [1, 32, 32])];
        let others = [("dscnn", [1, 49, 10]), ("autoencoder", [1, 1, 64])];
        for network in shapes.into_iter().chain(others).map(built).chain([joined()]) {
            let [channels, height, width] = network.graph.input.shape;
            let pixels = glyphs::generate(1, 24).images.into_iter().cycle();
            let real: Vec<f32> = pixels.take(6 * channels * height * width).map(|x| f32::from(x) / 255.0).collect();
            let x = Tensor::from_vec(real, (6, channels, height, width), &candle_core::Device::Cpu).unwrap();
            let loss = |logits: &Tensor| logits.sqr()?.mean_all();
            for quantizers in [Quantizers::default(), quantizers(&network)] {
                let model = Model::with_quantizers(&network, quantizers).unwrap();
                let (own, gradients) = model.gradients(&x, loss).unwrap();
                let candles = loss(&model.forward(&x, true).unwrap()).unwrap();
                assert_eq!(own, candles.to_scalar::<f32>().unwrap());
                let expected = candles.backward().unwrap();
                let floats = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let mut flat = 0;
                let variables = model.variables();
                for (number, (var, _)) in variables.iter().enumerate() {
                    let [own, expected] = [&gradients, &expected].map(|store| store.get(var).map(floats));
                    flat += usize::from(own.as_ref().is_none_or(|own| own.iter().all(|slope| *slope == 0.0)));
                    assert_eq!(own, expected, "variable {number} of {}", network.graph.name);
                }
                assert!(flat * 4 < variables.len(), "{flat} of {} gradients are zero", variables.len());
            }
        }
    }
}
