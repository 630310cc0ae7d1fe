//! What a kernel does for a layer, counted without running it: what a cost model puts a price on.
//!
//! The counts come from the plans that the kernels themselves follow, so that a model has to learn only what a turn of
//! each loop costs on a core, and nothing of how layers are cut.

use releq_format::graph::{KernelHint, Op, TensorRecord};

use super::dsp;

/// Most kinds of work in one layer.
const MOST_PARTS: usize = 40;

/// One kind of work: how often a piece of a kernel runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// The piece, a plural such as `block turns`.
    pub name: &'static str,
    /// Bits of the weights, or of a field of them, for which the piece is written; 0 where it is one for all.
    pub weights: u8,
    /// Bits in which it finds or leaves codes, or codes of a word; 0 where it is one for all.
    pub codes: u8,
    /// How often it runs.
    pub count: u64,
}

/// All work of one layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The kernel, as [`Kernel::name`](super::Kernel::name) has it.
    pub kernel: &'static str,
    /// Which of its ways; each has prices of its own.
    pub scheme: &'static str,
    parts: heapless::Vec<Part, MOST_PARTS>,
}

impl Work {
    /// Nothing yet but the layer itself.
    pub(super) fn new(kernel: &'static str, scheme: &'static str) -> Self {
        let mut work = Self { kernel, scheme, parts: heapless::Vec::new() };
        work.add("layers", 1);
        work
    }

    /// `count` more of a piece that is one for all widths.
    pub(super) fn add(&mut self, name: &'static str, count: usize) {
        self.add_for(name, [0; 2], count);
    }

    /// `count` more of a piece that is written for these bits of weights and codes.
    pub(super) fn add_for(&mut self, name: &'static str, [weights, codes]: [u8; 2], count: usize) {
        let count = count as u64;
        let same = |part: &&mut Part| (part.name, part.weights, part.codes) == (name, weights, codes);
        if let Some(part) = self.parts.iter_mut().find(same) {
            part.count += count;
        } else if count > 0 {
            let pushed = self.parts.push(Part { name, weights, codes, count });
            debug_assert!(pushed.is_ok(), "{} has more kinds of work than there is room for", self.kernel);
        }
    }

    /// Its parts, none of them twice and none without a count.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }
}

/// The work of a layer that reads `inputs` (both, or else the same one twice), on a core whose fastest
/// family is `family`: [`KernelHint::DSP`], or else [`KernelHint::PACKED`].
pub fn work(family: KernelHint, op: &Op, inputs: [&TensorRecord; 2], output: &TensorRecord) -> Work {
    let dsp = if family == KernelHint::DSP { dsp::work(op, inputs, output) } else { None };
    dsp.unwrap_or_else(|| portable(op, inputs, output))
}

/// The portable kernels do the same at every output: what is counted are outputs, codes and products.
fn portable(op: &Op, inputs: [&TensorRecord; 2], output: &TensorRecord) -> Work {
    let input = inputs[0];
    let (kernel, scheme) = match op {
        Op::Conv2d { .. } => ("packed::CONV2D", "patches"),
        Op::Depthwise { .. } => ("packed::DEPTHWISE", "taps"),
        Op::Dense { .. } => ("packed::DENSE", "rows"),
        Op::MaxPool { .. } => ("packed::MAXPOOL", "windows"),
        Op::AvgPool { .. } => ("packed::AVGPOOL", "windows"),
        Op::Add { .. } => ("packed::ADD", "codes"),
        Op::Concat => return concat(inputs, output),
    };
    let [from, to] = [input, output].map(|record| record.storage.bits() as u8);
    let (pixels, channels) = (output.pixels() as usize, usize::from(output.channels));
    let terms = op.terms(input).unwrap_or(0) as usize;
    let mut work = Work::new(kernel, scheme);
    work.add("pixels", pixels);
    work.add_for("outputs", [0, to], pixels * channels);
    match op {
        Op::Conv2d { weights, .. } | Op::Dense { weights } => {
            work.add_for("patch codes", [0, from], pixels * terms);
            work.add("pairs of rows", pixels * channels.div_ceil(2));
            work.add_for("products", [weights.bits.get(), input.bits.get()], pixels * channels * terms);
        }
        Op::Depthwise { weights, .. } => {
            work.add_for("taps", [0, from], pixels * terms);
            work.add_for("products", [0, from], pixels * channels * terms);
            work.add_for("expanded weights", [weights.bits.get(), 0], channels * terms);
        }
        Op::MaxPool { window } | Op::AvgPool { window, .. } => {
            work.add_for("places", [0, from], pixels * window.taps() as usize);
            work.add_for("codes", [0, from], pixels * window.taps() as usize * channels);
        }
        Op::Add { .. } | Op::Concat => {}
    }
    work
}

/// Bytes that are copied, or shifted to where those before them end.
fn concat(inputs: [&TensorRecord; 2], output: &TensorRecord) -> Work {
    let [left, right] = inputs.map(|input| input.pixel_bytes() as usize);
    let pixels = output.pixels() as usize;
    let meets = (u32::from(inputs[0].channels) * inputs[0].storage.bits()).is_multiple_of(8);
    let mut work = Work::new("packed::CONCAT", if meets { "bytes" } else { "shifted" });
    work.add("pixels", pixels);
    if meets {
        let aligned = left.is_multiple_of(4) && right.is_multiple_of(4);
        copies(&mut work, left, aligned, pixels);
        copies(&mut work, right, aligned, pixels);
    } else {
        // Few codes of few bits; the shifts are what costs.
        work.add("single bytes", pixels * left);
        work.add("shifted bytes", pixels * right);
    }
    work
}

/// Copies of `bytes` bytes, as the compiler's own `memcpy` makes them: a byte at a time below 16, else by words.
fn copies(work: &mut Work, bytes: usize, aligned: bool, times: usize) {
    match (bytes, aligned) {
        (..16, _) => work.add("single bytes", times * bytes),
        (_, true) => {
            work.add("copies of words", times);
            work.add("words", times * (bytes / 4));
        }
        (_, false) => {
            work.add("loose copies", times);
            work.add("loose words", times * (bytes / 4));
            work.add("loose rests", times * (bytes % 4));
        }
    }
}
