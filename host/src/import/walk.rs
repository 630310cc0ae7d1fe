//! Walks an ONNX graph from input to output and builds the network, layer by layer.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use super::call::Call;
use super::names::Names;
use super::onnx::Outline;
use super::proto::{GraphProto, NodeProto, TensorProto, ValueInfoProto};
use super::whole::{self, Size, Whole};
use super::{ImportError, Imported, layers, pooling, shaping, slicing, tensor};
use crate::network::{Graph, InputSpec, Network, Node, Op, Source, Tensor};

/// What an ONNX value is while the graph is walked.
#[derive(Clone)]
pub(super) enum Value<'a> {
    Activation(Activation),
    Constant(Cow<'a, TensorProto>),
    /// Whole numbers computed from a tensor's shape, as exporters write `x.view(x.size(0), -1)`.
    Whole(Whole),
    /// The output of a refused node whose shape nobody knows.
    Unknown,
}

/// An output of a layer, or the input.
#[derive(Clone, Copy)]
pub(super) struct Activation {
    pub(super) source: Source,
    pub(super) form: Form,
    /// Whether more than one node reads it, so that nothing may be folded into the layer that makes it.
    pub(super) shared: bool,
    /// Zeros that a Pad put around the image: top, left, bottom, right. The window that reads it takes them over.
    pub(super) padding: [usize; 4],
}

/// The order of an activation's axes in the file; the network's own is always `[c, h, w]`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// `[n, c, h, w]`.
    Image,
    /// `[n, h, w, c]`.
    ChannelsLast,
    /// An image of which one axis was averaged away: `[n, c, length]`, or `[n, length, c]` with channels last.
    Line { channels_last: bool },
    /// `[n, features]`, in the network's order.
    Flat,
    /// `[n, features]`, flattened from channels last where the network has `[c, h, w]`.
    FlatChannelsLast([usize; 3]),
}

impl Activation {
    pub(super) fn is_flat(&self) -> bool {
        matches!(self.form, Form::Flat | Form::FlatChannelsLast(_))
    }
}

/// No classifier for a microcontroller has more; the bound keeps a small file from filling the memory.
const MOST_PARAMETERS: usize = 1 << 26;

/// The network as far as it is built.
pub(super) struct Walk<'a> {
    pub(super) opset: i64,
    pub(super) batch: Option<i64>,
    pub(super) output: &'a str,
    pub(super) notes: Vec<String>,
    pub(super) network: Network,
    file: &'a Path,
    shapes: Vec<[usize; 3]>,
    elements: usize,
    values: HashMap<&'a str, Value<'a>>,
    readers: HashMap<&'a str, usize>,
    written: HashMap<&'a str, &'a ValueInfoProto>,
    names: Names,
}

/// Turns one node into what its output is.
type Translate<'a> = fn(&mut Walk<'a>, Call<'a>) -> Result<Value<'a>, ImportError>;

impl<'a> Walk<'a> {
    pub(super) fn new(file: &'a Path, outline: &Outline<'a>, name: String, input: InputSpec) -> Self {
        let graph = outline.graph;
        let read = graph.node.iter().flat_map(|node| &node.input).map(String::as_str);
        let mut readers = HashMap::new();
        read.chain([outline.output]).for_each(|name| *readers.entry(name).or_insert(0) += 1);
        let constants = graph.initializer.iter().map(|t| (t.name.as_str(), Value::Constant(Cow::Borrowed(t))));
        let mut walk = Self {
            opset: outline.opset,
            batch: outline.batch,
            output: outline.output,
            notes: Vec::new(),
            network: Network {
                graph: Graph { name, input, nodes: Vec::new(), held_out: 0 },
                parameters: BTreeMap::new(),
            },
            file,
            shapes: Vec::new(),
            elements: 0,
            values: constants.collect(),
            readers,
            written: graph.value_info.iter().map(|value| (value.name.as_str(), value)).collect(),
            names: Names::new(graph.node.iter().filter_map(|node| Call(node).input(1))),
        };
        let image = walk.activation_named(outline.input, Source::Input, outline.form, false);
        walk.values.insert(outline.input, image);
        walk
    }

