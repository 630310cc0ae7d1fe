//! Searches that are killed at random moments and go on each time: they end in the bytes of one that was left alone.
#![cfg(unix)]

mod small;

use std::collections::BTreeMap;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rand::RngExt;
use releq_search::seed;

/// How many processes are killed.
const KILLS: usize = 50;
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

/// Starts the search of `run` and kills it after `moment`.
fn killed(directory: &Path, run: &str, moment: Duration) -> End {
    let mut child = small::search(directory, run).spawn().unwrap();
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

#[test]
#[ignore = "slow: two score searches; `cargo xtask test slow`"]
fn a_search_that_is_killed_again_and_again_ends_as_one_that_is_not() {
    let room = tempfile::tempdir().unwrap();
    let here = room.path();
    small::fill(here);
    let started = Instant::now();
    assert!(small::search(here, "whole").status().unwrap().success());
    let lasted = started.elapsed();
    let whole = small::left(&here.join("whole"));
    let mut dice = seed::stream(SEED, "moments of kills");
    let (mut stages, mut searches): (BTreeMap<String, usize>, usize) = (BTreeMap::new(), 0);
    let killed_so_far = |stages: &BTreeMap<String, usize>| stages.values().sum::<usize>();
    while killed_so_far(&stages) < KILLS {
        let run = format!("killed-{searches}");
        while killed_so_far(&stages) < KILLS {
            match killed(here, &run, lasted.mul_f64(dice.random())) {
                End::Killed(stage) => *stages.entry(stage).or_default() += 1,
                End::Done => break,
            }
        }
        // Done or not, the same command ends it.
        let output = small::search(here, &run).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        small::assert_same(&small::left(&here.join(&run)), &whole);
        searches += 1;
    }
    assert_eq!(killed_so_far(&stages), KILLS, "every one of them hit a live process");
    for (stage, kills) in &stages {
        println!("figure: kills at {stage} survived {kills}");
    }
    println!("figure: searches that were killed and ended the same {searches}");
    eprintln!("one search takes {lasted:.1?}, all took {:.0?}", started.elapsed());
}
