//! What can be wrong with a model to import: each message is a fact, its cause, and what to do.

use std::io;
use std::path::PathBuf;

/// Why a model could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The file system refused.
    #[error("cannot read {}: {source}; check that the file is there and readable", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The bytes are no ONNX model.
    #[error(
        "cannot read {} as ONNX: {reason}; the file was cut short or is something else; export it again or fetch it again",
        file.display()
    )]
    NotOnnx {
        /// Which file.
        file: PathBuf,
        /// Where decoding stopped.
        reason: String,
    },
    /// The bytes are no TFLite model.
    #[error(
        "cannot read {} as TFLite: {reason}; the file was cut short or is something else; convert it again or fetch it again",
        file.display()
    )]
    NotTflite {
        /// Which file.
        file: PathBuf,
        /// Where decoding stopped.
        reason: String,
    },
    /// A model whose outline (inputs, outputs, versions, wiring) releq cannot take.
    #[error("cannot import {}: {cause}; {remedy}", file.display())]
    Model {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        cause: String,
        /// What makes it work.
        remedy: String,
    },
    /// A node that no layer of releq computes.
    #[error("cannot import {op} `{node}`: {cause}; {remedy}")]
    Unsupported {
        /// Its ONNX or TFLite operator.
        op: String,
        /// Its name in the file, or that of its output where it has none.
        node: String,
        /// Why releq cannot take it.
        cause: String,
        /// What makes it work.
        remedy: String,
    },
    /// A constant whose elements cannot be read.
    #[error("cannot read tensor `{tensor}`: {cause}; {remedy}")]
    Tensor {
        /// Its name in the file.
        tensor: String,
        /// What is wrong.
        cause: String,
        /// What makes it work.
        remedy: String,
    },
    /// Everything in a file that releq cannot take, two things or more.
    #[error("cannot import this network for {} reasons:{}", .0.len(), lines(.0))]
    Several(Vec<ImportError>),
    /// A normalisation that does not fit the network's input.
    #[error("cannot set the input's normalisation: {0}; pass one mean and one std a channel, every std above 0")]
    Normalisation(String),
}

impl ImportError {
    /// Several refusals as one, or `None` where there is none.
    pub(super) fn joined(mut refusals: Vec<ImportError>) -> Option<Self> {
        if refusals.len() > 1 { Some(Self::Several(refusals)) } else { refusals.pop() }
    }

    /// The single reasons it is made of.
    pub fn each(&self) -> &[ImportError] {
        match self {
            Self::Several(refusals) => refusals,
            one => std::slice::from_ref(one),
        }
    }
}

/// Refusals that are told in full; a network with more needs another converter, not a longer list.
const TOLD: usize = 100;

fn lines(refusals: &[ImportError]) -> String {
    let told = refusals.iter().take(TOLD).map(|refusal| format!("\n  {refusal}"));
    let rest = refusals.len().saturating_sub(TOLD);
    told.chain((rest > 0).then(|| format!("\n  and {rest} more"))).collect()
}