    pub(super) fn run(mut self, outline: &Outline<'a>) -> Result<Imported, ImportError> {
        let live = live(outline.graph, outline.output);
        let unread = outline.graph.node.iter().filter(|node| !live.contains(&std::ptr::from_ref(*node))).count();
        if unread > 0 {
            self.notes.push(format!("{unread} node(s) that do not lead to the output were left out"));
        }
        if constants_read(outline.graph, &live) > MOST_PARAMETERS {
            return Err(self.too_many_parameters());
        }
        let mut refused = Vec::new();
        for node in outline.graph.node.iter().filter(|node| live.contains(&std::ptr::from_ref(*node))) {
            match self.translate(Call(node)) {
                Ok(value) => drop(self.values.insert(node.output.first().map_or("", String::as_str), value)),
                Err(error @ ImportError::Unsupported { .. }) => {
                    refused.push(error);
                    self.stand_in(Call(node));
                }
                Err(error) => return Err(error),
            }
        }
        if let Some(error) = ImportError::joined(refused) {
            return Err(error);
        }
        self.check_output()?;
        Ok(Imported { network: self.network, notes: self.notes })
    }

    fn translate(&mut self, call: Call<'a>) -> Result<Value<'a>, ImportError> {
        if !call.0.domain.is_empty() && call.0.domain != "ai.onnx" {
            let cause = format!("it is of the domain `{}`", call.0.domain);
            return Err(call.refuse(cause, "export it with the standard operators of ONNX"));
        }
        let translate = translator(call.op()).ok_or_else(|| no_layer(call))?;
        let twice = call.0.output.iter().find(|name| !name.is_empty() && self.values.contains_key(name.as_str()));
        if let Some(name) = twice {
            return Err(call.broken(format!("its output `{name}` is made elsewhere, too")));
        }
        let unknown = |name: &String| matches!(self.values.get(name.as_str()), Some(Value::Unknown));
        if call.0.input.iter().any(unknown) { Ok(Value::Unknown) } else { translate(self, call) }
    }

    /// Gives the outputs of a refused node a value, so that what comes after it is looked at, too. The network is
    /// discarded in the end: a layer of the right shape is all that matters.
    fn stand_in(&mut self, call: Call<'a>) {
        for name in call.0.output.iter().map(String::as_str) {
            let stated = self.written.get(name).and_then(|value| stated_shape(value));
            let input = call.input(0).and_then(|name| self.values.get(name));
            let value = match (stated, input) {
                (Some((shape, form)), _) => {
                    self.network.graph.nodes.push(Node { name: String::new(), op: Op::Add, inputs: Vec::new() });
                    self.shapes.push(shape);
                    self.activation_named(name, Source::Node(self.shapes.len() - 1), form, true)
                }
                (None, Some(Value::Activation(input))) if keeps_shape(call.op()) => {
                    Value::Activation(Activation { shared: true, ..*input })
                }
                _ => Value::Unknown,
            };
            self.values.insert(name, value);
        }
    }

    /// The value of input `index`.
    pub(super) fn value(&self, call: Call<'a>, index: usize) -> Result<&Value<'a>, ImportError> {
        let name = call.input(index).ok_or_else(|| call.broken(format!("it lacks input {index}")))?;
        self.values.get(name).ok_or_else(|| call.broken(format!("its input `{name}` comes from nowhere before it")))
    }

    /// An activation of any form, without zeros around it.
    pub(super) fn activation(&self, call: Call<'a>, index: usize) -> Result<Activation, ImportError> {
        let activation = self.padded_activation(call, index)?;
        if activation.padding == [0; 4] {
            Ok(activation)
        } else {
            Err(call.refuse(
                "it reads what a Pad made, and only a convolution or pooling can take the padding over",
                "pad inside convolutions",
            ))
        }
    }

    fn padded_activation(&self, call: Call<'a>, index: usize) -> Result<Activation, ImportError> {
        match self.value(call, index)? {
            Value::Activation(activation) => Ok(*activation),
            _ => Err(call.refuse(
                format!("its input {index} is not computed from the image"),
                "simplify the model (onnxsim) so that constants are folded",
            )),
        }
    }

    /// An activation that is still an image, with its `[c, h, w]`.
    pub(super) fn map(&self, call: Call<'a>, index: usize) -> Result<(Activation, [usize; 3]), ImportError> {
        self.activation(call, index)?;
        self.padded_map(call, index)
    }

    /// As [`Walk::map`], for a reader that takes the padding over; the shape is that without padding.
    pub(super) fn padded_map(&self, call: Call<'a>, index: usize) -> Result<(Activation, [usize; 3]), ImportError> {
        let activation = self.padded_activation(call, index)?;
        match activation.form {
            Form::Image => Ok((activation, self.shape(activation))),
            Form::ChannelsLast => Err(call.refuse(
                "its input has its channels last",
                "export the model channels first (NCHW), or transpose to channels first before this node",
            )),
            Form::Line { .. } => {
                Err(call.refuse("its input has lost an axis to a mean", "average over both axes, or keep the axis"))
            }
            Form::Flat | Form::FlatChannelsLast(_) => {
                Err(call.refuse("its input is [n, features] and not an image", "apply it before flattening"))
            }
        }
    }

    pub(super) fn shape(&self, activation: Activation) -> [usize; 3] {
        self.network.graph.shape_of(activation.source, &self.shapes)
    }

    /// Sizes in the file's order of axes; the batch counts as 1.
    pub(super) fn sizes(&self, activation: Activation) -> Vec<usize> {
        let size = |size: Size| if let Size::Known(size) = size { size as usize } else { 1 };
        whole::sizes_of(activation.form, self.shape(activation)).into_iter().map(size).collect()
    }

    /// Whether no value of `activation` is negative, because a ReLU made it, or ReLUs all that it joins.
    pub(super) fn is_rectified(&self, activation: Activation) -> bool {
        let nodes = &self.network.graph.nodes;
        let by_relu = |source: &Source| matches!(*source, Source::Node(index) if nodes[index].op.rectifies());
        match activation.source {
            Source::Node(index) if nodes[index].op == Op::Concat => nodes[index].inputs.iter().all(by_relu),
            source => by_relu(&source),
        }
    }

    /// The map `[c, h, w]` that `activation` is a flattened form of, if it is one.
    pub(super) fn flattens(&self, activation: Activation) -> Option<[usize; 3]> {
        let Source::Node(index) = activation.source else { return None };
        let node = self.network.graph.nodes.get(index).filter(|node| node.op == Op::Flatten)?;
        Some(self.network.graph.shape_of(*node.inputs.first()?, &self.shapes))
    }

    /// Whether input `index` is made of whole numbers that are known or computed here.
    pub(super) fn is_whole(&self, call: Call<'a>, index: usize) -> bool {
        match self.value(call, index) {
            Ok(Value::Whole(_)) => true,
            Ok(Value::Constant(constant)) => whole::is_whole(constant),
            _ => false,
        }
    }

    /// Whole numbers of input `index`, with their sizes.
    pub(super) fn whole(&self, call: Call<'a>, index: usize) -> Result<Whole, ImportError> {
        match self.value(call, index)? {
            Value::Whole(whole) => Ok(whole.clone()),
            Value::Constant(constant) => {
                let data = tensor::ints(constant, self.file)?.into_iter().map(Size::Known).collect();
                Ok(Whole { dims: constant.dims.iter().map(|&size| size as usize).collect(), data })
            }
            _ => Err(call.refuse("releq computes it on shapes only, not on images", "rewrite the model without it")),
        }
    }

    /// Whole numbers of input `index`, none of which may depend on the batch.
    pub(super) fn ints(&self, call: Call<'a>, index: usize) -> Result<Vec<i64>, ImportError> {
        let known = match self.value(call, index)? {
            Value::Whole(whole) => whole.known(),
            Value::Constant(constant) => Some(tensor::ints(constant, self.file)?),
            _ => None,
        };
        known.ok_or_else(|| {
            call.refuse(
                format!("its input {index} is computed, where releq needs a constant"),
                "simplify the model (onnxsim) so that constants are folded",
            )
        })
    }

    /// Floats of input `index`, which must be a constant.
    pub(super) fn floats(&self, call: Call<'a>, index: usize) -> Result<Tensor, ImportError> {
        match self.value(call, index)? {
            Value::Constant(constant) => tensor::floats(constant, self.file),
            _ => Err(call.refuse(
                format!("its input {index} is computed, where releq needs trained constants"),
                "export the network for inference with constant folding on",
            )),
        }
    }

    /// The one float of input `index`, which may be infinite.
    pub(super) fn scalar(&self, call: Call<'a>, index: usize) -> Result<f32, ImportError> {
        match self.value(call, index)? {
            Value::Constant(constant) => self.real(constant),
            _ => Err(call.refuse(
                format!("its input {index} is computed, where releq needs a constant"),
                "simplify the model (onnxsim) so that constants are folded",
            )),
        }
    }

    /// The one float of a constant.
    pub(super) fn real(&self, constant: &TensorProto) -> Result<f32, ImportError> {
        tensor::scalar(constant, self.file)
    }

    pub(super) fn tensor_ints(&self, constant: &TensorProto) -> Result<Vec<i64>, ImportError> {
        tensor::ints(constant, self.file)
    }

    /// Appends a layer with its parameters.
    pub(super) fn push(
        &mut self,
        call: Call<'a>,
        kind: &'static str,
        op: Op,
        inputs: Vec<Source>,
        parameters: Vec<(&str, Tensor)>,
        form: Form,
    ) -> Result<Value<'a>, ImportError> {
        self.elements += parameters.iter().map(|(_, tensor)| tensor.data.len()).sum::<usize>();
        if self.elements > MOST_PARAMETERS {
            return Err(self.too_many_parameters());
        }
        let weight = call.input(1).filter(|_| !parameters.is_empty());
        let name = self.names.pick(weight, kind);
        let shape = self.output_shape(call, &name, &op, &inputs)?;
        self.network.graph.nodes.push(Node { name: name.clone(), op, inputs });
        self.shapes.push(shape);
        for (part, tensor) in parameters {
            self.network.parameters.insert(format!("{name}.{part}"), tensor);
        }
        let source = Source::Node(self.network.graph.nodes.len() - 1);
        Ok(self.activation_named(call.output()?, source, form, false))
    }

    fn too_many_parameters(&self) -> ImportError {
        ImportError::Model {
            file: self.file.to_owned(),
            cause: format!("its layers hold more than {MOST_PARAMETERS} numbers"),
            remedy: "export a network made for microcontrollers".to_owned(),
        }
    }

    /// Puts `op` in the place of the node at `index`, whose only reader is `call`.
    pub(super) fn replace(&mut self, call: Call<'a>, index: usize, op: Op) -> Result<(), ImportError> {
        let Node { name, inputs, .. } = self.network.graph.nodes[index].clone();
        self.shapes[index] = self.output_shape(call, &name, &op, &inputs)?;
        self.network.graph.nodes[index].op = op;
        Ok(())
    }

    fn output_shape(&self, call: Call<'a>, name: &str, op: &Op, inputs: &[Source]) -> Result<[usize; 3], ImportError> {
        let inputs: Vec<_> = inputs.iter().map(|&input| self.network.graph.shape_of(input, &self.shapes)).collect();
        op.output_shape(&inputs).map_err(|reason| {
            call.refuse(
                format!("layer `{name}`: {reason}"),
                "change its sizes so that they fit; releq neither broadcasts nor groups otherwise",
            )
        })
    }

    fn activation_named(&self, name: &str, source: Source, form: Form, shared: bool) -> Value<'a> {
        let shared = shared || self.readers.get(name).is_some_and(|&readers| readers > 1);
        Value::Activation(Activation { source, form, shared, padding: [0; 4] })
    }

