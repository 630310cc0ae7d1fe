//! Races the rivals on a recorded table: `cargo run -p releq-search --example race -- TABLE.csv [SEEDS [NAME…]]`.

use std::error::Error;
use std::path::Path;

use releq_search::objective::Contest;
use releq_search::race::Course;
use releq_search::rivals;
use releq_search::table::{Sidecar, Table};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = arguments.first().ok_or("which table? give the path of a CSV file")?;
    let seeds: Vec<u64> = (0..arguments.get(1).map_or(Ok(16), |seeds| seeds.parse())?).collect();
    let wanted = |name: &str| arguments.len() < 3 || arguments[2..].iter().any(|one| one == name);
    let (table, sidecar) = (Table::read(Path::new(path))?, Sidecar::of(Path::new(path))?);
    sidecar.fits(&table)?;
    println!("contest  searcher       median    p90  found  regret at 20, 45, 100 (%)   seconds");
    for contest in Contest::ALL {
        let course = Course::new(contest, &table, sidecar.layers.clone(), sidecar.float_accuracy);
        for make in rivals::ALL.iter().filter(|make| wanted(make().name())) {
            let start = std::time::Instant::now();
            let outcome = course.run(make, &seeds)?;
            let found = outcome.runs.iter().filter(|run| run.evaluations_to_optimum.is_some()).count();
            let regret = outcome.mean_regret.map(|at| at.map_or("     -".into(), |at| format!("{:6.1}", 100.0 * at)));
            println!(
                "{:<8} {:<13} {:>7} {:>6} {:>6} {:>27} {:>9.2}",
                contest.to_string(),
                outcome.agent,
                format!("{:.1}", outcome.median_evaluations),
                format!("{:.0}", outcome.p90_evaluations),
                found,
                regret.concat(),
                start.elapsed().as_secs_f64(),
            );
        }
    }
    Ok(())
}
