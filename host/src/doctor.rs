//! What verbs need beside releq itself: whether it is here, and the command that brings it.

use std::path::Path;
use std::process::Command;

use releq_device::board::{self, Board, Reach};
use releq_format::wire::PROTOCOL;
use serde::Serialize;

use crate::data::{self, published};
use crate::target::TargetError;
use crate::target::qemu::{Launch, Qemu};
use crate::target::session::{Greeted, Patience};
use crate::train::device::{self, Choice};

/// Whether something is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is.
    Ok,
    /// It is not, and what it is for works otherwise or is not for everybody.
    Without,
    /// It is not, and verbs fail for it.
    Missing,
}

/// One thing that is looked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What.
    pub what: String,
    /// Whether it is here.
    pub state: State,
    /// What was found, or why not.
    pub found: String,
    /// What needs it.
    pub needed_by: &'static str,
    /// The command or step that brings it, where it lacks.
    pub fix: Option<String>,
}

impl Finding {
    fn new(what: impl Into<String>, needed_by: &'static str, found: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Ok, found: found.into(), needed_by, fix: None }
    }

    fn lacking(self, state: State, fix: impl Into<String>) -> Self {
        Self { state, fix: Some(fix.into()), ..self }
    }
}

/// Looks for everything; emulated boards are started and asked.
pub fn examine(launch: &Launch) -> Vec<Finding> {
    let mut findings = vec![threads()];
    findings.extend(graphics());
    findings.extend(published::ALL.map(|set| dataset(set.name)));
    let emulator = emulator(launch);
    let runs = emulator.state == State::Ok;
    findings.push(emulator);
    if runs {
        findings.extend(board::emulated().map(|board| emulated(board, launch)));
        findings.push(plugin(launch));
    }
    findings.push(runners(launch));
    #[cfg(feature = "probe")]
    findings.extend(probes());
    findings.push(thumb());
    findings
}

fn threads() -> Finding {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let counted = if threads == 1 { "1 thread".to_owned() } else { format!("{threads} threads") };
    let alone = if graphics_choices().is_empty() { "; nothing is trained elsewhere" } else { "" };
    Finding::new("processor", "train, quantize, search", format!("{counted}{alone}"))
}

/// The graphics processors that this releq is built for.
fn graphics_choices() -> Vec<Choice> {
    let built = [(cfg!(feature = "cuda"), Choice::Cuda(0)), (cfg!(feature = "metal"), Choice::Metal(0))];
    built.into_iter().filter(|(built, _)| *built).map(|(_, choice)| choice).collect()
}

fn graphics() -> Vec<Finding> {
    let finding = |choice: Choice| {
        let finding = |found: String| Finding::new(choice.to_string(), "train, quantize, search with --device", found);
        match device::there(choice) {
            Ok(()) => finding("answers".to_owned()),
            Err(error) => finding(error.to_string()).lacking(State::Without, "install its driver"),
        }
    };
    graphics_choices().into_iter().map(finding).collect()
}

fn dataset(name: &str) -> Finding {
    const VERBS: &str = "train, quantize, search, run";
    match data::locate(Some(name), None) {
        Ok(source) => {
            let place = source.directory().map_or_else(String::new, |directory| directory.display().to_string());
            Finding::new(name, VERBS, place)
        }
        Err(_) => Finding::new(name, VERBS, "not found; `--data glyphs` needs no download").lacking(
            State::Without,
            format!("releq data fetch {name}, or name the directory that has `{name}` in RELEQ_DATA"),
        ),
    }
}

fn emulator(launch: &Launch) -> Finding {
    const VERBS: &str = "run, bench, flash, calibrate and search --measure on emulated boards";
    let program = launch.qemu.display().to_string();
    match first_line(Command::new(&launch.qemu).arg("--version")) {
        Some(version) => Finding::new(program, VERBS, version),
        None => Finding::new(program, VERBS, "does not run")
            .lacking(State::Missing, "apt-get install qemu-system-arm, or name the program in RELEQ_QEMU"),
    }
}

/// What a program says of itself.
fn first_line(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|output| output.status.success())?;
    String::from_utf8_lossy(&output.stdout).lines().next().map(str::to_owned)
}

