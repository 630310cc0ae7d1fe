//! `releq monitor`: what a board's firmware says, as it says it.

use releq_device::board::{Board, Reach};

use super::probe::ProbeOption;
use super::{Failure, Outcome, run};

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
    /// End after this long
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    #[command(flatten)]
    probe: ProbeOption,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let board = run::board(&arguments.board)?;
    match board.reach {
        Reach::Qemu { .. } => Err(Failure::with_code(
            2,
            anyhow::anyhow!(
                "{} is emulated and runs nothing between two commands; `releq run` and `releq bench` start it, and tell \
                 what its firmware says when it fails; use one of them, or name a board at a debug probe",
                board.name
            ),
        )),
        Reach::Probe { .. } => listen(arguments, board),
    }
}

/// Until Ctrl-C or the time is over.
#[cfg(feature = "probe")]
fn end(arguments: &Arguments) -> impl Fn() -> std::ops::ControlFlow<()> {
    use std::ops::ControlFlow;
    use std::time::{Duration, Instant};

    let interrupt = crate::train::interrupt::Interrupt::watch();
    let (started, limit) = (Instant::now(), arguments.seconds.map(|seconds| Duration::from_secs_f64(seconds.max(0.0))));
    move || match interrupt.requested() || limit.is_some_and(|limit| started.elapsed() >= limit) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    }
}

#[cfg(feature = "probe")]
fn listen(arguments: &Arguments, board: &'static Board) -> Outcome {
    use std::ops::ControlFlow;

    use crate::target::wired;
    use crate::terminal;

    let end = end(arguments);
    let mut heard = Ok(());
    let mut hear = |text: &str| {
        heard = terminal::answer(text);
        if heard.is_ok() { end() } else { ControlFlow::Break(()) }
    };
    wired::listen(board, &arguments.probe.lab(), arguments.reset, &mut hear).map_err(run::failure)?;
    heard?;
    Ok(true)
}

#[cfg(not(feature = "probe"))]
fn listen(_: &Arguments, board: &'static Board) -> Outcome {
    Err(run::failure(crate::target::TargetError::Unprobed { board: board.name }))
}
