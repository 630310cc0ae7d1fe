//! Walks an ONNX graph from input to output and builds the network, layer by layer.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

use super::call::Call;
use super::names::Names;
use super::onnx::Outline;
use super::proto::{GraphProto, NodeProto, TensorProto};
use super::{ImportError, Imported, layers, pooling, shaping, tensor};
use crate::network::{Graph, InputSpec, Network, Node, Op, Source, Tensor};

/// What an ONNX value is while the graph is walked.
#[derive(Clone)]
pub(super) enum Value<'a> {
    Activation(Activation),
    Constant(Cow<'a, TensorProto>),
    /// Sizes computed from a tensor's shape, as exporters write `x.view(x.size(0), -1)`.
    Sizes(Vec<Size>),
}

/// An output of a layer, or the input.
#[derive(Clone, Copy)]
pub(super) struct Activation {
    pub(super) source: Source,
    /// Whether it is `[n, features]` and not `[n, c, h, w]`.
    pub(super) flat: bool,
    /// Whether more than one node reads it, so that nothing may be folded into the layer that makes it.
    pub(super) shared: bool,
}

/// One size of a shape.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Size {
    Batch,
    Known(i64),
}

/// The network as far as it is built.
pub(super) struct Walk<'a> {
    pub(super) opset: i64,
    pub(super) batch: Option<i64>,
    pub(super) output: &'a str,
    pub(super) notes: Vec<String>,
    pub(super) network: Network,
    file: &'a Path,
    shapes: Vec<[usize; 3]>,
    values: HashMap<&'a str, Value<'a>>,
    readers: HashMap<&'a str, usize>,
    names: Names,
}

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
            values: constants.collect(),
            readers,
            names: Names::new(graph.node.iter().filter_map(|node| Call(node).input(1))),
        };
        let image = walk.activation_named(outline.input, Source::Input, false, false);
        walk.values.insert(outline.input, image);
        walk
    }

    pub(super) fn run(mut self, outline: &Outline<'a>) -> Result<Imported, ImportError> {
        let live = live(outline.graph, outline.output);
        let unread = outline.graph.node.iter().filter(|node| !live.contains(&std::ptr::from_ref(*node))).count();
        if unread > 0 {
            self.notes.push(format!("{unread} node(s) that do not lead to the output were left out"));
        }
        for node in outline.graph.node.iter().filter(|node| live.contains(&std::ptr::from_ref(*node))) {
            let call = Call(node);
            let output = call.0.output.first().map_or("", String::as_str);
            let value = self.translate(call)?;
            self.values.insert(output, value);
        }
        self.check_output()?;
        Ok(Imported { network: self.network, notes: self.notes })
    }

    fn translate(&mut self, call: Call<'a>) -> Result<Value<'a>, ImportError> {
        if !call.0.domain.is_empty() && call.0.domain != "ai.onnx" {
            let cause = format!("it is of the domain `{}`", call.0.domain);
            return Err(call.refuse(cause, "export it with the standard operators of ONNX"));
        }
        match call.op() {
            "Conv" => layers::conv(self, call),
            "Gemm" => layers::gemm(self, call),
            "MatMul" => layers::mat_mul(self, call),
            "Add" => layers::add(self, call),
            "BatchNormalization" => layers::batch_norm(self, call),
            "Relu" => layers::relu(self, call),
            "MaxPool" => pooling::max(self, call),
            "AveragePool" => pooling::average(self, call),
            "GlobalAveragePool" => pooling::global(self, call),
            "ReduceMean" => pooling::reduce_mean(self, call),
            "Flatten" => shaping::flatten(self, call),
            "Reshape" => shaping::reshape(self, call),
            "Shape" => shaping::shape(self, call),
            "Gather" => shaping::gather(self, call),
            "Cast" | "Squeeze" | "Unsqueeze" => shaping::same_sizes(self, call),
            "Concat" => shaping::concat(self, call),
            "Constant" => shaping::constant(call),
            "Identity" => self.alias(call),
            "Dropout" => layers::dropout(self, call),
            "Softmax" | "LogSoftmax" => layers::softmax(self, call),
            _ => Err(no_layer(call)),
        }
    }

    /// The value of input `index`.
    pub(super) fn value(&self, call: Call<'a>, index: usize) -> Result<&Value<'a>, ImportError> {
        let name = call.input(index).ok_or_else(|| call.broken(format!("it lacks input {index}")))?;
        self.values.get(name).ok_or_else(|| call.broken(format!("its input `{name}` comes from nowhere before it")))
    }

    pub(super) fn activation(&self, call: Call<'a>, index: usize) -> Result<Activation, ImportError> {
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
        let activation = self.activation(call, index)?;
        if activation.flat {
            return Err(call.refuse("its input is [n, features] and not an image", "apply it before flattening"));
        }
        Ok((activation, self.shape(activation)))
    }

    pub(super) fn shape(&self, activation: Activation) -> [usize; 3] {
        self.network.graph.shape_of(activation.source, &self.shapes)
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

    /// Whole numbers of input `index`, which must be a constant.
    pub(super) fn ints(&self, call: Call<'a>, index: usize) -> Result<Vec<i64>, ImportError> {
        match self.value(call, index)? {
            Value::Constant(constant) => tensor::ints(constant, self.file),
            _ => Err(call.refuse(
                format!("its input {index} is computed, where releq needs a constant"),
                "simplify the model (onnxsim) so that constants are folded",
            )),
        }
    }

    /// Appends a layer with its parameters.
    pub(super) fn push(
        &mut self,
        call: Call<'a>,
        kind: &'static str,
        op: Op,
        inputs: Vec<Source>,
        parameters: Vec<(&str, Tensor)>,
        flat: bool,
    ) -> Result<Value<'a>, ImportError> {
        let weight = call.input(1).filter(|_| !parameters.is_empty());
        let name = self.names.pick(weight, kind);
        self.network.graph.nodes.push(Node { name: name.clone(), op, inputs });
        self.shapes = self.network.graph.shapes().map_err(|reason| {
            call.refuse(reason, "change its sizes so that they fit; releq neither broadcasts nor groups otherwise")
        })?;
        for (part, tensor) in parameters {
            self.network.parameters.insert(format!("{name}.{part}"), tensor);
        }
        let source = Source::Node(self.network.graph.nodes.len() - 1);
        Ok(self.activation_named(call.output()?, source, flat, false))
    }

    fn activation_named(&self, name: &str, source: Source, flat: bool, shared: bool) -> Value<'a> {
        let shared = shared || self.readers.get(name).is_some_and(|&readers| readers > 1);
        Value::Activation(Activation { source, flat, shared })
    }

    /// A node that hands on its first input, perhaps under another rank.
    pub(super) fn renamed(&self, call: Call<'a>, input: Activation, flat: bool) -> Result<Value<'a>, ImportError> {
        Ok(self.activation_named(call.output()?, input.source, flat, input.shared))
    }

    pub(super) fn alias(&self, call: Call<'a>) -> Result<Value<'a>, ImportError> {
        match self.value(call, 0)? {
            Value::Activation(activation) => self.renamed(call, *activation, activation.flat),
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
            Some(Value::Activation(activation)) if Some(activation.source) == last => *activation,
            _ => {
                let cause = format!("its output `{}` is not what its last layer computes", self.output);
                return Err(fault(cause, "export the network with its logits as only output"));
            }
        };
        match self.shape(output) {
            [_, 1, 1] => Ok(()),
            shape => {
                let cause = format!("its output is a map of shape {shape:?} and not one logit a class");
                Err(fault(cause, "releq runs classifiers; export the network with its pooling and last layer"))
            }
        }
    }
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

/// The refusal of an operator that no layer of releq computes, with the usual way around it.
fn no_layer(call: Call<'_>) -> ImportError {
    let remedy = match call.op() {
        "Clip" | "LeakyRelu" | "PRelu" | "Elu" | "Selu" | "Gelu" | "Sigmoid" | "HardSigmoid" | "HardSwish" | "Tanh"
        | "Mish" => "put ReLU in its place, fine-tune and export again",
        "Slice" | "Pad" => {
            "pad inside convolutions, and make a shortcut that shrinks the image a 1×1 convolution with stride and batch norm"
        }
        "Transpose" => "export the model channels first (NCHW)",
        "QuantizeLinear"
        | "DequantizeLinear"
        | "QLinearConv"
        | "QLinearMatMul"
        | "ConvInteger"
        | "DynamicQuantizeLinear" => "export the float model; releq chooses the bits itself",
        "ConvTranspose" | "Resize" | "Upsample" => "releq runs classifiers, which do not enlarge images; remove it",
        "Sub" | "Mul" | "Div" => "move scaling into the layer before it, or input normalisation out of the model",
        _ => {
            "rewrite the model with Conv, Gemm, MatMul, BatchNormalization, Relu, MaxPool, AveragePool, \
             GlobalAveragePool, ReduceMean, Add, Flatten and Reshape"
        }
    };
    call.refuse("releq has no layer for this operator", remedy)
}
