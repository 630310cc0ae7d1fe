//! `releq search`: the cheapest bit-width for every layer that keeps the accuracy.

mod census;
mod contest;
mod crew;
mod front;
mod layers;
pub(super) mod lock;
pub(super) mod report;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use releq_device::board::Board;
use releq_search::plan::BitPlan;
use releq_search::reward::Reward;
use releq_search::searcher::Searcher;
use releq_search::space::Space;
use releq_search::{learners, rivals};

use super::budget::{BoardOptions, BudgetOptions};
use super::{DataOption, DeviceOption, Failure, FileError, Outcome, json, load_model, write_together};
use crate::codes;
use crate::data::{self, Source, Which};
use crate::hardware::Hardware;
use crate::hardware::budget::room;
use crate::network::Network;
use crate::search::SearchError;
use crate::search::bench::Bench;
use crate::search::front::{Front, Known};
use crate::search::hunt::{Aim, Found, Request, Step, Within, hunt};
use crate::search::minimize::{Measure, Minimize};
use crate::search::preset::{Preset, Published};
use crate::search::pricing::Stand;
use crate::search::record::{FRONT, RESULT, RUN, RunRecord};
use crate::search::shelf::Shelf;
use crate::search::split::Split;
use crate::search::stage::{self, Teller};
use crate::target::fit::check_fit;
use crate::target::lab::Lab;
use crate::terminal::{self, Progress};
use crate::train::interrupt::Interrupt;
use report::Report;

/// Example: releq search lenet.onnx --data mnist --max-flash 64KiB --max-loss 0.3 -o runs/lenet
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  releq search lenet.onnx --data mnist --max-flash 64KiB --max-loss 0.3 -o runs/lenet"
)]
pub(super) struct Arguments {
    /// A model: .onnx, or .safetensors from `releq train` or `releq import`
    model: PathBuf,
    #[command(flatten)]
    data: DataOption,
    #[command(flatten)]
    device: DeviceOption,
    /// Compare plans on the test images of this directory instead
    #[arg(long, value_name = "DIR")]
    val: Option<String>,
    #[command(flatten)]
    boards: BoardOptions,
    #[command(flatten)]
    budgets: BudgetOptions,
    /// Weight bits to choose from: a range 2..8 or a list 2,3,4,8
    #[arg(long, value_name = "A..B", default_value = "2..8", value_parser = widths)]
    weights: Widths,
    /// Bits of the codes between layers to choose from, too: a range 2..8 or a list 4,8
    #[arg(long, value_name = "A..B", default_value = "8", value_parser = widths)]
    activations: Widths,
    /// What the chosen plan has least of among those that keep the accuracy
    #[arg(long, value_enum, default_value_t = Minimize::Bits)]
    minimize: Minimize,
    /// Run every candidate on this board and go by what it counts there; implies --board and --minimize instructions
    #[arg(long, value_name = "BOARD")]
    measure: Option<String>,
    /// Keep the weights of the first and the last layer at 8 bits
    #[arg(long)]
    pin_ends: bool,
    /// What is asked of a plan, and how plans are fine-tuned
    #[arg(long, value_enum, default_value_t = Preset::Default)]
    preset: Preset,
    /// The quantizer of --preset paper
    #[arg(long, value_enum, default_value_t = Published::Dorefa)]
    quantizer: Published,
    /// Who chooses which plans are evaluated; by default ppo-surrogate, or ppo with --preset paper
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Most distinct plans to evaluate, all-8 and probes included; every plan for --agent exhaustive
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..))]
    episodes: u64,
    /// Plans to fine-tune side by side, each on one thread; which plans are tried depends on it
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=64))]
    actors: u8,
    /// Most top-1 points that may be lost against the float network; by default 0.3, or as few as the other budgets allow
    #[arg(long, value_name = "POINTS", help_heading = "Budgets")]
    max_loss: Option<f64>,
    /// Images of fine-tuning for each evaluation
    #[arg(long, value_name = "N", default_value_t = 3000)]
    short: usize,
    /// Images of fine-tuning for anchors and re-ranking
    #[arg(long, value_name = "N", default_value_t = 16_000)]
    long: usize,
    /// Passes over the tuning images for the chosen plan; may be a fraction
    #[arg(long, default_value_t = 1.0)]
    epochs: f64,
    /// Random plans of the chosen one's mean bits to fine-tune as long and judge beside it, and uniform ones
    #[arg(long, value_name = "N", default_value_t = 0)]
    baselines: usize,
    /// Only race: every agent spends --episodes plans, and the winner is named
    #[arg(long, conflicts_with_all = ["agent", "table"])]
    race: bool,
    /// Only measure every plan under as many seeds, and write the table here; for --agent exhaustive
    #[arg(long, value_name = "FILE.csv")]
    table: Option<PathBuf>,
    /// Trainings of each plan of a --table, with the seeds from --seed on
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=64))]
    seeds: u64,
    /// The one seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Let workers measure the plans, who connect to this address; port 0 takes a free one
    #[arg(long, value_name = "ADDR:PORT", conflicts_with_all = ["measure", "table", "race"], help_heading = "Workers")]
    listen: Option<String>,
    /// What workers must show; by default drawn and printed
    #[arg(long, value_name = "TOKEN", env = "RELEQ_TOKEN", hide_env_values = true, help_heading = "Workers")]
    token: Option<String>,
    /// Directory of the run: log, result and image; the same command resumes from it
    #[arg(short, long, value_name = "RUN")]
    output: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// Widths that a layer may take.
