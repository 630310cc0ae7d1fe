//! The order of a report: what each part says and shows, or that the run does not hold it.

use serde::Serialize;

use crate::figures::{self, Figure};
use crate::layers::{Layers, Row};
use crate::number::{NONE, count, fixed, grouped, signed};
use crate::run::{Run, Timing};
use crate::table::{Cell, Table};
use crate::{repeat, run, settings};

/// One part of a report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Section {
    id: &'static str,
    title: &'static str,
    /// What to know before looking.
    lead: String,
    figures: Vec<Figure>,
    /// How figures stand beside each other: `one`, `three` or `many`.
    columns: &'static str,
    tables: Vec<Table>,
    /// Words to be typed.
    code: Option<String>,
    notes: Vec<String>,
    /// Why there is nothing.
    missing: Option<&'static str>,
}

/// Every part, in order.
pub(crate) fn all(run: &Run) -> Vec<Section> {
    let parts: [fn(&Run) -> Section; 10] =
        [plan, layers, board, learning, policy, explored, rivals, race, confusion, configuration];
    let mut sections: Vec<Section> = parts.iter().map(|part| part(run)).collect();
    sections.push(again(run));
    sections
}

/// What stands where a part is not there.
fn missing(id: &'static str, title: &'static str, why: &'static str) -> Section {
    Section { id, title, missing: Some(why), ..Section::default() }
}

fn plan(run: &Run) -> Section {
    let [id, title] = ["plan", "The plan"];
    match (figures::strip::figure(run), run.chosen()) {
        (Some(figure), Some(plan)) => Section {
            id,
            title,
            figures: vec![figure],
            columns: "one",
            code: Some(plan.to_owned()),
            notes: others(run),
            ..Section::default()
        },
        _ => missing(id, title, "No plan is in this run yet."),
    }
}

/// The plans that were not chosen and have a name.
fn others(run: &Run) -> Vec<String> {
    let Some(outcome) = &run.outcome else { return Vec::new() };
    let plans = [
        ("The best value was seen with", &outcome.best_seen),
        ("The policy would choose", &outcome.greedy),
        ("The last plan evaluated was", &outcome.last),
    ];
    let other = plans.into_iter().filter_map(|(what, plan)| Some((what, plan.as_ref()?)));
    other.filter(|(_, plan)| **plan != outcome.plan).map(|(what, plan)| format!("{what} {plan}.")).collect()
}

fn layers(run: &Run) -> Section {
    let [id, title] = ["layers", "Layer by layer"];
    let layers = Layers::of(run);
    if layers.rows.is_empty() {
        return missing(id, title, "Not in this run: layers are known once a search has ended.");
    }
    let lead = match (&run.image, &layers.measured) {
        (_, Some((unit, board))) => format!("Predicted, and as {board} counted {unit}, layer by layer."),
        (Some(_), None) if run.bench.is_some() => {
            "The bench that was given timed another image, so nothing is set beside the predictions.".to_owned()
        }
        _ => "Name what `releq bench --export-json` wrote beside the run to see measured counts here.".to_owned(),
    };
    Section { id, title, lead, tables: vec![layer_table(&layers)], ..Section::default() }
}

fn layer_table(layers: &Layers) -> Table {
    let predicted = layers.predicted.as_ref().map_or("predicted".to_owned(), |unit| format!("{unit}, predicted"));
    let measured =
        layers.measured.as_ref().map(|(unit, board)| (format!("{unit}, measured on {board}"), "error, %".to_owned()));
    let mut numbers = vec!["weight bits", "bits out", "bytes", &predicted];
    numbers.extend(measured.iter().flat_map(|(measured, error)| [measured.as_str(), error]));
    let mut table = Table::new("Layers of the image, in the order they run", &["layer", "kernel"], &numbers);
    let most = |of: fn(&Row) -> Option<f64>| layers.rows.iter().filter_map(of).fold(0.0, f64::max);
    let most_bytes = most(|row| row.bytes.map(|bytes| bytes as f64));
    // Of both, so that bars compare.
    let most_count = most(|row| row.predicted).max(most(|row| row.measured));
    let bits =
        |bits: Option<u8>| Cell::bar(bits.map_or(NONE.to_owned(), |bits| bits.to_string()), bits.map(f64::from), 8.0);
    for row in &layers.rows {
        let kernel = if row.kernel.is_empty() { &row.op } else { &row.kernel };
        let mut cells = vec![
            row.name.clone().into(),
            Cell::code(kernel),
            bits(row.w),
            bits(row.out),
            Cell::bar(count(row.bytes), row.bytes.map(|bytes| bytes as f64), most_bytes),
            Cell::bar(grouped(row.predicted), row.predicted, most_count),
        ];
        if measured.is_some() {
            cells.push(Cell::bar(grouped(row.measured), row.measured, most_count));
            cells.push(signed(layers.error(row.predicted, row.measured)).into());
        }
        table.push(false, cells);
    }
    let [predicted, counted] = layers.totals();
    let bytes: Option<u64> = layers.rows.iter().map(|row| row.bytes).sum();
    let mut sum: Vec<Cell> = vec!["all layers".to_owned().into(), Cell::default(), Cell::default(), Cell::default()];
    sum.extend([count(bytes), grouped(predicted)].map(Cell::from));
    if measured.is_some() {
        sum.extend([grouped(counted), signed(layers.error(predicted, counted))].map(Cell::from));
    }
    table.push(true, sum);
    table
}

