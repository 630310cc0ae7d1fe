//! Checkpoints: a network in one safetensors file, its graph as JSON under `releq.graph` in the metadata.
//!
//! Any safetensors reader gets the parameters by name; only releq needs the graph. Equal networks give equal bytes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use safetensors::{Dtype, SafeTensorError, SafeTensors, tensor::TensorView};

use crate::import::{self, ImportError};
use crate::network::{Graph, Network, Node, Op, Source, Tensor, Window};
use crate::whole;

const GRAPH_KEY: &str = "releq.graph";
/// Beyond these a graph is damaged; sums and products of three such sizes cannot overflow.
const LARGEST_SIDE: usize = 1 << 16;
const LARGEST_CHANNELS: usize = 1 << 20;

/// Why a checkpoint could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system refused to read.
    #[error("cannot read {}: {source}; check that the file is there and readable", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are no safetensors file.
    #[error(
        "cannot read {} as a checkpoint: {reason}; the file was cut short or is something else; save it or fetch it again",
        file.display()
    )]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What the decoder said.
        reason: SafeTensorError,
    },
    /// Parameters without the network they belong to.
    #[error(
        "cannot read {} as a checkpoint: it holds {tensors} tensors and no network; another tool wrote it, and parameters alone do not say how layers connect; name their network with `releq import WEIGHTS --network NAME`, or export the model to ONNX",
        file.display()
    )]
    NoGraph {
        /// Which file.
        file: PathBuf,
        /// How many tensors it holds.
        tensors: usize,
    },
    /// A network that contradicts itself.
    #[error(
        "cannot read {} as a checkpoint: {reason}; it was edited or written by another version of releq; import or train the network again",
        file.display()
    )]
    Unfit {
        /// Which file.
        file: PathBuf,
        /// The first contradiction.
        reason: String,
    },
    /// A network in memory that could not be loaded again.
    #[error("cannot save {}: {reason}; a file of it could not be loaded again; give every layer its parameters, and numbers in each, first", file.display())]
    Unsavable {
        /// Which file.
        file: PathBuf,
        /// The first contradiction.
        reason: String,
    },
    /// The file system refused to write; what was there before is unchanged.
    #[error(
        "cannot write {}: {source}; what was there before is unchanged; check that its directory exists, is writable and has room",
        file.display()
    )]
    Unwritable {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// An ONNX or TFLite file that cannot be imported.
    #[error(transparent)]
    Import(#[from] ImportError),
}

/// Loads a checkpoint, or imports an ONNX or TFLite file.
///
/// # Errors
/// A file that cannot be read, is cut short, holds no network, or one that contradicts itself.
pub fn load(path: &Path) -> Result<Network, CheckpointError> {
    load_noted(path).map(|(network, _)| network)
}

/// [`load`], and what an import left out or assumed, one sentence each; a checkpoint has none.
///
/// # Errors
/// Those of [`load`].
pub fn load_noted(path: &Path) -> Result<(Network, Vec<String>), CheckpointError> {
    let named = |kind: &str| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(kind));
    if named("onnx") || named("tflite") || import::is_tflite(path) {
        let imported = import::model(path)?;
        return Ok((imported.network, imported.notes));
    }
    let bytes = std::fs::read(path).map_err(|source| CheckpointError::Unreadable { file: path.to_owned(), source })?;
    Ok((decode(&bytes, path)?, Vec::new()))
}

fn decode(bytes: &[u8], path: &Path) -> Result<Network, CheckpointError> {
    let damaged = |reason| CheckpointError::Damaged { file: path.to_owned(), reason };
    let unfit = |reason| CheckpointError::Unfit { file: path.to_owned(), reason };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
    let tensors = SafeTensors::deserialize(bytes).map_err(damaged)?;
    let Some(text) = header.metadata().as_ref().and_then(|metadata| metadata.get(GRAPH_KEY)) else {
        return Err(CheckpointError::NoGraph { file: path.to_owned(), tensors: tensors.len() });
    };
    let graph: Graph =
        serde_json::from_str(text).map_err(|error| unfit(format!("its network does not parse ({error})")))?;
    let parameters = tensors.iter().map(|(name, view)| Ok((name.to_owned(), floats(name, &view)?)));
    let parameters = parameters.collect::<Result<BTreeMap<String, Tensor>, String>>().map_err(unfit)?;
    let network = Network { graph, parameters };
    check(&network).map_err(unfit)?;
    Ok(network)
}

