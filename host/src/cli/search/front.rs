//! The front as a table: what else of all that was measured one might choose.

use crate::search::front::{Basis, Front, Pick, Point};
use crate::terminal::{grouped, table};

/// Points that the table shows; the file has all.
const SHOWN: usize = 16;

/// The front, its picks named.
pub(super) fn text(front: &Front) -> String {
    let picks = Pick::ALL.map(|pick| (pick, front.pick(pick).map(|point| &point.plan)));
    let named = |point: &Point| {
        let here = picks.iter().filter(|(_, plan)| *plan == Some(&point.plan));
        here.map(|(pick, _)| name(*pick)).collect::<Vec<_>>().join(", ")
    };
    let boards: Vec<String> = front.points.first().map_or(Vec::new(), |point| {
        point.boards.iter().flat_map(|on| [on.board.clone(), "ms est.".to_owned()]).collect()
    });
    let mut header = vec!["plan", "loss", "flash", "RAM"];
    header.extend(boards.iter().map(String::as_str));
    header.extend(["budgets", "pick"]);
    let row = |point: &Point| {
        let mut cells = vec![
            point.plan.to_string(),
            format!("{:.2}{}", point.loss, if point.basis == Basis::FineTuned { "*" } else { " " }),
            grouped(point.flash),
            grouped(point.ram),
        ];
        for on in &point.boards {
            cells.push(on.instructions.map_or("-".to_owned(), |count| grouped(count as u64)));
            cells.push(on.milliseconds.map_or("-".to_owned(), |time| format!("{time:.2}")));
        }
        let kept = match (point.within, point.allowed) {
            (true, true) => "kept",
            (true, false) => "loss missed",
            (false, _) => "missed",
        };
        cells.push(kept.to_owned());
        cells.push(named(point));
        cells
    };
    // Every pick is shown, and of the others as many as there is room for, spread over the losses.
    let step = front.points.len().div_ceil(SHOWN).max(1);
    let shown = front.points.iter().enumerate().filter(|(index, point)| index % step == 0 || !named(point).is_empty());
    let rows: Vec<Vec<String>> = shown.map(|(_, point)| row(point)).collect();
    let left = front.points.len() - rows.len();
    let more = if left == 0 { String::new() } else { format!("; {left} more in front.json") };
    format!(
        "{} of {} plans measured are beaten by no other in loss, flash, RAM and instructions{more}\n{}\
         * fine-tuned at length; other losses are foretold from short fine-tunes\n{}",
        front.points.len(),
        front.measured,
        table(&header, &rows),
        diverged(front)
    )
}

/// The plans that came to no numbers, if there are any.
fn diverged(front: &Front) -> String {
    let [first, others @ ..] = &front.diverged[..] else { return String::new() };
    let plans: Vec<String> = front.diverged.iter().take(SHOWN).map(|one| one.plan.to_string()).collect();
    let more = if others.len() < SHOWN { "" } else { " and more, in front.json" };
    format!("diverged, and are never chosen: {}{more}\n{}: {}\n", plans.join("  "), first.plan, first.why)
}

/// What to type for a pick.
fn name(pick: Pick) -> String {
    use clap::ValueEnum;
    pick.to_possible_value().map_or(String::new(), |value| value.get_name().to_owned())
}
