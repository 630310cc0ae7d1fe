//! The committed tables of LeNet on MNIST, every plan of a space measured: searches are judged on them.

use std::path::Path;

use releq_search::learners;
use releq_search::ledger::Ledger;
use releq_search::network::StateOfQuantization;
use releq_search::objective::{Goal, Objective};
use releq_search::plan::BitPlan;
use releq_search::race;
use releq_search::searcher::Problem;
use releq_search::table::{Sidecar, Table};

fn committed(stem: &str) -> (Table, Sidecar) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("search/tables/{stem}.csv"));
    let (table, sidecar) = (Table::read(&path).unwrap(), Sidecar::of(&path).unwrap());
    sidecar.fits(&table).unwrap();
    (table, sidecar)
}

/// The fewest total bits of any plan that is as accurate as `plan` but for two deviations of what was measured of it.
fn fewest_as_good(table: &Table, plan: &BitPlan) -> u32 {
    let enough = table.accuracies()[plan] - 2.0 * table.deviation(plan).unwrap();
    let good = table.accuracies().iter().filter(|(_, accuracy)| **accuracy >= enough);
    good.map(|(plan, _)| plan.total_weight_bits()).min().unwrap()
}

#[test]
fn every_plan_is_there_with_its_deviation() {
    // The authors' recipe is stopped long before it converges, so its three trainings differ much.
    for (stem, plans, most) in [("lenet-releq", 256, 0.01), ("lenet-authors", 625, 0.5)] {
        let (table, sidecar) = committed(stem);
        assert!(table.is_complete() && table.accuracies().len() == plans, "{stem}");
        let known = |plan: &BitPlan| table.deviation(plan).is_some_and(|deviation| deviation < most);
        assert!(table.accuracies().keys().all(known), "{stem}");
        assert!(sidecar.float_accuracy > 0.99 && sidecar.source.len() == 3, "{stem}");
    }
}

/// Bits that the plan of releq's agent has beyond the fewest that would do as well, where at most `loss` (0 to 1) is
/// allowed and `budget` plans may be looked up.
fn wasted((table, sidecar): &(Table, Sidecar), loss: f64, budget: usize, seed: u64) -> u32 {
    let goal = Goal::Floor(loss);
    let objective = Objective::new(goal, StateOfQuantization::Mean, sidecar.layers.clone(), sidecar.float_accuracy);
    let mut evaluator = table;
    let mut ledger = Ledger::new(&mut evaluator, &objective, budget);
    let problem = Problem { space: table.space(), objective: &objective };
    let mut agent = learners::named("ppo-surrogate").unwrap();
    race::run(agent.as_mut(), &problem, &mut ledger, seed).unwrap();
    let found = ledger.best().unwrap();
    assert!(found.seen.value > 0.0, "{} keeps to a loss of {loss}", found.plan);
    found.plan.total_weight_bits() - fewest_as_good(table, &found.plan)
}

fn assert_wastes_at_most(stem: &str, budget: usize, losses: [(f64, u32); 4]) {
    let judged = committed(stem);
    for (loss, most) in losses {
        for seed in 0..3 {
            let bits = wasted(&judged, loss, budget, seed);
            assert!(bits <= most, "{stem}: {bits} bits wasted at a loss of {loss}, seed {seed}");
        }
    }
}

/// Given 32 plans as in a live search, it wastes at most one bit of one layer. Where the allowed loss falls on
/// what one plan loses to the last image (0.5 points, 2,3,2,2), a seed may miss that plan and waste two.
#[test]
fn searched_plans_waste_at_most_one_bit() {
    assert_wastes_at_most("lenet-releq", 32, [(0.003, 1), (0.005, 2), (0.01, 1), (0.015, 1)]);
}

/// The authors' recipe, in the few steps that its table affords, differs by eight points (the median) from seed to seed.
/// Below seven points of loss the very cheapest plan of the table is there by luck and wastes up to nine bits by this
/// measure, so nothing can be asked of a search; at seven, 26 plans of 625 are allowed, and one seed misses the cheapest.
#[test]
#[ignore = "slow: 12 searches of 64 plans, about a minute"]
fn searched_plans_of_the_authors_recipe_waste_at_most_one_bit() {
    assert_wastes_at_most("lenet-authors", 64, [(0.07, 3), (0.1, 1), (0.15, 1), (0.2, 1)]);
}

/// The plans of the live searches in docs/live.md, by the same measure.
#[test]
fn plans_searched_live_waste_at_most_one_bit() {
    let (table, _) = committed("lenet-releq");
    let page = include_str!("../docs/live.md");
    let rows = page.lines().filter(|line| line.contains("| Searched |"));
    let plans = rows.filter_map(|line| {
        line.split('|')
            .map(str::trim)
            .find_map(|cell| cell.parse::<BitPlan>().ok().filter(|plan| plan.layers().len() == 4))
    });
    let plans: Vec<BitPlan> = plans.filter(|plan| table.space().contains(plan)).collect();
    assert!(plans.len() >= 6, "six searches of LeNet: {plans:?}");
    for plan in plans {
        let (bits, fewest) = (plan.total_weight_bits(), fewest_as_good(&table, &plan));
        assert!(bits <= fewest + 1, "{plan} has {bits} bits; {fewest} would do");
    }
}
