//! The float network every door of the workbench speaks: layers in order, with their trained parameters.
//!
//! Import and the zoo make it, training changes its parameters, lowering turns it and a plan into an image.
//! Tensors are NCHW while floats are involved; images of the device are NHWC, and lowering does the turn.

use std::collections::BTreeMap;

use releq_format::crc::Crc32;
use serde::{Deserialize, Serialize};

/// Where a value comes from: the network's input or a node's output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Source {
    /// The input image, normalised.
    Input,
    /// The output of the node at this index.
    Node(usize),
}

/// What enters the network and how pixels become its floats: `x = (pixel / 255 − mean) / std`, per channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InputSpec {
    /// Channels, height, width.
    pub shape: [usize; 3],
    /// Mean of each channel, in units of pixel / 255.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, in units of pixel / 255; never zero.
    pub std: Vec<f32>,
}

impl InputSpec {
    /// Pixels scaled to 0..=1 and nothing else.
    pub fn unit(shape: [usize; 3]) -> Self {
        Self { shape, mean: vec![0.0; shape[0]], std: vec![1.0; shape[0]] }
    }
}

/// A sliding window: kernel, stride and zero padding, in elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Height and width of the kernel.
    pub kernel: [usize; 2],
    /// Steps down and right.
    pub stride: [usize; 2],
    /// Padding: top, left, bottom, right.
    pub padding: [usize; 4],
}

impl Window {
    /// A square kernel with equal stride and equal padding on all sides.
    pub fn square(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 4] }
    }

    /// Output height and width for an input of `height` × `width`, or `None` where the kernel does not fit.
    pub fn output(&self, height: usize, width: usize) -> Option<[usize; 2]> {
        let span = |size: usize, before: usize, after: usize, kernel: usize, stride: usize| {
            (size + before + after).checked_sub(kernel).map(|room| room / stride + 1)
        };
        let [top, left, bottom, right] = self.padding;
        Some([
            span(height, top, bottom, self.kernel[0], self.stride[0])?,
            span(width, left, right, self.kernel[1], self.stride[1])?,
        ])
    }
}

