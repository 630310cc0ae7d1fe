//! The pages hold together: every block of code in them is checked, every link leads somewhere, and the book has them all.
//!
//! A command must be one that `releq` would take, flags and all; those of README's story are typed as well, by `story`.
//! A passage of Rust or C must stand in a file that is compiled, so that it cannot go stale alone.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use clap::error::ErrorKind;

/// One fenced block of a page.
struct Block {
    page: PathBuf,
    line: usize,
    language: String,
    lines: Vec<String>,
}

impl Block {
    fn place(&self) -> String {
        format!("{}:{}", self.page.strip_prefix(root()).unwrap_or(&self.page).display(), self.line)
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Files below `directory` that end in `.extension`, without build outputs.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(directory) else { return found };
    for path in entries.map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|other| other == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn pages() -> Vec<PathBuf> {
    let pages = files(root(), "md");
    assert!(pages.iter().any(|page| page.ends_with("README.md")));
    pages
}

fn blocks() -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        let mut inside = false;
        for (number, line) in text.lines().enumerate() {
            match (line.trim_start().strip_prefix("```"), inside) {
                (Some(_), true) => inside = false,
                (Some(language), false) => {
                    let (page, language) = (page.clone(), language.trim().to_owned());
                    blocks.push(Block { page, line: number + 1, language, lines: Vec::new() });
                    inside = true;
                }
                (None, true) => blocks.last_mut().expect("a block is open").lines.push(line.to_owned()),
                (None, false) => {}
            }
        }
        assert!(!inside, "{}: a block never ends", page.display());
    }
    blocks
}

/// The command lines of a block, continued lines joined: after `$ ` on a console; in scripts every line is one.
fn commands(block: &Block) -> Vec<String> {
    let mut commands: Vec<String> = Vec::new();
    let mut goes_on = false;
    let console = block.lines.iter().any(|line| line.trim_start().starts_with("$ "));
    for line in block.lines.iter().map(|line| line.trim()) {
        let typed = if console { line.strip_prefix("$ ") } else { Some(line) };
        match (goes_on, typed) {
            (true, _) => {
                let command = commands.last_mut().expect("a command goes on");
                *command = format!("{} {line}", command.trim_end_matches('\\').trim_end());
            }
            (false, Some(typed)) => commands.push(typed.to_owned()),
            (false, None) => continue,
        }
        goes_on = line.ends_with('\\');
    }
    commands
}

/// The first command of a line: up to a comment, a pipe or a redirection.
fn words(command: &str) -> Vec<&str> {
    let ends = [" #", "     #", " | ", " > ", " && "];
    let end = ends.iter().filter_map(|end| command.find(end)).min().unwrap_or(command.len());
    command[..end].split_whitespace().collect()
}

/// Says what `releq` would not take in `words`, the first being its name.
fn refused(words: &[&str]) -> Option<String> {
    // A variable of a script stands for a number there.
    let words = words.iter().map(|word| if word.starts_with('$') { "8" } else { word.trim_matches('"') });
    match releq::cli::command().try_get_matches_from(words) {
        Err(error) if !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            Some(error.to_string())
        }
        _ => None,
    }
}

/// Says what of a `cargo` command is not there: a test, an example, a verb or stage of xtask.
fn unknown(words: &[&str]) -> Option<String> {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    if words[1] == "xtask" {
        let (verbs, stages) = (read("xtask/src/main.rs"), read("xtask/src/test.rs"));
        let verb = words.get(2).copied().unwrap_or("help");
        if !verbs.contains(&format!("\"{verb}\"")) {
            return Some(format!("xtask has no verb {verb}"));
        }
        let missing = words[3..].iter().find(|stage| **stage != "help" && !stages.contains(&format!("(\"{stage}\"")));
        return missing.filter(|_| verb == "test").map(|stage| format!("there is no stage {stage}"));
    }
    let rooms = ["--test", "--example", "--bench"].into_iter().zip(["tests", "examples", "benches"]);
    for (flag, room) in rooms {
        let named = words.iter().position(|word| *word == flag).and_then(|at| words.get(at + 1));
        let sources =
            || files(root(), "rs").into_iter().filter(|path| path.parent().is_some_and(|p| p.ends_with(room)));
        if let Some(name) = named
            && !sources().any(|path| path.file_stem().is_some_and(|stem| stem == *name))
        {
            return Some(format!("{room}/{name}.rs is nowhere"));
        }
    }
    None
}