fn floats(name: &str, view: &TensorView<'_>) -> Result<Tensor, String> {
    if view.dtype() != Dtype::F32 {
        return Err(format!("its tensor `{name}` is {:?} and not F32", view.dtype()));
    }
    let (words, _) = view.data().as_chunks::<4>();
    Ok(Tensor { shape: view.shape().to_vec(), data: words.iter().map(|&word| f32::from_le_bytes(word)).collect() })
}

/// Saves `network`, whole or not at all: the file appears under its name once all of it is on the disk.
///
/// # Errors
/// A network whose parameters do not fit its graph, or a file system that refuses; an older file then stays as it was.
pub fn save(network: &Network, path: &Path) -> Result<(), CheckpointError> {
    let unsavable = |reason| CheckpointError::Unsavable { file: path.to_owned(), reason };
    check(network).map_err(unsavable)?;
    let bytes = encode(network).map_err(unsavable)?;
    whole::write(path, &bytes).map_err(|source| CheckpointError::Unwritable { file: path.to_owned(), source })
}

fn encode(network: &Network) -> Result<Vec<u8>, String> {
    let graph = serde_json::to_string(&network.graph).map_err(|error| error.to_string())?;
    let bytes: Vec<Vec<u8>> = network
        .parameters
        .values()
        .map(|tensor| tensor.data.iter().flat_map(|value| value.to_le_bytes()).collect())
        .collect();
    let views = network
        .parameters
        .iter()
        .zip(&bytes)
        .map(|((name, tensor), bytes)| Ok((name, TensorView::new(Dtype::F32, tensor.shape.clone(), bytes)?)));
    let views = views.collect::<Result<Vec<_>, SafeTensorError>>().map_err(|error| error.to_string())?;
    let metadata = HashMap::from([(GRAPH_KEY.to_owned(), graph)]);
    safetensors::serialize(views, Some(metadata)).map_err(|error| error.to_string())
}

/// The first thing in `network` that does not fit, in words.
fn check(network: &Network) -> Result<(), String> {
    check_sizes(&network.graph)?;
    let expected = expected(&network.graph)?;
    for (name, shape) in &expected {
        let tensor = network.parameters.get(name).ok_or_else(|| format!("the tensor `{name}` is missing"))?;
        if &tensor.shape != shape || tensor.data.len() != shape.iter().product::<usize>() {
            return Err(format!("the tensor `{name}` has sizes {:?}, and its layer needs {shape:?}", tensor.shape));
        }
        if let Some(value) = tensor.data.iter().find(|value| !value.is_finite()) {
            return Err(format!("the tensor `{name}` holds {value}"));
        }
    }
    match network.parameters.keys().find(|name| !expected.contains_key(*name)) {
        Some(name) => Err(format!("the tensor `{name}` belongs to no layer")),
        None => Ok(()),
    }
}

/// Refuses sizes that no network has, before anything is computed from them.
fn check_sizes(graph: &Graph) -> Result<(), String> {
    let input = &graph.input;
    let [channels, height, width] = input.shape;
    if channels > LARGEST_CHANNELS || height.max(width) > LARGEST_SIDE || input.shape.contains(&0) {
        return Err(format!("its input has sizes {:?}", input.shape));
    }
    let usable =
        input.mean.iter().all(|mean| mean.is_finite()) && input.std.iter().all(|std| std.is_finite() && *std > 0.0);
    if input.mean.len() != channels || input.std.len() != channels || !usable {
        return Err("its input's normalisation does not have one mean and one std above 0 a channel".to_owned());
    }
    let mut names = BTreeSet::new();
    for node in &graph.nodes {
        if !names.insert(node.name.as_str()) {
            return Err(format!("two layers are called `{}`", node.name));
        }
        if !sizes_are_usual(&node.op) {
            return Err(format!("layer `{}` has a size that no layer has", node.name));
        }
    }
    if graph.nodes.is_empty() { Err("it has no layers".to_owned()) } else { Ok(()) }
}

