//! Walks a TFLite graph from input to output and builds the network, layer by layer.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::operator::Call;
use super::schema::{Model, SubGraph, Tensor as Entry};
use super::{Outline, constant, layers, pooling, shaping};
use crate::import::names::Names;
use crate::import::{ImportError, Imported};
use crate::network::{Graph, Network, Node, Op, Source, Tensor};

/// More parameters than any microcontroller holds; one buffer may serve many layers, so a small file could ask for it.
const MOST_PARAMETERS: usize = 1 << 26;

/// More numbers than any tensor of a microcontroller has.
const MOST_ELEMENTS: usize = 1 << 24;

/// Whether a tensor of `[c, h, w]` is one that a microcontroller could hold.
pub(super) fn is_usual(shape: [usize; 3]) -> bool {
    let product = shape.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    product.is_some_and(|product| (1..=MOST_ELEMENTS).contains(&product))
}

/// What a layer gives, as the graph's next operators see it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Activation {
    pub(super) source: Source,
    pub(super) form: Form,
    /// Zeros that a PAD put around it and a window has yet to take: top, left, bottom, right.
    pub(super) padding: [usize; 4],
}

/// How TFLite lays a tensor out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Form {
    /// `[n, height, width, channels]`.
    Image,
    /// `[n, features]`; with the `[c, h, w]` of the map that was flattened channel-last, where the order matters.
    Features(Option<[usize; 3]>),
}

/// The network as far as it is built.
pub(super) struct Walk<'a> {
    pub(super) network: Network,
    pub(super) notes: Vec<String>,
    pub(super) output: usize,
    /// Layers whose weights the file stores as int8.
    pub(super) int8_layers: usize,
    file: &'a Path,
    model: &'a Model<'a>,
    graph: &'a SubGraph<'a>,
    shapes: Vec<[usize; 3]>,
    /// By tensor; `None` where the operator that makes it was refused.
    values: HashMap<usize, Option<Activation>>,
    names: Names,
    parameters: usize,
}

/// What an operator gives, or why it cannot be taken.
pub(super) type Translated = Result<Activation, ImportError>;

impl<'a> Walk<'a> {
    pub(super) fn new(file: &'a Path, model: &'a Model<'a>, outline: &Outline<'a>, name: String) -> Self {
        let form = if outline.flat { Form::Features(None) } else { Form::Image };
        let input = Activation { source: Source::Input, form, padding: [0; 4] };
        let graph = Graph { name, input: outline.spec.clone(), nodes: Vec::new(), held_out: 0 };
        Self {
            network: Network { graph, parameters: BTreeMap::new() },
            notes: Vec::new(),
            output: outline.output,
            int8_layers: 0,
            file,
            model,
            graph: outline.graph,
            shapes: Vec::new(),
            values: HashMap::from([(outline.input, Some(input))]),
            names: Names::new(std::iter::empty()),
            parameters: 0,
        }
    }

    /// Takes every operator that releq can, so that one run tells of all that it cannot.
    pub(super) fn run(mut self) -> Result<Imported, ImportError> {
        let mut refusals = Vec::new();
        for operator in &self.graph.operators {
            let call = Call::new(self.model, self.graph, operator);
            let value = if self.reads_refused(call) {
                None
            } else {
                self.translate(call).map_err(|refusal| refusals.push(refusal)).ok()
            };
            self.values.extend(call.outputs().map(|id| (id, value)));
        }
        match ImportError::joined(refusals) {
            Some(error) => Err(error),
            None => self.finished(),
        }
    }

    /// Whether the operator hangs on one that was refused, which is told already.
    fn reads_refused(&self, call: Call<'a>) -> bool {
        call.inputs().any(|id| matches!(self.values.get(&id), Some(None)))
    }

    fn translate(&mut self, call: Call<'a>) -> Translated {
        if call.outputs().count() != 1 {
            return Err(call.refuse("it does not have one output", "convert the network for inference"));
        }
        match call.op() {
            _ if call.is_custom() => Err(no_layer(call)),
            "CONV_2D" => layers::conv(self, call),
            "DEPTHWISE_CONV_2D" => layers::depthwise(self, call),
            "FULLY_CONNECTED" => layers::dense(self, call),
            "ADD" => layers::add(self, call),
            "CONCATENATION" => layers::concat(self, call),
            "RELU" | "RELU6" => layers::relu(self, call),
            "SOFTMAX" => layers::softmax(self, call),
            "AVERAGE_POOL_2D" => pooling::average(self, call),
            "MAX_POOL_2D" => pooling::max(self, call),
            "MEAN" => pooling::mean(self, call),
            "PAD" => shaping::pad(self, call),
            "RESHAPE" => shaping::reshape(self, call),
            "SQUEEZE" => shaping::squeeze(self, call),
            "QUANTIZE" | "DEQUANTIZE" => Err(call
                .refuse("it belongs to a quantized model", "import the float model, converted without optimizations")),
            _ => Err(no_layer(call)),
        }
    }

    /// What input `index` is, still with the zeros that a PAD put around it.
    pub(super) fn padded(&self, call: Call<'a>, index: usize) -> Translated {
        let id = call.input(index)?;
        let constant = || self.graph.tensors.get(id).is_some_and(|tensor| constant::is_constant(self.model, tensor));
        match self.values.get(&id) {
            Some(Some(activation)) => Ok(*activation),
            _ if constant() => {
                let remedy = "convert the model with constants folded, and biases inside of the layers they belong to";
                Err(call.refuse(format!("its input {index} is a constant"), remedy))
            }
            _ => Err(call.broken(format!("its input {index} comes from nowhere before it"))),
        }
    }

