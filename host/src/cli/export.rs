//! `releq export`: a point on the front of a finished search, fine-tuned at length, as an image.

use std::path::PathBuf;

use releq_search::plan::BitPlan;
use serde::Serialize;

use super::budget::{BoardOptions, BudgetOptions};
use super::search::report::budget_text;
use super::search::{Setting, failure};
use super::{DataOption, Failure, Outcome, check_writable, load_model, open_image, print_json, write_whole};
use crate::hardware::Hardware;
use crate::hardware::budget::Checked;
use crate::network::Network;
use crate::search::SearchError;
use crate::search::bench::Bench;
use crate::search::front::{Basis, Front, OnBoard, Pick, boards};
use crate::search::record::{self, RunRecord};
use crate::search::shelf::{Shelf, Tuned};
use crate::terminal::{self, grouped};
use crate::train::interrupt::Interrupt;

/// Example: releq export runs/lenet --pick smallest -o lenet.rlq
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq export runs/lenet --pick smallest -o lenet.rlq")]
pub(super) struct Arguments {
    /// The directory of a finished `releq search`
    run: PathBuf,
    /// Which point of its front
    #[arg(long, value_enum, default_value_t = Pick::Knee)]
    pick: Pick,
    /// This plan instead, whether measured or not
    #[arg(long, value_name = "BITS", conflicts_with = "pick")]
    plan: Option<BitPlan>,
    #[command(flatten)]
    boards: BoardOptions,
    #[command(flatten)]
    budgets: BudgetOptions,
    /// Write the image here
    #[arg(short, long, value_name = "FILE.rlq")]
    output: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    run: String,
    plan: BitPlan,
    mean_weight_bits: f64,
    /// As the front has it, points; none for a plan that is not on it.
    loss: Option<f64>,
    basis: Option<Basis>,
    /// Whether it had to be fine-tuned now.
    trained: bool,
    bytes: usize,
    arena_bytes: usize,
    boards: Vec<OnBoard>,
    budgets: Vec<Checked>,
    image: String,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    check_writable(&arguments.output)?;
    let (record, _, front) = record::read(&arguments.run)?;
    let (plan, point) = chosen(arguments, &front)?;
    let network = load_model(&record.model)?;
    let hardware = asked(arguments, &record).hardware(&network)?;
    let shelf = Shelf::open(&arguments.run, &record.key).map_err(failure)?;
    let kept = shelf.kept(&plan, record.last);
    let trained = kept.is_none();
    let tuned = match kept {
        Some(tuned) => tuned,
        None => fine_tuned(network, &record, arguments, &shelf, &plan)?,
    };
    let image = match tuned {
        Tuned::Image(image) => image,
        Tuned::Diverged(why) => return Err(diverged(&plan, &why)),
    };
    let opened = open_image(&arguments.output, &image)?;
    write_whole(&arguments.output, &image)?;
    let report = Report {
        schema: 1,
        run: arguments.run.display().to_string(),
        mean_weight_bits: plan.mean_weight_bits(),
        loss: point.map(|(loss, _)| loss),
        basis: point.map(|(_, basis)| basis),
        plan,
        trained,
        bytes: opened.len(),
        arena_bytes: opened.arena_bytes(),
        boards: boards(&hardware, &hardware.taken_by(&opened)),
        budgets: hardware.checked(&opened),
        image: arguments.output.display().to_string(),
    };
    if arguments.json {
        print_json(&report)?;
    } else {
        terminal::answer(&text(&report, &hardware))?;
    }
    Ok(report.budgets.iter().all(|budget| budget.kept))
}

/// The plan that is meant, and its loss where the front has it.
fn chosen(arguments: &Arguments, front: &Front) -> Result<(BitPlan, Option<(f64, Basis)>), Failure> {
    let known =
        |plan: &BitPlan| front.points.iter().find(|point| point.plan == *plan).map(|point| (point.loss, point.basis));
    if let Some(plan) = &arguments.plan {
        return Ok((plan.clone(), known(plan)));
    }
    let point = front.pick(arguments.pick).ok_or_else(|| {
        let run = arguments.run.display();
        Failure::with_code(1, anyhow::anyhow!("the front of {run} is empty: its search measured nothing; search again"))
    })?;
    Ok((point.plan.clone(), known(&point.plan)))
}

/// What the run was asked, with the boards and budgets that were named now in their place.
fn asked(arguments: &Arguments, record: &RunRecord) -> RunRecord {
    let mut record = record.clone();
    if arguments.boards.is_given() {
        record.boards = arguments.boards.records();
    }
    let budgets = arguments.budgets.asked();
    if !budgets.is_empty() {
        record.budgets = budgets;
    }
    record
}

/// The image of a plan that is not on the run's shelf, fine-tuned and put there.
fn fine_tuned(
    network: Network,
    record: &RunRecord,
    arguments: &Arguments,
    shelf: &Shelf,
    plan: &BitPlan,
) -> Result<Tuned, Failure> {
    let _lock = super::search::lock::take(&arguments.run)?;
    let setting = Setting::open(network, &DataOption { data: record.data.clone() }, record.val.as_deref())?;
    let interrupt = Interrupt::watch();
    let stop = move || interrupt.requested();
    let recipe = record.preset.recipe(record.quantizer, record.seed);
    let log = arguments.run.join("measurements.jsonl");
    let bench = Bench::open(&setting.network, &setting.split, recipe, &log, record.actors.into(), &stop);
    let bench = bench.map_err(|error| failure(SearchError::from(error)))?;
    if bench.key() != record.key {
        let (run, model) = (arguments.run.display(), record.model.display());
        return Err(Failure::with_code(
            2,
            anyhow::anyhow!(
                "{run} was searched for another network, other images or by another releq than {model} is now; \
                 search again, or put back what changed"
            ),
        ));
    }
    terminal::say(&format!("fine-tuning {plan} on {} images", record.last));
    shelf.tuned(&bench, plan, record.last).map_err(failure)
}

/// There is no image of a plan whose fine-tune came to no numbers.
fn diverged(plan: &BitPlan, why: &str) -> Failure {
    Failure::with_code(
        2,
        anyhow::anyhow!(
            "{plan} cannot be exported: fine-tuned at length it ends with `{why}`; export another --plan or --pick"
        ),
    )
}

fn text(report: &Report, hardware: &Hardware) -> String {
    let loss = match (report.loss, report.basis) {
        (Some(loss), Some(Basis::FineTuned)) => format!(", loses {loss:.2} points on the validation images"),
        (Some(loss), _) => format!(", foretold to lose {loss:.2} points"),
        (None, _) => String::new(),
    };
    let budgets: String = report.budgets.iter().map(|budget| budget_text(budget, hardware)).collect();
    let tuned = if report.trained { "fine-tuned now" } else { "as the run fine-tuned it" };
    format!(
        "{} (mean {:.2}){loss}, {tuned}\n{budgets}flash {} bytes   RAM {} bytes   → {}\n",
        report.plan,
        report.mean_weight_bits,
        grouped(report.bytes as u64),
        grouped(report.arena_bytes as u64),
        report.image,
    )
}
