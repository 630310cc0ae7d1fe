//! `releq monitor` for a board at a debug probe.

use std::ops::ControlFlow;
use std::time::Instant;

use releq_device::board::Board;

use super::super::Outcome;
use super::super::run::failure;
use super::Arguments;
use crate::target::wired;
use crate::terminal;
use crate::train::interrupt::Interrupt;

/// Prints what the firmware says until Ctrl-C, or until the time is over.
pub(super) fn listen(arguments: &Arguments, board: &'static Board) -> Outcome {
    let (interrupt, started) = (Interrupt::watch(), Instant::now());
    let over = || interrupt.requested() || arguments.limit.is_some_and(|limit| started.elapsed() >= limit);
    let mut heard = Ok(());
    let mut hear = |text: &str| {
        heard = terminal::relay(text);
        if heard.is_err() || over() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    wired::listen(board, &arguments.probe.lab(), arguments.reset, &mut hear).map_err(failure)?;
    heard?;
    Ok(true)
}