fn board(run: &Run) -> Section {
    let [id, title] = ["board", "On a board"];
    let Some(bench) = &run.bench else {
        return missing(id, title, "Not given: name what `releq bench IMAGE --export-json FILE` wrote beside the run.");
    };
    let own = run.timing();
    let is_own = |timing: &Timing| own.is_some_and(|own| std::ptr::eq(own, timing));
    let caption = format!("Images as {} ({}) ran them: the median of all runs", bench.board, bench.core);
    let numbers = ["median", "predicted", "error, %", "flash, B", "RAM, B"];
    let mut table = Table::new(&caption, &["image", "unit", "outputs"], &numbers);
    for timing in &bench.images {
        let outputs = match timing.identical {
            Some(true) => "identical to the workstation's",
            Some(false) => "NOT the workstation's",
            None => NONE,
        };
        let words = [Cell::code(&timing.file), timing.unit.clone().into(), outputs.to_owned().into()];
        let median = timing.spread.median;
        let numbers = [
            grouped(median),
            grouped(timing.predicted),
            signed(timing.error(timing.predicted, median)),
            count(timing.bytes),
            count(timing.arena_bytes),
        ];
        table.push(is_own(timing), words.into_iter().chain(numbers.map(Cell::from)));
    }
    // The run's own layers stand in the section before.
    let others = bench.images.iter().filter(|timing| !is_own(timing)).map(timing_table);
    let tables = std::iter::once(table).chain(others).collect();
    let notes = match own {
        Some(_) => Vec::new(),
        None => vec!["None of these images is that of the chosen plan.".to_owned()],
    };
    Section { id, title, tables, notes, ..Section::default() }
}

/// The layers of an image that is not the run's, measured beside predicted.
fn timing_table(timing: &Timing) -> Table {
    let measured = format!("{}, measured", timing.unit);
    let caption = format!("Layers of {}", timing.file);
    let numbers = ["instructions, predicted", &measured, "error, %"];
    let mut table = Table::new(&caption, &["layer", "kernel"], &numbers);
    let most = timing.layers.iter().flat_map(|layer| [layer.predicted, layer.mean]).flatten().fold(0.0, f64::max);
    for layer in &timing.layers {
        table.push(
            false,
            [
                layer.name.clone().into(),
                Cell::code(&layer.kernel),
                Cell::bar(grouped(layer.predicted), layer.predicted, most),
                Cell::bar(grouped(layer.mean), layer.mean, most),
                signed(timing.error(layer.predicted, layer.mean)).into(),
            ],
        );
    }
    table
}

fn learning(run: &Run) -> Section {
    let [id, title] = ["learning", "Learning"];
    if run.episodes.is_empty() {
        return missing(id, title, "No episodes are in this run yet.");
    }
    let figures = figures::learning::figures(run);
    let lead = "Dots, or spans where they are many, are episodes; the line is their moving mean.".to_owned();
    Section { id, title, lead, figures, columns: "three", ..Section::default() }
}

