//! `releq bench --suite kernels`: what kernels cost, layer by layer and width by width, and whether they are exact.

use std::collections::BTreeMap;

use releq_device::board::Board;
use serde::Serialize;

use super::super::board::heading;
use super::super::{Outcome, print_json, run};
use super::{Arguments, failure};
use crate::bench::code;
use crate::bench::measure::{MeasureError, Row, measure, overhead};
use crate::bench::shape::{Case, Per, Shape, cases, shapes};
use crate::target::lab::Lab;
use crate::terminal::{self, Progress, grouped, table};

/// Why there is nothing to measure.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error("the bench has no layer `{op}`; its layers are {known}; name one of them with --op")]
    UnknownOp { op: String, known: String },
    #[error("no row has these widths; layers are measured with 8, 4 and 2 activation bits; choose among them with --a")]
    NoRows,
    #[error(
        "{board} counts no instructions, and the suite reports nothing else; \
         name an emulated board with --board, such as virt-m4, or run `cargo bench --bench kernels` for this machine"
    )]
    NoCounts { board: String },
}

const ESTIMATED: &str = "estimated by a model of the Cortex-M4, within 10 % at best: no wait states, no caches, \
                         compared with no board";

#[derive(Serialize)]
struct Report {
    schema: u32,
    #[serde(skip)]
    heading: String,
    suite: &'static str,
    board: &'static str,
    core: &'static str,
    unit: &'static str,
    /// What cycles are worth, where rows have any.
    cycles: Option<&'static str>,
    /// What a residual add of one code counts, its kernel included.
    layer_overhead: u32,
    /// Bytes of code in the runner, by kernel family.
    code_bytes: Option<BTreeMap<String, u64>>,
    rows: Vec<Row>,
}

pub(super) fn measure_suite(arguments: &Arguments) -> Outcome {
    if arguments.board == "native" {
        return Err(BenchError::NoCounts { board: arguments.board.clone() }.into());
    }
    let board = run::board(&arguments.board)?;
    let cases = chosen(arguments)?;
    let lab = arguments.probe.lab();
    let report = measured(board, &lab, &cases).map_err(failure)?;
    if arguments.json {
        print_json(&report)?;
    } else {
        terminal::answer(&text(&report))?;
    }
    Ok(report.rows.iter().all(|row| row.exact))
}

fn chosen(arguments: &Arguments) -> Result<Vec<Case>, BenchError> {
    let shapes = shapes();
    if let Some(op) = arguments.op.iter().find(|op| shapes.iter().all(|shape| shape.name != **op)) {
        let known = shapes.iter().map(|shape| shape.name).collect::<Vec<_>>().join(", ");
        return Err(BenchError::UnknownOp { op: op.clone(), known });
    }
    let named = |shape: &&Shape| arguments.op.is_empty() || arguments.op.iter().any(|op| op == shape.name);
    let wanted = |case: &Case| {
        let weights = case.weights.is_none_or(|bits| arguments.w.is_empty() || arguments.w.contains(&bits));
        weights && (arguments.a.is_empty() || arguments.a.contains(&case.activations))
    };
    let cases: Vec<Case> = shapes.iter().filter(named).flat_map(cases).filter(wanted).collect();
    if cases.is_empty() { Err(BenchError::NoRows) } else { Ok(cases) }
}

fn measured(board: &'static Board, lab: &Lab, cases: &[Case]) -> Result<Report, MeasureError> {
    let layer_overhead = overhead(board, lab)?;
    let mut progress = Progress::new(board.name);
    let mut rows = Vec::with_capacity(cases.len());
    for case in cases {
        progress.update(rows.len(), cases.len(), case.shape.name);
        rows.push(measure(board, lab, case)?);
    }
    progress.finish();
    Ok(Report {
        schema: 1,
        heading: heading(board),
        suite: "kernels",
        board: board.name,
        core: board.core,
        unit: board.counter.unit().name(),
        cycles: rows.iter().any(|row| row.cycles_per_mac_estimate.is_some()).then_some(ESTIMATED),
        layer_overhead,
        code_bytes: lab.launch.runner(board).ok().as_deref().and_then(code::by_family),
        rows,
    })
}

fn text(report: &Report) -> String {
    let row = |row: &Row| {
        vec![
            row.op.to_owned(),
            row.shape.clone(),
            row.w.map_or("-".to_owned(), |bits| bits.to_string()),
            row.a.to_string(),
            row.kernel.clone(),
            grouped(row.instructions.into()),
            format!("{:.3}", row.ratio),
            row.cycles_per_mac_estimate.map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            match row.per {
                Per::Mac => "MAC",
                Per::InputElement => "input",
            }
            .to_owned(),
            grouped(row.scratch_bytes),
            grouped(row.weight_bytes),
            row.code_bytes.map_or("-".to_owned(), grouped),
            if row.exact { "yes" } else { "NO" }.to_owned(),
        ]
    };
    let header = [
        "layer",
        "shape",
        "w",
        "a",
        "kernel",
        report.unit,
        "ratio",
        "cycles est.",
        "per",
        "scratch B",
        "weight B",
        "code B",
        "exact",
    ];
    let rows: Vec<Vec<String>> = report.rows.iter().map(row).collect();
    let code = report.code_bytes.iter().flatten().map(|(family, bytes)| format!("{family} {}", grouped(*bytes)));
    let cycles = report.cycles.unwrap_or("none are estimated here; `releq run` says why");
    format!(
        "{}\n\n{}\n\
         cycles: {cycles}\na residual add of one code counts {} {}: the engine's own for a layer, and the least a kernel can do\n\
         code in the runner, bytes by kernel family: {}\n",
        report.heading,
        table(&header, &rows),
        report.layer_overhead,
        report.unit,
        code.collect::<Vec<_>>().join(", "),
    )
}
