//! What was tried to break releq: counted by tests and fuzz targets, written to docs/reliability.csv and
//! docs/reliability.md, and held against them.
//!
//! A test that counts prints `figure: WHAT NUMBER`; numbers of one name are summed.

use std::collections::BTreeMap;

use crate::process::{Failed, cargo, output, read, save};
use crate::setup::Found;

/// A command that counts.
struct Source {
    name: &'static str,
    /// What cargo is asked.
    arguments: &'static [&'static str],
    /// Whether it is seconds of work and gives the same numbers each time, and so is counted again by the stage.
    repeats: bool,
    /// Whether it runs on the emulated board.
    emulated: bool,
}

const SOURCES: [Source; 10] = [
    Source {
        name: "damage",
        arguments: &["test", "--locked", "--package", "releq-device", "--test", "damage", "--", "--nocapture"],
        repeats: true,
        emulated: false,
    },
    Source {
        name: "slots",
        arguments: &[
            "test",
            "--locked",
            "--package",
            "releq-device",
            "--features",
            "signed,slots",
            "--test",
            "signed",
            "--test",
            "slots",
            "--",
            "--nocapture",
        ],
        repeats: true,
        emulated: false,
    },
    Source {
        name: "trials",
        arguments: &["test", "--locked", "--test", "trials", "--", "--nocapture"],
        repeats: true,
        emulated: true,
    },
    Source {
        name: "session",
        arguments: &["test", "--locked", "--test", "session", "--", "--nocapture"],
        repeats: false,
        emulated: false,
    },
    Source {
        name: "import",
        arguments: &["test", "--locked", "--package", "releq", "--lib", "hostile", "--", "--nocapture"],
        repeats: true,
        emulated: false,
    },
    Source {
        name: "killed",
        arguments: &["test", "--locked", "--package", "releq", "--test", "killed", "--", "--ignored", "--nocapture"],
        repeats: false,
        emulated: false,
    },
    Source {
        name: "full",
        arguments: &["test", "--locked", "--package", "releq", "--test", "full", "--", "--ignored", "--nocapture"],
        repeats: false,
        emulated: false,
    },
    Source { name: "fuzz", arguments: &["xtask", "fuzz", "600"], repeats: false, emulated: false },
    Source { name: "miri", arguments: &["xtask", "test", "miri"], repeats: false, emulated: false },
    Source { name: "mutants", arguments: &["xtask", "mutants"], repeats: false, emulated: false },
];

const TABLE: &str = "docs/reliability.csv";
const PAGE: &str = "docs/reliability.md";
const MARKS: [&str; 2] = ["<!-- figures -->\n", "<!-- end of figures -->\n"];

/// What each source counted, by name.
type Figures = BTreeMap<String, u64>;

/// `cargo xtask reliability [SOURCE...]`: counts anew what is named, or all, and writes table and page.
pub(crate) fn write(names: &[&str]) -> Result<(), Failed> {
    if let Some(unknown) = names.iter().find(|name| SOURCES.iter().all(|source| source.name != **name)) {
        let known = SOURCES.map(|source| source.name).join(" ");
        return Err(Failed::usage(format!("there is no source `{unknown}`; the sources are {known}")));
    }
    let mut table = parse(&read(TABLE)?)?;
    for source in SOURCES.iter().filter(|source| names.is_empty() || names.contains(&source.name)) {
        table.insert(source.name.to_owned(), count(source)?);
    }
    save(TABLE, &csv(&table))?;
    save(PAGE, &page(&table, &read(PAGE)?)?)
}

/// Counts again what repeats, and fails where table or page say something else.
pub(crate) fn check(found: &Found) -> Result<(), Failed> {
    let (table, written) = (parse(&read(TABLE)?)?, read(PAGE)?);
    if page(&table, &written)? != written {
        return Err(Failed::check(format!("{PAGE} is not what {TABLE} says; `cargo xtask reliability` writes both")));
    }
    for source in SOURCES.iter().filter(|source| source.repeats) {
        let name = source.name;
        if source.emulated && !found.qemu {
            eprintln!("skipped: {name}, for want of qemu-system-arm");
            continue;
        }
        let Some(before) = table.get(name) else {
            eprintln!("{name} is not in the table yet; `cargo xtask reliability {name}` counts it");
            continue;
        };
        let now = count(source)?;
        if now != *before {
            let [before, now] = [before, &now].map(|figures| rows(name, figures));
            return Err(Failed::check(format!(
                "{TABLE} says\n{before}and it is\n{now}`cargo xtask reliability {name}` writes it anew"
            )));
        }
    }
    Ok(())
}