#[derive(Clone, Debug)]
struct Widths(Vec<u8>);

fn widths(text: &str) -> Result<Widths, String> {
    let number = |part: &str| {
        let bits = part.trim().parse::<u8>().ok().filter(|bits| releq_search::plan::BITS.contains(bits));
        bits.ok_or_else(|| format!("`{part}` is not a bit-width; write a range like 2..8 or a list like 2,3,4,8"))
    };
    let widths: Vec<u8> = match text.split_once("..") {
        Some((low, high)) => (number(low)?..=number(high.trim_start_matches('='))?).collect(),
        None => text.split(',').map(number).collect::<Result<_, _>>()?,
    };
    if widths.is_empty() {
        Err(format!("`{text}` holds no bit-width; write the smaller one first"))
    } else {
        Ok(Widths(widths))
    }
}

/// What every kind of search starts from.
struct Search<'a> {
    arguments: &'a Arguments,
    network: Network,
    source: Source,
    split: Split,
    space: Space,
    measure: Measure,
    hardware: Arc<Hardware>,
    /// A plan within the budgets, where these bind.
    start: Option<BitPlan>,
    started: Instant,
}

/// A run's network and images.
pub(super) struct Setting {
    pub(super) network: Network,
    pub(super) source: Source,
    pub(super) split: Split,
}

impl Setting {
    /// The images that `data` and `val` name, for `network`.
    pub(super) fn open(network: Network, data: &DataOption, val: Option<&str>) -> Result<Self, Failure> {
        let source = data.locate()?;
        let (train, test) = (source.load(Which::Train)?, source.load(Which::Test)?);
        super::quantize::check_images(&network, &test, source.name())?;
        let own = val.map(|spec| data::locate(Some(spec), None)?.load(Which::Test)).transpose()?;
        let split = Split::new(train, test, network.graph.held_out, own);
        Ok(Self { network, source, split })
    }
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    arguments.device.choose()?;
    let boards = arguments.boards().named()?;
    let mut searcher = searcher(arguments)?;
    if let Some(table) = &arguments.table {
        census::check(searcher.name(), table)?;
    }
    let stand = arguments.measure.as_deref().map(super::run::board).transpose()?;
    let board = stand.or(boards.first().copied());
    let measure = Measure::new(arguments.minimize(), board).map_err(|error| Failure::with_code(2, error))?;
    let search = Search::open(arguments, measure)?;
    let _lock = lock::take(&arguments.output)?;
    stage::clear(&arguments.output);
    match &arguments.table {
        Some(table) => census::run(&search, table),
        None if arguments.race => contest::run(&search),
        None => search.run(searcher.as_mut(), &boards),
    }
}

impl<'a> Search<'a> {
    fn open(arguments: &'a Arguments, measure: Measure) -> Result<Self, Failure> {
        let started = Instant::now();
        let network = load_model(&arguments.model)?;
        let space = space(arguments, &network)?;
        // Before anything is trained, and before any image is read.
        let (hardware, start) = weighed(arguments, &network, &space)?;
        let Setting { network, source, split } = Setting::open(network, &arguments.data, arguments.val.as_deref())?;
        Ok(Self { arguments, network, source, split, space, measure, hardware, start, started })
    }

    /// The log of everything measured, which the same command goes on from.
    fn log(&self) -> PathBuf {
        self.arguments.output.join("measurements.jsonl")
    }

