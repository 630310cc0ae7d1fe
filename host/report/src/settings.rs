//! What a search was asked, as names and values.

use crate::number::{NONE, count, fixed, grouped, time};
use crate::run::{Asked, Run};

/// What the search of `run` was asked, and what its result says beside.
pub(crate) fn settings(run: &Run, asked: &Asked) -> Vec<(&'static str, String)> {
    let outcome = run.outcome.clone().unwrap_or_default();
    let list = |widths: &[u8]| widths.iter().map(u8::to_string).collect::<Vec<_>>().join(", ");
    let boards: Vec<&str> = asked.boards.iter().map(|board| board.name.as_str()).collect();
    let or_none = |text: Option<String>| text.unwrap_or_else(|| NONE.to_owned());
    let tunes = [asked.short, asked.long, asked.last].map(count).join(" · ");
    let mut settings = vec![
        ("model", asked.model.clone()),
        ("data", or_none(asked.data.clone())),
        ("agent", asked.agent.clone()),
        ("preset", asked.preset.clone()),
        (
            "made small",
            outcome
                .cost
                .as_ref()
                .map_or(asked.minimize.clone(), |cost| format!("{} by {}", asked.minimize, cost.model)),
        ),
        ("weight bits to choose from", list(&asked.weights)),
        ("activation bits to choose from", list(&asked.activations)),
        ("first and last layer", if asked.pin_ends { "held at 8 bits" } else { "searched like the others" }.to_owned()),
        ("most points lost", or_none(asked.max_loss.map(|points| points.to_string()))),
        ("boards", boards.join(", ")),
        ("plans to evaluate", count(asked.episodes)),
        ("images of a short · longer · last fine-tune", tunes),
        ("plans side by side", count(asked.actors)),
        ("seed", or_none(asked.seed.map(|seed| seed.to_string()))),
        ("digest of network, data and recipe", asked.key.clone()),
    ];
    settings.extend(budget_settings(asked));
    settings.push(("time of the last command", time(outcome.seconds)));
    settings.push(("releq", or_none(outcome.version)));
    settings
}

fn budget_settings(asked: &Asked) -> Vec<(&'static str, String)> {
    let budgets = &asked.budgets;
    let latency = budgets.latency.map(|time| 1e3 * time.secs as f64 + f64::from(time.nanos) / 1e6);
    let all = [
        ("most flash", budgets.flash.map(|bytes| format!("{} B", count(Some(bytes))))),
        ("most RAM", budgets.ram.map(|bytes| format!("{} B", count(Some(bytes))))),
        ("most instructions", budgets.instructions.map(|most| grouped(Some(most)))),
        ("longest inference", latency.map(|time| format!("{} ms", fixed(Some(time), 2)))),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}
