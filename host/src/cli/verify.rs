//! `releq verify`: whose signature an image has, by the code that devices check it with.

use std::path::{Path, PathBuf};

use releq_device::signed::{PublicKey, Signed, SignedError};
use serde::Serialize;

use super::{FileError, Outcome, print_json, read_image};
use crate::signing::{KeyError, digits, read_public};
use crate::terminal;

/// Example: releq verify lenet.rlq --key fleet.pub
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq verify lenet.rlq --key fleet.pub")]
pub(super) struct Arguments {
    /// An image (.rlq)
    image: PathBuf,
    /// The file of a public key; several where any of them will do
    #[arg(long, value_name = "FILE.pub", required = true)]
    key: Vec<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    image: String,
    /// Whether one of the keys has signed it as it is.
    verified: bool,
    /// Whether it has a signature, whosever.
    signed: bool,
    /// The key that has signed it.
    signer: Option<Signer>,
}

/// A key, and the file it was read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Signer {
    file: String,
    key: String,
}

/// What the signature of an image is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Signature {
    /// One of the keys made it.
    By(Signer),
    /// None of the keys made it, or the image was changed since.
    Foreign,
    /// There is none.
    None,
}

impl Signature {
    /// Of `bytes`, by the keys in `files`.
    ///
    /// # Errors
    /// Where `bytes` are no image.
    pub(super) fn of(bytes: &[u8], files: &[PathBuf], keys: &[PublicKey]) -> Result<Self, SignedError> {
        match Signed::open(bytes, keys) {
            Ok(signed) => {
                let named = files.iter().zip(keys).nth(signed.signer());
                Ok(named.map_or(Self::Foreign, |(file, key)| Self::By(Signer::new(file, key))))
            }
            Err(SignedError::Unsigned) => Ok(Self::None),
            Err(SignedError::Foreign) => Ok(Self::Foreign),
            Err(error) => Err(error),
        }
    }

    pub(super) fn signer(&self) -> Option<&Signer> {
        if let Self::By(signer) = self { Some(signer) } else { None }
    }

    /// What is said of an image that has it.
    pub(super) fn text(&self) -> String {
        match self {
            Self::By(Signer { file, key }) => format!("signed by {file} ({key})"),
            Self::Foreign => "signed by another key, or changed since it was signed".to_owned(),
            Self::None => "not signed".to_owned(),
        }
    }
}

impl Signer {
    fn new(file: &Path, key: &PublicKey) -> Self {
        Self { file: file.display().to_string(), key: digits(key) }
    }
}

/// The public keys in `files`.
pub(super) fn read_keys(files: &[PathBuf]) -> Result<Vec<PublicKey>, KeyError> {
    files.iter().map(|file| read_public(file)).collect()
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let keys = read_keys(&arguments.key)?;
    let bytes = read_image(&arguments.image)?;
    let signature = Signature::of(&bytes, &arguments.key, &keys).map_err(|error| match error {
        SignedError::Image(error) => FileError::Image { path: arguments.image.clone(), error }.into(),
        other => anyhow::Error::from(other),
    })?;
    let image = arguments.image.display().to_string();
    let verified = signature.signer().is_some();
    if arguments.json {
        let signed = signature != Signature::None;
        print_json(&Report { schema: 1, image, verified, signed, signer: signature.signer().cloned() })?;
    } else {
        terminal::answer(&format!("{image}: {}\n", signature.text()))?;
    }
    Ok(verified)
}