    fn bench(&self, seed: u64, stop: &'a (dyn Fn() -> bool + Sync)) -> Result<Bench<'_>, Failure> {
        let Arguments { preset, quantizer, actors, .. } = *self.arguments;
        let recipe = preset.recipe(quantizer, seed);
        let bench = Bench::open(&self.network, &self.split, recipe, &self.log(), actors.into(), stop);
        let bench = bench.map_err(SearchError::from).map_err(failure)?;
        if bench.measured() > 0 {
            let log = self.log();
            terminal::note(&format!("going on from {} measurements in {}", bench.measured(), log.display()));
        }
        Ok(bench)
    }

    fn run(&self, searcher: &mut dyn Searcher, boards: &[&Board]) -> Outcome {
        let run = &self.arguments.output;
        let interrupt = Interrupt::watch();
        let stop = move || interrupt.requested();
        let mut bench = self.bench(self.arguments.seed, &stop)?;
        let shelf = Shelf::open(run, bench.key()).map_err(failure)?;
        let mut progress = Progress::new("searching");
        let mut teller = Teller::new(run, bench.measured());
        let mut doing = String::new();
        let mut watch = |step: Step<'_>| {
            if step.doing != doing {
                step.doing.clone_into(&mut doing);
                terminal::detail(&format!("the search is at: {doing}"));
            }
            progress.update(step.done, step.of, step.doing);
            teller.tell(step);
        };
        let episodes = run.join("episodes.jsonl");
        let record = self.record(bench.key(), searcher.name());
        let request = Request { settled: record.is_settled(run), ..self.request() };
        if request.settled {
            terminal::note(
                "this run is finished and its boards or budgets are others now, so nothing new is evaluated",
            );
        }
        begin(&record, run)?;
        if let Some(address) = &self.arguments.listen {
            bench.employ(crew::listen(self, address, bench.key())?);
        }
        let found = hunt(&mut bench, &shelf, searcher, &request, &episodes, &mut watch);
        progress.finish();
        let found = found.map_err(failure)?;
        let spent = teller.spent();
        let times = spent.iter().map(|spent| format!("{} {:.0} s", spent.doing, spent.seconds));
        terminal::detail(&format!("the time went to: {}", times.collect::<Vec<_>>().join(", ")));

        let image = run.join("model.rlq");
        let opened = super::open_image(&image, &found.image)?;
        let front = self.front(&bench, &found);
        let report = Report::new(self, &bench, &record, (&found, spent), &front, &opened, &image)?;
        let mut documents = vec![(FRONT, json(&front)?), (RESULT, json(&report)?), (RUN, json(&record)?)];
        if !found.comparison.is_empty() {
            documents.push(("comparison.json", json(&found.comparison)?));
        }
        keep(run, &image, &found.image, &documents)?;
        teller.finish();
        if self.arguments.json {
            super::print_json(&report)?
        } else {
            terminal::answer(&report.text())?
        }
        for board in boards {
            check_fit(board, &opened).map_err(|error| Failure::with_code(1, error))?;
        }
        Ok(found.met)
    }

    fn front(&self, bench: &Bench<'_>, found: &Found) -> Front {
        let known = Known {
            measurements: &bench.measurements(),
            attempts: &found.attempts,
            laws: found.laws.map(|laws| (laws, self.arguments.long)),
            float: found.float_accuracy,
            max_loss: self.arguments.max_loss(),
        };
        Front::of(known, &self.hardware)
    }

    /// What the run was asked.
    fn record(&self, key: &str, agent: &str) -> RunRecord {
        let arguments = self.arguments;
        let Request { short, long, last, .. } = self.request();
        RunRecord {
            schema: 1,
            key: key.to_owned(),
            model: fs::canonicalize(&arguments.model).unwrap_or_else(|_| arguments.model.clone()),
            data: arguments.data.data.clone(),
            val: arguments.val.clone(),
            preset: arguments.preset,
            quantizer: arguments.quantizer,
            agent: agent.to_owned(),
            weights: arguments.weights.0.clone(),
            activations: arguments.activations.0.clone(),
            minimize: arguments.minimize(),
            pin_ends: arguments.pin_ends,
            episodes: arguments.episodes,
            seed: arguments.seed,
            actors: arguments.actors,
            short,
            long,
            last,
            max_loss: arguments.max_loss(),
            boards: arguments.boards().records(),
            budgets: arguments.budgets.asked(),
        }
    }

