//! A search whose plans other processes measure ends as one that measures them itself, whatever becomes of the others.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn releq(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_releq"));
    command.current_dir(directory).env("CANDLE_NUM_THREADS", "1").env("RELEQ_TOKEN", "a secret").args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

const SEARCH: [&str; 15] = [
    "search",
    "net.safetensors",
    "--data",
    "glyphs",
    "--max-loss",
    "90",
    "--episodes",
    "6",
    "--short",
    "256",
    "--long",
    "512",
    "--epochs",
    "0.02",
    "--weights=2,4,8",
];

fn measured(directory: &Path, run: &str) -> usize {
    fs::read_to_string(directory.join(run).join("measurements.jsonl")).map_or(0, |log| log.lines().count())
}

/// What was found, and the image.
fn outcome(directory: &Path, run: &str) -> (serde_json::Value, Vec<u8>) {
    let mut result: serde_json::Value =
        serde_json::from_slice(&fs::read(directory.join(run).join("result.json")).unwrap()).unwrap();
    for field in ["seconds", "spent", "image"] {
        result.as_object_mut().unwrap().remove(field).unwrap();
    }
    (result, fs::read(directory.join(run).join("model.rlq")).unwrap())
}

/// A port that was free a moment ago.
fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// A worker, once the search listens.
fn worker(directory: &Path, address: &str, token: &str) -> Child {
    releq(directory, &["worker", "--connect", address]).env("RELEQ_TOKEN", token).spawn().unwrap()
}

#[test]
#[ignore = "slow: two searches; `cargo xtask test slow`"]
fn a_crew_finds_what_one_process_finds() {
    let directory = tempfile::tempdir().unwrap();
    let here = directory.path();
    let train = ["train", "--model", "lenet", "--data", "glyphs", "--epochs", "0.1", "-o", "net.safetensors"];
    assert!(releq(here, &train).status().unwrap().success());
    assert_eq!(releq(here, &[&SEARCH[..], &["-o", "alone"]].concat()).status().unwrap().code(), Some(0));

    let address = free();
    let listen = ["-o", "crew", "--listen", &address];
    let mut search = releq(here, &[&SEARCH[..], &listen].concat()).spawn().unwrap();
    let deadline = Instant::now() + Duration::from_secs(120);
    while std::net::TcpStream::connect(&address).is_err() {
        assert!(Instant::now() < deadline, "nobody listens");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Who has another token gets nothing, and says so.
    assert_eq!(worker(here, &address, "another secret").wait().unwrap().code(), Some(3));
    let mut doomed = worker(here, &address, "a secret");
    while measured(here, "crew") == 0 {
        assert!(Instant::now() < deadline, "nothing is measured");
        std::thread::sleep(Duration::from_millis(5));
    }
    // In the midst of its second plan, or the search's between two.
    doomed.kill().unwrap();
    doomed.wait().unwrap();
    let mut faithful = [worker(here, &address, "a secret"), worker(here, &address, "a secret")];
    assert_eq!(search.wait().unwrap().code(), Some(0));
    for worker in &mut faithful {
        // A worker that came when all was done finds nobody.
        assert!(matches!(worker.wait().unwrap().code(), Some(0 | 3)));
    }
    assert_eq!(measured(here, "crew"), measured(here, "alone"));
    assert!(outcome(here, "crew") == outcome(here, "alone"), "the runs differ");
}
