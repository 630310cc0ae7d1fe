//! A cost model of one's own: a board that releq has never heard of, as a table of what its kernels take, and a search for
//! the plan that it runs fastest.
//!
//! `cargo run --example custom_cost` searches LeNet, whose every plan's accuracy is recorded in `search/tables`, twice: for
//! the fewest bits, and for the least time on that board. Where plans are fine-tuned instead, as in `end_to_end.rs`, the
//! objective takes the same costs.

use std::error::Error;
use std::path::Path;

use releq_search::cost::{Case, CostModel, Costs, Unpriced};
use releq_search::ledger::Ledger;
use releq_search::network::StateOfQuantization;
use releq_search::objective::{Goal, Objective};
use releq_search::plan::BitPlan;
use releq_search::searcher::Problem;
use releq_search::table::{Sidecar, Table};
use releq_search::{race, rivals};

/// A board with a slow flash and kernels for some widths: weights of 3 bits are stored as 4. Its 1-bit kernel is slower
/// than the 2-bit one, which happens where a processor multiplies halves and bytes, but no bits.
struct SlowFlash {
    /// Nanoseconds of a multiply-accumulate, by bits of the weights as they are stored.
    kernels: [(u8, f64); 4],
    /// Nanoseconds to fetch a byte of weights, once an inference.
    byte: f64,
}

const BOARD: SlowFlash = SlowFlash { kernels: [(1, 11.0), (2, 9.0), (4, 12.0), (8, 16.0)], byte: 50.0 };

impl CostModel for SlowFlash {
    fn name(&self) -> String {
        "slow-flash".to_owned()
    }

    fn unit(&self) -> &'static str {
        "milliseconds"
    }

    fn cost(&self, case: &Case<'_>) -> Result<f64, Unpriced> {
        let kernel = self.kernels.iter().find(|(stored, _)| *stored >= case.weights);
        let (stored, nanoseconds) = kernel.ok_or_else(|| Unpriced {
            model: self.name(),
            kernel: "weights".to_owned(),
            part: format!("{} bits", case.weights),
        })?;
        let bytes = case.layer.weights as f64 * f64::from(*stored) / 8.0;
        Ok(1e-6 * (case.layer.macs as f64 * nanoseconds + bytes * self.byte))
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("search/tables/lenet-releq.csv");
    let (table, lenet) = (Table::read(&path)?, Sidecar::of(&path)?);
    let costs = Costs::priced(&lenet.layers, &BOARD)?;

    println!("{} on {}, milliseconds of each layer by bits of its weights:", lenet.network, BOARD.name());
    println!("layer       1       2       3       4       8   no faster than a wider one");
    for layer in 0..table.space().layers() {
        let row = costs.layer(layer).unwrap_or_default();
        let [one, two, three, four, eight] = [1, 2, 3, 4, 8].map(|bits: usize| row[bits - 1]);
        let better = costs.better(layer);
        let vain: Vec<String> =
            (1..=4).filter(|&bits| better[bits - 1].is_some()).map(|bits| bits.to_string()).collect();
        println!("{:5} {one:7.3} {two:7.3} {three:7.3} {four:7.3} {eight:7.3}   {}", layer + 1, vain.join(", "));
    }

    // At most half a point of accuracy may be lost.
    let goal = Goal::Floor(0.005);
    let bits = Objective::new(goal, StateOfQuantization::Mean, lenet.layers, lenet.float_accuracy);
    let time = bits.clone().with_costs(costs.clone());
    println!("\nasked for      plan      mean bits  milliseconds  top-1     best of all {}", table.accuracies().len());
    let mut found = Vec::new();
    for (name, objective) in [("fewest bits", &bits), ("least time", &time)] {
        let plan = searched(&table, objective)?;
        let (mean, took) = (plan.mean_weight_bits(), costs.of(&plan));
        let top1 = 100.0 * table.accuracies()[&plan];
        println!("{name:13}  {plan}   {mean:9.2}  {took:12.2}  {top1:.2} %   {}", table.optimum(objective).0);
        found.push(took);
    }
    println!("\n8 bits everywhere take {:.2} milliseconds", costs.whole());
    if found[1] > found[0] {
        Err("the search for time found a slower plan than the one for bits".into())
    } else {
        Ok(())
    }
}

/// What a search finds with 40 evaluations.
fn searched(table: &Table, objective: &Objective) -> Result<BitPlan, Box<dyn Error + Send + Sync>> {
    let mut evaluator = table;
    let mut ledger = Ledger::new(&mut evaluator, objective, 40);
    let problem = Problem { space: table.space(), objective };
    race::run(&mut rivals::Improvement::default(), &problem, &mut ledger, 1)?;
    Ok(ledger.best().ok_or("nothing was evaluated")?.plan.clone())
}