    fn request(&self) -> Request {
        let arguments = self.arguments;
        let everything = usize::try_from(self.space.count()).unwrap_or(usize::MAX);
        let exhaustive = arguments.agent.as_deref() == Some(EXHAUSTIVE);
        Request {
            space: self.space.clone(),
            aim: match (arguments.preset, arguments.max_loss()) {
                (Preset::Default, Some(_)) => Aim::Loss,
                (Preset::Default, None) => Aim::Accuracy,
                (Preset::Paper, _) => Aim::Reward(Reward::paper()),
            },
            measure: self.measure.clone(),
            stand: self.measure.board.filter(|_| arguments.measure.is_some()).map(stand),
            within: self.start.clone().map(|start| Within { hardware: self.hardware.clone(), start }),
            settled: false,
            max_loss: arguments.max_loss().unwrap_or(0.0) / 100.0,
            budget: if exhaustive { everything } else { usize::try_from(arguments.episodes).unwrap_or(usize::MAX) },
            short: arguments.short,
            long: arguments.long,
            last: (arguments.epochs * self.split.tune.len() as f64).round() as usize,
            baselines: arguments.baselines,
            seed: arguments.seed,
        }
    }
}

/// Writes down what the run was asked.
fn begin(record: &RunRecord, run: &Path) -> Result<(), FileError> {
    record.write(run).map_err(|error| FileError::Unwritable { path: run.join(RUN), error })
}

/// Where candidates are run.
fn stand(board: &'static Board) -> Stand {
    Stand { board, lab: Lab::from_env() }
}

/// The plans to choose from. Codes that nobody reads, as the last layer's, are no choice, and 8 bits alone are none either.
fn space(arguments: &Arguments, network: &Network) -> Result<Space, Failure> {
    let mut space = Space::same(&arguments.weights.0, network.graph.weighted().len())?;
    if arguments.pin_ends {
        space = space.ends_pinned()?;
    }
    if arguments.activations.0 != [8] {
        for layer in codes::read(network)?.1 {
            space = space.handing_on(layer + 1, &arguments.activations.0)?;
        }
    }
    Ok(space)
}

impl Arguments {
    /// What is made small: what a board counts, where one is measured.
    fn minimize(&self) -> Minimize {
        if self.measure.is_some() { Minimize::Instructions } else { self.minimize }
    }

    /// The boards that were named, and the one that candidates are run on, which must have room for them.
    fn boards(&self) -> BoardOptions {
        self.boards.joined(self.measure.as_deref())
    }

    /// Most points that may be lost: what was asked, or the usual unless something else is limited.
    fn max_loss(&self) -> Option<f64> {
        self.max_loss.or_else(|| self.budgets.asked().is_empty().then_some(USUAL_LOSS))
    }
}

/// Most points that may be lost where nothing is asked.
const USUAL_LOSS: f64 = 0.3;

/// The network on its boards, and a plan within the budgets where there are any that bind.
fn weighed(
    arguments: &Arguments,
    network: &Network,
    space: &Space,
) -> Result<(Arc<Hardware>, Option<BitPlan>), Failure> {
    let boards = arguments.boards();
    let places = boards.places()?;
    let mut limits = arguments.budgets.asked().limits(&places)?;
    if !boards.named()?.is_empty() {
        limits.extend(places.iter().enumerate().flat_map(|(number, place)| room(place.board, number)));
    }
    let method = arguments.preset.recipe(arguments.quantizer, arguments.seed).method;
    let hardware = Hardware::new(network, method, places)?.within(limits);
    let start = if hardware.binds(space) {
        Some(hardware.feasible(space).map_err(|infeasible| Failure::with_code(1, *infeasible))?)
    } else {
        None
    };
    Ok((Arc::new(hardware), start))
}

/// The searcher that sees every plan.
const EXHAUSTIVE: &str = "exhaustive";

/// The searcher asked for.
fn searcher(arguments: &Arguments) -> Result<Box<dyn Searcher>, Failure> {
    let name = arguments.agent.as_deref().unwrap_or(arguments.preset.agent());
    learners::named(name).or_else(|| rivals::named(name)).ok_or_else(|| {
        let every = learners::ALL.iter().chain(&rivals::ALL);
        let known = every.map(|make| make().name().to_owned()).collect::<Vec<_>>().join(", ");
        Failure::with_code(
            2,
            anyhow::anyhow!("there is no agent `{name}`; the agents are {known}, {EXHAUSTIVE}; name one with --agent"),
        )
    })
}

pub(super) fn failure(error: SearchError) -> Failure {
    Failure::with_code(if error.is_interruption() { 130 } else { 2 }, error)
}

/// Writes what a search found, all of it or nothing.
fn keep(run: &Path, image: &Path, bytes: &[u8], documents: &[(&str, String)]) -> Result<(), Failure> {
    let paths: Vec<PathBuf> = documents.iter().map(|(name, _)| run.join(name)).collect();
    let documents = paths.iter().zip(documents).map(|(path, (_, text))| (path.as_path(), text.as_bytes()));
    Ok(write_together(&[(image, bytes)].into_iter().chain(documents).collect::<Vec<_>>())?)
}
