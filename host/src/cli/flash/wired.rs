//! `releq flash` for a board at a debug probe.

use std::fmt::Write;

use releq_device::board::Board;
use releq_format::image::Image;
use releq_format::wire::PROTOCOL;
use releq_probe::{Flashed, Phase, Plan};

use super::super::Failure;
use super::super::run::failure;
use super::{Arguments, Part, Report};
use crate::target::TargetError;
use crate::target::wired::{self, Outlook, Runner, What};
use crate::terminal::{self, Progress, grouped};

impl From<Flashed> for Part {
    fn from(flashed: Flashed) -> Self {
        let Flashed { erased, unchanged, programmed } = flashed;
        Self { sectors_erased: erased, sectors_unchanged: unchanged, bytes_written: programmed }
    }
}

/// Nothing to write is no part.
fn part(plan: &Plan) -> Option<Part> {
    let part = Part {
        sectors_erased: plan.erased.len(),
        sectors_unchanged: plan.unchanged.len(),
        bytes_written: plan.erased_bytes(),
    };
    (part.sectors_erased > 0).then_some(part)
}

pub(super) fn flash(
    arguments: &Arguments,
    board: &'static Board,
    image: &Image<'_>,
    report: &mut Report,
) -> Result<String, Failure> {
    let lab = arguments.probe.lab();
    let runner = if arguments.force { Runner::IfDifferent } else { Runner::IfOther };
    if arguments.dry_run {
        let outlook = wired::outlook(board, image, &lab, &arguments.probe.choice(), runner).map_err(failure)?;
        return Ok(planned(board, &outlook, report));
    }
    let mut progress = Progress::new(board.name);
    let mut watch = |what, now: releq_probe::Progress| {
        progress.update(now.done as usize, now.total as usize, note(what, now.phase));
    };
    let brought = wired::up_to_date(board, image, &lab, runner, &mut watch);
    progress.finish();
    let (greeted, written) = brought.map_err(failure)?;
    let version = greeted.greeting().version.clone();
    let mut text = match written.runner {
        None => format!("{}  runner {version} (protocol {PROTOCOL}) answers, writing the model only\n", board.name),
        Some(flashed) => format!("{}  runner {version} (protocol {PROTOCOL}), {}\n", board.name, said(flashed)),
    };
    let model = written.model.map_or("there already".to_owned(), said);
    greeted.open(image).map_err(|error| spoilt(error, board))?;
    let _ = writeln!(text, "model  {}, {model}; self-test passed", report.place());
    report.runner_version = Some(version);
    report.runner = written.runner.map(Part::from);
    report.model = written.model.map(Part::from);
    report.self_test = Some(true);
    Ok(text)
}

/// That a board is flashed and does not run what was flashed, is said as both.
fn spoilt(error: TargetError, board: &Board) -> Failure {
    terminal::note(&format!("{} is flashed, and what was flashed reads back right", board.name));
    failure(error)
}

const fn note(what: What, phase: Phase) -> &'static str {
    match (what, phase) {
        (What::Runner, Phase::Comparing) => "bytes of the runner compared",
        (What::Runner, Phase::Programming) => "bytes of the runner written",
        (What::Runner, Phase::Verifying) => "bytes of the runner read back",
        (What::Model, Phase::Comparing) => "bytes of the model compared",
        (What::Model, Phase::Programming) => "bytes of the model written",
        (What::Model, Phase::Verifying) => "bytes of the model read back",
    }
}

fn said(flashed: Flashed) -> String {
    match flashed.erased {
        0 => "in flash already".to_owned(),
        erased => {
            let sectors = if erased == 1 { "sector" } else { "sectors" };
            format!("{erased} {sectors} erased, {} bytes written, verified", grouped(flashed.programmed))
        }
    }
}

fn planned(board: &Board, outlook: &Outlook, report: &mut Report) -> String {
    let Outlook { runner, model, asked } = outlook;
    report.runner = runner.as_ref().and_then(part);
    report.model = part(model);
    let mut text = match runner {
        None => format!("{}  a runner of this version answers and stays\n", board.name),
        Some(plan) => format!("{}  runner: {plan}\n", board.name),
    };
    let _ = writeln!(text, "model: {model}");
    if !asked {
        terminal::note("no debug probe was found, so this is what is erased at most");
    }
    text
}
