//! The page: one file with its style and charts in it, and nothing fetched from anywhere.

use minijinja::value::Serde;
use minijinja::{Environment, Value};
use serde::Serialize;

use crate::facts::{self, Fact};
use crate::plot::escaped;
use crate::run::{Run, State};
use crate::sections::{self, Section};

const PAGE: &str = include_str!("../assets/report.html");
const STYLE: &str = include_str!("../assets/report.css");

/// What the template is given.
#[derive(Serialize)]
struct Page<'r> {
    style: &'static str,
    title: String,
    run: &'r str,
    state: String,
    facts: Vec<Fact>,
    sections: Vec<Section>,
    version: &'static str,
}

/// The page of `run`.
///
/// # Errors
/// Only a fault of the template.
pub fn page(run: &Run) -> Result<String, minijinja::Error> {
    let mut environment = Environment::new();
    environment.add_filter("code", code);
    // By its ending, whatever is put into it is escaped.
    environment.add_template("report.html", PAGE)?;
    let page = Page {
        style: STYLE,
        title: title(run),
        run: &run.name,
        state: state(run),
        facts: facts::facts(run),
        sections: sections::all(run),
        version: env!("CARGO_PKG_VERSION"),
    };
    environment.get_template("report.html")?.render(Serde(&page))
}

/// A sentence whose words between backticks are set as code.
fn code(sentence: &str) -> Value {
    let part = |(index, part): (usize, &str)| {
        let part = escaped(part);
        if index % 2 == 0 { part } else { format!("<code>{part}</code>") }
    };
    Value::from_safe_string(sentence.split('`').enumerate().map(part).collect())
}

/// What was searched, in a few words.
fn title(run: &Run) -> String {
    match (&run.outcome, &run.asked) {
        (Some(outcome), _) => {
            let synthetic = if outcome.synthetic { " (synthetic)" } else { "" };
            format!("{} on {}{synthetic}", outcome.model, outcome.data)
        }
        (None, Some(asked)) => {
            let file = asked.model.rsplit('/').next().unwrap_or_default();
            format!("{file} on {}", asked.data.as_deref().unwrap_or("the first data found"))
        }
        (None, None) if run.state() == State::Raced => "A race of agents".to_owned(),
        (None, None) => "A search without its end".to_owned(),
    }
}

/// How far it came, as a sentence.
fn state(run: &Run) -> String {
    let evaluated = run.episodes.len();
    match run.state() {
        State::Finished => {
            let outcome = run.outcome.clone().unwrap_or_default();
            let kept = match outcome.met {
                Some(true) => "keeps all that was asked",
                Some(false) => "MISSES something that was asked",
                None => "does not say whether it keeps what was asked",
            };
            let plans =
                outcome.distinct_evaluations.map_or(String::new(), |plans| format!(" from {plans} plans evaluated"));
            let later = match run.later {
                Some(_) => " A later search here was asked something else, and has no result yet.",
                None => "",
            };
            format!("Chosen by {}{plans}; the plan {kept}.{later}", outcome.agent)
        }
        State::Raced => format!("A race of {} agents; no plan was chosen.", run.race.len()),
        State::Unfinished => format!(
            "This run is not finished: it is still going on, or it was stopped after {evaluated} episodes. \
             The same `releq search` goes on from here."
        ),
    }
}
