//! `cargo xtask`: sets the machine up, builds the runner firmware, shows the demo, runs every check.
//!
//! No dependencies, so that it starts in seconds on a machine that has nothing yet.

mod demo;
mod elf;
mod examples;
mod firmware;
mod fuzz;
mod miri;
mod mutants;
mod process;
mod reliability;
mod setup;
mod sizes;
mod supply;
mod test;

use std::process::ExitCode;

use process::Failed;

const USAGE: &str = "\
cargo xtask <verb>

  demo                 set up, then the whole path: train LeNet, quantize it to {2,2,3,2}, run it on an emulated Cortex-M4
  test [STAGE...]      set up, then every check, or only the stages named: fmt lint docs supply host thumb firmware qemu
                       examples sizes reliability fuzz miri slow
  setup                find or install what firmware and emulator need, and say what was done
  examples             build the example firmware, run it in QEMU and compare what it prints
  sizes                measure what firmware takes of flash and RAM, and write docs/sizes.csv and docs/sizes.md
  reliability [SOURCE...]
                       count what was tried to break it, and write docs/reliability.csv and docs/reliability.md
  fuzz [TARGET...] [SECONDS]
                       run the fuzz targets, or those named, for 60 seconds each or as many as said
  mutants [ROOM...]    change arithmetic, packing, rewards, advantages and budgets one token at a time, and fail where no
                       test notices
  firmware [BOARD...]  build the runner firmware of every board or of those named, and QEMU's plugin, into target/runners
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["demo"] => demo::run(),
        ["test", stages @ ..] => test::run(stages),
        ["setup"] => setup::run().map(|_| ()),
        ["firmware", boards @ ..] => setup::run().and_then(|found| firmware::build(&found, boards)),
        ["examples"] => setup::run().and_then(|found| examples::check(&found)),
        ["fuzz", words @ ..] => fuzz::run(words),
        ["mutants", rooms @ ..] => mutants::run(rooms),
        ["reliability", sources @ ..] => reliability::write(sources),
        ["sizes"] => setup::run().and_then(|found| sizes::write(&found)),
        ["help" | "--help" | "-h"] => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => Err(Failed::usage(format!("xtask has no such verb: `{}`\n\n{USAGE}", words.join(" ")))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("error: {failed}");
            ExitCode::from(failed.code())
        }
    }
}
