//! Prints the table of several searches of one network that were given `--baselines`, such as one for each seed.
//!
//! `cargo run --example live_table -- runs/lenet-1 runs/lenet-2 runs/lenet-3`

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use releq::search::comparison::{Kind, Row};
use releq::search::verdict;
use serde_json::Value;

/// One search.
struct Run {
    seed: u64,
    result: Value,
    rows: Vec<Row>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let directories: Vec<PathBuf> = std::env::args().skip(1).map(PathBuf::from).collect();
    if directories.is_empty() {
        return Err("usage: live_table RUN...".into());
    }
    let runs = directories.iter().map(|directory| read(directory)).collect::<Result<Vec<Run>, _>>()?;
    println!(
        "| seed | network | plan | mean bits | top-1 | loss | 95 % interval | flash, bytes |\n|---|---|---|---|---|---|---|---|"
    );
    for run in &runs {
        run.rows.iter().for_each(|row| println!("| {} {}", run.seed, line(row)));
    }
    for kind in [Kind::Searched, Kind::Uniform, Kind::Random] {
        let (loss, half) = pooled(&runs, kind);
        let bits = mean(runs.iter().flat_map(|run| of(run, kind)).map(|row| row.mean_weight_bits));
        println!("\n{kind:?}: mean loss {loss:.2} ± {half:.2} points (95 %, images paired) at {bits:.2} mean bits");
    }
    for run in &runs {
        let number = |name: &str| run.result[name].as_f64().unwrap_or(f64::NAN);
        println!(
            "\nseed {}: chosen for {} on validation, {} evaluations, {} long fine-tunes, greedy {}, {:.0} s",
            run.seed,
            run.result["max_loss"],
            run.result["distinct_evaluations"],
            run.result["attempts"].as_array().map_or(0, Vec::len),
            run.result["greedy"].as_str().unwrap_or("none"),
            number("seconds"),
        );
    }
    Ok(())
}

fn read(directory: &Path) -> Result<Run, Box<dyn Error>> {
    let open = |name: &str| {
        let path = directory.join(name);
        fs::read(&path).map_err(|error| format!("cannot read {}: {error}; search with --baselines 3", path.display()))
    };
    let result: Value = serde_json::from_slice(&open("result.json")?)?;
    let seed = result["seed"].as_u64().ok_or("result.json has no seed; search again with this version")?;
    Ok(Run { seed, result, rows: serde_json::from_slice(&open("comparison.json")?)? })
}

fn line(row: &Row) -> String {
    let plan = row.plan.as_ref().map_or(String::new(), ToString::to_string);
    let (kind, bits, top1, loss, [low, high]) = (row.kind, row.mean_weight_bits, row.top1, row.loss, row.loss_interval);
    format!("| {kind:?} | {plan} | {bits:.2} | {top1:.2} | {loss:.2} | {low:.2} to {high:.2} | {} |", row.bytes)
}

fn of(run: &Run, kind: Kind) -> impl Iterator<Item = &Row> {
    run.rows.iter().filter(move |row| row.kind == kind)
}

/// Mean loss of the rows of `kind` over all runs, and half its 95 % interval, in points.
fn pooled(runs: &[Run], kind: Kind) -> (f64, f64) {
    let images = runs[0].rows.first().map_or(0, |row| row.images);
    let float = |run| {
        let floats = of(run, Kind::Checkpoint).chain(of(run, Kind::Control));
        floats.reduce(|best, next| if next.top1 > best.top1 { next } else { best }).map_or(&[][..], |row| &row.wrong)
    };
    let rows = runs.iter().flat_map(|run| of(run, kind).map(move |row| [float(run), &row.wrong]));
    verdict::pooled(images, &rows.collect::<Vec<_>>())
}

fn mean(numbers: impl Iterator<Item = f64>) -> f64 {
    let (sum, count) = numbers.fold((0.0, 0usize), |(sum, count), number| (sum + number, count + 1));
    sum / count.max(1) as f64
}
