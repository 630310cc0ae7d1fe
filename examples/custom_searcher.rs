//! A searcher of one's own: simulated annealing, raced against blind chance and releq's agent at equal evaluations.
//!
//! `cargo run --example custom_searcher` races on LeNet's recorded tables, where nothing is trained and the best plan is
//! known. What [`Searcher`] asks for is one function; whoever has it can stand in for the agent in a live search, too, as in
//! `end_to_end.rs`.

use std::error::Error;
use std::path::Path;

use rand::RngExt;
use rand::seq::IndexedRandom;
use rand_chacha::ChaCha8Rng;
use releq_search::ledger::{Ledger, Stop};
use releq_search::objective::Contest;
use releq_search::race::{self, Course, Outcome};
use releq_search::searcher::{Problem, Searcher};
use releq_search::table::{Sidecar, Table};
use releq_search::{learners, rivals, seed};

/// Simulated annealing (Kirkpatrick et al., Science 220, 1983): a step to a neighbouring plan is taken if that is better,
/// and otherwise the more rarely the more is lost, and the later.
struct Annealing {
    /// Loss of value that is accepted one time in e at first.
    hot: f64,
    /// What is left of that after a step.
    cooling: f64,
    /// Steps from hot to cold.
    steps: usize,
}

impl Default for Annealing {
    fn default() -> Self {
        Self { hot: 0.1, cooling: 0.95, steps: 60 }
    }
}

impl Searcher for Annealing {
    fn name(&self) -> &str {
        "annealing"
    }

    /// Plans that are known cost nothing, so it anneals again until a whole annealing meets no plan that is new.
    fn search(&mut self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, seed: u64) -> Result<(), Stop> {
        let mut rng = seed::stream(seed, "annealing");
        loop {
            let known = ledger.distinct();
            self.anneal(problem, ledger, &mut rng)?;
            if ledger.distinct() == known {
                return Ok(());
            }
        }
    }
}

impl Annealing {
    fn anneal(&self, problem: &Problem<'_>, ledger: &mut Ledger<'_>, rng: &mut ChaCha8Rng) -> Result<(), Stop> {
        let drawn = problem.space.sample(rng);
        let Some(mut here) = problem.objective.admitted(problem.space, drawn) else { return Ok(()) };
        let mut value = ledger.look_up(&here)?.value;
        let mut temperature = self.hot;
        for _ in 0..self.steps {
            let mut around = problem.space.neighbours(&here);
            around.retain(|plan| problem.objective.admits(plan));
            let Some(next) = around.choose(rng) else { return Ok(()) };
            let found = ledger.look_up(next)?.value;
            if rng.random::<f64>() < ((found - value) / temperature).exp() {
                (here, value) = (next.clone(), found);
            }
            temperature *= self.cooling;
        }
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let seeds: Vec<u64> = (0..8).collect();
    println!(
        "distinct evaluations until the best plan was among them, over {} seeds; a miss counts one more",
        seeds.len()
    );
    println!("than there are plans. Regret is what the best one so far lacks, of the way from the widest plan.\n");
    println!("table          searcher       median  90th percentile  regret after 20, 45 evaluations");
    for stem in ["lenet-releq", "lenet-authors"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("search/tables/{stem}.csv"));
        let (table, lenet) = (Table::read(&path)?, Sidecar::of(&path)?);
        // Fewest mean bits at half a point of loss.
        let course = Course::new(Contest::Floor, &table, lenet.layers, lenet.float_accuracy);
        let outcomes = [
            course.run(|| Box::new(rivals::Random), &seeds)?,
            course.run(|| Box::new(Annealing::default()), &seeds)?,
            course.run(|| learners::named("ppo-surrogate").expect("releq's agent"), &seeds)?,
        ];
        outcomes.iter().for_each(|outcome| println!("{stem:13}  {}", line(outcome)));
        let winner = race::winner(&outcomes.iter().collect::<Vec<_>>()).ok_or("nobody raced")?;
        println!("{stem:13}  {} wins; the best plan is {}\n", winner.agent, winner.optimum);
    }
    Ok(())
}

fn line(outcome: &Outcome) -> String {
    let [early, late, _] =
        outcome.mean_regret.map(|regret| regret.map_or("-".into(), |one| format!("{:.1} %", 100.0 * one)));
    let (median, ninetieth) = (outcome.median_evaluations, outcome.p90_evaluations);
    format!("{:13} {median:7.1}  {ninetieth:15.1}  {early}, {late}", outcome.agent)
}
