//! Folding batch normalisation into the convolution or dense layer before it.

use crate::network::{Network, Node, Op, Source, Tensor};

/// Why a batch normalisation cannot be folded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// It does not follow a weighted layer that only it reads.
    #[error(
        "batch normalisation `{0}` does not directly follow a convolution or dense layer of its own; \
         only such a pair can be folded; move it there in the source model"
    )]
    Alone(String),
    /// A parameter is missing.
    #[error("`{0}` is missing from the checkpoint; batch normalisation cannot be folded without it; export it again")]
    Missing(String),
}

/// The same function without batch normalisation: w ← w · γ/σ and b ← β + (b − μ) · γ/σ, per output channel.
///
/// # Errors
/// [`FoldError`], naming the layer.
pub fn fold(network: &Network) -> Result<Network, FoldError> {
    let mut folded = network.clone();
    while let Some(index) = folded.graph.nodes.iter().position(|node| matches!(node.op, Op::BatchNorm { .. })) {
        fold_one(&mut folded, index)?;
    }
    Ok(folded)
}

fn fold_one(network: &mut Network, index: usize) -> Result<(), FoldError> {
    let norm = network.graph.nodes[index].clone();
    let factors = factors(network, index)?;
    let alone = || FoldError::Alone(norm.name.clone());
    let Source::Node(before) = norm.inputs[0] else { return Err(alone()) };
    let readers = network.graph.nodes.iter().flat_map(|node| &node.inputs).filter(|&&source| source == norm.inputs[0]);
    if readers.count() != 1 {
        return Err(alone());
    }
    let node = &mut network.graph.nodes[before];
    match &mut node.op {
        Op::Conv { bias, .. } | Op::Dense { bias, .. } => *bias = true,
        _ => return Err(alone()),
    }
    let name = node.name.clone();
    scale_parameters(network, &name, &norm, &factors)?;
    remove(network, index);
    Ok(())
}

/// γ/σ of each channel of node `norm`, a batch normalisation.
///
/// # Errors
/// [`FoldError::Missing`]; [`FoldError::Alone`] of any other node.
pub fn factors(network: &Network, norm: usize) -> Result<Vec<f32>, FoldError> {
    let norm = &network.graph.nodes[norm];
    let Op::BatchNorm { eps } = norm.op else { return Err(FoldError::Alone(norm.name.clone())) };
    let part = |part: &str| {
        let name = format!("{}.{part}", norm.name);
        network.parameters.get(&name).map(|tensor| &tensor.data).ok_or(FoldError::Missing(name))
    };
    let (gamma, variance) = (part("weight")?, part("running_var")?);
    Ok(gamma.iter().zip(variance).map(|(gamma, variance)| gamma / (variance + eps).sqrt()).collect())
}

fn scale_parameters(network: &mut Network, name: &str, norm: &Node, factors: &[f32]) -> Result<(), FoldError> {
    let mut take = |part: &str| {
        let name = format!("{}.{part}", norm.name);
        network.parameters.remove(&name).map(|tensor| tensor.data).ok_or(FoldError::Missing(name))
    };
    let (beta, mean) = (take("bias")?, take("running_mean")?);
    // They are in the factors, and no parameters any more.
    take("weight")?;
    take("running_var")?;
    let weight_name = format!("{name}.weight");
    let weight = network.parameters.get_mut(&weight_name).ok_or(FoldError::Missing(weight_name))?;
    let row = (weight.data.len() / factors.len().max(1)).max(1);
    for (row, factor) in weight.data.chunks_mut(row).zip(factors) {
        row.iter_mut().for_each(|weight| *weight *= factor);
    }
    let old = network.parameters.remove(&format!("{name}.bias")).map(|bias| bias.data);
    let old = old.unwrap_or_else(|| vec![0.0; factors.len()]);
    let bias = |channel: usize| beta[channel] + (old[channel] - mean[channel]) * factors[channel];
    let data: Vec<f32> = (0..factors.len()).map(bias).collect();
    network.parameters.insert(format!("{name}.bias"), Tensor { shape: vec![data.len()], data });
    Ok(())
}

/// Removes node `index`; its readers read its input.
fn remove(network: &mut Network, index: usize) {
    let node = network.graph.nodes.remove(index);
    let moved = |source: Source| match source {
        Source::Node(other) if other == index => node.inputs[0],
        Source::Node(other) if other > index => Source::Node(other - 1),
        other => other,
    };
    for reader in &mut network.graph.nodes {
        reader.inputs.iter_mut().for_each(|source| *source = moved(*source));
    }
}
