//! What firmware takes of flash and RAM: measured, written to docs/sizes.csv and docs/sizes.md, and held against them.

use std::fs;
use std::path::Path;

use crate::examples::{self, Answer};
use crate::process::{Failed, command, output, read, run, save, target};
use crate::setup::{self, Found, Thumb};
use crate::{elf, firmware};

/// Runners, whose stack `releq bench` asks for.
const RUNNERS: [&str; 5] = ["virt-m0", "virt-m3", "virt-m4", "virt-m7", "virt-m33"];

/// Programs of `bare`, and what of the model's files each has in its flash.
const PROGRAMS: [(&str, &[&str]); 4] = [
    (FRAME, &["seven.codes"]),
    ("embedded", &["lenet5.rlq", "seven.codes"]),
    ("portable", &["lenet5.rlq", "seven.codes"]),
    ("region", &["seven.codes"]),
];

/// What their names in the table begin with.
const RUNNER: &str = "runner ";

/// The program around the engine, without it.
const FRAME: &str = "frame";

/// What makes the engine as small as the rest.
const ALL_SMALL: &str = "profile.release.package.releq-device.opt-level=\"z\"";

/// Levels of optimisation at which they are measured: an override, if any, and its name. The last is that of the
/// manifests, and stays built.
const LEVELS: [(Option<&str>, &str); 2] = [(Some(ALL_SMALL), "z"), (None, "z (engine 3)")];

/// Most bytes of code and constants that the engine may have in programs at level `z`: LeNet's portable kernels, and all
/// portable ones.
const LIMITS: [(&str, u64); 2] = [("portable", 12 * 1024), ("region", 24 * 1024)];

/// By how many hundredths another compiler's numbers may differ from the table.
const ANOTHER_COMPILER: u64 = 10;
/// Bytes that equal sources and compilers may differ by: builds of one crate beside others were seen 4 apart.
const PADDING: u64 = 16;

/// Columns, after program and level.
const COLUMNS: [&str; WIDTH] = ["vectors", "text", "constants", "model", "data", "bss", "stack", "instructions"];
const WIDTH: usize = 8;
/// Where text and constants are among them.
const TEXT: usize = 1;
const CONSTANTS: usize = 2;
/// Where the stack is, which of runners is measured only where `releq` is built.
const STACK: usize = 6;

/// One line of the table.
#[derive(Debug, PartialEq, Eq)]
struct Row {
    program: String,
    level: String,
    /// `None` where it does not apply.
    numbers: [Option<u64>; WIDTH],
}

/// Everything measured, and with what.
#[derive(Debug, PartialEq, Eq)]
struct Table {
    made_with: String,
    rows: Vec<Row>,
}

/// Measures, and writes the table and the page.
pub(crate) fn write(found: &Found) -> Result<(), Failed> {
    let table = measure(found)?;
    table.keeps_limits()?;
    let page = page(&table, &read("docs/sizes.md")?)?;
    save("docs/sizes.csv", &table.csv())?;
    save("docs/sizes.md", &page)
}

/// Measures, and fails where the committed table says something else.
pub(crate) fn check(found: &Found) -> Result<(), Failed> {
    if !found.qemu || !setup::c_compiler() {
        eprintln!("skipped: the table needs qemu-system-arm and arm-none-eabi-gcc");
        return Ok(());
    }
    let committed = Table::parse(&read("docs/sizes.csv")?)
        .ok_or_else(|| Failed::check("docs/sizes.csv is no table; `cargo xtask sizes` writes it"))?;
    let written = read("docs/sizes.md")?;
    if page(&committed, &written)? != written {
        return Err(Failed::check("docs/sizes.md is not what docs/sizes.csv says; `cargo xtask sizes` writes both"));
    }
    let measured = measure(found)?;
    measured.keeps_limits()?;
    compare(&committed, &measured)
}