    pub(super) fn activation(&self, call: Call<'a>, index: usize) -> Translated {
        let activation = self.padded(call, index)?;
        if activation.padding == [0; 4] {
            Ok(activation)
        } else {
            Err(call.refuse("it reads a padded map", "pad right before a convolution or an average pool"))
        }
    }

    /// An input that is still an image, with its `[c, h, w]`; a PAD before it is still to be taken.
    pub(super) fn map(&self, call: Call<'a>, index: usize) -> Result<(Activation, [usize; 3]), ImportError> {
        let activation = self.padded(call, index)?;
        match activation.form {
            Form::Image => Ok((activation, self.shape(activation))),
            Form::Features(_) => {
                Err(call.refuse("its input is [n, features] and not an image", "apply it before flattening"))
            }
        }
    }

    pub(super) fn shape(&self, activation: Activation) -> [usize; 3] {
        self.network.graph.shape_of(activation.source, &self.shapes)
    }

    /// The map `[c, h, w]` that `activation` is a flattened form of, if it is one.
    pub(super) fn flattens(&self, activation: Activation) -> Option<[usize; 3]> {
        let Source::Node(index) = activation.source else { return None };
        let node = self.network.graph.nodes.get(index).filter(|node| node.op == Op::Flatten)?;
        Some(self.network.graph.shape_of(*node.inputs.first()?, &self.shapes))
    }

    /// Floats of input `index`, which must be a constant.
    pub(super) fn floats(&mut self, call: Call<'a>, index: usize) -> Result<Tensor, ImportError> {
        let tensor = constant::floats(self.model, self.constant(call, index)?)?;
        self.parameters += tensor.data.len();
        if self.parameters > MOST_PARAMETERS {
            return Err(self.fault(
                format!("its layers have more than {MOST_PARAMETERS} parameters"),
                "import a network for a microcontroller",
            ));
        }
        Ok(tensor)
    }

    /// Whether input `index` stores floats as int8.
    pub(super) fn is_int8(&self, call: Call<'a>, index: usize) -> bool {
        self.constant(call, index).is_ok_and(|tensor| tensor.element == super::INT8)
    }

    /// Whole numbers of input `index`, which must be a constant.
    pub(super) fn ints(&self, call: Call<'a>, index: usize) -> Result<Vec<i32>, ImportError> {
        constant::ints(self.model, self.constant(call, index)?)
    }

    fn constant(&self, call: Call<'a>, index: usize) -> Result<&'a Entry<'a>, ImportError> {
        let tensor = self.graph.tensors.get(call.input(index)?);
        let tensor = tensor.ok_or_else(|| call.broken(format!("its input {index} is no tensor of the graph")))?;
        if constant::is_constant(self.model, tensor) {
            Ok(tensor)
        } else {
            Err(call.refuse(
                format!("its input {index} is computed, where releq needs a trained constant"),
                "convert the network for inference with constants folded",
            ))
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
    ) -> Result<Source, ImportError> {
        let name = self.names.pick(None, kind);
        self.network.graph.nodes.push(Node { name: name.clone(), op, inputs });
        let shapes = self.network.graph.shapes().and_then(|shapes| match shapes.last() {
            Some(&shape) if !is_usual(shape) => Err(format!("its output has sizes {shape:?}, beyond {MOST_ELEMENTS}")),
            _ => Ok(shapes),
        });
        match shapes {
            Ok(shapes) => self.shapes = shapes,
            Err(reason) => {
                // The walk goes on, so that it can tell what else is wrong.
                self.network.graph.nodes.pop();
                return Err(call.refuse(reason, "change its sizes so that they fit"));
            }
        }
        for (part, tensor) in parameters {
            self.network.parameters.insert(format!("{name}.{part}"), tensor);
        }
        Ok(Source::Node(self.network.graph.nodes.len() - 1))
    }

    fn fault(&self, cause: String, remedy: &str) -> ImportError {
        ImportError::Model { file: self.file.to_owned(), cause, remedy: remedy.to_owned() }
    }

    /// The network, if its output is the last layer's and has no height and width.
    fn finished(mut self) -> Result<Imported, ImportError> {
        if self.int8_layers > 0 {
            let count = self.int8_layers;
            self.notes
                .push(format!("weights of {count} layers are int8 in the file; the floats they stand for were taken"));
        }
        let last = self.network.graph.nodes.len().checked_sub(1).map(Source::Node);
        let output = match self.values.get(&self.output) {
            Some(Some(activation)) if Some(activation.source) == last => *activation,
            _ => {
                let cause = "its output is not what its last layer computes".to_owned();
                return Err(self.fault(cause, "convert the network with its logits as only output"));
            }
        };
        match (self.shape(output), output.form) {
            ([_, 1, 1], Form::Image | Form::Features(None)) if output.padding == [0; 4] => {
                Ok(Imported { network: self.network, notes: self.notes })
            }
            (shape, _) => {
                let cause = format!("its output is a map of shape {shape:?} and not one number a class");
                let remedy = "releq runs classifiers; convert the network with its pooling and last layer";
                Err(self.fault(cause, remedy))
            }
        }
    }
}

fn no_layer(call: Call<'_>) -> ImportError {
    call.refuse(
        "releq has no layer for this operator",
        "build the model with CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, ADD, CONCATENATION, RELU, RELU6, \
         MAX_POOL_2D, AVERAGE_POOL_2D, MEAN, PAD, RESHAPE and SQUEEZE",
    )
}
