//! The layers that the kernel suite measures: the shapes that public libraries are compared on, at every width.

use crate::network::{Op, Window};

/// A layer to be measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Shape {
    /// What users select it by.
    pub name: &'static str,
    /// Channels, height and width of its input; of both operands for an add.
    pub input: [usize; 3],
    /// What it computes.
    pub op: Op,
    /// Whether the input is centred, as that of a network is; other inputs follow a ReLU and have zero point 0.
    pub first: bool,
}

/// A shape at certain widths: one row of the table.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The layer.
    pub shape: Shape,
    /// Bits of its weights, 1..=8; `None` for a layer without any.
    pub weights: Option<u8>,
    /// Bits of its input and output codes, 1..=8.
    pub activations: u8,
}

/// What a count is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Per {
    /// Multiply-accumulates: outputs × K, padding taps included.
    Mac,
    /// Codes of one input.
    InputElement,
}

/// Activation widths that layers are measured at.
const ACTIVATIONS: [u8; 3] = [8, 4, 2];

impl Shape {
    /// Whether the op has weights.
    pub fn weighted(&self) -> bool {
        matches!(self.op, Op::Conv { .. } | Op::Dense { .. })
    }

    /// What its counts are divided by.
    pub fn per(&self) -> Per {
        if self.weighted() { Per::Mac } else { Per::InputElement }
    }

    /// Codes of one input.
    pub fn elements(&self) -> u64 {
        self.input.iter().map(|&size| size as u64).product()
    }

    /// Rows × columns × channels, and the output channels where they differ in kind: `16×16×32→32`.
    pub fn text(&self) -> String {
        let [channels, height, width] = self.input;
        let from = if height * width == 1 { channels.to_string() } else { format!("{height}×{width}×{channels}") };
        match self.op {
            Op::Conv { out, groups: 1, .. } | Op::Dense { out, .. } => format!("{from}→{out}"),
            _ => from,
        }
    }
}

/// Every shape, in the order of the table.
pub fn shapes() -> Vec<Shape> {
    let conv =
        |out, kernel, padding, groups| Op::Conv { out, window: Window::square(kernel, 1, padding), groups, bias: true };
    let halved = Window::square(2, 2, 0);
    let inner = |name, input, op| Shape { name, input, op, first: false };
    let first = |name, input, op| Shape { name, input, op, first: true };
    vec![
        inner("conv3x3", [32, 16, 16], conv(32, 3, 1, 1)),
        inner("conv1x1", [64, 16, 16], conv(64, 1, 0, 1)),
        inner("depthwise3x3", [64, 16, 16], conv(64, 3, 1, 64)),
        inner("dense", [256, 1, 1], Op::Dense { out: 128, bias: true }),
        first("first5x5", [1, 28, 28], conv(20, 5, 0, 1)),
        first("first3x3", [3, 32, 32], conv(16, 3, 1, 1)),
        inner("maxpool2x2", [64, 16, 16], Op::MaxPool { window: halved }),
        inner("avgpool2x2", [64, 16, 16], Op::AvgPool { window: halved }),
        inner("add", [64, 16, 16], Op::Add),
    ]
}

/// The rows of `shape`: every weight width from 8 down, at every activation width; network inputs have 8 bits.
pub fn cases(shape: &Shape) -> Vec<Case> {
    let activations = if shape.first { &ACTIVATIONS[..1] } else { &ACTIVATIONS[..] };
    let weights: Vec<Option<u8>> = if shape.weighted() { (1..=8).rev().map(Some).collect() } else { vec![None] };
    let at = |&activations: &u8| {
        let case = move |&weights: &Option<u8>| Case { shape: shape.clone(), weights, activations };
        weights.iter().map(case).collect::<Vec<_>>()
    };
    activations.iter().flat_map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_name_the_published_shapes() {
        let texts: Vec<String> = shapes().iter().map(|shape| format!("{} {}", shape.name, shape.text())).collect();
        assert_eq!(
            texts[..4],
            ["conv3x3 16×16×32→32", "conv1x1 16×16×64→64", "depthwise3x3 16×16×64", "dense 256→128"]
        );
        assert_eq!(texts[4..6], ["first5x5 28×28×1→20", "first3x3 32×32×3→16"]);
    }

    #[test]
    fn weighted_shapes_have_every_width() {
        let rows = |name: &str| cases(shapes().iter().find(|shape| shape.name == name).unwrap()).len();
        assert_eq!([rows("conv3x3"), rows("first5x5"), rows("add")], [24, 8, 3]);
    }
}