    /// A node that hands on its first input, perhaps under another order of axes.
    pub(super) fn renamed(&self, call: Call<'a>, input: Activation, form: Form) -> Result<Value<'a>, ImportError> {
        Ok(self.activation_named(call.output()?, input.source, form, input.shared))
    }

    /// A node that hands on its first input with zeros around it.
    pub(super) fn padded(
        &self,
        call: Call<'a>,
        input: Activation,
        padding: [usize; 4],
    ) -> Result<Value<'a>, ImportError> {
        match self.renamed(call, input, input.form)? {
            Value::Activation(activation) => Ok(Value::Activation(Activation { padding, ..activation })),
            other => Ok(other),
        }
    }

    pub(super) fn alias(&mut self, call: Call<'a>) -> Result<Value<'a>, ImportError> {
        match self.value(call, 0)? {
            Value::Activation(input) => {
                let renamed = self.renamed(call, *input, input.form)?;
                let padding = input.padding;
                let Value::Activation(activation) = renamed else { return Ok(renamed) };
                Ok(Value::Activation(Activation { padding, ..activation }))
            }
            other => Ok(other.clone()),
        }
    }

    fn check_output(&self) -> Result<(), ImportError> {
        let fault = |cause: String, remedy: &str| ImportError::Model {
            file: self.file.to_owned(),
            cause,
            remedy: remedy.to_owned(),
        };
        let last = self.network.graph.nodes.len().checked_sub(1).map(Source::Node);
        let output = match self.values.get(self.output) {
            Some(Value::Activation(output)) if Some(output.source) == last && output.padding == [0; 4] => *output,
            _ => {
                let cause = format!("its output `{}` is not what its last layer computes", self.output);
                return Err(fault(cause, "export the network with its logits as only output"));
            }
        };
        match (self.shape(output), output.form) {
            (_, Form::FlatChannelsLast(_)) => {
                let cause = "its output is an image flattened with channels last".to_owned();
                Err(fault(cause, "end the network in a fully connected layer"))
            }
            ([_, 1, 1], _) => Ok(()),
            (shape, _) => {
                let cause = format!("its output is a map of shape {shape:?} and not one logit a class");
                Err(fault(cause, "releq runs classifiers; export the network with its pooling and last layer"))
            }
        }
    }
}

/// What reads each operator that releq takes.
fn translator<'a>(op: &str) -> Option<Translate<'a>> {
    let known: [(&str, Translate<'a>); 32] = [
        ("Conv", layers::conv),
        ("Gemm", layers::gemm),
        ("MatMul", layers::mat_mul),
        ("Add", layers::arithmetic),
        ("Sub", layers::arithmetic),
        ("Mul", layers::arithmetic),
        ("Div", layers::arithmetic),
        ("BatchNormalization", layers::batch_norm),
        ("Relu", layers::relu),
        ("Clip", layers::clip),
        ("Dropout", layers::dropout),
        ("Softmax", layers::softmax),
        ("LogSoftmax", layers::softmax),
        ("MaxPool", pooling::max),
        ("AveragePool", pooling::average),
        ("GlobalAveragePool", pooling::global),
        ("GlobalMaxPool", pooling::global),
        ("ReduceMean", pooling::reduce_mean),
        ("Slice", slicing::slice),
        ("Pad", slicing::pad),
        ("Concat", slicing::concat),
        ("Flatten", shaping::flatten),
        ("Reshape", shaping::reshape),
        ("Squeeze", shaping::squeeze),
        ("Unsqueeze", shaping::unsqueeze),
        ("Transpose", shaping::transpose),
        ("Cast", shaping::cast),
        ("Constant", shaping::constant),
        ("Shape", whole::shape),
        ("Gather", whole::gather),
        ("ConstantOfShape", whole::constant_of_shape),
        ("Identity", Walk::alias),
    ];
    known.into_iter().find_map(|(name, translate)| (name == op).then_some(translate))
}

/// The shape the file states for a value, if it is an image or `[n, features]`.
fn stated_shape(value: &ValueInfoProto) -> Option<([usize; 3], Form)> {
    let size = |size: Option<i64>| size.filter(|&size| size <= 1 << 16).map(|size| size as usize);
    match value.sizes()[..] {
        [_, c, h, w] => Some(([size(c)?, size(h)?, size(w)?], Form::Image)),
        [_, features] => Some(([size(features)?, 1, 1], Form::Flat)),
        _ => None,
    }
}

/// Whether an operator without a layer computes element by element, so that its output has its input's shape.
fn keeps_shape(op: &str) -> bool {
    const KEEP: [&str; 24] = [
        "LeakyRelu",
        "PRelu",
        "Elu",
        "Selu",
        "Celu",
        "Gelu",
        "Sigmoid",
        "HardSigmoid",
        "HardSwish",
        "Tanh",
        "Mish",
        "Erf",
        "Softplus",
        "Softsign",
        "Exp",
        "Log",
        "Sqrt",
        "Abs",
        "Neg",
        "Pow",
        "Clip",
        "LRN",
        "InstanceNormalization",
        "LayerNormalization",
    ];
    KEEP.contains(&op) || ["Add", "Sub", "Mul", "Div", "BatchNormalization"].contains(&op)
}

/// The nodes that `output` depends on.
fn live(graph: &GraphProto, output: &str) -> HashSet<*const NodeProto> {
    let makers: HashMap<&str, &NodeProto> =
        graph.node.iter().flat_map(|node| node.output.iter().map(move |name| (name.as_str(), node))).collect();
    let mut live = HashSet::new();
    let mut wanted = vec![output];
    while let Some(node) = wanted.pop().map(|name| makers.get(name)) {
        if let Some(node) = node.filter(|node| live.insert(std::ptr::from_ref(**node))) {
            wanted.extend(node.input.iter().map(String::as_str));
        }
    }
    live
}

/// How many numbers the live nodes read from constants, each as often as it is read.
fn constants_read(graph: &GraphProto, live: &HashSet<*const NodeProto>) -> usize {
    let elements = |tensor: &TensorProto| {
        tensor.dims.iter().fold(1usize, |count, &size| count.saturating_mul(usize::try_from(size).unwrap_or(0)))
    };
    let initial = graph.initializer.iter().map(|tensor| (tensor.name.as_str(), elements(tensor)));
    let inline =
        graph.node.iter().filter_map(|node| Some((node.output.first()?.as_str(), Call(node).tensor("value")?)));
    let constants: HashMap<&str, usize> =
        initial.chain(inline.map(|(name, tensor)| (name, elements(tensor)))).collect();
    let live = graph.node.iter().filter(|node| live.contains(&std::ptr::from_ref(*node)));
    let read = live.flat_map(|node| &node.input).filter_map(|name| constants.get(name.as_str()));
    read.fold(0, |sum: usize, &count| sum.saturating_add(count))
}

/// The refusal of an operator that no layer of releq computes, with the usual way around it.
fn no_layer(call: Call<'_>) -> ImportError {
    let remedy = match call.op() {
        "LeakyRelu" | "PRelu" | "Elu" | "Selu" | "Celu" | "Gelu" | "Erf" | "Sigmoid" | "HardSigmoid" | "HardSwish"
        | "Tanh" | "Mish" | "Softplus" => "put ReLU in its place, fine-tune and export again",
        "LRN" | "InstanceNormalization" | "LayerNormalization" | "GroupNormalization" => {
            "put batch normalisation in its place, which folds into the convolution before it, and train again"
        }
        "QuantizeLinear"
        | "DequantizeLinear"
        | "QLinearConv"
        | "QLinearMatMul"
        | "ConvInteger"
        | "DynamicQuantizeLinear" => "export the float model; releq chooses the bits itself",
        "ConvTranspose" | "Resize" | "Upsample" => "releq runs classifiers, which do not enlarge images; remove it",
        "Split" => "compute its parts by convolutions of their own",
        "If" | "Loop" | "Scan" => "trace the model, so that its flow is fixed, and export again",
        _ => {
            "rewrite the model with Conv, Gemm, MatMul, BatchNormalization, Relu, Clip, MaxPool, AveragePool, \
             GlobalAveragePool, ReduceMean, Add, Concat, Flatten and Reshape"
        }
    };
    call.refuse("releq has no layer for this operator", remedy)
}