/// What a node computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub enum Op {
    /// 2-D convolution. Parameters `<name>.weight` `[out, in / groups, kh, kw]` and, if `bias`, `<name>.bias` `[out]`.
    /// `groups` is 1, or the number of input channels (depthwise, `out` = in).
    Conv {
        /// Output channels.
        out: usize,
        /// Kernel, stride and padding.
        window: Window,
        /// Channel groups.
        groups: usize,
        /// Whether a bias is added.
        bias: bool,
    },
    /// Fully connected over the flattened input. Parameters `<name>.weight` `[out, in]` and, if `bias`, `<name>.bias`.
    Dense {
        /// Output features.
        out: usize,
        /// Whether a bias is added.
        bias: bool,
    },
    /// Batch normalisation over channels. Parameters `<name>.{weight,bias,running_mean,running_var}` `[channels]`.
    BatchNorm {
        /// Added to the variance.
        eps: f32,
    },
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, 0), ceiling)`; ReLU6 has its ceiling at 6.
    ClippedRelu {
        /// The largest output; positive.
        ceiling: f32,
    },
    /// Maximum over each window; padding never wins.
    MaxPool {
        /// Kernel, stride and padding.
        window: Window,
    },
    /// Mean over each window, padding counted as zeros.
    AvgPool {
        /// Kernel, stride and padding.
        window: Window,
    },
    /// Mean over height and width.
    GlobalAvgPool,
    /// Element-wise sum of two inputs of one shape.
    Add,
    /// The channels of two or more inputs of one height and width, one after the other.
    Concat,
    /// Every `stride`-th pixel, the first included, with channels of zeros around: the shortcut without parameters of
    /// CIFAR ResNets (option A of He et al., arXiv 1512.03385).
    Shortcut {
        /// Steps down and right.
        stride: [usize; 2],
        /// Channels of zeros before the input's.
        before: usize,
        /// Channels of zeros after them.
        after: usize,
    },
    /// `[c, h, w]` to `[c·h·w]`, in that order.
    Flatten,
}

/// One layer of the network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// Unique name; prefixes its parameters.
    pub name: String,
    /// What it computes.
    #[serde(flatten)]
    pub op: Op,
    /// Where its inputs come from: one, two for [`Op::Add`], two or more for [`Op::Concat`].
    pub inputs: Vec<Source>,
}

/// A float tensor, row-major.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensor {
    /// Sizes, outermost first.
    pub shape: Vec<usize>,
    /// `shape.product()` values.
    pub data: Vec<f32>,
}

/// Layers in topological order, the last being the output (logits), without parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Graph {
    /// A name for tables and files.
    pub name: String,
    /// What enters.
    pub input: InputSpec,
    /// The layers.
    pub nodes: Vec<Node>,
    /// How many images at the end of its training set the training never saw; 0 where nobody knows.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub held_out: usize,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// A network: its graph and its trained parameters by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// The layers.
    pub graph: Graph,
    /// Parameters, `<node>.<part>`.
    pub parameters: BTreeMap<String, Tensor>,
}

impl Network {
    /// A checksum of everything that a training starts from, to go on with.
    pub fn crc(&self) -> Crc32 {
        let graph = Crc32::new().update(format!("{:?}", self.graph).as_bytes());
        let parameters = self.parameters.iter();
        parameters
            .fold(graph, |crc, (name, tensor)| crc.update(name.as_bytes()).update(bytemuck::cast_slice(&tensor.data)))
    }
}

impl Graph {
    /// Output shape `[c, h, w]` of every node, in order; dense layers give `[out, 1, 1]`.
    ///
    /// # Errors
    /// The first node whose input is missing or does not fit, in one sentence.
    pub fn shapes(&self) -> Result<Vec<[usize; 3]>, String> {
        let mut shapes: Vec<[usize; 3]> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let inputs: Vec<[usize; 3]> = node
                .inputs
                .iter()
                .map(|source| match source {
                    Source::Input => Ok(self.input.shape),
                    Source::Node(index) => {
                        shapes.get(*index).copied().ok_or_else(|| format!("`{}` reads a later layer", node.name))
                    }
                })
                .collect::<Result<_, _>>()?;
            shapes.push(node.op.output_shape(&inputs).map_err(|reason| format!("layer `{}`: {reason}", node.name))?);
        }
        Ok(shapes)
    }

    /// Shape of what `source` gives, with `shapes` from [`Graph::shapes`].
    pub fn shape_of(&self, source: Source, shapes: &[[usize; 3]]) -> [usize; 3] {
        match source {
            Source::Input => self.input.shape,
            Source::Node(index) => shapes[index],
        }
    }

    /// Indices of the nodes that carry weights a plan gives bits to, in order.
    pub fn weighted(&self) -> Vec<usize> {
        let weighted = |node: &Node| matches!(node.op, Op::Conv { .. } | Op::Dense { .. });
        (0..self.nodes.len()).filter(|&index| weighted(&self.nodes[index])).collect()
    }
}

/// More elements than a layer's output ever has; below it products of sizes cannot overflow.
const MOST_ELEMENTS: usize = 1 << 40;

impl Op {
    /// Whether a quantized node hands its input's codes on, so that input and output share one quantizer.
    pub fn keeps_codes(&self) -> bool {
        matches!(self, Op::MaxPool { .. } | Op::Concat | Op::Shortcut { .. } | Op::Flatten)
    }

    /// Whether it is a ReLU, with a ceiling or without.
    pub fn rectifies(&self) -> bool {
        matches!(self, Op::Relu | Op::ClippedRelu { .. })
    }

    /// Output shape for inputs of these shapes, or why there is none.
    pub(crate) fn output_shape(&self, inputs: &[[usize; 3]]) -> Result<[usize; 3], String> {
        let shape = self.any_output_shape(inputs)?;
        let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
        match count {
            Some(count) if count <= MOST_ELEMENTS => Ok(shape),
            _ => Err(format!("its output of {shape:?} has more elements than any machine holds")),
        }
    }

    fn any_output_shape(&self, inputs: &[[usize; 3]]) -> Result<[usize; 3], String> {
        let (least, most) = match self {
            Op::Add => (2, 2),
            Op::Concat => (2, usize::MAX),
            _ => (1, 1),
        };
        if !(least..=most).contains(&inputs.len()) {
            let more = if most > least { " or more" } else { "" };
            return Err(format!("takes {least}{more} input(s), has {}", inputs.len()));
        }
        let [channels, height, width] = inputs[0];
        let slide = |window: &Window| {
            if window.stride.contains(&0) || window.kernel.contains(&0) {
                return Err("has a kernel or stride of zero".to_owned());
            }
            window.output(height, width).ok_or_else(|| {
                format!("its {}×{} kernel does not fit a {height}×{width} input", window.kernel[0], window.kernel[1])
            })
        };
        match self {
            Op::Conv { out, window, groups, .. } => {
                if *groups != 1 && !(*groups == channels && *out == channels) {
                    return Err(format!("{groups} groups over {channels} channels are neither plain nor depthwise"));
                }
                let [h, w] = slide(window)?;
                Ok([*out, h, w])
            }
            Op::Dense { out, .. } => Ok([*out, 1, 1]),
            Op::BatchNorm { .. } | Op::Relu | Op::ClippedRelu { .. } => Ok(inputs[0]),
            Op::MaxPool { window } | Op::AvgPool { window } => {
                let [h, w] = slide(window)?;
                Ok([channels, h, w])
            }
            Op::GlobalAvgPool => Ok([channels, 1, 1]),
            Op::Add if inputs[0] == inputs[1] => Ok(inputs[0]),
            Op::Add => Err(format!("adds {:?} to {:?}", inputs[0], inputs[1])),
            Op::Concat if inputs.iter().all(|input| input[1..] == inputs[0][1..]) => {
                Ok([inputs.iter().map(|input| input[0]).sum(), height, width])
            }
            Op::Concat => Err(format!("joins the channels of {inputs:?}, whose heights or widths differ")),
            Op::Shortcut { stride: [down, right], before, after } => {
                if *down == 0 || *right == 0 {
                    return Err("has a stride of zero".to_owned());
                }
                Ok([before + channels + after, height.div_ceil(*down), width.div_ceil(*right)])
            }
            Op::Flatten => Ok([channels * height * width, 1, 1]),
        }
    }

    /// Its parameters for an input of shape `input`: the part after the layer's name and a dot, and its sizes.
    pub fn parts(&self, input: [usize; 3]) -> Vec<(&'static str, Vec<usize>)> {
        let weighted = |weight: Vec<usize>, bias: bool| {
            let out = weight[0];
            std::iter::once(("weight", weight)).chain(bias.then(|| ("bias", vec![out]))).collect()
        };
        match self {
            Op::Conv { out, window, groups, bias } => {
                weighted(vec![*out, input[0] / groups, window.kernel[0], window.kernel[1]], *bias)
            }
            Op::Dense { out, bias } => weighted(vec![*out, input.iter().product()], *bias),
            Op::BatchNorm { .. } => {
                ["weight", "bias", "running_mean", "running_var"].map(|part| (part, vec![input[0]])).to_vec()
            }
            Op::Relu
            | Op::ClippedRelu { .. }
            | Op::MaxPool { .. }
            | Op::AvgPool { .. }
            | Op::GlobalAvgPool
            | Op::Add
            | Op::Concat
            | Op::Shortcut { .. }
            | Op::Flatten => Vec::new(),
        }
    }
}
