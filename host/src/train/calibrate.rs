//! Activation ranges from sample images, and the quantizers they give.

use std::collections::BTreeMap;

use releq_format::bits::BitWidth;

use super::model::Model;
use crate::data::Dataset;
use crate::lower::fuse::Block;
use crate::network::{InputSpec, Source};
use crate::quantized::ActivationQuant;

/// How a range is chosen from the values seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Calibration {
    /// From the smallest to the largest.
    MinMax,
    /// Leaving out one value in ten thousand at each end.
    Percentile,
    /// The clipping with the least mean square error.
    MeanSquare,
}

/// Share of the values that a percentile range keeps at each end.
const KEPT: f64 = 0.9999;
/// Values kept of each tensor; more change no percentile that 8 bits could show.
const SAMPLE: usize = 1 << 18;

/// Values seen at each rounded source of a float model.
///
/// # Errors
/// Only Candle's own.
pub fn observe(
    model: &Model,
    blocks: &[Block],
    data: &Dataset,
    images: usize,
) -> candle_core::Result<BTreeMap<Source, Vec<f32>>> {
    let indices: Vec<usize> = (0..data.len().min(images)).collect();
    let mut seen: BTreeMap<Source, Vec<f32>> = BTreeMap::new();
    let keep = SAMPLE.div_ceil(indices.len().div_ceil(64).max(1));
    for indices in indices.chunks(64) {
        let values = model.values(&model.input(data, indices)?, false)?;
        for source in rounded(model, blocks) {
            let Source::Node(index) = source else { continue };
            let tensor: Vec<f32> = values[index].flatten_all()?.to_vec1()?;
            let step = tensor.len().div_ceil(keep).max(1);
            // An odd step meets every channel and column in turn.
            seen.entry(source).or_default().extend(tensor.iter().step_by(step | 1));
        }
    }
    for values in seen.values_mut() {
        values.sort_by(f32::total_cmp);
    }
    Ok(seen)
}

/// Gives sources that share a quantizer all values of their group; `shared` holds each with the first of its group.
pub fn pool(seen: &mut BTreeMap<Source, Vec<f32>>, shared: &BTreeMap<Source, Source>) {
    let mut groups: BTreeMap<Source, Vec<f32>> = BTreeMap::new();
    for (source, first) in shared {
        groups.entry(*first).or_default().extend(seen.get(source).into_iter().flatten());
    }
    groups.values_mut().for_each(|values| values.sort_by(f32::total_cmp));
    for (source, first) in shared.iter().filter(|(source, _)| **source != Source::Input) {
        seen.insert(*source, groups[first].clone());
    }
}

/// Eight-bit codes that cover what those of both quantizers do.
pub fn covering(one: ActivationQuant, other: ActivationQuant) -> ActivationQuant {
    let ends = [one, other].map(|quant| [quant.real(0), quant.real(quant.bits.max_code())]);
    affine(ends[0][0].min(ends[1][0]), ends[0][1].max(ends[1][1]), BitWidth::EIGHT)
}

/// The sources that are rounded to codes: every block's output but the logits and those that hand codes on.
pub fn rounded<'a>(model: &'a Model, blocks: &'a [Block]) -> impl Iterator<Item = Source> + 'a {
    let keeps = |block: &&Block| model.graph().nodes[block.node].op.keeps_codes();
    let last = blocks.len().saturating_sub(1);
    blocks[..last].iter().filter(move |block| !keeps(block)).map(|block| block.output)
}

/// The quantizer for sorted values.
pub fn quantizer(sorted: &[f32], bits: BitWidth, how: Calibration) -> ActivationQuant {
    let at =
        |share: f64| sorted.get(((sorted.len().max(1) - 1) as f64 * share).round() as usize).copied().unwrap_or(0.0);
    match how {
        Calibration::MinMax => affine(at(0.0), at(1.0), bits),
        Calibration::Percentile => affine(at(1.0 - KEPT), at(KEPT), bits),
        Calibration::MeanSquare => {
            let candidates = (1..=50).map(|part| part as f32 / 50.0);
            let quants = candidates.map(|part| affine(at(0.0) * part, at(1.0) * part, bits));
            let error = |quant: &ActivationQuant| {
                let step = (sorted.len() / 8192).max(1);
                sorted.iter().step_by(step).map(|&x| f64::from(quant.round(x) - x).powi(2)).sum::<f64>()
            };
            quants
                .map(|quant| (error(&quant), quant))
                .min_by(|a, b| a.0.total_cmp(&b.0))
                .map_or_else(|| affine(0.0, 1.0, bits), |(_, quant)| quant)
        }
    }
}

/// Codes that cover `low..=high` and hold 0.0 exactly; zero point 0 where nothing is negative.
pub fn affine(low: f32, high: f32, bits: BitWidth) -> ActivationQuant {
    let (low, high) = (low.min(0.0), high.max(0.0));
    let codes = f32::from(bits.max_code());
    let scale = ((high - low) / codes).max(f32::MIN_POSITIVE);
    let zero_point = (-low / scale).round().clamp(0.0, codes) as u8;
    // A dead tensor keeps a usable scale.
    let scale = if high > low { scale } else { 1.0 };
    ActivationQuant { bits, scale, zero_point }
}

/// The input's quantizer: codes over all that pixels can be. With mean 0 and deviation 1, codes are pixels.
pub fn input_quantizer(input: &InputSpec) -> ActivationQuant {
    let ends = |pixel: f32| input.mean.iter().zip(&input.std).map(move |(mean, std)| (pixel - mean) / std);
    affine(ends(0.0).fold(0.0, f32::min), ends(1.0).fold(0.0, f32::max), BitWidth::EIGHT)
}
