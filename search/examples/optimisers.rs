//! What reinforcement learning is worth at twenty layers: optimisers of one surrogate, at equal evaluations.
//!
//! `cargo run -p releq-search --example optimisers -- [EVALUATIONS [LANDSCAPES [NAME]]]`, with a name for that one alone
//!
//! Every searcher here believes in the same surrogate, sees the same plan first, evaluates one plan a turn (the one of
//! the largest expected improvement that it found) and may imagine 320 plans to find it, which is what the policy of
//! `ppo-surrogate` walks between two evaluations. They differ in how they look for it; `ppo-surrogate` as it is also climbs
//! from what its policy proposes, and may imagine more. Values are of the plan evaluated best: bits saved of 8 as a share,
//! or negative where no plan kept to a loss of one point.

use std::error::Error;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use releq_search::evaluate::Score;
use releq_search::learners::{Imagining, ImaginingSettings};
use releq_search::ledger::{Ledger, Stop};
use releq_search::network::{LayerFeatures, Network};
use releq_search::objective::{Goal, Objective};
use releq_search::plan::BitPlan;
use releq_search::rivals::Improvement;
use releq_search::searcher::{Problem, Searcher};
use releq_search::space::Space;
use releq_search::surrogate::{Settings, Surrogate};
use releq_search::{race, seed};

const LAYERS: usize = 20;
const FLOAT: f64 = 0.92;
/// Plans imagined between two evaluations.
const IMAGINED: usize = 320;

/// A network whose accuracy is a formula: layers differ in what they lose by a factor of sixty, and lose more beside a
/// coarse neighbour.
struct Landscape {
    sensitivity: Vec<f64>,
}

impl Landscape {
    fn new(number: u64) -> Self {
        let mut rng = seed::stream(number, "landscape");
        let sensitivity = (0..LAYERS).map(|_| 0.001 * 60f64.powf(rng.random())).collect();
        Self { sensitivity }
    }

    fn accuracy(&self, plan: &BitPlan) -> f64 {
        let coarse: Vec<f64> = plan.weights().map(|bits| 0.25f64.powi(i32::from(bits) - 2)).collect();
        let beside = |layer: usize| coarse.get(layer + 1).copied().unwrap_or(0.0);
        let lost: f64 =
            (0..LAYERS).map(|layer| self.sensitivity[layer] * coarse[layer] * (1.0 + 2.0 * beside(layer))).sum();
        (FLOAT - lost).max(0.1)
    }
}

/// How the surrogate's best plan is looked for.
#[derive(Clone, Copy, Debug)]
enum Optimiser {
    Random,
    Climb,
    Evolution,
    Program,
}

/// Expected improvement on releq's surrogate, found by one of them.
struct By(Optimiser);

/// Scores plans, at most [`IMAGINED`] a turn, and remembers the best that is new.
struct Imagination<'a, 'l> {
    model: &'a Surrogate,
    ledger: &'a Ledger<'l>,
    left: usize,
    best: Option<(f64, BitPlan)>,
}

impl Imagination<'_, '_> {
    fn score(&mut self, plan: &BitPlan) -> Option<f64> {
        self.left = self.left.checked_sub(1)?;
        let best = self.ledger.best().map_or(f64::NEG_INFINITY, |entry| entry.seen.value);
        let score = self.model.expected_improvement(self.ledger.objective(), plan, best);
        let is_new = self.ledger.known(plan).is_none();
        if is_new && self.best.as_ref().is_none_or(|(most, _)| score > *most) {
            self.best = Some((score, plan.clone()));
        }
        Some(score)
    }
}

impl Searcher for By {
    fn name(&self) -> &str {
        match self.0 {
            Optimiser::Random => "random plans",
            Optimiser::Climb => "hill climbing",
            Optimiser::Evolution => "evolution",
            Optimiser::Program => "integer program",
        }
    }

    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, number: u64) -> Result<(), Stop> {
        let mut rng = seed::stream(number, "optimisers");
        let mut model = Surrogate::new(Settings::DEFAULT, problem.objective.float());
        let mut next = problem.space.sample(&mut rng);
        loop {
            let seen = ledger.look_up(&next)?;
            model.observe(&next, seen.accuracy);
            let mut imagination = Imagination { model: &model, ledger, left: IMAGINED, best: None };
            match self.0 {
                Optimiser::Random => while imagination.score(&problem.space.sample(&mut rng)).is_some() {},
                Optimiser::Climb => climb(problem, &mut imagination, &mut rng),
                Optimiser::Evolution => evolve(problem, &mut imagination, &mut rng),
                Optimiser::Program => solve(problem, &mut imagination),
            }
            next = imagination.best.map_or_else(|| problem.space.sample(&mut rng), |(_, plan)| plan);
        }
    }
}

