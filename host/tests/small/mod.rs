//! A network and drawn digits that are searched in seconds, for tests that end searches before they are done.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use releq::data::{Dataset, glyphs};
use serde_json::Value;

/// An agent that takes no time of its own to choose.
pub(crate) const QUICK: &str = "evolution";

/// The command, as a user in `directory` types it.
pub(crate) fn releq(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_releq"));
    command.current_dir(directory).env("CANDLE_NUM_THREADS", "1").args(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Puts the digits in `directory/digits`, and a network that was trained on them in `directory/net.safetensors`.
pub(crate) fn fill(directory: &Path) {
    let digits = directory.join("digits");
    fs::create_dir(&digits).unwrap();
    for (part, set) in [("train", glyphs::generate(7, 480)), ("test", glyphs::generate(8, 120))] {
        let Dataset { shape: [_, height, width], images, labels, .. } = set;
        fs::write(digits.join(format!("x_{part}.npy")), npy(&[labels.len(), height, width], &images)).unwrap();
        fs::write(digits.join(format!("y_{part}.npy")), npy(&[labels.len()], &labels)).unwrap();
    }
    let train = ["train", "--model", "simplenet", "--data", "digits", "--epochs", "6", "-o", "net.safetensors"];
    assert!(releq(directory, &train).status().unwrap().success());
}

/// An array of bytes as NumPy writes it.
fn npy(sizes: &[usize], bytes: &[u8]) -> Vec<u8> {
    let sizes: String = sizes.iter().map(|size| format!("{size}, ")).collect();
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({sizes}), }}\n");
    [b"\x93NUMPY\x01\0", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), bytes].concat()
}

/// A search of that network by `agent`, with every stage there is and its run in `run`.
pub(crate) fn search(directory: &Path, agent: &str, run: &str) -> Command {
    let mut command =
        releq(directory, &["search", "net.safetensors", "--data", "digits", "--max-loss", "40", "-o", run]);
    command.args(["--weights", "2,4,8", "--episodes", "6", "--short", "128", "--long", "384", "--epochs", "1"]);
    command.args(["--agent", agent, "--baselines", "1", "--verbose"]);
    command
}

/// The files that a finished run left, by name, but for what the clock says; those of its shelf are read with it.
pub(crate) fn left(run: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for directory in [run.to_owned(), run.join("tuned")] {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
            let (name, bytes) = (entry.file_name().to_string_lossy().into_owned(), fs::read(entry.path()).unwrap());
            let bytes = match name.as_str() {
                "measurements.jsonl" => bytes.split(|&byte| byte == b'\n').flat_map(timeless).collect(),
                "result.json" => timeless(&bytes),
                _ => bytes,
            };
            files.push((name, bytes));
        }
    }
    files.sort();
    files
}

/// A JSON document without its seconds, what they went to, and the path of its image.
fn timeless(document: &[u8]) -> Vec<u8> {
    if document.is_empty() {
        return Vec::new();
    }
    let mut value: Value = serde_json::from_slice(document).unwrap();
    assert!(value.as_object_mut().unwrap().remove("seconds").is_some());
    for field in ["spent", "image"] {
        value.as_object_mut().unwrap().remove(field);
    }
    format!("{value}\n").into_bytes()
}

/// Fails with the name of the first file in which two runs differ.
pub(crate) fn assert_same(one: &[(String, Vec<u8>)], other: &[(String, Vec<u8>)]) {
    let names = |files: &[(String, Vec<u8>)]| files.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(one), names(other));
    for ((name, one), (_, other)) in one.iter().zip(other) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(one == other, "{name} differs:\n{}\n{}", text(one), text(other));
    }
}