/// Equal for equal compilers, but for the linker's padding; another one may be a few hundredths off.
fn compare(committed: &Table, measured: &Table) -> Result<(), Failed> {
    let exact = committed.made_with == measured.made_with;
    let close = |(old, new): (&Option<u64>, &Option<u64>)| match (old, new) {
        (Some(old), Some(new)) if !exact => old.abs_diff(*new) * 100 <= ANOTHER_COMPILER * *old.max(new),
        (Some(old), Some(new)) => old.abs_diff(*new) <= PADDING,
        _ => old == new,
    };
    let same = |old: &Row, new: &Row| {
        let mut new_numbers = new.numbers;
        if new.is_runner() {
            new_numbers[STACK] = new_numbers[STACK].or(old.numbers[STACK]);
        }
        (&old.program, &old.level) == (&new.program, &new.level) && old.numbers.iter().zip(&new_numbers).all(close)
    };
    let pairs = || committed.rows.iter().zip(&measured.rows);
    if committed.rows.len() == measured.rows.len() && pairs().all(|(old, new)| same(old, new)) {
        return Ok(());
    }
    let different = pairs().find(|(old, new)| !same(old, new));
    let which = different.map_or_else(String::new, |(old, new)| format!("\n{}\nis now\n{}", old.csv(), new.csv()));
    Err(Failed::check(format!("docs/sizes.csv is out of date; `cargo xtask sizes` writes it anew{which}")))
}

fn measure(found: &Found) -> Result<Table, Failed> {
    firmware::build(found, &RUNNERS)?;
    let runner = |name: &&str| {
        let file = target().join("runners").join(format!("{name}.elf"));
        let mut row = row(&format!("{RUNNER}{name}"), "3", &file, &[], None)?;
        row.numbers[STACK] = runner_stack(name);
        Ok(row)
    };
    let mut rows = RUNNERS.iter().map(runner).collect::<Result<Vec<Row>, Failed>>()?;
    for (level, called) in LEVELS {
        let mut build = examples::package_build(found, "bare")?;
        level.map(|level| build.args(["--config", level]));
        run(&mut build)?;
        examples::check_region()?;
        for (name, model) in PROGRAMS {
            let lenet = examples::workspace().join("model/lenet5.rlq");
            let file = examples::program(name);
            let answer = examples::answer(&file, (name == "region").then_some(&lenet))?;
            rows.push(row(name, called, &file, model, Some(&answer))?);
        }
    }
    examples::build(found)?;
    let c = examples::program("c");
    let model = ["lenet5.rlq", "seven.codes"];
    rows.push(row("c", LEVELS[1].1, &c, &model, Some(&examples::answer(&c, None)?))?);
    Ok(Table { made_with: made_with(found)?, rows })
}

/// How deep a runner's stack is when it runs a layer of every kind; `None` where the workstation's program that asks it is
/// not built.
fn runner_stack(board: &str) -> Option<u64> {
    let releq = target().join("debug").join(format!("releq{}", std::env::consts::EXE_SUFFIX));
    if !releq.is_file() {
        eprintln!("skipped: the stack of runner {board}; `cargo build` makes the program that asks for it");
        return None;
    }
    let mut bench = command(releq);
    bench.env("RELEQ_RUNNERS", target().join("runners"));
    let answer = output(bench.args(["bench", "format/golden/v1/every-op.rlq", "--board", board, "--json"]))?;
    let (_, after) = answer.split_once("\"stack\": [")?;
    after.split(',').next()?.trim().parse().ok()
}

/// The compilers and the linker, on which every number depends.
fn made_with(found: &Found) -> Result<String, Failed> {
    let (rustc, linker) = match firmware::toolchain(found)? {
        Thumb::Rustup => ("rustc", "rust-lld"),
        Thumb::Debian { linker } => ("/usr/bin/rustc", linker.flavor),
    };
    let first = |program: &str| {
        let said = output(command(program).arg("--version"));
        said.and_then(|said| said.lines().next().map(str::to_owned)).unwrap_or_else(|| format!("no {program}"))
    };
    Ok(format!("{} with {linker}; {}", first(rustc), first("arm-none-eabi-gcc")))
}