/// The plans evaluated best, the best first.
fn leaders(ledger: &Ledger<'_>, count: usize) -> Vec<BitPlan> {
    let mut entries: Vec<_> = ledger.entries().iter().collect();
    entries.sort_by(|one, other| other.seen.value.total_cmp(&one.seen.value));
    entries.into_iter().take(count).map(|entry| entry.plan.clone()).collect()
}

/// Up the hill from the leaders in turn with strangers: layer after layer moves by a bit while that helps.
fn climb(problem: &Problem<'_>, imagination: &mut Imagination<'_, '_>, rng: &mut ChaCha8Rng) {
    let mut starts = leaders(imagination.ledger, 8).into_iter();
    loop {
        let mut here = starts.next().unwrap_or_else(|| problem.space.sample(rng));
        let Some(mut top) = imagination.score(&here) else { return };
        let (mut layer, mut still) = (0, 0);
        while still < LAYERS {
            let moves = [problem.space.narrowed(&here, layer), problem.space.widened(&here, layer)];
            let mut moved = false;
            for plan in moves.into_iter().flatten() {
                let Some(score) = imagination.score(&plan) else { return };
                if score > top {
                    (here, top, moved) = (plan, score, true);
                }
            }
            (layer, still) = if moved { (layer, 0) } else { ((layer + 1) % LAYERS, still + 1) };
        }
    }
}

/// Tournaments of two, uniform crossover, each child one or two bits away: a population of 16, from leaders and strangers.
fn evolve(problem: &Problem<'_>, imagination: &mut Imagination<'_, '_>, rng: &mut ChaCha8Rng) {
    let mut population: Vec<(f64, BitPlan)> = Vec::new();
    let strangers = (0..8).map(|_| problem.space.sample(rng)).collect::<Vec<_>>();
    for plan in leaders(imagination.ledger, 8).into_iter().chain(strangers) {
        let Some(score) = imagination.score(&plan) else { return };
        population.push((score, plan));
    }
    loop {
        let parent = |rng: &mut ChaCha8Rng| {
            let pair = [0, 0].map(|_| rng.random_range(0..population.len()));
            let fitter = if population[pair[0]].0 >= population[pair[1]].0 { pair[0] } else { pair[1] };
            problem.space.steps(&population[fitter].1).expect("a plan of the space")
        };
        let (one, other) = (parent(rng), parent(rng));
        let steps: Vec<usize> =
            one.iter().zip(&other).map(|(&one, &other)| if rng.random() { one } else { other }).collect();
        let mut child = problem.space.at(&steps);
        for _ in 0..rng.random_range(1..=2) {
            let layer = rng.random_range(0..LAYERS);
            let moved =
                if rng.random() { problem.space.narrowed(&child, layer) } else { problem.space.widened(&child, layer) };
            child = moved.unwrap_or(child);
        }
        let Some(score) = imagination.score(&child) else { return };
        let worst = (0..population.len()).min_by(|&a, &b| population[a].0.total_cmp(&population[b].0));
        let worst = worst.expect("sixteen of them");
        if score > population[worst].0 {
            population[worst] = (score, child);
        }
    }
}

