//! The rooms that may hold `unsafe`, and that each block in them says why it is sound.
//!
//! Clippy denies blocks without reason in the crates that it sees; firmware and examples are read here as well.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Every file or folder with `unsafe`, and what it is there for.
const ROOMS: [(&str, &str); 20] = [
    ("device/capi/src/engine.rs", "pointers from C become references, once"),
    ("device/capi/src/kernel.rs", "symbols that C links"),
    ("device/capi/src/panic.rs", "the proof by linking"),
    ("device/capi/src/tests.rs", "calls as C makes them"),
    ("device/firmware/src/bin/no_panic.rs", "the proof by linking"),
    ("device/firmware/src/bin/rp2040_pico.rs", "what the boot ROM looks for has a section of its own"),
    ("device/firmware/src/bin/rp2350_pico2.rs", "what the boot ROM looks for has a section of its own"),
    ("device/firmware/src/fence.rs", "the registers of the MPU"),
    ("device/firmware/src/memory.rs", "the model region, and the one loan of the arena"),
    ("device/firmware/src/runner.rs", "the handler of faults reads the frame that the core stacked"),
    ("device/firmware/src/stack.rs", "the painted stack is read"),
    ("device/firmware/src/timer/mod.rs", "a timer's registers, and a loop of known length"),
    ("device/firmware/src/transport/semihosting.rs", "calls of the debugger"),
    ("device/firmware/src/uart/cmsdk.rs", "a UART's registers"),
    ("device/src/kernels/bitserial", "vectors of a workstation"),
    ("device/src/kernels/dsp", "assembly"),
    ("device/src/resident.rs", "an image's memory is lent to an engine and taken back"),
    ("examples/firmware/bare/src/memory.rs", "the model region, and the one loan of the arena"),
    ("host/cycles/plugin/src", "QEMU's interface is C"),
    ("host/src/main.rs", "an environment variable and an option of the allocator are set before there are threads"),
];

/// Most lines between a reason's first and the block, the statement's own beginning included.
const NEAR: usize = 8;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

/// Every Rust file of the repository, but for what is built.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// A line without its comment and without what stands in quotes.
fn code(line: &str) -> String {
    let unquoted: String = line.replace("\\\"", "").split('"').step_by(2).collect::<Vec<_>>().join("\"\"");
    unquoted.split("//").next().unwrap_or_default().to_owned()
}

fn is_unsafe(code: &str) -> bool {
    code.split(|letter: char| !(letter.is_alphanumeric() || letter == '_')).any(|word| word == "unsafe")
}

/// Numbers of the lines whose block has no reason near above it.
fn without_reason(source: &str) -> Vec<usize> {
    let lines: Vec<&str> = source.lines().collect();
    let opens = |line: &str| ["unsafe {", "unsafe impl"].iter().any(|block| code(line).contains(block));
    let reason = |at: usize| lines[at.saturating_sub(NEAR)..at].iter().any(|line| line.contains("// SAFETY: "));
    (0..lines.len()).filter(|&at| opens(lines[at]) && !reason(at)).map(|at| at + 1).collect()
}

#[test]
fn unsafe_stays_in_its_rooms_and_says_why() {
    let (root, mut files) = (root(), Vec::new());
    sources(&root, &mut files);
    assert!(files.len() > 300, "{} files are too few to be all", files.len());
    let (mut entered, mut wrong) = (BTreeSet::new(), Vec::new());
    for path in files {
        let source = fs::read_to_string(&path).unwrap();
        if !source.lines().any(|line| is_unsafe(&code(line))) {
            continue;
        }
        let path = path.strip_prefix(&root).unwrap();
        match ROOMS.iter().find(|(room, _)| path.starts_with(room)) {
            Some((room, _)) => drop(entered.insert(*room)),
            None => wrong.push(format!("{} is no room for `unsafe`", path.display())),
        }
        let lines = without_reason(&source);
        wrong.extend(lines.into_iter().map(|line| format!("{}:{line} has no SAFETY line", path.display())));
    }
    let empty = ROOMS.iter().filter(|(room, _)| !entered.contains(room));
    wrong.extend(empty.map(|(room, _)| format!("{room} has no `unsafe` and needs no room")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_word_is_found_where_it_is_meant() {
    assert!(is_unsafe(&code("let x = unsafe { y };")) && is_unsafe(&code("#[unsafe(no_mangle)]")));
    assert!(!is_unsafe(&code("//! the only room with `unsafe`")) && !is_unsafe(&code("#![allow(unsafe_code)]")));
    let quoted = "split(\"unsafe {\")";
    assert!(!is_unsafe(&code(quoted)));
    let far = ["// SAFETY: so.", "unsafe { a }"].into_iter().chain([""; NEAR]).chain(["unsafe { b }"]);
    assert_eq!(without_reason(&far.collect::<Vec<_>>().join("\n")), [NEAR + 3]);
}
