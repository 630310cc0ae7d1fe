//! `releq why`: what one bit more or less of each layer would cost or save, beside the plan that a search chose.

use std::path::PathBuf;

use releq_search::plan::BitPlan;
use serde::Serialize;

use super::{Outcome, load_model, print_json};
use crate::search::front::OnBoard;
use crate::search::record;
use crate::search::why::{Basis, Change, What, changes};
use crate::terminal::{self, table};

/// Example: releq why runs/lenet
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq why runs/lenet")]
pub(super) struct Arguments {
    /// The directory of a finished `releq search`
    run: PathBuf,
    /// Ask about activation bits too, even if the search had no choice of them
    #[arg(long)]
    activations: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    run: String,
    plan: BitPlan,
    /// Points; negative differences gain.
    changes: Vec<Change>,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let (record, outcome, _) = record::read(&arguments.run)?;
    let network = load_model(&record.model)?;
    let hardware = record.hardware(&network)?;
    let searched = outcome.evaluated.iter().any(|one| one.plan.layers().iter().any(|layer| layer.activations != 8));
    let changes = changes(&outcome, &hardware, arguments.activations || searched);
    let report = Report { schema: 1, run: arguments.run.display().to_string(), plan: outcome.plan, changes };
    if arguments.json {
        print_json(&report)?;
    } else {
        terminal::answer(&text(&report))?;
    }
    Ok(true)
}

fn text(report: &Report) -> String {
    let boards: Vec<String> = report.changes.first().map_or(Vec::new(), |change| {
        change.boards.iter().flat_map(|on| [on.board.clone(), "ms est.".to_owned()]).collect()
    });
    let mut header = vec!["layer", "bits", "loss, points", "flash", "RAM"];
    header.extend(boards.iter().map(String::as_str));
    header.push("budgets");
    let row = |change: &Change| {
        let of = if change.what == What::Weights { "w" } else { "a" };
        let loss = match change.basis {
            Basis::Measured => format!("{:+.2} ± {:.2}*", change.loss, change.deviation),
            Basis::Imagined => format!("{:+.2} ± {:.2} ", change.loss, change.deviation),
            Basis::Diverged => "diverges".to_owned(),
        };
        let mut cells = vec![
            change.layer.clone(),
            format!("{of}{} → {}", change.from, change.to),
            loss,
            signed(change.flash),
            signed(change.ram),
        ];
        for OnBoard { instructions, milliseconds, .. } in &change.boards {
            cells.push(instructions.map_or("-".to_owned(), |count| signed(count.round() as i64)));
            cells.push(milliseconds.map_or("-".to_owned(), |time| format!("{time:+.2}")));
        }
        cells.push(if change.within { "kept" } else { "missed" }.to_owned());
        cells
    };
    let rows: Vec<Vec<String>> = report.changes.iter().map(row).collect();
    format!(
        "{} with {}: what one bit more or less would change\n\n{}\n\
         loss: top-1 points lost more on the validation images, negative where it gains; ± one deviation\n\
         * both plans were evaluated; the others are imagined by the surrogate that guided the search\n\
         bytes are exact; instructions and milliseconds are predicted\n",
        report.run,
        report.plan,
        table(&header, &rows)
    )
}

/// `+1 234` or `−1 234`.
fn signed(number: i64) -> String {
    let sign = match number {
        0 => "",
        1.. => "+",
        _ => "−",
    };
    format!("{sign}{}", terminal::grouped(number.unsigned_abs()))
}
