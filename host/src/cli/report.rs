//! `releq report`: what a run directory holds, as one page that opens offline and as text for the terminal.

use std::path::{Path, PathBuf};

use releq_format::image::Image;
use releq_report::{Document, html, read, run as data, text};

use super::{Outcome, check_writable, print_json, read_image, write_whole};
use crate::summary::{ImageSummary, LayerSummary};
use crate::terminal::{self, grouped};

/// Example: releq report runs/lenet bench.json -o report.html
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq report runs/lenet bench.json -o report.html")]
pub(super) struct Arguments {
    /// The directory of a `releq search`, finished or not
    run: PathBuf,
    /// What `releq bench --export-json` wrote, to set measured counts beside predicted ones
    bench: Option<PathBuf>,
    /// Write the page here; by default report.html in the run
    #[arg(short, long, value_name = "FILE.html")]
    output: Option<PathBuf>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let mut run = read::run(&arguments.run)?;
    run.bench = arguments.bench.as_deref().map(read::bench).transpose()?;
    run.image = image(&arguments.run.join("model.rlq"));
    let output = arguments.output.clone().unwrap_or_else(|| arguments.run.join("report.html"));
    check_writable(&output)?;
    let page = html::page(&run)?;
    write_whole(&output, page.as_bytes())?;
    if arguments.json {
        print_json(&Document::of(&run))?;
    } else {
        let bytes = grouped(page.len() as u64);
        terminal::answer(&format!("{}\n→ {} ({bytes} bytes)\n", text::summary(&run), output.display()))?;
    }
    Ok(true)
}

/// What the run's image holds. A report does without one that is not there, or that is of another version.
fn image(path: &Path) -> Option<data::Image> {
    if !path.exists() {
        return None;
    }
    let bytes = read_image(path).ok()?;
    match Image::open(&bytes) {
        Ok(image) => Some(held(ImageSummary::of(&image))),
        Err(error) => {
            terminal::note(&format!(
                "the report does without bytes of layers: {} is no image: {error}",
                path.display()
            ));
            None
        }
    }
}

fn held(summary: ImageSummary) -> data::Image {
    let layer = |layer: LayerSummary| data::ImageLayer {
        name: layer.name,
        macs: layer.macs,
        weight_bytes: layer.weight_bytes,
        channel_bytes: layer.channel_bytes,
    };
    data::Image { crc: summary.crc, bytes: summary.bytes, layers: summary.layers.into_iter().map(layer).collect() }
}
