//! The numbers that a reader looks for first.

use serde::Serialize;

use crate::number::{count, fixed, grouped, time};
use crate::run::{Outcome, Run};

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Fact {
    name: &'static str,
    value: String,
    note: String,
}

/// Those of `run`: what was found, or how far it came.
pub(crate) fn facts(run: &Run) -> Vec<Fact> {
    match &run.outcome {
        Some(outcome) => found(run, outcome),
        None => so_far(run),
    }
}

fn found(run: &Run, outcome: &Outcome) -> Vec<Fact> {
    let fact = |name, value: String, note: String| Fact { name, value, note };
    let [low, high] = outcome.loss_interval.unwrap_or([f64::NAN; 2]).map(|end| fixed(Some(end), 2));
    let mut facts = vec![
        fact(
            "top-1 of the image",
            format!("{} %", fixed(outcome.final_top1, 2)),
            format!("float {} %, on {} test images", fixed(outcome.float_top1, 2), count(outcome.images)),
        ),
        fact("points lost", fixed(outcome.loss, 2), format!("95 % interval {low} to {high}")),
        fact(
            "mean weight bits",
            fixed(outcome.mean_weight_bits, 2),
            format!("State of Quantization {}", fixed(outcome.state_of_quantization, 3)),
        ),
        fact("flash", format!("{} B", count(outcome.bytes)), "the whole image".to_owned()),
        fact("RAM", format!("{} B", count(outcome.arena_bytes)), "the arena, scratch included".to_owned()),
    ];
    facts.extend(outcome.boards.iter().map(|board| {
        let milliseconds =
            board.milliseconds.map_or(String::new(), |time| format!(", about {} ms", fixed(Some(time), 1)));
        fact("instructions", grouped(board.instructions), format!("predicted for {}{milliseconds}", board.board))
    }));
    if let Some(timing) = run.timing() {
        let board = run.bench.as_ref().map_or("", |bench| &bench.board);
        let same = match timing.identical {
            Some(true) => ", outputs identical to the workstation's",
            Some(false) => ", outputs NOT the workstation's",
            None => "",
        };
        let runs = timing.spread.runs;
        facts.push(Fact {
            name: "measured",
            value: grouped(timing.spread.median),
            note: format!("{} on {board}, median of {runs} runs{same}", timing.unit),
        });
    }
    facts
}

fn so_far(run: &Run) -> Vec<Fact> {
    let seconds: f64 = run.measurements.iter().filter_map(|one| one.seconds).sum();
    let mut facts = vec![
        Fact { name: "episodes", value: run.episodes.len().to_string(), note: "plans the searcher came to".to_owned() },
        Fact {
            name: "fine-tunes",
            value: run.measurements.len().to_string(),
            note: format!("{} of training in all", time(Some(seconds))),
        },
    ];
    facts.extend(run.best().map(|best| Fact {
        name: "best value so far",
        value: fixed(best.value, 3),
        note: format!(
            "accuracy {} %, State of Quantization {}",
            fixed(best.accuracy.map(|share| 100.0 * share), 2),
            fixed(best.state_of_quantization, 3)
        ),
    }));
    facts
}