fn policy(run: &Run) -> Section {
    let [id, title] = ["policy", "The policy"];
    let tried = figures::tried::figure(run);
    let figures = figures::policy::figures(run);
    if figures.is_empty() {
        return match tried {
            Some(tried) => Section {
                id,
                title,
                lead: "This searcher has no policy, so there are no chances of actions to show; this is what it tried."
                    .to_owned(),
                figures: vec![tried],
                columns: "one",
                ..Section::default()
            },
            None => missing(id, title, "No episodes are in this run yet."),
        };
    }
    Section {
        id,
        title,
        lead: "The chance of every width at each step over episodes. The heavy line is the width that is likeliest in \
               the end; the others are thin, and named on the right where there is room."
            .to_owned(),
        figures,
        columns: "many",
        ..Section::default()
    }
}

fn explored(run: &Run) -> Section {
    let [id, title] = ["explored", "What was explored"];
    let Some(figure) = figures::cloud::figure(run) else {
        return missing(id, title, "No plan has been evaluated in this run yet.");
    };
    let (mut tables, notes) = match &run.front {
        Some(front) if !front.points.is_empty() && run.outcome.is_some() => {
            let note = "Basis: a loss is `fine-tuned` where the plan was fine-tuned at length, a `forecast` from a short \
                        fine-tune, or what a `short` one left.";
            (vec![front_table(run, front)], vec![note.to_owned()])
        }
        _ => (Vec::new(), vec!["The front is not in this run: it is drawn when a search ends.".to_owned()]),
    };
    tables.extend(diverged_table(run));
    Section { id, title, figures: vec![figure], columns: "one", tables, notes, ..Section::default() }
}

/// Plans whose fine-tune came to no numbers, if there are any.
fn diverged_table(run: &Run) -> Option<Table> {
    let diverged = run.diverged();
    let mut table = Table::new("Plans that diverged, and are never chosen", &["plan", "why"], &["images"]);
    for (plan, images, why) in &diverged {
        table.push(false, [Cell::code(plan), (*why).to_owned().into(), count(*images).into()]);
    }
    (!diverged.is_empty()).then_some(table)
}

fn front_table(run: &Run, front: &run::Front) -> Table {
    let caption = format!("The front: {} of {} plans measured", front.points.len(), count(front.measured));
    let numbers = ["loss, points", "mean bits", "flash, B", "RAM, B", "instructions", "ms, est."];
    let mut table = Table::new(&caption, &["plan", "basis", "budgets"], &numbers);
    for point in &front.points {
        let kept = if point.within == Some(false) { "missed" } else { "kept" };
        let words = [Cell::code(&point.plan), point.basis.clone().into(), kept.to_owned().into()];
        let numbers = [
            fixed(point.loss, 2),
            fixed(point.mean_weight_bits, 2),
            count(point.flash),
            count(point.ram),
            grouped(point.instructions()),
            fixed(point.boards.first().and_then(|board| board.milliseconds), 1),
        ];
        let chosen = run.chosen() == Some(&point.plan);
        table.push(chosen, words.into_iter().chain(numbers.map(Cell::from)));
    }
    table
}

fn rivals(run: &Run) -> Section {
    let [id, title] = ["beside", "Beside other plans"];
    let Some(figure) = figures::rivals::figure(run) else {
        return missing(
            id,
            title,
            "Not in this run: `releq search --baselines N` sets other plans of the same bits beside it.",
        );
    };
    let mut table = Table::new(
        "Networks on the test images",
        &["network", "plan"],
        &["mean bits", "top-1, %", "loss, points", "bytes"],
    );
    for rival in &run.comparison {
        let in_floats = rival.plan.is_none();
        let bytes = rival.bytes.filter(|bytes| *bytes > 0);
        let cells = [
            figures::rivals::title(rival).into(),
            Cell::code(rival.plan.as_deref().unwrap_or(NONE)),
            fixed(rival.mean_weight_bits, if in_floats { 0 } else { 2 }).into(),
            fixed(rival.top1, 2).into(),
            fixed(rival.loss, 2).into(),
            count(bytes).into(),
        ];
        table.push(rival.kind == "searched", cells);
    }
    Section { id, title, figures: vec![figure], columns: "one", tables: vec![table], ..Section::default() }
}

