//! Weights without a network: another tool's safetensors file fills a network that releq knows by name.

use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::{ImportError, Imported, onnx};
use crate::network::{Graph, Network, Node, Op, Source, Tensor};
use crate::zoo;

/// Fills the network `name` (see [`zoo::graph`]) with the tensors of a safetensors file, batch norms unfolded.
///
/// Tensors have PyTorch's names: those of the network's layers, or their places in one `nn.Sequential`, behind one
/// prefix such as `module.` or none. The number of classes and MobileNet's width are the file's.
///
/// # Errors
/// An unknown name, a file that cannot be read, or every tensor that is missing, superfluous or misshapen, by name.
pub fn weights(path: &Path, name: &str) -> Result<Imported, ImportError> {
    let model = |cause: String, remedy: String| ImportError::Model { file: path.to_owned(), cause, remedy };
    let bytes = onnx::read(path).map_err(|source| ImportError::Unreadable { file: path.to_owned(), source })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| {
        let remedy = "the file was cut short or is something else; save it or fetch it again".to_owned();
        model(format!("it is no safetensors file ({error})"), remedy)
    })?;
    let tensors = Tensors::of(&file);
    let name = &tensors.with_width(name);
    let Some(shape) = zoo::usual_input(name) else {
        let remedy = format!("the networks are {}", zoo::NAMES.join(", "));
        return Err(model(format!("releq knows no network `{name}`"), remedy));
    };
    let classes = tensors.classes(name, shape);
    let graph = zoo::graph(name, shape, classes).unwrap_or_else(|| unreachable!("the name is known"));
    fill(graph, tensors).map(|network| {
        let untouched = "counters that only training reads (num_batches_tracked) were left out".to_owned();
        let counted = file.names().iter().any(|name| name.ends_with(COUNTER));
        let notes = counted.then_some(untouched).into_iter().chain([onnx::ASSUMED_UNIT.to_owned()]).collect();
        Imported { network, notes }
    })
}

/// A batch norm's count of batches, which inference does not need.
const COUNTER: &str = ".num_batches_tracked";
/// Most classes of a network; a tensor without columns may have any number of rows.
const MOST_CLASSES: usize = 1 << 16;
/// What wrappers put before every name.
const PREFIXES: [&str; 4] = ["module.", "model.", "net.", "_orig_mod."];

/// The tensors of a file by name, a common prefix taken off.
struct Tensors<'a>(BTreeMap<String, TensorView<'a>>);

impl<'a> Tensors<'a> {
    fn of(file: &SafeTensors<'a>) -> Self {
        let mut tensors: BTreeMap<String, TensorView<'a>> = file
            .iter()
            .filter(|(name, _)| !name.ends_with(COUNTER))
            .map(|(name, view)| (name.to_owned(), view))
            .collect();
        for prefix in PREFIXES {
            if tensors.keys().all(|name| name.starts_with(prefix)) {
                tensors = tensors.into_iter().map(|(name, view)| (name[prefix.len()..].to_owned(), view)).collect();
            }
        }
        Self(tensors)
    }

    /// `mobilenetv1` with the width that the first convolution's outputs say.
    fn with_width(&self, name: &str) -> String {
        let stem = ["conv1.weight", "0.weight"].iter().find_map(|stem| self.0.get(*stem));
        match stem.and_then(|stem| stem.shape().first()) {
            Some(&out) if name == "mobilenetv1" && out != 32 => format!("{name}-{}", out as f64 / 32.0),
            _ => name.to_owned(),
        }
    }

    /// Rows of the last dense layer's weights; 10 where it is missing or no layer's, which is then said.
    fn classes(&self, name: &str, shape: [usize; 3]) -> usize {
        let graph = zoo::graph(name, shape, 10);
        let last = graph.as_ref().and_then(|graph| graph.nodes.last().map(|node| (graph, node)));
        let rows = |(graph, node): (&Graph, &Node)| {
            let names = self.names(graph);
            let name = &names[graph.nodes.len() - 1];
            let view = self.0.get(&format!("{name}.weight"));
            let rows = view.and_then(|view| view.shape().first().copied()).filter(|rows| *rows <= MOST_CLASSES);
            rows.filter(|_| matches!(node.op, Op::Dense { .. }))
        };
        last.and_then(rows).unwrap_or(10)
    }

