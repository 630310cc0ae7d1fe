//! `releq search --race`: every agent on the same network, images and budget.

use releq_search::rivals::Make;
use releq_search::{learners, rivals};

use super::{Search, failure};
use crate::cli::{Outcome, json, print_json, write_whole};
use crate::search::contest::{ANYTIME, Standing, contest};
use crate::search::hunt::Step;
use crate::search::shelf::Shelf;
use crate::search::stage::Teller;
use crate::terminal::{self, Progress, table};
use crate::train::interrupt::Interrupt;

pub(super) fn run(search: &Search<'_>) -> Outcome {
    let interrupt = Interrupt::watch();
    let stop = move || interrupt.requested();
    let mut bench = search.bench(search.arguments.seed, &stop)?;
    let shelf = Shelf::open(&search.arguments.output, bench.key()).map_err(failure)?;
    let makes: Vec<Make> = rivals::ALL.into_iter().chain(learners::ALL).collect();
    let mut progress = Progress::new("racing");
    let mut teller = Teller::new(&search.arguments.output, bench.measured());
    let mut watch = |step: Step<'_>| {
        progress.update(step.done, step.of, step.doing);
        teller.tell(step);
    };
    let standings = contest(&mut bench, &shelf, &makes, &search.request(), &mut watch);
    progress.finish();
    let standings = standings.map_err(failure)?;
    teller.finish();
    let document = json(&standings)?;
    write_whole(&search.arguments.output.join("race.json"), document.as_bytes())?;
    if search.arguments.json {
        print_json(&standings)?
    } else {
        terminal::answer(&text(&standings))?
    }
    Ok(true)
}

fn text(standings: &[Standing]) -> String {
    let anytime = ANYTIME.map(|share| format!("at {:.0} %", 100.0 * share));
    let header = ["agent", "plan", "bits", "loss", &anytime[0], &anytime[1], &anytime[2], "plans"];
    let row = |standing: &Standing| {
        let mut cells = vec![
            standing.agent.clone(),
            standing.plan.to_string(),
            format!("{:.2}", standing.mean_weight_bits),
            format!("{:.2}", standing.loss),
        ];
        cells.extend(standing.anytime.map(|value| value.map_or("-".to_owned(), |value| format!("{value:.4}"))));
        cells.push(standing.distinct_evaluations.to_string());
        cells
    };
    let rows: Vec<Vec<String>> = standings.iter().map(row).collect();
    let winner = standings.first().map_or(String::new(), |first| {
        let level = standings.iter().filter(|other| other.value >= first.value).map(|other| other.agent.as_str());
        format!("best: {}, with {} bits on average\n", level.collect::<Vec<_>>().join(" and "), first.mean_weight_bits)
    });
    format!(
        "{}\nloss: points against float, predicted for after the long fine-tune\n\
         at: value of the best plan after that share of the budget; share of 8 bits saved, negative where it loses too much\n\n\
         {winner}",
        table(&header, &rows)
    )
}