#[test]
fn every_command_is_one_that_would_be_taken() {
    let (mut checked, mut wrong) = (0, Vec::new());
    for block in blocks().iter().filter(|block| ["", "console", "sh"].contains(&block.language.as_str())) {
        for command in commands(block) {
            let words = words(&command);
            // What stands for something of the reader's is not typed as it stands.
            let placeholder = words.contains(&"…") || words.contains(&"[...]");
            let problem = match words.first() {
                Some(&"releq") if !placeholder => refused(&words),
                Some(&"cargo") if words.len() > 1 => unknown(&words),
                _ => continue,
            };
            checked += 1;
            wrong.extend(problem.map(|problem| format!("{}: {command}\n{problem}", block.place())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 50, "only {checked} commands were found");
}

/// Spans of a page between single backticks, which may run over a line's end.
fn spans(text: &str) -> Vec<String> {
    let mut fenced = false;
    let prose = text.lines().filter(|line| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    });
    let prose = prose.collect::<Vec<_>>().join("\n");
    let spans = prose.split("\n\n").flat_map(|paragraph| paragraph.split('`').skip(1).step_by(2).map(str::to_owned));
    spans.map(|span| span.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Prose shortens commands, so of those only verb and flags are held to what there is.
#[test]
fn every_flag_that_is_spoken_of_exists() {
    let command = releq::cli::command();
    let (mut checked, mut wrong) = (0, Vec::new());
    // Pages of what was decided or changed may speak of what is no more.
    for page in pages().iter().filter(|page| !page.ends_with("CHANGELOG.md")) {
        for span in spans(&fs::read_to_string(page).unwrap()) {
            let words = words(&span);
            let problem = match words.as_slice() {
                ["releq", verb, rest @ ..] if verb.chars().all(|letter| letter.is_ascii_lowercase()) => {
                    checked += 1;
                    flags_of(&command, verb, rest)
                }
                ["cargo", _, ..] => unknown(&words),
                _ => None,
            };
            wrong.extend(problem.map(|problem| format!("{}: `{span}`: {problem}", page.display())));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 50, "only {checked} commands were found");
}

/// Says which of `words` is no flag of `verb`.
fn flags_of(command: &clap::Command, verb: &str, words: &[&str]) -> Option<String> {
    let Some(verb) = command.find_subcommand(verb) else { return Some(format!("there is no verb {verb}")) };
    let below = words.first().and_then(|word| verb.find_subcommand(word));
    let flags: BTreeSet<String> = [command, verb]
        .into_iter()
        .chain(below)
        .flat_map(clap::Command::get_arguments)
        .filter_map(|argument| argument.get_long_and_visible_aliases())
        .flatten()
        .map(|long| format!("--{long}"))
        .chain(["--help".to_owned(), "--version".to_owned()])
        .collect();
    let flag = |word: &&&str| word.starts_with("--") && word.len() > 2;
    let named = words.iter().filter(flag).map(|word| word.split('=').next().unwrap_or_default());
    named.into_iter().find(|word| !flags.contains(*word)).map(|word| format!("it has no {word}"))
}

/// A line of code without its indentation and, in a documentation test, without the comment around it.
fn bare(line: &str) -> &str {
    let line = line.trim();
    let documented =
        line.strip_prefix("//! ").or_else(|| line.strip_prefix("/// ").filter(|rest| !rest.ends_with('.')));
    documented.unwrap_or(line).trim()
}

/// Whether `passage` stands in `text`, blank lines and indentation apart.
fn stands_in(passage: &[&str], text: &str) -> bool {
    let lines: Vec<&str> = text.lines().map(bare).filter(|line| !line.is_empty() && !line.starts_with("# ")).collect();
    lines.windows(passage.len()).any(|window| window == passage)
}

#[test]
fn every_passage_stands_in_a_file_that_is_compiled() {
    let mut checked = 0;
    for block in blocks() {
        let extension = match block.language.as_str() {
            "rust" => "rs",
            "c" => "c",
            _ => continue,
        };
        let sources: Vec<String> =
            files(root(), extension).iter().map(|path| fs::read_to_string(path).unwrap()).collect();
        for passage in block.lines.split(|line| line.trim().is_empty()).filter(|passage| !passage.is_empty()) {
            let passage: Vec<&str> = passage.iter().map(|line| bare(line)).collect();
            let found = sources.iter().any(|text| stands_in(&passage, text));
            assert!(found, "{}: this is in no file:\n{}", block.place(), passage.join("\n"));
            checked += 1;
        }
    }
    assert!(checked > 3, "only {checked} passages were found");
}

#[test]
fn data_in_the_pages_can_be_read() {
    for block in blocks() {
        let text = block.lines.join("\n");
        match block.language.as_str() {
            "toml" => {
                drop(toml::from_str::<toml::Table>(&text).unwrap_or_else(|error| panic!("{}: {error}", block.place())))
            }
            "json" => {
                let whole = if text.trim_start().starts_with(['{', '[']) { text } else { format!("{{{text}}}") };
                let read = serde_json::from_str::<serde_json::Value>(&whole);
                drop(read.unwrap_or_else(|error| panic!("{}: {error}", block.place())));
            }
            "python" => parsed_by_python(&block, &text),
            // `hexdump` is held to its golden file by `golden`.
            "" | "console" | "sh" | "rust" | "c" | "hexdump" => {}
            other => panic!("{}: nothing checks blocks of `{other}`", block.place()),
        }
    }
}

fn parsed_by_python(block: &Block, text: &str) {
    let parse = ["-c", "import ast, sys; ast.parse(sys.argv[1])", text];
    match Command::new("python3").args(parse).stderr(Stdio::null()).status() {
        Ok(status) => assert!(status.success(), "{}: Python cannot parse it", block.place()),
        Err(_) => eprintln!("skipped: no python3"),
    }
}

/// Targets of `[text](target)` in a page, without those on the net.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let targets = targets.filter(|target| !target.contains("://") && !target.starts_with('#') && !target.contains(' '));
    targets.filter_map(|target| target.split('#').next()).map(str::to_owned).collect()
}

#[test]
fn every_link_leads_somewhere_and_the_book_has_every_page() {
    for page in pages() {
        for target in links(&fs::read_to_string(&page).unwrap()) {
            let to = page.parent().unwrap_or(root()).join(&target);
            // In documentation comments and formulas brackets meet as well.
            let path = target.contains('.') || target.contains('/');
            assert!(!path || to.exists(), "{}: {target} is not there", page.display());
        }
    }
    let docs = root().join("docs");
    let summary = links(&fs::read_to_string(docs.join("SUMMARY.md")).unwrap());
    let summary: BTreeSet<PathBuf> = summary.iter().map(|target| docs.join(target)).collect();
    let mut pages: BTreeSet<PathBuf> = files(&docs, "md").into_iter().collect();
    pages.remove(&docs.join("SUMMARY.md"));
    assert_eq!(summary, pages, "docs/SUMMARY.md lists every page under docs");
}
