//! `releq sign`: an image with a signature in its slot.

use std::path::PathBuf;

use releq_format::image::{Image, signature};
use serde::Serialize;

use super::{Outcome, check_writable, open_image, print_json, read_image, write_whole};
use crate::signing::{PrivateKey, digits};
use crate::terminal;

/// Example: releq sign lenet.rlq --key fleet
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releq sign lenet.rlq --key fleet\n  releq sign lenet.rlq --key fleet -o signed.rlq"
)]
pub(super) struct Arguments {
    /// An image (.rlq)
    image: PathBuf,
    /// The file of a private key, made by `releq keygen`
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Write the signed image here instead of in the place of the image
    #[arg(short, long, value_name = "FILE.rlq")]
    output: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    image: String,
    /// The public half of the key.
    key: String,
    /// The image's checksum, which covers the signature and so is another than before.
    crc: String,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let output = arguments.output.as_ref().unwrap_or(&arguments.image);
    let key = PrivateKey::read(&arguments.key)?;
    let bytes = read_image(&arguments.image)?;
    let image = open_image(&arguments.image, &bytes)?;
    check_writable(output)?;
    let signed = key.sign(&image);
    if signature(&bytes).is_some() && signed != bytes {
        terminal::note("it was signed with another key; that signature is replaced");
    }
    write_whole(output, &signed)?;
    let (digits, crc) = (digits(&key.public()), Image::open(&signed)?.crc());
    let (image, crc) = (output.display().to_string(), format!("{crc:08x}"));
    if arguments.json {
        print_json(&Report { schema: 1, image, key: digits, crc })?;
    } else {
        terminal::answer(&format!("{image}: signed by {digits}, crc {crc}\n"))?;
    }
    Ok(true)
}
