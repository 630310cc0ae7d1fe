//! The stories that README and examples/README.md tell, typed as they stand there: every command's exit code and output.
//!
//! Numbers may differ (another processor rounds otherwise, another machine is faster), and with them the plans that a
//! search finds; everything else may not. With
//! RELEQ_UPDATE=1 the outputs in the file are written anew instead of compared.

#![allow(clippy::explicit_write, reason = "what eprintln! says is swallowed in a test that passes")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use releq::target::qemu::Launch;
use releq_device::board::VIRT_M4;

/// What one command line says in the story, and what it said here.
struct Step {
    command: String,
    told: Vec<String>,
}

/// A file of the repository.
fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)
}

const BEGIN: &str = "<!-- the story -->\n";
const END: &str = "<!-- end of the story -->";

/// The commands between the two marks, each with the lines below it.
fn story(text: &str) -> Vec<Step> {
    let (_, rest) = text.split_once(BEGIN).expect("it has the story's first mark");
    let (story, _) = rest.split_once(END).expect("it has the story's last mark");
    let mut steps: Vec<Step> = Vec::new();
    let mut inside = false;
    for line in story.lines() {
        if let Some(fence) = line.strip_prefix("```") {
            inside = fence == "console";
        } else if let (true, Some(command)) = (inside, line.strip_prefix("$ ")) {
            steps.push(Step { command: command.to_owned(), told: Vec::new() });
        } else if let (true, Some(step)) = (inside, steps.last_mut()) {
            step.told.push(line.to_owned());
        }
    }
    steps
}

/// Types a command in `directory`; what follows a `#` is for the reader. `releq` is this tree's, and so are the examples that
/// `cargo run` would build.
fn typed(directory: &Path, command: &str) -> Vec<String> {
    let words: Vec<&str> = command.split(" #").next().unwrap_or_default().split_whitespace().collect();
    let releq = Path::new(env!("CARGO_BIN_EXE_releq"));
    let (program, arguments) = match words[..] {
        ["releq", ref arguments @ ..] => (releq.to_owned(), arguments),
        ["cargo", "run", "--example", name, ref rest @ ..]
        | ["cargo", "run", "-p", _, "--example", name, ref rest @ ..] => {
            (releq.with_file_name("examples").join(name), rest.get(1..).unwrap_or_default())
        }
        _ => panic!("nobody knows how to type {command}"),
    };
    assert!(program.is_file(), "{} is not built; `cargo build --examples` does it", program.display());
    let mut program = Command::new(program);
    program.current_dir(directory).args(arguments).stdin(Stdio::null()).env("RELEQ_DATA", directory);
    let output = program.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command}: {}\n{said}", output.status);
    String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
}

/// A text whose numbers are all alike, columns pushed together, and equal neighbours taken for one.
fn shape(lines: &[String]) -> Vec<String> {
    let mut shapes: Vec<String> = lines.iter().map(|line| shape_of(line)).filter(|line| !line.is_empty()).collect();
    shapes.dedup();
    shapes
}

fn shape_of(line: &str) -> String {
    let mut shape = String::new();
    for letter in without_keys(line).chars() {
        match letter {
            '0'..='9' if shape.ends_with('#') => {}
            '0'..='9' => shape.push('#'),
            // A curve is as long as it is, and as high as its numbers.
            '▁'..='█' if shape.ends_with('▁') => {}
            '▁'..='█' => shape.push('▁'),
            letter => shape.push(letter),
        }
    }
    // Groups of thousands, fractions and signs belong to their numbers.
    let words: Vec<&str> = shape.split_whitespace().collect();
    let joined = words.join(" ").replace("#.#", "#").replace("-#", "#").replace("+#", "#");
    let mut text = joined;
    while text.contains("# #") {
        text = text.replace("# #", "#");
    }
    // Which plans a front has, and which of them is the fastest, hangs by the last bits of floats.
    if text.starts_with("#:#,#:#") || text.starts_with("#,#,#") { "a plan".to_owned() } else { text }
}