fn sizes_are_usual(op: &Op) -> bool {
    let window_is_usual = |window: &Window| {
        let sizes = window.kernel.iter().chain(&window.stride).chain(&window.padding);
        sizes.max().is_some_and(|&size| size <= LARGEST_SIDE)
    };
    match op {
        Op::Conv { out, window, groups, .. } => {
            *out <= LARGEST_CHANNELS && (1..=LARGEST_CHANNELS).contains(groups) && window_is_usual(window)
        }
        Op::Dense { out, .. } => *out <= LARGEST_CHANNELS,
        Op::MaxPool { window } | Op::AvgPool { window } => window_is_usual(window),
        Op::BatchNorm { eps } => eps.is_finite() && *eps >= 0.0,
        Op::ClippedRelu { ceiling } => ceiling.is_finite() && *ceiling > 0.0,
        Op::Shortcut { stride, before, after } => {
            stride.iter().all(|&step| (1..=LARGEST_SIDE).contains(&step)) && before.max(after) <= &LARGEST_CHANNELS
        }
        Op::Relu | Op::GlobalAvgPool | Op::Add | Op::Concat | Op::Flatten => true,
    }
}

/// Every parameter the layers need, with its sizes.
fn expected(graph: &Graph) -> Result<BTreeMap<String, Vec<usize>>, String> {
    let shapes = graph.shapes()?;
    let input = |node: &Node| graph.shape_of(node.inputs.first().copied().unwrap_or(Source::Input), &shapes);
    Ok(graph
        .nodes
        .iter()
        .flat_map(|node| {
            node.op.parts(input(node)).into_iter().map(|(part, shape)| (format!("{}.{part}", node.name), shape))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::InputSpec;

    fn small() -> Network {
        let node = |name: &str, op, from: Source| Node { name: name.to_owned(), op, inputs: vec![from] };
        let graph = Graph {
            name: "small".to_owned(),
            held_out: 3,
            input: InputSpec { shape: [2, 4, 4], mean: vec![0.5, 0.25], std: vec![0.1, 0.3] },
            nodes: vec![
                node(
                    "conv1",
                    Op::Conv { out: 3, window: Window::square(3, 1, 1), groups: 1, bias: false },
                    Source::Input,
                ),
                node("bn1", Op::BatchNorm { eps: 1e-5 }, Source::Node(0)),
                node("relu1", Op::Relu, Source::Node(1)),
                node("flatten1", Op::Flatten, Source::Node(2)),
                node("fc1", Op::Dense { out: 5, bias: true }, Source::Node(3)),
            ],
        };
        let fill = |(name, shape): (String, Vec<usize>)| {
            let data = (0..shape.iter().product::<usize>()).map(|i| (i as f32 - 7.0) / 3.0).collect();
            (name, Tensor { shape, data })
        };
        let parameters = expected(&graph).unwrap().into_iter().map(fill).collect();
        Network { graph, parameters }
    }

    fn message(path: &Path) -> String {
        load(path).unwrap_err().to_string().replace(&path.display().to_string(), "FILE")
    }

    #[test]
    fn what_is_saved_loads_and_saves_to_the_same_bytes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("small.safetensors");
        save(&small(), &path).unwrap();
        assert_eq!(load(&path).unwrap(), small());
        let first = std::fs::read(&path).unwrap();
        save(&load(&path).unwrap(), &path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), first);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no scratch file stays behind");
    }

    #[test]
    fn a_failed_save_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("small.safetensors");
        save(&small(), &path).unwrap();
        let old = std::fs::read(&path).unwrap();
        let mut broken = small();
        broken.parameters.remove("fc1.bias");
        let error = save(&broken, &path).unwrap_err().to_string().replace(&path.display().to_string(), "FILE");
        assert_eq!(
            error,
            "cannot save FILE: the tensor `fc1.bias` is missing; a file of it could not be loaded again; \
             give every layer its parameters, and numbers in each, first"
        );
        assert_eq!(std::fs::read(&path).unwrap(), old);
        // A directory in the way: the rename is what fails, after everything was written.
        let blocked = directory.path().join("blocked");
        std::fs::create_dir_all(blocked.join("inside")).unwrap();
        let error = save(&small(), &blocked).unwrap_err().to_string();
        assert!(error.contains("; what was there before is unchanged; check that its directory exists"), "{error}");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_cut_file_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cut.safetensors");
        save(&small(), &path).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for (length, reason) in [
            (whole.len() - 4, "incomplete metadata, file not fully covered"),
            (whole.len() / 4, "invalid header length"),
            (3, "header too small"),
        ] {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(
                message(&path),
                format!(
                    "cannot read FILE as a checkpoint: {reason}; the file was cut short or is something else; \
                     save it or fetch it again"
                )
            );
        }
    }

    #[test]
    fn parameters_alone_point_to_the_import() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plain.safetensors");
        let view = TensorView::new(Dtype::F32, vec![1], &[0; 4]).unwrap();
        std::fs::write(&path, safetensors::serialize([("w", view)], None).unwrap()).unwrap();
        assert_eq!(
            message(&path),
            "cannot read FILE as a checkpoint: it holds 1 tensors and no network; another tool wrote it, and \
             parameters alone do not say how layers connect; name their network with `releq import WEIGHTS --network \
             NAME`, or export the model to ONNX"
        );
    }

    #[test]
    fn networks_that_contradict_themselves_are_refused() {
        let unfit = |change: &dyn Fn(&mut Network)| {
            let mut network = small();
            change(&mut network);
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("unfit.safetensors");
            std::fs::write(&path, encode(&network).unwrap()).unwrap();
            let text = message(&path);
            let reason = text.strip_prefix("cannot read FILE as a checkpoint: ").unwrap();
            let remedy = "; it was edited or written by another version of releq; import or train the network again";
            reason.strip_suffix(remedy).unwrap().to_owned()
        };
        let extra =
            unfit(&|network| drop(network.parameters.insert("x.y".into(), Tensor { shape: vec![1], data: vec![0.0] })));
        assert_eq!(extra, "the tensor `x.y` belongs to no layer");
        let shape = unfit(&|network| network.parameters.get_mut("conv1.weight").unwrap().shape = vec![54]);
        assert_eq!(shape, "the tensor `conv1.weight` has sizes [54], and its layer needs [3, 2, 3, 3]");
        let diverged =
            |value| move |network: &mut Network| network.parameters.get_mut("fc1.weight").unwrap().data[7] = value;
        assert_eq!(unfit(&diverged(f32::NAN)), "the tensor `fc1.weight` holds NaN");
        assert_eq!(unfit(&diverged(f32::NEG_INFINITY)), "the tensor `fc1.weight` holds -inf");
        assert_eq!(unfit(&|network| network.graph.nodes[1].name = "conv1".into()), "two layers are called `conv1`");
        let wild = unfit(&|network| network.graph.nodes[4].op = Op::Dense { out: usize::MAX, bias: true });
        assert_eq!(wild, "layer `fc1` has a size that no layer has");
        assert_eq!(
            unfit(&|network| network.graph.nodes[0].inputs = vec![Source::Node(4)]),
            "`conv1` reads a later layer"
        );
        assert_eq!(unfit(&|network| network.graph.nodes.clear()), "it has no layers");
        assert_eq!(
            unfit(&|network| network.graph.input.std[1] = -1.0),
            "its input's normalisation does not have one mean and one std above 0 a channel"
        );
    }
}
