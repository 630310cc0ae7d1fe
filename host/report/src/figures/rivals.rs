//! What else the same bits would have bought: losses of other networks with their intervals.

use super::{Figure, fitted};
use crate::number;
use crate::plot::{Anchor, Plot, Scale};
use crate::run::{Rival, Run};

const TOP: f64 = 8.0;
const ROW: f64 = 26.0;

/// A row a network; none where nothing was set beside the chosen plan.
pub(crate) fn figure(run: &Run) -> Option<Figure> {
    let first = run.comparison.first()?;
    let note = format!(
        "Top-1 points lost on {} test images, with 95 % intervals; further left is better.",
        number::count(first.images)
    );
    // What diverged lost everything, and would press all others together.
    let drawn: Vec<Rival> = run.comparison.iter().filter(|rival| rival.diverged.is_none()).cloned().collect();
    Some(Figure::drawn("", &note, |width| draw(&drawn, width)))
}

/// What a row is called.
pub(crate) fn title(rival: &Rival) -> String {
    match rival.kind.as_str() {
        "checkpoint" => "float".to_owned(),
        "control" => "float, fine-tuned".to_owned(),
        kind if rival.diverged.is_some() => format!("{kind}, diverged"),
        kind => kind.to_owned(),
    }
}

fn draw(rivals: &[Rival], width: f64) -> Plot {
    let foot = TOP + ROW * rivals.len() as f64;
    let mut plot = Plot::new(&format!("Loss of {} networks with 95 % intervals.", rivals.len()), [width, foot + 42.0]);
    let (left, right) = (126.0, width - 64.0);
    let ends = |rival: &Rival| rival.loss.into_iter().chain(rival.loss_interval.into_iter().flatten());
    let x = Scale::over(rivals.iter().flat_map(ends).chain([0.0]), [left + 8.0, right]).padded(0.04);
    plot.line("limit", [(x.at(0.0), TOP), (x.at(0.0), foot)]);
    for (index, rival) in rivals.iter().enumerate() {
        let y = TOP + ROW * (index as f64 + 0.5);
        let chosen = rival.kind == "searched";
        let (words, mark) = if chosen { ("direct", "front") } else { ("name", "early") };
        plot.text(words, [left - 8.0, y + 4.0], Anchor::End, &fitted(&title(rival), left - 8.0));
        if let Some(interval) = rival.loss_interval {
            plot.line(if chosen { "trend" } else { "way" }, interval.map(|end| (x.at(end), y)));
        }
        let what = rival.plan.as_deref().unwrap_or("in floats");
        plot.dot(mark, [rival.loss.map_or(f64::NAN, |loss| x.at(loss)), y], 4.5, what);
        plot.text("count", [width - 2.0, y + 4.0], Anchor::End, &format!("{} %", number::fixed(rival.top1, 2)));
    }
    plot.below(&x, foot, (width / 90.0) as usize, "points lost");
    plot
}
