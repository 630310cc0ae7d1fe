//! `releq replay`: searchers raced on recorded accuracy, where nothing is trained and the answer is known.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use releq_search::ledger::{Ledger, Stop};
use releq_search::network::{LayerFeatures, Network};
use releq_search::objective::{Contest, NoSuchContest};
use releq_search::plan::BitPlan;
use releq_search::race::{self, ANYTIME, Course, Outcome as Raced};
use releq_search::searcher::{Problem, Searcher};
use releq_search::table::{Sidecar, Table, TableError};
use releq_search::{learners, rivals};
use serde::Serialize;

use super::{Outcome, print_json};
use crate::terminal::{self, Progress, table};

/// Example: releq replay lenet.csv --agent all --contest all --seeds 16
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq replay lenet.csv --agent all --contest all --seeds 16")]
pub(super) struct Arguments {
    /// A table of plans and their top-1, such as b1,b2,b3,b4,top1, with its sidecar .json beside it
    table: PathBuf,
    /// Who searches: one agent, or all
    #[arg(long, value_name = "NAME", default_value = "all")]
    agent: String,
    /// What is asked: paper (its reward), floor (fewest bits within half a point), authors (their script's reward), all
    #[arg(long, value_name = "NAME", default_value = "paper")]
    contest: String,
    /// Runs of each agent, with seeds from 0 on
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::value_parser!(u64).range(1..))]
    seeds: u64,
    /// Top-1 of the float network; by default the sidecar's
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    float: Option<f64>,
    /// Distinct plans that each run looks up, the optimum found or not; by default a run ends at the optimum
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    budget: Option<u64>,
    /// Race all agents, each spending the same number of distinct plans: --budget, or 100
    #[arg(long, conflicts_with = "agent")]
    race: bool,
    /// Print one JSON document: an object, or an array where `all` was asked for
    #[arg(long)]
    json: bool,
}

/// Why there is no race.
#[derive(Debug, thiserror::Error)]
enum ReplayError {
    #[error("cannot use {} as a table: {error}", path.display())]
    Table { path: PathBuf, error: TableError },
    #[error(transparent)]
    File(TableError),
    #[error(
        "the float accuracy of {} is not known: there is no sidecar beside it; give it with --float PERCENT, or write {}",
        path.display(),
        path.with_extension("json").display()
    )]
    NoFloat { path: PathBuf },
    #[error("there is no agent `{name}`; the agents are {known}; name one of them, or all")]
    NoSuchAgent { name: String, known: String },
    #[error("{0}; name one of them, or all")]
    NoSuchContest(NoSuchContest),
}

/// What one agent did in one contest.
#[derive(Debug, Serialize)]
struct Report {
    schema: u32,
    #[serde(flatten)]
    outcome: Raced,
    /// Mean wall time of a run, beside the other runs.
    seconds_per_run: f64,
}

/// A recorded network: what every contest on it shares.
struct Recorded {
    table: Table,
    layers: Network,
    float: f64,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let agents = agents(&arguments.agent)?;
    let contests = contests(&arguments.contest)?;
    let recorded = read(&arguments.table, arguments.float)?;
    let mut progress = Progress::new("replay");
    let mut reports = Vec::new();
    for &contest in &contests {
        for &make in &agents {
            progress.update(reports.len(), contests.len() * agents.len(), &format!("{contest} {}", make().name()));
            reports.push(race(&recorded, contest, make, arguments)?);
        }
    }
    progress.finish();
    let several = arguments.agent == ALL || arguments.contest == ALL;
    match (arguments.json, reports.as_slice()) {
        (true, [report]) if !several => print_json(report)?,
        (true, reports) => print_json(&reports)?,
        (false, reports) => terminal::answer(&text(reports))?,
    }
    Ok(true)
}

/// Distinct plans that each agent of a race spends, unless told otherwise: as far as the anytime table reads.
const RACED: u64 = ANYTIME[ANYTIME.len() - 1] as u64;

/// The name that stands for every agent or contest.
const ALL: &str = "all";