/// The surrogate's losses of single layers, taken to add up, and a knapsack over them: for each sum of bits the plan
/// that loses least, solved exactly; the surrogate then judges these plans and their neighbours as far as it may.
fn solve(problem: &Problem<'_>, imagination: &mut Imagination<'_, '_>) {
    let space = problem.space;
    let widest = space.widest();
    let whole = imagination.model.accuracy(&widest);
    let mut least: Vec<Option<(f64, Vec<usize>)>> = vec![Some((0.0, Vec::new()))];
    for layer in 0..LAYERS {
        let mut next: Vec<Option<(f64, Vec<usize>)>> = vec![None; least.len() + 8];
        for (step, &bits) in space.widths(layer).iter().enumerate() {
            let mut steps = space.steps(&widest).expect("a plan of the space");
            steps[layer] = step;
            let Some(left) = imagination.left.checked_sub(1) else { return };
            imagination.left = left;
            let lost = whole - imagination.model.accuracy(&space.at(&steps));
            for (sum, partial) in least.iter().enumerate() {
                let Some((loss, steps)) = partial else { continue };
                let (loss, place) = (loss + lost, &mut next[sum + usize::from(bits)]);
                if place.as_ref().is_none_or(|(least, _)| loss < *least) {
                    *place = Some((loss, [steps.as_slice(), &[step]].concat()));
                }
            }
        }
        least = next;
    }
    let plans: Vec<BitPlan> = least.into_iter().flatten().map(|(_, steps)| space.at(&steps)).collect();
    for plan in &plans {
        if imagination.score(plan).is_none() {
            return;
        }
    }
    let best = imagination.best.as_ref().map(|(_, plan)| plan.clone());
    for plan in best.iter().flat_map(|plan| space.neighbours(plan)) {
        if imagination.score(&plan).is_none() {
            return;
        }
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut arguments = std::env::args().skip(1);
    let evaluations = arguments.next().map_or(Ok(60), |count| count.parse::<usize>())?;
    let landscapes = arguments.next().map_or(Ok(4), |count| count.parse::<u64>())?;
    let only = arguments.next();
    let layer = LayerFeatures { weights: 100, macs: 100, inputs: 1, outputs: 1, kernel: 3, deviation: 0.1 };
    let network = Network::new(vec![layer; LAYERS])?;
    let objective = Objective::new(Goal::Floor(0.01), Default::default(), network, FLOAT);
    let space = Space::same(&[2, 3, 4, 5, 6, 7, 8], LAYERS)?;
    let problem = Problem { space: &space, objective: &objective };
    let by = |optimiser| -> Box<dyn Searcher> { Box::new(By(optimiser)) };
    let optimisers = [Optimiser::Random, Optimiser::Climb, Optimiser::Evolution, Optimiser::Program];
    let alone = ImaginingSettings { climbs: false, ..ImaginingSettings::default() };
    let policies: [(&str, Box<dyn Searcher>); 3] = [
        ("surrogate", Box::new(Improvement::default())),
        ("PPO alone", Box::new(Imagining::with(alone))),
        ("ppo-surrogate", Box::new(Imagining::default())),
    ];
    let named = |searcher: Box<dyn Searcher>| (searcher.name().to_owned(), searcher);
    let policies = policies.into_iter().map(|(name, searcher)| (name.to_owned(), searcher));
    let asked = |(name, _): &(String, _)| only.as_ref().is_none_or(|only| only == name);
    let mut values: Vec<(String, Vec<f64>, f64)> = Vec::new();
    for (name, mut searcher) in optimisers.into_iter().map(by).map(named).chain(policies).filter(asked) {
        let started = std::time::Instant::now();
        let mut best = Vec::new();
        for number in 0..landscapes {
            let landscape = Landscape::new(number);
            let mut evaluator =
                |plan: &BitPlan| -> Result<Score, String> { Ok(Score { accuracy: landscape.accuracy(plan) }) };
            let mut ledger = Ledger::new(&mut evaluator, &objective, evaluations);
            race::run(searcher.as_mut(), &problem, &mut ledger, number)?;
            best.push(ledger.best().map_or(f64::NAN, |entry| entry.seen.value));
        }
        values.push((name, best, started.elapsed().as_secs_f64() / landscapes as f64));
    }
    println!("{evaluations} evaluations of {LAYERS} layers, {landscapes} landscapes: value of the best plan");
    for (name, best, seconds) in values {
        let mean = best.iter().sum::<f64>() / best.len() as f64;
        let each: Vec<String> = best.iter().map(|value| format!("{value:6.3}")).collect();
        println!("{name:<16} {mean:6.3}   {}   {seconds:.1} s a search", each.join(" "));
    }
    Ok(())
}