/// Runs what counts; not counting anything is a failure.
fn count(source: &Source) -> Result<Figures, Failed> {
    let line = format!("cargo {}", source.arguments.join(" "));
    eprintln!("$ {line}");
    let said = output(cargo().args(source.arguments)).ok_or_else(|| Failed::check(format!("`{line}` failed")))?;
    let figures = figures(&said);
    if figures.is_empty() { Err(Failed::check(format!("`{line}` counts nothing"))) } else { Ok(figures) }
}

/// The figures in what a command printed; a test's name may stand before one.
fn figures(said: &str) -> Figures {
    let mut figures = Figures::new();
    for line in said.lines() {
        let figure = line.split_once("figure: ").and_then(|(_, figure)| figure.rsplit_once(' '));
        if let Some((what, number)) = figure.and_then(|(what, number)| Some((what, number.parse::<u64>().ok()?))) {
            *figures.entry(what.to_owned()).or_default() += number;
        }
    }
    figures
}

fn rows(name: &str, figures: &Figures) -> String {
    figures.iter().map(|(what, number)| format!("{name},{what},{number}\n")).collect()
}

fn csv(table: &BTreeMap<String, Figures>) -> String {
    let rows: String = table.iter().map(|(name, figures)| rows(name, figures)).collect();
    format!("source,what,number\n{rows}")
}

fn parse(text: &str) -> Result<BTreeMap<String, Figures>, Failed> {
    let mut table: BTreeMap<String, Figures> = BTreeMap::new();
    for line in text.lines().skip(1) {
        let words: Vec<&str> = line.split(',').collect();
        let row = match words.as_slice() {
            [name, what, number] => number.parse().ok().map(|number| (*name, *what, number)),
            _ => None,
        };
        let (name, what, number) = row.ok_or_else(|| Failed::check(format!("{TABLE}: `{line}` is no row")))?;
        table.entry(name.to_owned()).or_default().insert(what.to_owned(), number);
    }
    Ok(table)
}

/// The page with the table between its marks.
fn page(table: &BTreeMap<String, Figures>, page: &str) -> Result<String, Failed> {
    let lost = || Failed::check(format!("{PAGE} has lost the marks of its table, `<!-- figures -->` and its end"));
    let (before, rest) = page.split_once(MARKS[0]).ok_or_else(lost)?;
    let (_, after) = rest.split_once(MARKS[1]).ok_or_else(lost)?;
    Ok(format!("{before}{}{}{}{after}", MARKS[0], markdown(table), MARKS[1]))
}

/// The sources in their own order, each with its command.
fn markdown(table: &BTreeMap<String, Figures>) -> String {
    let counted = SOURCES.iter().filter_map(|source| Some((source, table.get(source.name)?)));
    let parts = counted.map(|(source, figures)| {
        let rows: String = figures.iter().map(|(what, number)| format!("| {what} | {number} |\n")).collect();
        format!("`cargo {}`\n\n| | |\n|---|--:|\n{rows}", source.arguments.join(" "))
    });
    parts.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_one_name_are_summed() {
        let said = "test a ... figure: bits flipped 3\nok\nfigure: bits flipped 4\nfigure: torn\nrunning 2 tests\n";
        assert_eq!(figures(said), Figures::from([("bits flipped".to_owned(), 7)]));
    }

    #[test]
    fn a_table_is_read_as_written() {
        let table = BTreeMap::from([("damage".to_owned(), Figures::from([("bits flipped".to_owned(), 7)]))]);
        assert_eq!(parse(&csv(&table)).unwrap(), table);
        assert!(parse("source,what,number\ndamage,7\n").is_err());
        let page = page(&table, "a\n<!-- figures -->\nold\n<!-- end of figures -->\nb\n").unwrap();
        assert!(page.contains("| bits flipped | 7 |") && page.starts_with("a\n") && page.ends_with("\nb\n"));
        assert!(!page.contains("old"));
    }
}
