//! What an image holds, in numbers: the rows of `inspect` and the budget of the format.

use releq_format::bits::Levels;
use releq_format::graph::{Op, TensorRecord};
use releq_format::image::{Image, VERSION};
use releq_format::pack::Layout;
use serde::Serialize;

/// One layer of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LayerSummary {
    /// Its name.
    pub name: String,
    /// What it computes.
    pub op: &'static str,
    /// Height, width and channels of its output.
    pub output: [u16; 3],
    /// Bits of each weight, if it has weights.
    pub w: Option<u8>,
    /// Bits of each output code; `None` for logits.
    pub a: Option<u8>,
    /// The integers its weight codes stand for.
    pub levels: Option<&'static str>,
    /// How its weights lie in memory.
    pub layout: Option<&'static str>,
    /// The kernel an engine that links all of them takes.
    pub kernel: String,
    /// Multiply-accumulates of one inference, padding included.
    pub macs: u64,
    /// Number of weights.
    pub weights: u64,
    /// Bytes of packed weights.
    pub weight_bytes: u64,
    /// Bytes of per-channel constants.
    pub channel_bytes: u64,
    /// Bytes of its output in the arena.
    pub output_bytes: u64,
    /// Bytes of working memory while it runs.
    pub scratch_bytes: u64,
}

impl LayerSummary {
    /// Bytes of all its constants.
    pub fn constant_bytes(&self) -> u64 {
        self.weight_bytes + self.channel_bytes
    }
}

/// A whole image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ImageSummary {
    /// The network's name.
    pub name: String,
    /// Version of the format.
    pub format_version: u16,
    /// The image's checksum, which names it.
    pub crc: String,
    /// Bytes of the whole image: what it takes of flash.
    pub bytes: u64,
    /// Bytes of it that are no layer's constants: container, records and padding.
    pub record_bytes: u64,
    /// What the format allows for these layers: 1.03 Σ ⌈n·b/8⌉ + 8 a channel + 96 a layer + 1 KiB.
    pub budget_bytes: u64,
    /// Bytes of working memory: what it takes of RAM, scratch included.
    pub arena_bytes: u64,
    /// The most scratch any layer takes of it.
    pub scratch_bytes: u64,
    /// The layers in execution order.
    pub layers: Vec<LayerSummary>,
}

impl ImageSummary {
    /// The summary of a checked image.
    pub fn of(image: &Image<'_>) -> Self {
        let layers: Vec<LayerSummary> = (0..image.header().layers).filter_map(|index| layer(image, index)).collect();
        let constants: u64 = layers.iter().map(LayerSummary::constant_bytes).sum();
        Self {
            name: image.header().name.to_owned(),
            format_version: VERSION,
            crc: format!("{:08x}", image.crc()),
            bytes: image.len() as u64,
            record_bytes: image.len() as u64 - constants,
            budget_bytes: budget(&layers),
            arena_bytes: image.arena_bytes() as u64,
            scratch_bytes: layers.iter().map(|layer| layer.scratch_bytes).max().unwrap_or(0),
            layers,
        }
    }
}

fn budget(layers: &[LayerSummary]) -> u64 {
    let codes = |layer: &LayerSummary| (layer.weights * u64::from(layer.w.unwrap_or(0))).div_ceil(8);
    let codes: u64 = layers.iter().map(codes).sum();
    let channels: u64 = layers.iter().map(|layer| layer.channel_bytes).sum();
    codes + (codes * 3).div_ceil(100) + channels + 96 * layers.len() as u64 + 1024
}

fn layer(image: &Image<'_>, index: u16) -> Option<LayerSummary> {
    let record = image.layers().nth(usize::from(index))?;
    let input = image.tensor(record.inputs[0])?;
    let output = record.output;
    let matrix = record.op.matrix(&input, &output);
    let weights = record.op.weights();
    let channels = if weights.is_some() { 8 * u64::from(output.channels) } else { 0 };
    Some(LayerSummary {
        name: record.name.to_owned(),
        op: record.op.name(),
        output: [output.height, output.width, output.channels],
        w: weights.map(|weights| weights.bits.get()),
        a: (index + 1 < image.header().layers).then_some(output.bits.get()),
        levels: weights.map(|weights| levels(weights.levels)),
        layout: weights.map(|weights| layout(weights.layout)),
        kernel: kernel(&record.op, record.kernel, &input, &output, record.scratch.bytes),
        macs: record.op.macs(&input, &output).unwrap_or(0),
        weights: matrix.map_or(0, |matrix| u64::from(matrix.rows) * u64::from(matrix.columns)),
        weight_bytes: matrix.and_then(|matrix| matrix.bytes()).map_or(0, u64::from),
        channel_bytes: channels,
        output_bytes: output.bytes().map_or(0, u64::from),
        scratch_bytes: record.scratch.bytes.into(),
    })
}

fn kernel(
    op: &Op,
    hint: releq_format::graph::KernelHint,
    input: &TensorRecord,
    output: &TensorRecord,
    scratch: u32,
) -> String {
    use releq_device::kernels;
    kernels::select(kernels::ALL, hint, op, input, output, scratch).map_or("none", |kernel| kernel.name).to_owned()
}

fn levels(levels: Levels) -> &'static str {
    match levels {
        Levels::TwosComplement => "two's complement",
        Levels::MidTread => "mid-tread",
        Levels::MidRise => "mid-rise",
    }
}

fn layout(layout: Layout) -> &'static str {
    match layout {
        Layout::Bytes => "bytes",
        Layout::RowPairs => "row pairs",
        Layout::Rows => "rows",
        Layout::Lanes => "lanes",
        Layout::Ends => "ends",
    }
}