/// The agents of that name. Exhaustive search races only when named: when it happens to pass the optimum says nothing.
fn agents(name: &str) -> Result<Vec<rivals::Make>, ReplayError> {
    let exhaustive: rivals::Make = || Box::new(rivals::Exhaustive);
    let racing: Vec<rivals::Make> = rivals::ALL.into_iter().chain(learners::ALL).collect();
    if name == ALL {
        return Ok(racing);
    }
    let named: Vec<rivals::Make> = racing.into_iter().chain([exhaustive]).collect();
    let known = || named.iter().map(|make| make().name().to_owned()).collect::<Vec<_>>().join(", ");
    let found = named.iter().find(|make| make().name() == name);
    found.map(|&make| vec![make]).ok_or_else(|| ReplayError::NoSuchAgent { name: name.to_owned(), known: known() })
}

fn contests(name: &str) -> Result<Vec<Contest>, ReplayError> {
    if name == ALL {
        return Ok(Contest::ALL.to_vec());
    }
    Ok(vec![name.parse().map_err(ReplayError::NoSuchContest)?])
}

fn read(path: &Path, float: Option<f64>) -> Result<Recorded, ReplayError> {
    let unusable = |error| match error {
        // These name their file themselves.
        TableError::Read { .. } | TableError::Sidecar { .. } => ReplayError::File(error),
        error => ReplayError::Table { path: path.to_owned(), error },
    };
    let table = Table::read(path).map_err(unusable)?;
    match (Sidecar::of(path), float) {
        (Ok(sidecar), float) => {
            sidecar.fits(&table).map_err(unusable)?;
            Ok(Recorded { table, layers: sidecar.layers, float: float.unwrap_or(sidecar.float_accuracy) })
        }
        (Err(TableError::NoSidecar { .. }), Some(float)) => {
            terminal::note("without a sidecar nothing is known of the layers; the learners see only their order");
            let layers = alike(table.space().layers()).map_err(|_| unusable(TableError::Empty))?;
            Ok(Recorded { table, layers, float })
        }
        (Err(TableError::NoSidecar { .. }), None) => Err(ReplayError::NoFloat { path: path.to_owned() }),
        (Err(error), _) => Err(unusable(error)),
    }
}

/// A network of layers of which nothing is known.
fn alike(layers: usize) -> Result<Network, releq_search::network::NetworkError> {
    let layer = LayerFeatures { weights: 1, macs: 1, inputs: 1, outputs: 1, kernel: 0, deviation: 0.0 };
    Network::new(vec![layer; layers])
}

fn race(
    recorded: &Recorded,
    contest: Contest,
    make: rivals::Make,
    arguments: &Arguments,
) -> Result<Report, anyhow::Error> {
    let mut course = Course::new(contest, &recorded.table, recorded.layers.clone(), recorded.float);
    if let Some(budget) = arguments.budget.or(arguments.race.then_some(RACED)) {
        course.budget = usize::try_from(budget).unwrap_or(usize::MAX);
        course.to_optimum = false;
    }
    let seeds: Vec<u64> = (0..arguments.seeds).collect();
    let clock = Clock::default();
    let timed = || -> Box<dyn Searcher> { Box::new(Timed { searcher: make(), clock: clock.clone() }) };
    let outcome = course.run(timed, &seeds).map_err(|failure| anyhow::anyhow!(failure))?;
    let seconds_per_run = clock.seconds() / seeds.len() as f64;
    Ok(Report { schema: 1, outcome, seconds_per_run })
}

/// Adds up the seconds of runs side by side.
#[derive(Clone, Default)]
struct Clock(Arc<Mutex<f64>>);

impl Clock {
    fn add(&self, since: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) += since.elapsed().as_secs_f64();
    }

    fn seconds(&self) -> f64 {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A searcher on the clock.
struct Timed {
    searcher: Box<dyn Searcher>,
    clock: Clock,
}

impl Searcher for Timed {
    fn name(&self) -> &str {
        self.searcher.name()
    }

    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, seed: u64) -> Result<(), Stop> {
        let start = Instant::now();
        let end = self.searcher.search(problem, ledger, seed);
        self.clock.add(start);
        end
    }

    fn greedy(&self) -> Option<BitPlan> {
        self.searcher.greedy()
    }
}