/// Starts a board and greets it, which also tells a runner of another version.
fn emulated(board: &'static Board, launch: &Launch) -> Finding {
    let greeted = Qemu::empty(board, launch).and_then(|qemu| Greeted::greet(board, qemu, Patience::default()));
    match greeted {
        Ok(greeted) => {
            let version = &greeted.greeting().version;
            let found = format!("runner {version} answers (protocol {PROTOCOL}, {})", greeted.greeting().unit.name());
            Finding::new(board.name, "run, bench, flash", found)
        }
        Err(error) => {
            let found = match &error {
                TargetError::NoRunner { .. } => "there is no runner".to_owned(),
                error => error.to_string(),
            };
            Finding::new(board.name, "run, bench, flash", found).lacking(State::Missing, "cargo xtask firmware")
        }
    }
}

fn plugin(launch: &Launch) -> Finding {
    let about = "run and bench estimate cycles on virt-m4";
    match &launch.plugin {
        Ok(path) => {
            let file = path.file_name().unwrap_or_default().display().to_string();
            Finding::new("cycle estimate", about, format!("QEMU's plugin, {file}, lies beside the runners"))
        }
        Err(why) => Finding::new("cycle estimate", about, why.to_string())
            .lacking(State::Without, "QEMU 6 to 8, and cargo xtask firmware"),
    }
}

/// The runners of boards to buy.
fn runners(launch: &Launch) -> Finding {
    const VERBS: &str = "flash, run and bench on boards to buy";
    let wired = || board::ALL.iter().filter(|board| matches!(board.reach, Reach::Probe { .. }));
    let found: Vec<&str> = wired().filter(|board| launch.runner(board).is_ok()).map(|board| board.name).collect();
    let finding =
        |found: &[&str]| if found.is_empty() { "none".to_owned() } else { format!("for {}", found.join(", ")) };
    let finding = Finding::new("runner firmware", VERBS, finding(&found));
    match wired().find(|board| launch.runner(board).is_err()) {
        Some(lacking) if found.is_empty() => {
            finding.lacking(State::Without, format!("cargo xtask firmware {}, or the board you have", lacking.name))
        }
        _ => finding,
    }
}

#[cfg(feature = "probe")]
fn probes() -> Vec<Finding> {
    const VERBS: &str = "flash, monitor, run and bench on boards to buy";
    const RULES: &str = "the udev rules of https://probe.rs/docs/getting-started/probe-setup";
    let found = releq_probe::list();
    if found.is_empty() {
        let none = Finding::new("debug probe", VERBS, "none is plugged in");
        return vec![none.lacking(State::Without, format!("plug one in; on Linux it needs {RULES}"))];
    }
    let finding = |probe: releq_probe::Found| {
        let finding = Finding::new("debug probe", VERBS, format!("{} {}", probe.identifier, probe.name));
        match probe.accessible {
            true => finding,
            false => finding.lacking(State::Missing, format!("install {RULES}, then plug it in again")),
        }
    };
    found.into_iter().map(finding).collect()
}

/// Only for those who build firmware.
fn thumb() -> Finding {
    const VERBS: &str = "building firmware of one's own, and runners";
    const TARGET: &str = "thumbv7em-none-eabihf";
    let sysroot = first_line(Command::new("rustc").args(["--print", "sysroot"]));
    let installed = |sysroot: &String| Path::new(sysroot).join("lib/rustlib").join(TARGET).is_dir();
    match sysroot.filter(installed) {
        Some(_) => Finding::new("firmware target", VERBS, format!("{TARGET} is installed")),
        None => Finding::new("firmware target", VERBS, format!("rustc has no {TARGET}")).lacking(
            State::Without,
            format!("rustup target add {TARGET}; `cargo xtask firmware` finds Debian's compiler"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nowhere() -> Launch {
        let qemu = "/nonexistent/qemu".into();
        let plugin = Err(crate::target::qemu::NoPlugin::Missing);
        Launch { qemu, runners: vec!["/nonexistent".into()], plugin }
    }

    /// Without an emulator no board is started, and every lack comes with its cure.
    #[test]
    fn what_lacks_has_a_cure() {
        let findings = examine(&nowhere());
        let emulator = findings.iter().find(|finding| finding.what == "/nonexistent/qemu").unwrap();
        assert_eq!(emulator.state, State::Missing);
        assert!(findings.iter().all(|finding| (finding.state == State::Ok) == finding.fix.is_none()));
        assert!(findings.iter().all(|finding| !finding.what.starts_with("virt-")));
    }

    #[test]
    fn a_missing_runner_is_told_from_an_emulator_that_does_not_start() {
        let launch = Launch { qemu: "true".into(), ..nowhere() };
        let finding = emulated(&board::VIRT_M4, &launch);
        assert_eq!((finding.state, finding.found.as_str()), (State::Missing, "there is no runner"));
    }
}
