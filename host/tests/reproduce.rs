//! The paper's table made anew: its quick form whole, and what is left unfinished said so.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn reproduce(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_releq"));
    command.current_dir(directory).env("CANDLE_NUM_THREADS", "1").stdin(Stdio::null());
    command.args(["reproduce", "--quick", "--json", "-o", "made"]).args(arguments).output().unwrap()
}

fn rows(output: &Output) -> Vec<Value> {
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    report["rows"].as_array().unwrap().clone()
}

#[test]
fn what_there_was_no_time_for_is_unfinished() {
    let directory = tempfile::tempdir().unwrap();
    let output = reproduce(directory.path(), &["--minutes", "0"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let rows = rows(&output);
    assert_eq!((rows.len(), &rows[0]["network"], &rows[0]["unfinished"]), (1, &"lenet".into(), &"train".into()));
    assert!(rows[0]["ours"].is_null() && rows[0]["paper"]["gains"].is_null());
}

#[test]
#[ignore = "slow: a training and a search; `cargo xtask test slow`"]
fn the_quick_form_is_whole_and_resumes() {
    let directory = tempfile::tempdir().unwrap();
    let first = reproduce(directory.path(), &[]);
    assert_eq!(first.status.code(), Some(0), "{}", String::from_utf8_lossy(&first.stderr));
    let told = rows(&first);
    let ours = &told[0]["ours"];
    assert!(ours["loss"].is_number() && ours["gains"]["accelerator"].as_f64().unwrap() > 1.0, "{ours}");
    assert!(told[0]["paper"]["gains"]["instructions"].as_f64().unwrap() > 1.0);
    assert!(told[0]["paper"]["admm_gains"]["accelerator"].as_f64().unwrap() > 1.0);

    // Everything is there: nothing runs again, and the table is the same.
    let again = reproduce(directory.path(), &[]);
    assert_eq!(rows(&again), told);
    assert!(!String::from_utf8_lossy(&again.stderr).contains("$ releq"), "nothing is done twice");

    // Without the search's result, the row is unfinished until the search has ended again.
    std::fs::remove_file(directory.path().join("made/lenet/search/result.json")).unwrap();
    let cut = reproduce(directory.path(), &["--minutes", "0"]);
    assert_eq!((cut.status.code(), &rows(&cut)[0]["unfinished"]), (Some(1), &"search".into()));
}
