//! Disks that are full, files that may not grow and places that cannot be written: every verb that writes says so, leaves
//! what there was as it was, and does its work once there is room.
//!
//! A full disk is a real one of a few megabytes, mounted for the test alone, where this machine lets a user mount.
//! Elsewhere that test says that it was skipped, and a limit on the size of files has to do.
#![cfg(target_os = "linux")]

mod small;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Verbs that write, and the file that is there when they are done.
const VERBS: [(&[&str], &str); 7] = [
    (
        &["train", "--model", "simplenet", "--data", "digits", "--epochs", "1", "-o", "new.safetensors"],
        "new.safetensors",
    ),
    (&["import", "net.safetensors", "-o", "copy.safetensors"], "copy.safetensors"),
    (&["ptq", "net.safetensors", "--data", "digits", "-o", "eight.rlq"], "eight.rlq"),
    (&["quantize", "net.safetensors", "--bits", "4", "--data", "digits", "-o", "four.rlq"], "four.rlq"),
    (&["export", "run", "--plan", "3,3,3,3,3", "-o", "three.rlq"], "three.rlq"),
    (&["report", "run"], "run/report.html"),
    (&TABLE, "all.csv"),
];

const TABLE: [&str; 15] = [
    "search",
    "net.safetensors",
    "--data",
    "digits",
    "--agent",
    "exhaustive",
    "--weights",
    "4,8",
    "--pin-ends",
    "--short",
    "64",
    "--table",
    "all.csv",
    "-o",
    "all",
];

/// Every file below `directory`, with what is in it.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for path in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

/// What was typed, how it ended, and what it said last.
fn told(arguments: &[&str], output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    let error = stderr.lines().rfind(|line| line.starts_with("error: ")).unwrap_or(&stderr);
    let code = output.status.code().map_or("killed".to_owned(), |code| code.to_string());
    format!("$ releq {}\nexit {code}\n{error}\n\n", arguments.join(" "))
}

/// Runs every verb as `command`, where it cannot write: each says so, and no file is another than before. Only a table's
/// search has files of its own by then, in its run.
fn refused(here: &Path, command: &dyn Fn(&[&str]) -> Command) -> String {
    let mut all = String::new();
    for (arguments, product) in VERBS {
        let before = files(here);
        let output = command(arguments).output().unwrap();
        let after = files(here);
        let told = told(arguments, &output);
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(before.iter().all(|(path, bytes)| after.get(path) == Some(bytes)), "{told}changed a file");
        let new: Vec<&PathBuf> =
            after.keys().filter(|path| !before.contains_key(*path) && !path.starts_with(here.join("all"))).collect();
        assert!(new.is_empty() && !here.join(product).exists(), "{told}left {new:?}");
        all += &told;
    }
    all
}

/// Runs every verb where it can write; what it makes is as good as what was made in `reference`.
fn done(here: &Path, reference: &Path) {
    for (arguments, product) in VERBS {
        let output = small::releq(here, arguments).output().unwrap();
        assert!(output.status.success(), "{}", told(arguments, &output));
        let [made, wanted] = [here, reference].map(|place| fs::read(place.join(product)).unwrap());
        // A report tells where its run is and how long it took.
        assert!(made == wanted || product.ends_with(".html"), "{product} is another");
    }
}

/// A network, digits, and a finished run, each made once.
fn filled() -> tempfile::TempDir {
    let room = tempfile::tempdir().unwrap();
    small::fill(room.path());
    assert!(small::search(room.path(), small::QUICK, "run").status().unwrap().success());
    room
}

fn copy(from: &Path, to: &Path) {
    for path in fs::read_dir(from).unwrap().map(|entry| entry.unwrap().path()) {
        let place = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir(&place).unwrap();
            copy(&path, &place);
        } else {
            fs::copy(&path, place).unwrap();
        }
    }
}

