//! A search is followed from outside: to its end, to its being killed, and from when it is over.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

fn releq(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_releq"));
    command.current_dir(directory).env("CANDLE_NUM_THREADS", "1").args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn trained(directory: &Path) {
    let train = ["train", "--model", "lenet", "--data", "glyphs", "--epochs", "0.05", "-o", "net.safetensors"];
    assert!(releq(directory, &train).status().unwrap().success());
}

/// A search that is under way.
fn searching(directory: &Path, episodes: &str, short: &str) -> Child {
    let mut search = releq(directory, &["search", "net.safetensors", "--data", "glyphs", "-o", "run"]);
    search.args(["--max-loss", "90", "--weights", "2,4,8", "--agent", "descent", "--episodes", episodes]);
    search.args(["--short", short, "--long", "256", "--epochs", "0.02"]);
    let mut search = search.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while !directory.join("run/run.json").exists() {
        assert_eq!(search.try_wait().unwrap(), None, "it ended before it began");
        std::thread::sleep(Duration::from_millis(5));
    }
    search
}

fn document(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn measured(directory: &Path) -> usize {
    fs::read_to_string(directory.join("run/measurements.jsonl")).map_or(0, |log| log.lines().count())
}

#[cfg(unix)]
fn signal(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// What a command that ended said, and its exit code.
fn said(child: Child) -> (Option<i32>, String, String) {
    let output = child.wait_with_output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    (output.status.code(), stdout, stderr)
}

/// From its beginning a run says what it was asked; a search that is killed is told from one that is done.
#[cfg(unix)]
#[test]
fn a_killed_search_is_said_to_be_gone() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    trained(here);
    let mut search = searching(here, "40", "128");
    let mut watch = releq(here, &["watch", "run"]).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    let head = lines.next().unwrap();
    assert!(head.starts_with("run: ") && head.ends_with(" so far"), "{head}");
    let line = lines.next().unwrap();
    let fields: Vec<&str> = line.split_whitespace().collect();
    assert!(fields[0].parse::<usize>().is_ok() && fields.contains(&"images"), "{line}");
    // Half a line, as a search that is stopped while it writes leaves it, is no error.
    signal(&search, "-STOP");
    let mut log = fs::OpenOptions::new().append(true).open(here.join("run/measurements.jsonl")).unwrap();
    log.write_all(br#"{"key":"#).unwrap();
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(watch.try_wait().unwrap(), None);
    search.kill().unwrap();
    search.wait().unwrap();
    let rest: Vec<String> = lines.collect();
    let [.., gone, advice] = &rest[..] else { panic!("{rest:?}") };
    assert!(gone.starts_with("no process is at run any more, and its last search has no result: it was at "), "{gone}");
    assert!(advice.starts_with("run the same `releq search … -o run` to go on from there"), "{advice}");
    assert_eq!(said(watch), (Some(1), String::new(), String::new()));

    assert!(!here.join("run/result.json").exists());
    let report = releq(here, &["report", "run", "--json"]).output().unwrap();
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!((&report["state"], &report["asked"]["agent"]), (&"unfinished".into(), &"descent".into()));
    assert!(report["repeat"].as_str().unwrap().contains("--episodes 40"), "{}", report["repeat"]);
    let html = fs::read_to_string(here.join("run/report.html")).unwrap();
    assert!(html.contains("weight bits to choose from"), "the page has its configuration");
}

/// Ctrl-C ends the watching and not the search.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_the_watching_alone() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    trained(here);
    let mut search = searching(here, "40", "128");
    let mut watch = releq(here, &["watch", "run", "--json"]).spawn().unwrap();
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first: Value = serde_json::from_str(&lines.next().unwrap()).unwrap();
    assert_eq!((&first["schema"], &first["event"]), (&1.into(), &"run".into()));
    assert_eq!(first["asked"]["episodes"], 40);
    signal(&watch, "-INT");
    let (code, _, stderr) = said(watch);
    let expected = "error: no longer watching run; its search goes on, and the same command watches it again\n";
    assert_eq!((code, stderr.as_str()), (Some(130), expected));
    assert_eq!(search.try_wait().unwrap(), None);
    // Nor does a reader that has had enough.
    let mut watch = releq(here, &["watch", "run"]).spawn().unwrap();
    drop(watch.stdout.take());
    assert_eq!(watch.wait().unwrap().code(), Some(0));
    assert_eq!(search.try_wait().unwrap(), None);
    search.kill().unwrap();
    search.wait().unwrap();
}

/// To its end: every measurement once, then what was found; and a later search that is killed takes none of it away.
#[test]
#[ignore = "slow: a search to its end; `cargo xtask test slow`"]
fn a_search_is_followed_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    trained(here);
    let mut search = searching(here, "8", "128");
    let watch = releq(here, &["watch", "run", "--json"]).spawn().unwrap();
    assert_eq!(search.wait().unwrap().code(), Some(0));
    let (code, stdout, stderr) = said(watch);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let events: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [first, measurements @ .., end] = &events[..] else { panic!("{stdout}") };
    let before = first["measured"].as_u64().unwrap();
    let numbers: Vec<u64> = measurements.iter().map(|event| event["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (before + 1..=measured(here) as u64).collect::<Vec<_>>());
    assert!(measurements.iter().all(|event| event["event"] == "measurement" && event["schema"] == 1));
    let result = document(&here.join("run/result.json"));
    assert_eq!((&end["end"], &end["plan"], &end["met"]), (&"finished".into(), &result["plan"], &result["met"]));
    assert_eq!(document(&here.join("run/run.json")), result["asked"]);
    assert!(!here.join("run/stage.json").exists());

    // Over, it is told at once.
    let (code, stdout, _) = said(releq(here, &["watch", "run"]).spawn().unwrap());
    assert!(code == Some(0) && stdout.starts_with("run: lenet on glyphs (synthetic), chosen by descent"), "{stdout}");

    // Another search here is killed: the result stays what it was, and the same command goes on.
    let mut later = searching(here, "40", "192");
    while document(&here.join("run/run.json")) == result["asked"] {
        std::thread::sleep(Duration::from_millis(5));
    }
    later.kill().unwrap();
    later.wait().unwrap();
    let (code, stdout, _) = said(releq(here, &["watch", "run"]).spawn().unwrap());
    assert!(code == Some(1) && stdout.contains("its last search has no result"), "{stdout}");
    let report = String::from_utf8(releq(here, &["report", "run"]).output().unwrap().stdout).unwrap();
    assert!(report.contains("a later search here was asked something else, and has no result yet"), "{report}");
    let export = releq(here, &["export", "run", "--pick", "knee", "-o", "knee.rlq"]).output().unwrap();
    assert_eq!(export.status.code(), Some(0), "{}", String::from_utf8_lossy(&export.stderr));
    let known = measured(here);
    let boards = releq(here, &["search", "net.safetensors", "--data", "glyphs", "-o", "run", "--board", "virt-m7"])
        .args(["--max-loss", "90", "--weights", "2,4,8", "--agent", "descent", "--episodes", "8"])
        .args(["--short", "128", "--long", "256", "--epochs", "0.02"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&boards.stderr).into_owned();
    assert!(said.contains("this run is finished and its boards or budgets are others now"), "{said}");
    assert_eq!(measured(here), known, "another board costs no training, whatever was begun in between");
}