/// The table of all reports, and who won each contest.
fn text(reports: &[Report]) -> String {
    let [first, second, third] = ANYTIME.map(|after| format!("regret at {after}"));
    let header = ["contest", "agent", "median", "p90", "found", "greedy", &first, &second, &third, "seconds"];
    let rows: Vec<Vec<String>> = reports.iter().map(row).collect();
    let contests = Contest::ALL.into_iter().filter_map(|contest| {
        let raced: Vec<&Raced> = reports.iter().map(|report| &report.outcome).collect();
        let raced: Vec<&Raced> = raced.into_iter().filter(|outcome| outcome.contest == contest).collect();
        verdict(contest, &raced)
    });
    let verdicts: String = contests.collect();
    format!(
        "{}\nmedian, p90: distinct plans looked up until the optimum was, a miss counting as one more than the budget\n\
         found, greedy: runs that looked the optimum up, and whose policy chooses it at the end\n\
         regret: mean share of the way from all-widest to the optimum not yet gone, %\n\
         seconds: mean of a run, {} runs each\n\n{verdicts}",
        table(&header, &rows),
        reports.first().map_or(0, |report| report.outcome.runs.len()),
    )
}

fn row(report: &Report) -> Vec<String> {
    let outcome = &report.outcome;
    let found = outcome.runs.iter().filter(|run| run.evaluations_to_optimum.is_some()).count();
    let chosen: Vec<&BitPlan> = outcome.runs.iter().filter_map(|run| run.greedy.as_ref()).collect();
    let greedy = chosen.iter().filter(|plan| ***plan == outcome.optimum).count();
    let mut cells = vec![
        outcome.contest.to_string(),
        outcome.agent.clone(),
        format!("{:.1}", outcome.median_evaluations),
        format!("{:.1}", outcome.p90_evaluations),
        found.to_string(),
        if chosen.is_empty() { "-".to_owned() } else { greedy.to_string() },
    ];
    cells.extend(
        outcome.mean_regret.map(|regret| regret.map_or("-".to_owned(), |share| format!("{:.1}", 100.0 * share))),
    );
    cells.push(format!("{:.3}", report.seconds_per_run));
    cells
}

/// Who needed the fewest plans, by median and then 90th percentile; nobody where one raced alone.
fn verdict(contest: Contest, raced: &[&Raced]) -> Option<String> {
    let winner = race::winner(raced).filter(|_| raced.len() > 1)?;
    let found = winner.runs.iter().filter(|run| run.evaluations_to_optimum.is_some()).count();
    Some(format!(
        "{contest}: {} wins, with a median of {:.1} distinct evaluations to {} ({found} of {} runs found it)\n",
        winner.agent,
        winner.median_evaluations,
        winner.optimum,
        winner.runs.len(),
    ))
}

fn percent(text: &str) -> Result<f64, String> {
    let number: Option<f64> = text.parse().ok().filter(|number| *number > 0.0 && *number <= 100.0);
    number
        .map(|number| number / 100.0)
        .ok_or_else(|| "write a percentage above 0 and up to 100, such as 99.8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_are_all_or_the_one_named() {
        let names = |agents: Vec<rivals::Make>| agents.iter().map(|make| make().name().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(agents("ppo-surrogate").unwrap()), ["ppo-surrogate"]);
        assert_eq!(names(agents("exhaustive").unwrap()), ["exhaustive"]);
        let all = names(agents("all").unwrap());
        assert!(all.contains(&"ppo".to_owned()) && all.contains(&"surrogate".to_owned()));
        assert!(!all.contains(&"exhaustive".to_owned()));
    }

    #[test]
    fn percentages_become_shares() {
        assert_eq!(percent("99.8"), Ok(0.998));
        assert!(["0", "101", "NaN", "most"].iter().all(|text| percent(text).is_err()));
    }
}
