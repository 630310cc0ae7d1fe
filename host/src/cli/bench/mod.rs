//! `releq bench`: what images or kernels cost on a board.

mod kernels;
mod models;

use std::path::PathBuf;

use super::probe::ProbeOption;
use super::{Failure, Outcome};
use crate::bench::measure::MeasureError;

/// Example: releq bench lenet.rlq uniform8.rlq --board virt-m4 --runs 50
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    releq bench lenet.rlq uniform8.rlq --board virt-m4 --runs 50\n  \
    releq bench --suite kernels --board virt-m4 --op conv3x3")]
pub(super) struct Arguments {
    /// Images to time, the first is compared with each of the others
    #[arg(required_unless_present = "suite")]
    images: Vec<PathBuf>,
    /// Measure kernels and not images
    #[arg(long, value_enum, conflicts_with = "images")]
    suite: Option<Suite>,
    /// Where to measure
    #[arg(long, value_name = "BOARD")]
    board: String,
    #[command(flatten)]
    probe: ProbeOption,
    #[command(flatten)]
    timing: models::Options,
    /// Only this layer; may be given several times
    #[arg(long, value_name = "OP", requires = "suite", help_heading = "Suite")]
    op: Vec<String>,
    /// Only these weight bits; may be given several times
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u8).range(1..=8), requires = "suite",
          help_heading = "Suite")]
    w: Vec<u8>,
    /// Only these activation bits; may be given several times
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u8).range(1..=8), requires = "suite",
          help_heading = "Suite")]
    a: Vec<u8>,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Suite {
    /// One layer at a time, on the shapes that public libraries are compared on
    Kernels,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    match arguments.suite {
        Some(Suite::Kernels) => kernels::measure_suite(arguments),
        None => models::time_images(arguments),
    }
}

/// A board that does not hold a row is an answer; a missing or misbehaving one has its own codes.
fn failure(error: MeasureError) -> Failure {
    let code = match &error {
        MeasureError::Fit(_) => 1,
        MeasureError::Target(error) => error.exit_code(),
        _ => 2,
    };
    Failure::with_code(code, error)
}