fn race(run: &Run) -> Section {
    let [id, title] = ["race", "The race of agents"];
    let Some(figure) = figures::race::figure(run) else {
        return missing(
            id,
            title,
            "Not in this run: `releq search --race` with the same -o lets every agent spend the same budget.",
        );
    };
    let mut table =
        Table::new("What every agent reached", &["agent", "plan"], &["mean bits", "loss, points", "value", "plans"]);
    for (place, standing) in run.race.iter().enumerate() {
        let cells = [
            standing.agent.clone().into(),
            Cell::code(&standing.plan),
            fixed(standing.mean_weight_bits, 2).into(),
            fixed(standing.loss, 2).into(),
            fixed(standing.value, 4).into(),
            count(standing.distinct_evaluations).into(),
        ];
        table.push(place == 0, cells);
    }
    Section { id, title, figures: vec![figure], columns: "one", tables: vec![table], ..Section::default() }
}

fn confusion(run: &Run) -> Section {
    let [id, title] = ["confusion", "Confusion matrix"];
    let counts = run.outcome.as_ref().and_then(|outcome| outcome.confusion.as_ref());
    let Some(counts) = counts.filter(|counts| !counts.is_empty()) else {
        return missing(
            id,
            title,
            "Not in this run: its version of releq kept no answers, or there are more than 100 classes.",
        );
    };
    let slips = slips(counts);
    let wrong = slips.iter().map(|(images, ..)| images).sum();
    let most = slips.first().map_or(1, |(images, ..)| *images);
    let lead = format!(
        "Answers of the image that runs on the device; {} are wrong. The darker a mistake, the more images it took.",
        count(Some(wrong))
    );
    let notes = commonest(&slips);
    Section { id, title, lead, tables: vec![confusion_table(counts, most)], notes, ..Section::default() }
}

fn confusion_table(counts: &[Vec<u64>], most: u64) -> Table {
    let classes = counts.len().max(counts.iter().map(Vec::len).max().unwrap_or(0));
    let heads: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
    let heads: Vec<&str> = heads.iter().map(String::as_str).collect();
    let caption = "Test images by label (rows) and answer of the image (columns)";
    let mut table = Table::new(caption, &["label"], &heads);
    for (label, row) in counts.iter().enumerate() {
        let cell = |answer: usize| {
            let images = row.get(answer).copied().unwrap_or(0);
            let text = if images == 0 { "·".to_owned() } else { count(Some(images)) };
            let shade = 10.0 + 50.0 * images as f64 / most as f64;
            Cell::shaded(text, (images > 0 && answer != label).then_some(shade))
        };
        let head = label.to_string().into();
        table.push(false, std::iter::once(head).chain((0..classes).map(cell)));
    }
    table
}

/// Mistakes as images, label and answer, the commonest first.
fn slips(counts: &[Vec<u64>]) -> Vec<(u64, usize, usize)> {
    let row = |(label, row): (usize, &Vec<u64>)| {
        row.iter().enumerate().map(|(answer, &images)| (images, label, answer)).collect::<Vec<_>>()
    };
    let mut slips: Vec<(u64, usize, usize)> = counts.iter().enumerate().flat_map(row).collect();
    slips.retain(|(images, label, answer)| label != answer && *images > 0);
    slips.sort_by_key(|&(images, label, answer)| (std::cmp::Reverse(images), label, answer));
    slips
}

fn commonest(slips: &[(u64, usize, usize)]) -> Vec<String> {
    let said =
        slips.iter().take(3).map(|(images, label, answer)| format!("{label} taken for {answer}, {images} times"));
    let said: Vec<String> = said.collect();
    if said.is_empty() { Vec::new() } else { vec![format!("Commonest: {}.", said.join("; "))] }
}

/// Where nothing says what was asked.
const UNASKED: &str = "Not in this run: a search writes down what it was asked when it begins; older versions of releq did \
                       when it ended.";

fn configuration(run: &Run) -> Section {
    let [id, title] = ["configuration", "Configuration"];
    let Some(asked) = &run.asked else {
        return missing(id, title, UNASKED);
    };
    let mut table = Table::new("What the search was asked", &["", ""], &[]);
    for (name, value) in settings::settings(run, asked) {
        table.push(false, [name.to_owned().into(), Cell::code(&value)]);
    }
    Section { id, title, tables: vec![table], ..Section::default() }
}

fn again(run: &Run) -> Section {
    let [id, title] = ["again", "Do it again"];
    match repeat::command(run) {
        Some((command, notes)) => Section { id, title, code: Some(command), notes, ..Section::default() },
        None => missing(id, title, UNASKED),
    }
}
