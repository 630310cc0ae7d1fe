//! What is said of a search that is watched: a screen, a line for each measurement, or JSON.

use std::time::{SystemTime, UNIX_EPOCH};

use releq_report::live::{self, Now};
use releq_report::run::{Asked, Measurement, Run};
use releq_report::text;
use serde::Serialize;

use crate::terminal::{self, Screen};

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum End {
    /// With a result.
    Finished,
    /// With a race's standings.
    Raced,
    /// Before it was done.
    Stopped,
}

/// Whoever is told.
pub(super) struct Teller {
    way: Way,
    /// Measurements that have been told.
    told: usize,
}

enum Way {
    Screen(Screen),
    Lines,
    Json,
}

/// A line of JSON.
#[derive(Serialize)]
struct Line<'r> {
    schema: u32,
    /// `run` first, then `measurement` for each new one, and `end` last.
    event: &'static str,
    run: &'r str,
    #[serde(flatten)]
    now: Now<'r>,
    #[serde(skip_serializing_if = "Option::is_none")]
    asked: Option<&'r Asked>,
    #[serde(skip_serializing_if = "Option::is_none")]
    number: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    measurement: Option<&'r Measurement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end: Option<End>,
    /// The chosen plan, of a search that is finished.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<&'r str>,
    /// Whether it keeps all that was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    met: Option<bool>,
}

fn clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

impl Teller {
    /// Says where the search of `run` is now; what was measured before is counted and not listed.
    pub(super) fn new(json: bool, run: &Run, held: bool) -> std::io::Result<Self> {
        let screen = if json || !held { None } else { Screen::new() };
        let teller = match (json, screen) {
            (true, _) => Self { way: Way::Json, told: run.measurements.len() },
            (false, Some(screen)) => Self { way: Way::Screen(screen), told: 0 },
            (false, None) => Self { way: Way::Lines, told: run.measurements.len() },
        };
        match teller.way {
            Way::Json => print(&Line { asked: run.later.as_ref().or(run.asked.as_ref()), ..Line::new("run", run) })?,
            Way::Lines if held => {
                let stage = Now::of(run, clock()).stage();
                terminal::answer(&format!("{}: {stage}, {} so far\n", run.name, live::fine_tunes(teller.told)))?;
            }
            Way::Lines | Way::Screen(_) => {}
        }
        Ok(teller)
    }

    /// Says what is new.
    pub(super) fn tell(&mut self, run: &Run) -> std::io::Result<()> {
        // A log that was moved away begins anew.
        let told = self.told.min(run.measurements.len());
        self.told = run.measurements.len();
        let new = run.measurements[told..].iter().zip(told + 1..);
        match &mut self.way {
            Way::Screen(screen) => {
                screen.draw(&live::screen(run, clock()));
                Ok(())
            }
            Way::Lines => {
                for (one, number) in new {
                    terminal::answer(&format!("{number:>4}  {}\n", live::measurement(one)))?;
                }
                Ok(())
            }
            Way::Json => {
                for (one, number) in new {
                    let line = Line::new("measurement", run);
                    print(&Line { number: Some(number), measurement: Some(one), ..line })?;
                }
                Ok(())
            }
        }
    }

    /// Says how it ended.
    pub(super) fn end(&mut self, run: &Run, end: End) -> std::io::Result<()> {
        self.tell(run)?;
        self.leave();
        if let Way::Json = self.way {
            let outcome = run.outcome.as_ref().filter(|_| end == End::Finished);
            let (plan, met) = (outcome.map(|outcome| outcome.plan.as_str()), outcome.and_then(|outcome| outcome.met));
            return print(&Line { end: Some(end), plan, met, ..Line::new("end", run) });
        }
        let text = match end {
            End::Finished | End::Raced => text::headline(run),
            End::Stopped => stopped(run),
        };
        terminal::answer(&text)
    }

    /// Leaves the terminal as it was.
    pub(super) fn leave(&mut self) {
        if let Way::Screen(screen) = &mut self.way {
            screen.clear();
        }
    }
}

/// What to know of a search that nobody is at.
fn stopped(run: &Run) -> String {
    let name = &run.name;
    let now = Now::of(run, clock());
    let stage = match now.doing {
        Some(_) => format!("it was at {}, after {}", now.stage(), live::fine_tunes(now.measured)),
        None => "it had measured nothing".to_owned(),
    };
    format!(
        "no process is at {name} any more, and its last search has no result: {stage}\n\
         run the same `releq search … -o {name}` to go on from there; `releq report {name}` says what it was asked\n"
    )
}

impl<'r> Line<'r> {
    fn new(event: &'static str, run: &'r Run) -> Self {
        Self {
            schema: 1,
            event,
            run: &run.name,
            now: Now::of(run, clock()),
            asked: None,
            number: None,
            measurement: None,
            end: None,
            plan: None,
            met: None,
        }
    }
}

fn print(line: &Line<'_>) -> std::io::Result<()> {
    let text = serde_json::to_string(line).map_err(std::io::Error::other)?;
    terminal::answer(&(text + "\n"))
}
