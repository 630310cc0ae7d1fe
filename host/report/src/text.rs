//! The report for those who stay in the terminal: the same numbers as tables, and curves as sparklines.

use std::fmt::Write;

use crate::figures::learning::QUANTITIES;
use crate::layers::Layers;
use crate::number::{NONE, count, fixed, grouped, signed};
use crate::plot::binned;
use crate::run::{Outcome, Run, State};

/// Columns of a sparkline.
const WIDTH: usize = 48;

/// The report of `run`, for a terminal of a hundred columns.
pub fn summary(run: &Run) -> String {
    let mut text = head(run);
    text += &diverged(run);
    text += &curves(run);
    text += &layers(run);
    text += &rivals(run);
    text += &race(run);
    plain(&text)
}

/// What was found, or how far the run came, in the first lines of its [`summary`].
pub fn headline(run: &Run) -> String {
    plain(&head(run))
}

/// Plain signs and spaces, so that numbers can be copied; and no name may steer a terminal.
pub(crate) fn plain(text: &str) -> String {
    let plain = text.replace('\u{202f}', " ").replace('−', "-");
    plain.chars().filter(|letter| *letter == '\n' || !letter.is_control()).collect()
}

fn head(run: &Run) -> String {
    match (&run.outcome, run.state()) {
        (Some(outcome), _) => found(run, outcome),
        (None, State::Raced) => format!("{}: a race of {} agents; no plan was chosen\n", run.name, run.race.len()),
        (None, _) => {
            let best = run.best().map_or(String::new(), |best| {
                let accuracy = fixed(best.accuracy.map(|share| 100.0 * share), 2);
                format!("best so far  {}   value {}   accuracy {accuracy} %\n", best.plan, fixed(best.value, 3))
            });
            format!(
                "{}: not finished: still going on, or stopped after {} episodes and {} fine-tunes\n{best}",
                run.name,
                run.episodes.len(),
                run.measurements.len()
            )
        }
    }
}

/// Plans that came to no numbers; the page has all of them.
fn diverged(run: &Run) -> String {
    let diverged = run.diverged();
    let [(first, _, why), others @ ..] = &diverged[..] else { return String::new() };
    let others = if others.is_empty() { String::new() } else { format!(" and {} others", others.len()) };
    format!("diverged {first}{others}, never chosen: {why}\n")
}

fn found(run: &Run, outcome: &Outcome) -> String {
    let kept = match outcome.met {
        Some(true) => ", keeps all that was asked",
        Some(false) => ", MISSES something that was asked",
        None => "",
    };
    let synthetic = if outcome.synthetic { " (synthetic)" } else { "" };
    let [low, high] = outcome.loss_interval.unwrap_or([f64::NAN; 2]).map(|end| fixed(Some(end), 2));
    let mut text = format!(
        "{}: {} on {}{synthetic}, chosen by {} from {} plans{kept}\n\
         plan     {}   mean {} bits   State of Quantization {}\n\
         top-1    {} %, float {} %, on {} test images   loss {} points ({low} to {high})\n\
         takes    flash {} B   RAM {} B",
        run.name,
        outcome.model,
        outcome.data,
        outcome.agent,
        count(outcome.distinct_evaluations),
        outcome.plan,
        fixed(outcome.mean_weight_bits, 2),
        fixed(outcome.state_of_quantization, 3),
        fixed(outcome.final_top1, 2),
        fixed(outcome.float_top1, 2),
        count(outcome.images),
        fixed(outcome.loss, 2),
        count(outcome.bytes),
        count(outcome.arena_bytes),
    );
    for board in &outcome.boards {
        let _ = write!(text, "   {} instructions on {}, predicted", grouped(board.instructions), board.board);
    }
    text += "\n";
    if run.later.is_some() {
        text += "a later search here was asked something else, and has no result yet\n";
    }
    text
}

fn curves(run: &Run) -> String {
    if run.episodes.is_empty() {
        // A race keeps none.
        return if run.state() == State::Raced { String::new() } else { "\nno episodes yet\n".to_owned() };
    }
    let mut text = format!("\n{} episodes\n", run.episodes.len());
    for quantity in &QUANTITIES {
        let values = quantity.values(&run.episodes);
        let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        let [first, last] = [finite.first(), finite.last()].map(|end| fixed(end.copied(), 2));
        let _ = writeln!(text, "{:21}  {}  {first} → {last}", quantity.name, sparkline(&values));
    }
    text
}