    /// What the file calls each layer: by the naming under which it has the most of them.
    fn names(&self, graph: &Graph) -> Vec<String> {
        let own: Vec<String> = graph.nodes.iter().map(|node| node.name.clone()).collect();
        let numbered = (0..own.len()).map(|index| index.to_string()).collect();
        let headed = |head: &str| own[..own.len() - 1].iter().cloned().chain([head.to_owned()]).collect();
        let namings: Vec<Vec<String>> =
            [own.clone(), numbered].into_iter().chain(["linear", "fc", "classifier", "head"].map(headed)).collect();
        let found =
            |names: &Vec<String>| names.iter().filter(|name| self.0.contains_key(&format!("{name}.weight"))).count();
        // The first of the best, since `max_by_key` would take the last.
        namings.into_iter().rev().max_by_key(found).unwrap_or(own)
    }
}

fn fill(mut graph: Graph, mut tensors: Tensors<'_>) -> Result<Network, ImportError> {
    let names = tensors.names(&graph);
    // A bias that this network usually does without is taken where the file has one.
    for (node, name) in graph.nodes.iter_mut().zip(&names) {
        if let Op::Conv { bias, .. } | Op::Dense { bias, .. } = &mut node.op {
            *bias |= tensors.0.contains_key(&format!("{name}.bias"));
        }
    }
    let weighted = graph.nodes.iter().zip(&names).filter(|(node, _)| is_weighted(node));
    let needed: Vec<String> = weighted.map(|(_, name)| format!("{name}.weight")).collect();
    if !needed.iter().any(|name| tensors.0.contains_key(name)) {
        let holds = tensors.0.keys().next().map_or("nothing".to_owned(), |first| format!("`{first}` and such"));
        let cause = format!("the file has no weights of {}, but {holds}", graph.name);
        return Err(fault(&needed[0], cause, "name the network that these weights were trained as"));
    }
    let shapes = graph.shapes().unwrap_or_default();
    let (mut parameters, mut faults) = (BTreeMap::new(), Vec::new());
    for (node, name) in graph.nodes.iter().zip(&names) {
        let input = graph.shape_of(node.inputs.first().copied().unwrap_or(Source::Input), &shapes);
        for (part, shape) in node.op.parts(input) {
            let taken = tensors.0.remove(&format!("{name}.{part}"));
            match floats(&format!("{name}.{part}"), &graph.name, taken, &shape) {
                Ok(tensor) => drop(parameters.insert(format!("{}.{part}", node.name), tensor)),
                Err(fault) => faults.push(fault),
            }
        }
    }
    faults.extend(tensors.0.keys().map(|name| {
        let remedy = "name the network that these weights were trained as";
        fault(name, format!("{} has no layer for it", graph.name), remedy)
    }));
    match ImportError::joined(faults) {
        Some(error) => Err(error),
        None => Ok(Network { graph, parameters }),
    }
}

fn is_weighted(node: &Node) -> bool {
    matches!(node.op, Op::Conv { .. } | Op::Dense { .. })
}

fn floats(name: &str, network: &str, view: Option<TensorView<'_>>, shape: &[usize]) -> Result<Tensor, ImportError> {
    let Some(view) = view else {
        let remedy = "save the whole state_dict, or name the network that it is of";
        return Err(fault(name, format!("the file lacks it, and {network} needs it with sizes {shape:?}"), remedy));
    };
    if view.shape() != shape {
        let cause = format!("it has sizes {:?}, and {network} needs {shape:?}", view.shape());
        return Err(fault(name, cause, "name the network that these weights were trained as"));
    }
    if view.dtype() != Dtype::F32 {
        return Err(fault(name, format!("it is {:?} and not F32", view.dtype()), "save the weights as float32"));
    }
    let (words, _) = view.data().as_chunks::<4>();
    let data: Vec<f32> = words.iter().map(|&word| f32::from_le_bytes(word)).collect();
    match data.iter().find(|value| !value.is_finite()) {
        Some(value) => Err(fault(name, format!("it holds {value}"), "save a checkpoint from before training diverged")),
        None => Ok(Tensor { shape: shape.to_vec(), data }),
    }
}

fn fault(tensor: &str, cause: String, remedy: &str) -> ImportError {
    ImportError::Tensor { tensor: tensor.to_owned(), cause, remedy: remedy.to_owned() }
}
