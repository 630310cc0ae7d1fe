//! `releq inspect`: what an image or a model holds.

use std::path::PathBuf;

use releq_device::signed::PublicKey;
use serde::Serialize;

use super::verify::{Signature, Signer, read_keys};
use super::{Failure, Outcome, is_model, load_model, open_image, print_json, read_image};
use crate::import::layer_table;
use crate::summary::{ImageSummary, LayerSummary};
use crate::target::fit;
use crate::terminal::{self, grouped, table};

/// Example: releq inspect lenet.rlq --board virt-m4
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq inspect lenet.rlq --board virt-m4")]
pub(super) struct Arguments {
    /// An image (.rlq) or a model (.onnx, .tflite, .safetensors)
    file: PathBuf,
    /// Also say whether the image fits this board; exit code 1 if it does not
    #[arg(long, value_name = "BOARD")]
    board: Option<String>,
    /// Also say which of these public keys has signed it
    #[arg(long, value_name = "FILE.pub")]
    key: Vec<PathBuf>,
    /// Print the kernels the image needs, as the `kernels!` macro takes them
    #[arg(long, conflicts_with = "json")]
    kernels: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    file: String,
    #[serde(flatten)]
    image: &'a ImageSummary,
    /// Whether it has a signature, whosever.
    signed: bool,
    /// The key that has signed it, of those given.
    signer: Option<&'a Signer>,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    if is_model(&arguments.file) {
        return model(arguments);
    }
    let bytes = read_image(&arguments.file)?;
    let image = open_image(&arguments.file, &bytes)?;
    let summary = ImageSummary::of(&image);
    let keys = read_keys(&arguments.key)?;
    // It is an image, as was just seen.
    let signature = Signature::of(&bytes, &arguments.key, &keys)?;
    if let Some(name) = &arguments.board {
        let board = super::run::board(name)?;
        if let Err(error) = fit::check_fit(board, &image) {
            return Err(Failure::with_code(1, error));
        }
    }
    if arguments.json {
        let file = arguments.file.display().to_string();
        let signed = signature != Signature::None;
        print_json(&Report { schema: 1, file, image: &summary, signed, signer: signature.signer() })?;
    } else if arguments.kernels {
        terminal::answer(&kernels(&summary))?;
    } else {
        terminal::answer(&(text(&summary) + &signature_text(&signature, &keys)))?;
    }
    Ok(true)
}

fn kernels(summary: &ImageSummary) -> String {
    let mut names: Vec<&str> = summary.layers.iter().map(|layer| layer.kernel.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    format!("kernels![{}]\n", names.join(", "))
}

/// A line on the signature, where there is one or was asked for.
fn signature_text(signature: &Signature, keys: &[PublicKey]) -> String {
    match signature {
        Signature::None if keys.is_empty() => String::new(),
        Signature::Foreign if keys.is_empty() => "signed; name public keys with --key to see by whom\n".to_owned(),
        signature => format!("{}\n", signature.text()),
    }
}

fn text(summary: &ImageSummary) -> String {
    let bits = |bits: Option<u8>| bits.map_or("-".to_owned(), |bits| bits.to_string());
    let row = |layer: &LayerSummary| {
        vec![
            layer.name.clone(),
            layer.op.to_owned(),
            layer.output.map(|size| size.to_string()).join("×"),
            bits(layer.w),
            bits(layer.a),
            grouped(layer.constant_bytes()),
            grouped(layer.output_bytes),
            grouped(layer.scratch_bytes),
            grouped(layer.macs),
        ]
    };
    let header = ["layer", "op", "output", "w", "a", "bytes", "output B", "scratch B", "MACs"];
    let rows: Vec<Vec<String>> = summary.layers.iter().map(row).collect();
    format!(
        "{} image, format {}, crc {}\n\n{}\nflash {} bytes (constants {}, records {}; the format allows {})\nRAM   {} bytes\n",
        summary.name,
        summary.format_version,
        summary.crc,
        table(&header, &rows),
        grouped(summary.bytes),
        grouped(summary.bytes - summary.record_bytes),
        grouped(summary.record_bytes),
        grouped(summary.budget_bytes),
        grouped(summary.arena_bytes),
    )
}

#[derive(Serialize)]
struct ModelReport {
    schema: u32,
    name: String,
    layers: Vec<ModelLayer>,
}

#[derive(Serialize)]
struct ModelLayer {
    name: String,
    op: &'static str,
    output: [usize; 3],
    parameters: usize,
    parameter_share: f64,
    macs: u64,
    mac_share: f64,
    quantized: &'static str,
}

/// The layer table of a float model, as `import` prints it too.
fn model(arguments: &Arguments) -> Outcome {
    let network = load_model(&arguments.file)?;
    print_model(&network, arguments.json)?;
    Ok(true)
}

pub(super) fn print_model(network: &crate::network::Network, json: bool) -> Result<(), Failure> {
    let rows = layer_table(network).map_err(crate::lower::LowerError::Shape)?;
    let (parameters, macs) =
        (rows.iter().map(|row| row.parameters as u64).sum::<u64>(), rows.iter().map(|row| row.macs).sum::<u64>());
    let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
    if json {
        let layers = rows.into_iter().map(|row| ModelLayer {
            name: row.name,
            op: row.op,
            output: row.output,
            parameters: row.parameters,
            parameter_share: share(row.parameters as u64, parameters),
            macs: row.macs,
            mac_share: share(row.macs, macs),
            quantized: row.quantized,
        });
        return print_json(&ModelReport { schema: 1, name: network.graph.name.clone(), layers: layers.collect() });
    }
    let percent = |part: u64, whole: u64| {
        if part == 0 { String::new() } else { format!("{:.1} %", share(part, whole)) }
    };
    let mut cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let held = row.parameters as u64;
            vec![
                row.name.clone(),
                row.op.to_owned(),
                row.output.map(|size| size.to_string()).join("×"),
                grouped(held),
                percent(held, parameters),
                grouped(row.macs),
                percent(row.macs, macs),
                row.quantized.to_owned(),
            ]
        })
        .collect();
    let total = ["total", "", "", &grouped(parameters), "", &grouped(macs), "", ""];
    cells.push(total.map(str::to_owned).to_vec());
    let header = ["layer", "op", "output", "parameters", "share", "MACs", "share", "when quantized"];
    Ok(terminal::answer(&table(&header, &cells))?)
}