/// Parts of a line's height.
pub(crate) const EIGHTHS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// Means of equal spans as eighths of a line's height; a span without a number is a space.
pub(crate) fn sparkline(values: &[f64]) -> String {
    let means: Vec<f64> = binned(values, WIDTH).iter().map(|bin| bin.mean).collect();
    let finite = || means.iter().copied().filter(|mean| mean.is_finite());
    let (least, most) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let eighth = |mean: f64| {
        let share = (mean / 2.0 - least / 2.0) / (most / 2.0 - least / 2.0);
        // The same everywhere is a line in the middle.
        let share = if share.is_nan() { 0.5 } else { share };
        EIGHTHS[((7.0 * share).round() as usize).min(7)]
    };
    means.iter().map(|&mean| if mean.is_finite() { eighth(mean) } else { ' ' }).collect()
}

fn layers(run: &Run) -> String {
    let layers = Layers::of(run);
    if layers.rows.is_empty() {
        return String::new();
    }
    let predicted = layers.predicted.clone().unwrap_or_else(|| "predicted".to_owned());
    let mut header = vec!["layer".to_owned(), "op".into(), "w".into(), "out".into(), "bytes".into(), predicted];
    if let Some((unit, board)) = &layers.measured {
        let unit = if Some(unit) == layers.predicted.as_ref() { "" } else { unit };
        header.extend([format!("{board} {unit}").trim_end().to_owned(), "error".to_owned()]);
    }
    let bits = |bits: Option<u8>| bits.map_or(NONE.to_owned(), |bits| bits.to_string());
    let counts = |predicted, measured| {
        let mut cells = vec![grouped(predicted)];
        if layers.measured.is_some() {
            let error = signed(layers.error(predicted, measured)) + " %";
            cells.extend([grouped(measured), error]);
        }
        cells
    };
    let mut rows: Vec<Vec<String>> = Vec::new();
    for row in &layers.rows {
        let mut cells = vec![row.name.clone(), row.op.clone(), bits(row.w), bits(row.out), count(row.bytes)];
        cells.extend(counts(row.predicted, row.measured));
        rows.push(cells);
    }
    let [predicted, measured] = layers.totals();
    let bytes = count(layers.rows.iter().map(|row| row.bytes).sum());
    let all = ["all".to_owned(), String::new(), String::new(), String::new(), bytes];
    rows.push(all.into_iter().chain(counts(predicted, measured)).collect());
    format!("\n{}", table(&header, &rows))
}

fn rivals(run: &Run) -> String {
    if run.comparison.is_empty() {
        return String::new();
    }
    let row = |rival: &crate::run::Rival| {
        let [low, high] = rival.loss_interval.unwrap_or([f64::NAN; 2]).map(|end| fixed(Some(end), 2));
        let interval = format!("{low} to {high}");
        let plan = rival.plan.clone().unwrap_or_else(|| NONE.to_owned());
        vec![crate::figures::rivals::title(rival), plan, fixed(rival.top1, 2), fixed(rival.loss, 2), interval]
    };
    let rows: Vec<Vec<String>> = run.comparison.iter().map(row).collect();
    format!("\n{}", table(&["beside".into(), "plan".into(), "top-1, %".into(), "loss".into(), "95 %".into()], &rows))
}

fn race(run: &Run) -> String {
    if run.race.is_empty() {
        return String::new();
    }
    let row = |standing: &crate::run::Standing| {
        vec![
            standing.agent.clone(),
            standing.plan.clone(),
            fixed(standing.mean_weight_bits, 2),
            fixed(standing.loss, 2),
            fixed(standing.value, 4),
        ]
    };
    let rows: Vec<Vec<String>> = run.race.iter().map(row).collect();
    format!("\n{}", table(&["race".into(), "plan".into(), "bits".into(), "loss".into(), "value".into()], &rows))
}

/// Two columns of words on the left, numbers on the right.
fn table(header: &[String], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells =
            rows.iter().chain([header].map(<[String]>::to_vec).iter()).map(|row| row[column].chars().count()).max();
        cells.unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let line = |row: &[String]| {
        let cell = |(column, cell): (usize, &String)| {
            let width = widths[column];
            if column < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        };
        row.iter().enumerate().map(cell).collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().fold(line(header), |text, row| text + &line(row))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sparklines_rise_and_bear_what_is_no_number() {
        assert_eq!(sparkline(&[0.0, 1.0, f64::NAN, 3.5, 7.0]), "▁▂ ▅█");
        assert_eq!(sparkline(&[2.0, 2.0]), "▅▅");
        assert_eq!(sparkline(&[f64::NAN, f64::INFINITY]), "  ");
        assert_eq!(sparkline(&[f64::MIN, f64::MAX]), "▁█");
        assert_eq!(sparkline(&vec![1.0; 10_000]).chars().count(), 48);
    }
}