fn row(program: &str, level: &str, file: &Path, model: &[&str], answer: Option<&Answer>) -> Result<Row, Failed> {
    let cannot = |what: &str| Failed::check(format!("{what}: {}", file.display()));
    let sections = fs::read(file).ok().and_then(|bytes| elf::sections(&bytes));
    let sections = sections.ok_or_else(|| cannot("no ELF file of a 32-bit core"))?;
    if answer.is_some_and(|answer| !answer.accepted) {
        return Err(cannot("it does not run"));
    }
    let length = |name: &&str| fs::metadata(examples::workspace().join("model").join(name)).map_or(0, |it| it.len());
    let model: u64 = model.iter().map(length).sum();
    let size = |name: &str| sections.get(name).copied().unwrap_or(0);
    let [vectors, text, data, bss] = [".vector_table", ".text", ".data", ".bss"].map(size);
    let constants = sections.values().sum::<u64>().checked_sub(vectors + text + data + bss + model);
    let constants = constants.ok_or_else(|| cannot("the model's files are not in it"))?;
    let [vectors, text, constants, model, data, bss] = [vectors, text, constants, model, data, bss].map(Some);
    let (stack, instructions) = answer.map_or((None, None), |answer| (answer.stack, answer.instructions));
    let numbers = [vectors, text, constants, model, data, bss, stack, instructions];
    Ok(Row { program: program.to_owned(), level: level.to_owned(), numbers })
}

impl Row {
    fn is_runner(&self) -> bool {
        self.program.starts_with(RUNNER)
    }

    fn csv(&self) -> String {
        let numbers = self.numbers.iter().map(|number| number.map_or_else(String::new, |number| number.to_string()));
        let words = [self.program.clone(), self.level.clone()].into_iter().chain(numbers);
        words.collect::<Vec<_>>().join(",")
    }

    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(',').map(str::to_owned);
        let (program, level) = (words.next()?, words.next()?);
        let mut numbers = [None; WIDTH];
        for number in &mut numbers {
            let word = words.next()?;
            *number = if word.is_empty() { None } else { Some(word.parse().ok()?) };
        }
        words.next().is_none().then_some(Self { program, level, numbers })
    }

    fn markdown(&self) -> String {
        let numbers = self.numbers.iter().map(|number| number.map_or_else(|| "–".to_owned(), grouped));
        format!("| `{}` | {} | {} |", self.program, self.level, numbers.collect::<Vec<_>>().join(" | "))
    }
}

impl Table {
    fn csv(&self) -> String {
        let rows: String = self.rows.iter().map(|row| format!("{}\n", row.csv())).collect();
        format!("# {}\nprogram,level,{}\n{rows}", self.made_with, COLUMNS.join(","))
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let made_with = lines.next()?.strip_prefix("# ")?.to_owned();
        lines.next().filter(|line| *line == format!("program,level,{}", COLUMNS.join(",")))?;
        Some(Self { made_with, rows: lines.map(Row::parse).collect::<Option<_>>()? })
    }

    fn markdown(&self) -> String {
        let rows: String = self.rows.iter().map(|row| format!("{}\n", row.markdown())).collect();
        let rule = "|--:".repeat(COLUMNS.len());
        let table = format!("| program | level | {} |\n|---|---{rule}|\n{rows}", COLUMNS.join(" | "));
        let engines = LEVELS.iter().flat_map(|(_, level)| PROGRAMS[1..].iter().map(move |(name, _)| (*name, *level)));
        let engines = engines.filter_map(|(name, level)| {
            let [text, constants] = self.engine(name, level)?;
            Some(format!("| `{name}` | {level} | {} | {} |\n", grouped(text), grouped(constants)))
        });
        let engines: String = engines.collect();
        let heading = "| the engine in | level | text | constants |\n|---|---|--:|--:|\n";
        format!("{table}\n{heading}{engines}\nMade with {}.\n", self.made_with)
    }

    /// Bytes of text and of constants that the engine takes in a program: what it has more than the frame.
    fn engine(&self, program: &str, level: &str) -> Option<[u64; 2]> {
        let row = |program: &str| self.rows.iter().find(|row| (&*row.program, &*row.level) == (program, level));
        let (whole, frame) = (row(program)?.numbers, row(FRAME)?.numbers);
        let more = |column: usize| whole[column]?.checked_sub(frame[column]?);
        Some([more(TEXT)?, more(CONSTANTS)?])
    }