/// A line with one digit in place of each key of eight: which of a digest's digits are letters is chance.
fn without_keys(line: &str) -> String {
    let words = line.split_inclusive(|letter: char| !letter.is_ascii_hexdigit());
    let word = |word: &str| match word.trim_end_matches(|letter: char| !letter.is_ascii_hexdigit()) {
        key if key.len() == 8 => format!("0{}", &word[key.len()..]),
        _ => word.to_owned(),
    };
    words.map(word).collect()
}

/// What `releq doctor` finds is the machine's own: only what it looks for is told.
fn looked_for(lines: &[String]) -> Vec<String> {
    let names = lines.iter().filter(|line| !line.starts_with(' '));
    names.filter_map(|line| Some(line.split_whitespace().nth(1)?.to_owned())).collect()
}

fn missing() -> Option<&'static str> {
    let launch = Launch::from_env();
    let qemu = Command::new(&launch.qemu).arg("--version").stdout(Stdio::null()).status();
    match (qemu.is_ok_and(|status| status.success()), launch.runner(&VIRT_M4)) {
        (false, _) => Some("no qemu-system-arm"),
        (_, Err(_)) => Some("no runner firmware"),
        _ => None,
    }
}

/// Types the story of `name` in `directory`, and compares or, where that is asked for, records what is said.
fn told(name: &str, directory: &Path) {
    let text = fs::read_to_string(file(name)).unwrap();
    let steps = story(&text);
    assert!(steps.len() >= 10, "a story of {} commands", steps.len());
    let update = std::env::var_os("RELEQ_UPDATE").is_some();
    let mut new = text.clone();
    for Step { command, told } in &steps {
        let said = typed(directory, command);
        if update {
            let block = |lines: &[String]| {
                format!("$ {command}\n{}", lines.iter().map(|line| format!("{line}\n")).collect::<String>())
            };
            let end = told.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
            new = new.replacen(&block(&told[..end]), &block(&said), 1);
        } else if command.starts_with("releq doctor") {
            assert_eq!(looked_for(told), looked_for(&said), "{command}");
        } else {
            assert_eq!(shape(told), shape(&said), "{command}");
        }
    }
    if update {
        fs::write(file(name), new).unwrap();
    }
}

/// Whether this machine emulates the board that the stories run on; says so where not.
fn emulates() -> bool {
    let missing = missing();
    if let Some(missing) = missing {
        assert!(std::env::var_os("RELEQ_REQUIRE_QEMU").is_none(), "{missing}");
        writeln!(std::io::stderr(), "skipped: {missing}").unwrap();
    }
    missing.is_none()
}

#[test]
#[ignore = "minutes; stage `slow`"]
fn readme_tells_what_happens() {
    if !emulates() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    told("README.md", directory.path());
    let report = fs::read_to_string(directory.path().join("runs/lenet/report.html"));
    assert!(report.is_ok_and(|report| report.contains("</html>")), "the story ends in a report");
}

#[test]
#[ignore = "minutes; stage `slow`, which builds the examples first"]
fn examples_do_what_their_readme_tells() {
    if !emulates() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let tables = directory.path().join("search/tables");
    fs::create_dir_all(&tables).unwrap();
    for table in ["lenet-releq.csv", "lenet-releq.json"] {
        fs::copy(file("search/tables").join(table), tables.join(table)).unwrap();
    }
    told("examples/README.md", directory.path());
}

#[test]
fn shapes_forget_numbers_and_nothing_else() {
    let shape = |line: &str| shape(&[line.to_owned()]).concat();
    assert_eq!(shape("top-1 99.27 %   1 803 020"), shape("top-1 100.00 %   652 648"));
    assert_eq!(shape("loss -0.05 points"), shape("loss 0.10 points"));
    assert_ne!(shape("identical yes"), shape("identical NO"));
    assert_ne!(shape("a 1"), shape("a -"));
    assert_eq!(shape("2:4,2:4  0.07*  112 688  fastest"), shape("8:4,2:8  0.00  416 828"));
}