/// The command, whose files may grow to one block and no further, and which is told so instead of being killed.
fn limited(here: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_releq")]).args(arguments);
    command.current_dir(here).env("CANDLE_NUM_THREADS", "1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

#[test]
#[ignore = "slow: every verb twice; `cargo xtask test slow`"]
fn files_that_may_not_grow_stop_every_verb_and_spoil_none() {
    let (room, reference) = (filled(), tempfile::tempdir().unwrap());
    let here = room.path();
    copy(here, reference.path());
    insta::assert_snapshot!(refused(here, &|arguments| limited(here, arguments)));
    let log = fs::read(here.join("all/measurements.jsonl")).unwrap();
    assert!(log.len() % 512 == 0 && log.last() != Some(&b'\n'), "the last line of the log is torn");
    for (arguments, _) in VERBS {
        assert!(small::releq(reference.path(), arguments).status().unwrap().success());
    }
    done(here, reference.path());
    println!("figure: commands stopped by a limit on files and gone on with {}", VERBS.len());
}

/// Set where the test runs in a place for mounts that is its own.
const INSIDE: &str = "RELEQ_TEST_MOUNTS";

/// Room that is left on a disk when a search begins, KiB: none at all, for the state of a training and no more, for one
/// network, for one and an image, and for most of its shelf.
const ROOMS: [u64; 5] = [0, 640, 720, 800, 1100];

/// A disk of its own for one test.
struct Disk {
    path: PathBuf,
}

impl Disk {
    fn mount(path: &Path) -> Self {
        assert!(mount(&["-t", "tmpfs", "-o", "size=24m", "tmpfs"], path));
        Self { path: path.to_owned() }
    }

    /// Leaves room for `bytes` more.
    fn leave(&self, bytes: u64) {
        self.clear();
        let mut filler = File::create(self.filler()).unwrap();
        let mut taken = 0;
        let zeros = [0; 4096];
        let end = loop {
            match filler.write(&zeros) {
                Ok(count) => taken += count as u64,
                Err(error) => break error.kind(),
            }
        };
        assert_eq!(end, io::ErrorKind::StorageFull);
        filler.set_len(taken.saturating_sub(bytes)).unwrap();
    }

    /// Makes room.
    fn clear(&self) {
        let _ = fs::remove_file(self.filler());
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }

    /// Lets nobody write to it, or again.
    fn lock(&self, locked: bool) {
        assert!(mount(&["-o", if locked { "remount,ro" } else { "remount,rw" }], &self.path));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Where it stays, it goes with the process.
        let _ = Command::new("umount").arg(&self.path).status();
    }
}

fn mount(arguments: &[&str], path: &Path) -> bool {
    Command::new("mount").args(arguments).arg(path).status().is_ok_and(|status| status.success())
}

/// Runs `test` again where mounts are its own, if this machine has such places.
fn inside(test: &str) {
    let place = || {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount"]);
        command
    };
    if !place().arg("true").output().is_ok_and(|output| output.status.success()) {
        println!("skipped: nobody may mount here");
        return;
    }
    let mut again = place();
    again.arg(std::env::current_exe().unwrap()).args([test, "--exact", "--ignored", "--nocapture"]).env(INSIDE, "1");
    assert!(again.status().unwrap().success());
}

#[test]
#[ignore = "slow: every verb three times, and ten searches; `cargo xtask test slow`"]
fn a_full_disk_stops_every_verb_and_spoils_nothing() {
    if std::env::var_os(INSIDE).is_none() {
        return inside("a_full_disk_stops_every_verb_and_spoils_nothing");
    }
    let (reference, place) = (filled(), tempfile::tempdir().unwrap());
    let disk = Disk::mount(place.path());
    let here = &place.path().join("here");
    fs::create_dir(here).unwrap();
    copy(reference.path(), here);
    disk.leave(4096);
    let mut told = "A full disk\n\n".to_owned() + &refused(here, &|arguments| small::releq(here, arguments));
    disk.clear();
    disk.lock(true);
    told += "A disk that cannot be written\n\n";
    told += &refused(here, &|arguments| small::releq(here, arguments));
    disk.lock(false);
    insta::assert_snapshot!(told);
    for (arguments, _) in VERBS {
        assert!(small::releq(reference.path(), arguments).status().unwrap().success());
    }
    done(here, reference.path());
    let stopped = searches_stopped(&disk, here);
    println!("figure: commands stopped by a full disk and gone on with {}", VERBS.len() + stopped);
    println!("figure: commands stopped by a read-only disk and gone on with {}", VERBS.len());
}

/// Searches that find the disk full sooner or later, each of which goes on to the end of one that never did; how many.
fn searches_stopped(disk: &Disk, here: &Path) -> usize {
    assert!(small::search(here, small::QUICK, "whole").status().unwrap().success());
    let whole = small::left(&here.join("whole"));
    for room in ROOMS {
        disk.leave(room << 10);
        let output = small::search(here, small::QUICK, "new").output().unwrap();
        let told = told(&["search"], &output);
        assert_eq!(output.status.code(), Some(2), "with {room} KiB: {told}");
        assert!(told.contains("No space left on device (os error 28)") && told.matches("; ").count() >= 2, "{told}");
        assert!(!here.join("new/result.json").exists() && !here.join("new/model.rlq").exists());
        disk.clear();
        assert!(small::search(here, small::QUICK, "new").status().unwrap().success());
        small::assert_same(&small::left(&here.join("new")), &whole);
        fs::remove_dir_all(here.join("new")).unwrap();
    }
    ROOMS.len()
}
