//! The whole path on one screen: train, quantize, run on an emulated Cortex-M4, inspect.

use std::fs;
use std::time::Instant;

use crate::firmware;
use crate::process::{self, Failed, cargo, command, target};
use crate::setup;

/// Sets up, builds, and runs the four commands a user would type.
pub(crate) fn run() -> Result<(), Failed> {
    let found = setup::run()?;
    process::run(cargo().args(["build", "--locked", "--package", "releq"]))?;
    let emulated = found.qemu && found.thumb.is_some();
    if emulated {
        firmware::build_emulated(&found)?;
    }
    let directory = target().join("demo");
    fs::create_dir_all(&directory)
        .map_err(|error| Failed::check(format!("cannot make {}: {error}", directory.display())))?;
    let started = Instant::now();
    let [model, image] = ["lenet.safetensors", "lenet.rlq"].map(|name| directory.join(name).display().to_string());
    releq(&["train", "--model", "lenet", "-o", &model])?;
    releq(&["quantize", &model, "--bits", "2,2,3,2", "-o", &image])?;
    releq(&["inspect", &image])?;
    if emulated {
        releq(&["run", &image, "--board", "virt-m4", "--limit", "64"])?;
    } else {
        eprintln!("skipped: no emulated board; see the lines of set-up above");
    }
    eprintln!(
        "\nthe whole path took {:.0} s after the build; its files are in {}",
        started.elapsed().as_secs_f64(),
        directory.display()
    );
    Ok(())
}

fn releq(arguments: &[&str]) -> Result<(), Failed> {
    eprintln!();
    process::run(command(target().join("debug/releq")).args(arguments))
}
