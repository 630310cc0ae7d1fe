//! Trials that the emulated board holds by itself: power cuts of updates, and damaged images between closed memory.
//!
//! Needs `qemu-system-arm` and the programs of `cargo xtask firmware virt-m4`; without them each test says that it was
//! skipped, and fails under RELEQ_REQUIRE_QEMU=1.

#![allow(clippy::explicit_write, reason = "what eprintln! says is swallowed in a test that passes")]

use std::io::{ErrorKind, Write};
use std::process::{Command, Output, Stdio};

use releq::target::qemu::Launch;

/// Exit code of a program that touched memory which nothing may touch.
const HARD_FAULT: i32 = 102;

/// How the program `name` ends on the emulated Cortex-M4F, which reads `typed`; `None`, said aloud, where it cannot be run.
fn run(name: &str, typed: &str) -> Option<Output> {
    let Launch { qemu, runners, .. } = Launch::from_env();
    let program = runners.iter().map(|directory| directory.join(name)).find(|file| file.is_file());
    let Some(program) = program else { return skipped("no program of the trial") };
    let mut command = Command::new(qemu);
    command.args(["-machine", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "none"]);
    command.args(["-semihosting-config", "enable=on,target=native", "-kernel"]).arg(program);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(error) if error.kind() == ErrorKind::NotFound => return skipped("no qemu-system-arm"),
        Err(error) => panic!("{error}"),
    };
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    Some(child.wait_with_output().unwrap())
}

fn skipped<T>(missing: &str) -> Option<T> {
    assert!(std::env::var_os("RELEQ_REQUIRE_QEMU").is_none(), "{missing}");
    writeln!(std::io::stderr(), "skipped: {missing}").unwrap();
    None
}

/// What a program that ended well counted, printed as figures: `WHAT NUMBER` a line.
fn counted(name: &str) -> Option<Vec<usize>> {
    let output = run(name, "\n")?;
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&output.stderr));
    let count = |line: &str| {
        println!("figure: {line}");
        line.rsplit(' ').next()?.parse().ok()
    };
    Some(said.lines().map(|line| count(line).unwrap()).collect())
}

#[test]
fn an_update_on_the_board_survives_every_power_cut() {
    let Some(figures) = counted("virt-m4-power-cuts.elf") else { return };
    let [clean_old, clean_new, garbled_old, garbled_new] = figures[..] else { panic!("{figures:?}") };
    // A cut for each of the new image's 228 bytes, and some after its header is there.
    assert!(clean_old > 228 && garbled_old > 228 && clean_new > 8 && garbled_new > 8);
}

#[test]
fn damaged_images_stay_between_closed_memory() {
    let Some(figures) = counted("virt-m4-damage.elf") else { return };
    let [refused, ran, _, assembly] = figures[..] else { panic!("{figures:?}") };
    assert!(refused > 1_000 && ran > 1_000 && assembly > ran);
}

/// What the trial above would look like if one strayed.
#[test]
fn closed_memory_ends_whoever_touches_it() {
    for fence in ["0\n", "1\n", "2\n"] {
        let Some(output) = run("virt-m4-damage.elf", fence) else { return };
        let (said, died) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.code(), Some(HARD_FAULT), "{said}{died}");
        assert!(said.is_empty() && died.contains("hard fault"), "{said}{died}");
    }
}
