//! Searches that are killed at random moments and go on each time: they end in the bytes of one that was left alone.
#![cfg(unix)]

mod small;

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::RngExt;
use releq_search::seed;

/// Who searches, and how many of its processes are killed: one that learns and one that needs no time for that, so that
/// kills find every stage.
const AGENTS: [(&str, usize); 2] = [("ppo-surrogate", 20), (small::QUICK, 30)];
/// The moments are drawn from it.
const SEED: u64 = 50;
/// `SIGKILL`, which no process hears.
const KILLED: i32 = 9;

/// What became of a search that was to be killed.
enum End {
    /// It was, in the stage that it had named last.
    Killed(String),
    /// It was done before.
    Done,
}

/// Starts the search of `agent` in `run` and kills it after `moment`.
fn killed(directory: &Path, agent: &str, run: &str, moment: Duration) -> End {
    let mut child = small::search(directory, agent, run).spawn().unwrap();
    std::thread::sleep(moment);
    // Refused where it is dead already; how it died is asked below.
    let _ = child.kill();
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    if status.signal() == Some(KILLED) {
        let stage = said.lines().rev().find_map(|line| line.strip_prefix("detail: the search is at: "));
        return End::Killed(stage.unwrap_or("its start").to_owned());
    }
    assert!(status.success(), "it failed instead:\n{said}");
    End::Done
}

/// What was counted.
#[derive(Default)]
struct Counts {
    /// Kills by the stage that they found.
    stages: BTreeMap<String, usize>,
    /// Searches that were killed at least once.
    searches: usize,
}

impl Counts {
    fn kills(&self) -> usize {
        self.stages.values().sum()
    }
}

/// Kills processes of `agent` until there are `kills` more, and compares what each of its searches leaves in the end.
fn kill(directory: &Path, agent: &str, kills: usize, counts: &mut Counts) {
    let started = Instant::now();
    assert!(small::search(directory, agent, &format!("{agent}-whole")).status().unwrap().success());
    let lasted = started.elapsed();
    let whole = small::left(&directory.join(format!("{agent}-whole")));
    let mut dice = seed::stream(SEED, agent);
    let enough = counts.kills() + kills;
    while counts.kills() < enough {
        let run = format!("{agent}-{}", counts.searches);
        while counts.kills() < enough {
            match killed(directory, agent, &run, lasted.mul_f64(dice.random())) {
                End::Killed(stage) => *counts.stages.entry(stage).or_default() += 1,
                End::Done => break,
            }
        }
        // What a kill in the middle of a write leaves; few are drawn there.
        fs::write(directory.join(&run).join(".releq-killed.tmp"), "half").unwrap();
        // Done or not, the same command ends it.
        let output = small::search(directory, agent, &run).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        small::assert_same(&small::left(&directory.join(&run)), &whole);
        counts.searches += 1;
    }
    eprintln!("a search by {agent} takes {lasted:.1?}, all of them took {:.0?}", started.elapsed());
}

#[test]
#[ignore = "slow: two score searches; `cargo xtask test slow`"]
fn a_search_that_is_killed_again_and_again_ends_as_one_that_is_not() {
    let room = tempfile::tempdir().unwrap();
    small::fill(room.path());
    let mut counts = Counts::default();
    for (agent, kills) in AGENTS {
        kill(room.path(), agent, kills, &mut counts);
    }
    assert_eq!(counts.kills(), 50, "every one of them hit a live process");
    for (stage, kills) in &counts.stages {
        println!("figure: kills at {stage} survived {kills}");
    }
    println!("figure: kills at random moments survived {}", counts.kills());
    println!("figure: searches that were killed and ended the same {}", counts.searches);
}
