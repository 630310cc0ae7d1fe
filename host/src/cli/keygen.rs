//! `releq keygen`: a pair of keys for signed images.

use std::path::PathBuf;

use serde::Serialize;

use super::{Outcome, print_json};
use crate::signing::{PrivateKey, digits};
use crate::terminal;

/// Example: releq keygen fleet
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq keygen fleet     # fleet signs and stays here; fleet.pub goes into firmware")]
pub(super) struct Arguments {
    /// Where the private key goes; the public one goes to FILE.pub
    file: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    private: String,
    public: String,
    key: String,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let key = PrivateKey::generate()?;
    let public = key.write(&arguments.file)?;
    let [private, public] = [&arguments.file, &public].map(|path| path.display().to_string());
    let digits = digits(&key.public());
    terminal::say(&format!("{private} signs, and is worth as much as your devices; {public} goes into their firmware"));
    if arguments.json {
        print_json(&Report { schema: 1, private, public, key: digits })?;
    } else {
        terminal::answer(&format!("{digits}\n"))?;
    }
    Ok(true)
}
