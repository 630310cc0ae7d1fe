//! A search that is killed goes on from its log and ends where an uninterrupted one ends.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

fn releq(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_releq"));
    command.current_dir(directory).env("CANDLE_NUM_THREADS", "1").args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn search(directory: &Path, run: &str) -> Command {
    let small = ["--episodes", "5", "--short", "128", "--long", "256", "--epochs", "0.02", "--weights", "2,4,8"];
    let mut command =
        releq(directory, &["search", "net.safetensors", "--data", "glyphs", "--max-loss", "90", "-o", run]);
    command.args(small);
    command
}

/// How many measurements the log of a run holds.
fn measured(directory: &Path, run: &str) -> usize {
    fs::read_to_string(directory.join(run).join("episodes.jsonl")).map_or(0, |log| log.lines().count())
}

/// Everything in the result but the clock and the path.
fn result(directory: &Path, run: &str) -> serde_json::Value {
    let text = fs::read(directory.join(run).join("result.json")).unwrap();
    let mut result: serde_json::Value = serde_json::from_slice(&text).unwrap();
    for field in ["seconds", "image"] {
        result.as_object_mut().unwrap().remove(field).unwrap();
    }
    result
}

#[test]
#[ignore = "slow: three searches; `cargo xtask test slow`"]
fn a_killed_search_ends_where_an_uninterrupted_one_does() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let train = ["train", "--model", "lenet", "--data", "glyphs", "--epochs", "0.1", "-o", "net.safetensors"];
    assert!(releq(here, &train).status().unwrap().success());

    assert_eq!(search(here, "whole").status().unwrap().code(), Some(0));
    for wanted in [1, 4] {
        let mut child = search(here, "killed").spawn().unwrap();
        while measured(here, "killed") < wanted {
            assert_eq!(child.try_wait().unwrap(), None, "it ended before it could be killed");
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!here.join("killed/result.json").exists());
    }
    assert_eq!(search(here, "killed").status().unwrap().code(), Some(0));
    assert_eq!(result(here, "killed"), result(here, "whole"));
    let images = ["killed", "whole"].map(|run| fs::read(here.join(run).join("model.rlq")).unwrap());
    assert!(images[0] == images[1], "the images differ");
}

#[test]
fn two_searches_do_not_share_a_directory() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let train = ["train", "--model", "lenet", "--data", "glyphs", "--epochs", "0.01", "-o", "net.safetensors"];
    assert!(releq(here, &train).status().unwrap().success());
    let mut first = search(here, "run").spawn().unwrap();
    while measured(here, "run") == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let second = search(here, "run").output().unwrap();
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(second.status.code(), Some(2));
    let said = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(said.ends_with("error: another search is running in run; wait for it or choose another -o\n"), "{said}");
}