    /// Fails where the engine is larger than it may be.
    fn keeps_limits(&self) -> Result<(), Failed> {
        LIMITS.iter().try_for_each(|&(program, limit)| match self.engine(program, LEVELS[0].1) {
            Some([text, constants]) if text + constants <= limit => Ok(()),
            Some([text, constants]) => Err(Failed::check(format!(
                "the engine in {program} has {text} bytes of code and {constants} of constants; {limit} are its limit"
            ))),
            None => Err(Failed::check(format!("the table has no row for {program} or {FRAME}"))),
        })
    }
}

/// The page with the table between its marks.
fn page(table: &Table, page: &str) -> Result<String, Failed> {
    const MARKS: [&str; 2] = ["<!-- sizes -->\n", "<!-- end of sizes -->\n"];
    let lost = || Failed::check("docs/sizes.md has lost the marks of its table, `<!-- sizes -->` and its end");
    let (before, rest) = page.split_once(MARKS[0]).ok_or_else(lost)?;
    let (_, after) = rest.split_once(MARKS[1]).ok_or_else(lost)?;
    Ok(format!("{before}{}{}{}{after}", MARKS[0], table.markdown(), MARKS[1]))
}

/// Thousands apart.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let apart = |(index, digit): (usize, char)| {
        let gap = index > 0 && (digits.len() - index).is_multiple_of(3);
        [gap.then_some(' '), Some(digit)]
    };
    digits.chars().enumerate().flat_map(apart).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(made_with: &str, code: u64) -> Table {
        let numbers = [Some(1024), Some(code), Some(9), Some(0), Some(0), Some(8192), None, Some(1_234_567)];
        Table { made_with: made_with.to_owned(), rows: vec![Row { program: "p".into(), level: "z".into(), numbers }] }
    }

    #[test]
    fn a_table_is_read_as_written() {
        let table = table("rustc 1.96.0", 12_000);
        assert_eq!(Table::parse(&table.csv()), Some(table));
        assert_eq!(Table::parse("# rustc\nprogram\n"), None);
    }

    #[test]
    fn one_compiler_differs_by_padding_and_another_is_close() {
        let old = table("one", 10_000);
        assert!(compare(&old, &table("one", 10_000)).is_ok());
        assert!(compare(&old, &table("one", 10_000 + PADDING)).is_ok());
        assert!(compare(&old, &table("one", 10_001 + PADDING)).is_err());
        assert!(compare(&old, &table("two", 11_000)).is_ok());
        assert!(compare(&old, &table("two", 11_200)).is_err());
    }

    #[test]
    fn a_page_keeps_what_surrounds_its_table() {
        let written = page(&table("one", 1), "a\n<!-- sizes -->\nold\n<!-- end of sizes -->\nb\n").unwrap();
        assert!(
            written.starts_with("a\n<!-- sizes -->\n| program |") && written.ends_with("<!-- end of sizes -->\nb\n")
        );
        assert!(written.contains("1 234 567") && !written.contains("old"));
    }

    #[test]
    fn a_runner_whose_stack_is_not_asked_is_as_before() {
        let runner = |stack| {
            let mut table = table("one", 10_000);
            table.rows[0].program = format!("{RUNNER}virt-m4");
            table.rows[0].numbers[STACK] = stack;
            table
        };
        assert!(compare(&runner(Some(9_000)), &runner(None)).is_ok());
        assert!(compare(&runner(Some(9_000)), &runner(Some(9_100))).is_err());
        assert!(compare(&runner(None), &runner(Some(9_000))).is_err());
    }

    #[test]
    fn the_engine_is_what_is_more_than_the_frame() {
        let row = |program: &str, text| Row {
            program: program.to_owned(),
            level: "z".to_owned(),
            numbers: [None, Some(text), Some(50), None, None, None, None, None],
        };
        let [(lenet, least), (every, most)] = LIMITS;
        let table = |small, large| Table {
            made_with: String::new(),
            rows: vec![row(FRAME, 1_000), row(lenet, 1_000 + small), row(every, 1_000 + large)],
        };
        assert_eq!(table(3_000, 0).engine(lenet, "z"), Some([3_000, 0]));
        assert!(table(least, most).keeps_limits().is_ok());
        assert!(table(least + 1, most).keeps_limits().is_err());
        assert!(table(least, most + 1).keeps_limits().is_err());
    }
}
