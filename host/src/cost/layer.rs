//! A layer as an image records it, and the work that its kernel does on a board.

use releq_device::kernels;
use releq_format::bits::{BitWidth, Levels};
use releq_format::graph::{KernelHint, Op, Storage, TensorRecord, Weights};
use releq_format::image::Image;
use releq_search::cost::{Part, Work};
use releq_search::network::LayerFeatures;

use crate::lower;

/// One layer of an image, without its constants.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its name.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What it reads: both operands of an add, else the same tensor twice.
    pub inputs: [TensorRecord; 2],
    /// What it writes.
    pub output: TensorRecord,
}

/// The layers of a checked image in execution order.
pub fn layers(image: &Image<'_>) -> Vec<Layer> {
    let layer = |record: releq_format::graph::LayerRecord<'_>| {
        let mut reads = record.reads();
        let first = reads.next()?;
        let second = reads.next().unwrap_or(first);
        let inputs = [image.tensor(first)?, image.tensor(second)?];
        Some(Layer { name: record.name.to_owned(), op: record.op, inputs, output: record.output })
    };
    image.layers().filter_map(layer).collect()
}

impl Layer {
    /// What its kernel does on a core whose fastest family is `family`.
    pub fn work(&self, family: KernelHint) -> Work {
        let [first, second] = &self.inputs;
        let counted = kernels::work(family, &self.op, [first, second], &self.output);
        let part = |part: &kernels::Part| Part { name: name(part), count: part.count as f64 };
        Work {
            kernel: format!("{} {}", counted.kernel, counted.scheme),
            parts: counted.parts().iter().map(part).collect(),
        }
    }

    /// The same layer with codes of `reads` and `writes` bits, centred where they were, its weights laid out as lowering
    /// would for them. Sums that are handed out whole stay what they are.
    #[must_use]
    pub fn with_codes(&self, reads: [BitWidth; 2], writes: BitWidth) -> Self {
        let [first, second] = self.inputs;
        let inputs = [of_bits(first, reads[0]), of_bits(second, reads[1])];
        let layer = Self { inputs, output: of_bits(self.output, writes), ..self.clone() };
        match self.op.weights() {
            Some(weights) => layer.with_weights(weights.bits),
            None => layer,
        }
    }

    /// The same layer with weights of `bits` bits, laid out as lowering would; itself where it has none.
    ///
    /// At another width than its own its levels are {−1, +1} at one bit, and else mid-tread.
    #[must_use]
    pub fn with_weights(&self, bits: BitWidth) -> Self {
        let Some(&weights) = self.op.weights() else { return self.clone() };
        self.with_levels(bits, if bits == weights.bits { weights.levels } else { nominal_levels(bits) })
    }

    /// The same layer with weights of `bits` bits and these levels, laid out as lowering would; itself where it has none.
    #[must_use]
    pub fn with_levels(&self, bits: BitWidth, levels: Levels) -> Self {
        let Some(&weights) = self.op.weights() else { return self.clone() };
        let of = |weights| match self.op {
            Op::Conv2d { window, .. } => Op::Conv2d { window, weights },
            Op::Depthwise { window, .. } => Op::Depthwise { window, weights },
            _ => Op::Dense { weights },
        };
        let weights = Weights { bits, levels, ..weights };
        let layout = lower::best_layout(&of(weights), &self.inputs[0], &self.output);
        Self { op: of(Weights { layout, ..weights }), ..self.clone() }
    }

    /// Its sizes, as a search knows them; `None` without weights. The deviation of weights is not recorded, and 0.
    pub fn features(&self) -> Option<LayerFeatures> {
        let input = &self.inputs[0];
        let matrix = self.op.matrix(input, &self.output)?;
        let kernel = match self.op {
            Op::Conv2d { window, .. } | Op::Depthwise { window, .. } => window.kernel[0],
            _ => 0,
        };
        let depthwise = matches!(self.op, Op::Depthwise { .. });
        Some(LayerFeatures {
            weights: u64::from(matrix.rows) * u64::from(matrix.columns),
            macs: self.op.macs(input, &self.output)?,
            inputs: if depthwise { 1 } else { matrix.columns / u32::from(kernel).pow(2).max(1) },
            outputs: self.output.channels.into(),
            kernel: kernel.into(),
            deviation: 0.0,
        })
    }
}

/// A tensor of other codes, stored as narrowly as they may be.
fn of_bits(record: TensorRecord, bits: BitWidth) -> TensorRecord {
    if record.storage == Storage::Logits || record.bits == bits {
        return record;
    }
    let zero_point = if record.zero_point == 0 { 0 } else { middle(bits) };
    TensorRecord { bits, zero_point, storage: Storage::narrowest(bits), ..record }
}

/// The levels of weights that nobody has quantized yet.
pub fn nominal_levels(bits: BitWidth) -> Levels {
    if bits.get() == 1 { Levels::MidRise } else { Levels::MidTread }
}

/// The zero point of centred codes.
pub(super) fn middle(bits: BitWidth) -> u8 {
    bits.max_code().div_ceil(2)
}

/// `turns w4 a8`: a piece and the widths it is written for.
fn name(part: &kernels::Part) -> String {
    let width = |letter: char, bits: u8| if bits == 0 { String::new() } else { format!(" {letter}{bits}") };
    format!("{}{}{}", part.name, width('w', part.weights), width('a', part.codes))
}
