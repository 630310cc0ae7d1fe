//! Shortcuts without parameters as convolutions an image has: 1×1 kernels of zeros and ones that hand codes on.

use releq_format::bits::{BitWidth, Levels};

use super::LowerError;
use crate::network::{Op, Source, Tensor, Window};
use crate::quantized::{ActivationQuant, QuantizedNetwork, WeightQuant};

/// Turns every shortcut of `quantized` into a strided 1×1 convolution with weights 0 and 1 at 2 bits and scale 1.
///
/// Input and output share a quantizer, so the one weight of a channel hands its code on exactly and a channel of
/// zeros holds the zero point. It costs 2 bits an input and output channel, and no layer of a plan.
///
/// # Errors
/// [`LowerError::Shape`] for shapes that do not fit, [`LowerError::Missing`] for an input without a quantizer.
pub(super) fn to_convolutions(quantized: &mut QuantizedNetwork) -> Result<(), LowerError> {
    let shapes = quantized.network.graph.shapes().map_err(LowerError::Shape)?;
    for index in 0..quantized.network.graph.nodes.len() {
        let node = &quantized.network.graph.nodes[index];
        let Op::Shortcut { stride, before, .. } = node.op else { continue };
        let (name, input, out) = (node.name.clone(), node.inputs[0], shapes[index][0]);
        let missing = || LowerError::Missing { layer: name.clone(), what: "input quantizer" };
        let codes = quantizer(quantized, input).ok_or_else(missing)?;
        let channels = quantized.network.graph.shape_of(input, &shapes)[0];
        let window = Window { stride, ..Window::square(1, 1, 0) };
        quantized.network.graph.nodes[index].op = Op::Conv { out, window, groups: 1, bias: false };
        quantized.network.parameters.insert(format!("{name}.weight"), selection(out, channels, before));
        let bits = BitWidth::new(2).expect("2 is a width");
        quantized.weights.insert(index, WeightQuant { bits, levels: Levels::MidTread, scales: vec![1.0; out] });
        quantized.activations.insert(Source::Node(index), codes);
    }
    Ok(())
}

/// The quantizer of what `source` holds, nodes that keep codes looked through.
pub(crate) fn quantizer(quantized: &QuantizedNetwork, mut source: Source) -> Option<ActivationQuant> {
    loop {
        if let Some(quant) = quantized.activations.get(&source) {
            return Some(*quant);
        }
        let Source::Node(index) = source else { return None };
        let node = &quantized.network.graph.nodes[index];
        source = *node.inputs.first().filter(|_| node.op.keeps_codes())?;
    }
}

/// Weights `[out, channels, 1, 1]` under which output `before + i` is input `i` and every other output is zero.
fn selection(out: usize, channels: usize, before: usize) -> Tensor {
    let mut data = vec![0.0; out * channels];
    (0..channels).for_each(|channel| data[(before + channel) * channels + channel] = 1.0);
    Tensor { shape: vec![out, channels, 1, 1], data }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::data::Dataset;
    use crate::lower::lower;
    use crate::network::{Graph, InputSpec, Network, Node};
    use crate::target::native;
    use crate::train::fit;
    use crate::train::model::Model;
    use releq_format::image::Image;

    fn width(bits: u8) -> BitWidth {
        BitWidth::new(bits).unwrap()
    }

    /// A shortcut of the input itself, whose zero point is not 0, and a dense layer that tells its elements apart.
    fn network() -> QuantizedNetwork {
        let input = InputSpec { shape: [2, 5, 4], mean: vec![0.4, 0.6], std: vec![0.25, 0.5] };
        let node = |name: &str, op, from| Node { name: name.to_owned(), op, inputs: vec![from] };
        let nodes = vec![
            node("pick", Op::Shortcut { stride: [2, 3], before: 1, after: 2 }, Source::Input),
            node("fc", Op::Dense { out: 30, bias: false }, Source::Node(0)),
        ];
        let codes = ActivationQuant { bits: width(8), scale: 3.0 / 255.0, zero_point: 140 };
        let mut weight = vec![0.0; 30 * 30];
        (0..30).for_each(|at| weight[at * 31] = (at + 1) as f32);
        let weight = Tensor { shape: vec![30, 30], data: weight };
        let scales = (1..=30).map(|row| row as f32).collect();
        QuantizedNetwork {
            network: Network {
                graph: Graph { name: "pick".into(), input, nodes, held_out: 0 },
                parameters: BTreeMap::from([("fc.weight".to_owned(), weight)]),
            },
            weights: BTreeMap::from([(1, WeightQuant { bits: width(2), levels: Levels::MidTread, scales })]),
            activations: BTreeMap::from([(Source::Input, codes)]),
        }
    }

    #[test]
    fn codes_pass_exactly_and_the_plan_does_not_see_them() {
        let quantized = network();
        assert_eq!(quantized.network.graph.weighted(), [1]);
        let lowered = lower(&quantized).unwrap();
        let image = Image::open(&lowered.image).unwrap();
        let images: Vec<u8> = (0..40u32).map(|at| (at * 151 % 256) as u8).collect();
        let data = Dataset { shape: [2, 5, 4], classes: 30, images, labels: vec![0] };
        let reals = |quantized: &QuantizedNetwork| -> Vec<f32> {
            let model = Model::from_quantized(quantized).unwrap();
            let x = model.input(&data, &[0]).unwrap();
            model.forward(&x, false).unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        let fake = reals(&quantized);
        assert_eq!(fake, reals(&lowered.quantized));
        assert!(fake[..6].iter().chain(&fake[18..]).all(|&zero| zero == 0.0));
        assert!(fake[6..18].iter().all(|&passed| passed != 0.0));
        assert_eq!(
            fit::predict(&Model::from_quantized(&quantized).unwrap(), &data).unwrap(),
            native::answers(&image, &data).unwrap()
        );
    }
}
