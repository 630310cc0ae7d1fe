//! The layer table: what each layer of a network is, gives and costs.

use crate::network::{Network, Op};

/// One layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerRow {
    /// Its name.
    pub name: String,
    /// What it computes, in one word: `conv`, `depthwise`, `dense`, `batchnorm`, `relu`, `clippedrelu`,
    /// `maxpool`, `avgpool`, `globalavgpool`, `add`, `concat`, `shortcut`, `flatten`.
    pub op: &'static str,
    /// Channels, height and width of its output; `[out, 1, 1]` for flat ones.
    pub output: [usize; 3],
    /// How many numbers it learned, biases and batch-norm statistics included.
    pub parameters: usize,
    /// Multiply-accumulates for one image; 0 for layers without weights.
    pub macs: u64,
    /// What quantization makes of it.
    pub quantized: &'static str,
}

/// The rows of `network`, in order.
///
/// # Errors
/// The first layer whose input is missing or does not fit, in one sentence.
pub fn layer_table(network: &Network) -> Result<Vec<LayerRow>, String> {
    let graph = &network.graph;
    let shapes = graph.shapes()?;
    let last = graph.weighted().last().copied();
    let rows = graph.nodes.iter().zip(&shapes).enumerate().map(|(index, (node, &output))| LayerRow {
        name: node.name.clone(),
        op: op_name(&node.op),
        output,
        parameters: parameters(network, &node.name),
        macs: macs(&node.op, graph.shape_of(node.inputs[0], &shapes), output),
        quantized: if last == Some(index) && index + 1 == graph.nodes.len() {
            "weights by plan, 32-bit logits"
        } else {
            quantized(&node.op)
        },
    });
    Ok(rows.collect())
}

fn op_name(op: &Op) -> &'static str {
    match op {
        Op::Conv { groups: 1, .. } => "conv",
        Op::Conv { .. } => "depthwise",
        Op::Dense { .. } => "dense",
        Op::BatchNorm { .. } => "batchnorm",
        Op::Relu => "relu",
        Op::ClippedRelu { .. } => "clippedrelu",
        Op::MaxPool { .. } => "maxpool",
        Op::AvgPool { .. } => "avgpool",
        Op::GlobalAvgPool => "globalavgpool",
        Op::Add => "add",
        Op::Concat => "concat",
        Op::Shortcut { .. } => "shortcut",
        Op::Flatten => "flatten",
    }
}

fn quantized(op: &Op) -> &'static str {
    match op {
        Op::Conv { .. } | Op::Dense { .. } => "weights and outputs by plan",
        Op::BatchNorm { .. } => "folded into the layer before",
        Op::Relu | Op::ClippedRelu { .. } => "fused into the layer before",
        Op::AvgPool { .. } | Op::GlobalAvgPool => "outputs as its inputs",
        Op::Add => "outputs as the layer added",
        Op::MaxPool { .. } | Op::Concat => "codes pass",
        Op::Shortcut { .. } => "codes pass, through a fixed 2-bit convolution",
        Op::Flatten => "nothing",
    }
}

/// Parameters are `<name>.<part>`, and layer names may have dots themselves.
fn parameters(network: &Network, layer: &str) -> usize {
    let own =
        network.parameters.iter().filter(|(name, _)| name.rsplit_once('.').is_some_and(|(owner, _)| owner == layer));
    own.map(|(_, tensor)| tensor.data.len()).sum()
}

fn macs(op: &Op, input: [usize; 3], output: [usize; 3]) -> u64 {
    let product = |sizes: &[usize]| sizes.iter().fold(1u64, |product, &size| product.saturating_mul(size as u64));
    match op {
        Op::Conv { window, groups, .. } => {
            product(&[product(&output) as usize, product(&window.kernel) as usize, input[0] / groups])
        }
        Op::Dense { out, .. } => product(&input).saturating_mul(*out as u64),
        _ => 0,
    }
}
