//! `releq monitor`: what a board's firmware says, as it says it.

#[cfg(feature = "probe")]
mod wired;

use std::time::Duration;

use releq_device::board::Reach;

use super::probe::ProbeOption;
use super::{Failure, Outcome, run};
use crate::hardware::quantity;

/// Example: releq monitor --board nucleo-f446re --reset
#[derive(Debug, clap::Args)]
#[command(after_help = "Ctrl-C ends it.\n\nExample:\n  releq monitor --board nucleo-f446re --reset")]
pub(super) struct Arguments {
    /// Whose firmware
    #[arg(long, value_name = "BOARD")]
    board: String,
    /// Start the firmware anew
    #[arg(long)]
    reset: bool,
    /// End after this long, such as 5s
    #[arg(long = "for", value_name = "DURATION", value_parser = quantity::duration)]
    limit: Option<Duration>,
    #[command(flatten)]
    probe: ProbeOption,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let board = run::board(&arguments.board)?;
    if let Some(port) = arguments.probe.serial() {
        return Err(Failure::with_code(
            2,
            anyhow::anyhow!(
                "{port} carries no text: a runner's UART speaks the protocol alone; use a debug probe, without --serial"
            ),
        ));
    }
    match board.reach {
        Reach::Qemu { .. } => Err(Failure::with_code(
            2,
            anyhow::anyhow!(
                "{} is emulated and runs nothing between two commands; `releq run` and `releq bench` start it, and tell \
                 what its firmware says when it fails; use one of them, or name a board at a debug probe",
                board.name
            ),
        )),
        #[cfg(feature = "probe")]
        Reach::Probe { .. } => wired::listen(arguments, board),
        #[cfg(not(feature = "probe"))]
        Reach::Probe { .. } => Err(run::failure(crate::target::TargetError::Unprobed { board: board.name })),
    }
}
