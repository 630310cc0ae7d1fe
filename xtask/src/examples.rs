//! Builds the example firmware and runs in QEMU what runs there, each program against the output that lies beside it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::firmware::{self, thumb_cargo};
use crate::process::{Failed, cargo, command, root, run, target};
use crate::setup::{self, Found};

/// What they are built for.
pub(crate) const TARGET: &str = "thumbv7em-none-eabihf";

/// Where `region` looks for its model, as its memory.x has it.
const MODEL: u32 = 0x4_0000;

/// The lines that depend on the compiler; `cargo xtask sizes` has them.
const STACK: &str = "stack bytes: ";
const TICKS: &str = "ticks: ";

/// What QEMU is asked for: 2^6 ns of its time an instruction; its AN386 ticks every 40 ns of it.
const ICOUNT: &str = "shift=6";
const INSTRUCTION_NS: u64 = 64;
const TICK_NS: u64 = 40;

/// One run of a program: its verdict is the emulator's exit code.
pub(crate) struct Answer {
    /// What it printed, without the lines on stack and time.
    pub(crate) text: String,
    /// Bytes of stack it used, where it says so.
    pub(crate) stack: Option<u64>,
    /// Instructions of one run of the model, to within two, where it says so.
    pub(crate) instructions: Option<u64>,
    /// Whether its verdict is yes.
    pub(crate) accepted: bool,
}

/// Builds every example; the one in C where there is a compiler for it.
pub(crate) fn build(found: &Found) -> Result<(), Failed> {
    // One by one: together, a HAL's features would become those of the program without one.
    for package in ["bare", "nucleo-f446re"] {
        run(&mut package_build(found, package)?)?;
    }
    run(&mut library(found, "build")?)?;
    if setup::c_compiler() {
        let library = program("libreleq.a");
        compile(&["main.c", "console.c", "startup.c", "model.S"], &library, &["-T", "link.ld"], &program("c"))?;
    }
    Ok(())
}

/// Builds the examples, runs them and compares what they print; and checks the library that the one in C links.
pub(crate) fn check(found: &Found) -> Result<(), Failed> {
    run(cargo()
        .current_dir(root().join("device/capi"))
        .args(["test", "--locked", "--lib"])
        .env("CARGO_TARGET_DIR", target()))?;
    let in_c = setup::c_compiler();
    if in_c {
        prove_no_panic(found)?;
    }
    build(found)?;
    if !found.qemu {
        eprintln!("skipped: no qemu-system-arm");
        return Ok(());
    }
    let sources = workspace().join("bare/src/bin");
    for name in ["embedded", "portable"] {
        expect(name, &answer(&program(name), None)?, &sources.join(format!("{name}.out")))?;
    }
    if in_c {
        expect("c", &answer(&program("c"), None)?, &workspace().join("c/main.out"))?;
    }
    check_region()
}

/// Cargo for one of the examples in Rust.
pub(crate) fn package_build(found: &Found, package: &str) -> Result<Command, Failed> {
    let mut cargo = thumb_cargo(firmware::toolchain(found)?, "build");
    cargo.current_dir(workspace()).args(["--release", "--target", TARGET, "--package", package]);
    Ok(cargo)
}

/// Cargo for the library in C's own workspace.
fn library(found: &Found, verb: &str) -> Result<Command, Failed> {
    let mut cargo = thumb_cargo(firmware::toolchain(found)?, verb);
    cargo.current_dir(root().join("device/capi")).args(["--release", "--target", TARGET]);
    Ok(cargo)
}

/// Links every function and kernel of the library with a panic handler that cannot be linked.
fn prove_no_panic(found: &Found) -> Result<(), Failed> {
    let mut build = library(found, "build")?;
    run(build.args(["--features", "proof"]))?;
    let header = read(&root().join("device/capi/include/releq.h"))?;
    let header = String::from_utf8_lossy(&header).into_owned();
    let wanted: Vec<String> = exported(&header).map(|name| format!("-Wl,--undefined={name}")).collect();
    let mut options: Vec<&str> = wanted.iter().map(String::as_str).collect();
    options.push("-Wl,--entry=releq_open");
    compile(&[], &program("libreleq.a"), &options, &program("proof"))
}

/// The functions and kernels of `releq.h`.
fn exported(header: &str) -> impl Iterator<Item = &str> {
    let functions = header.split('(').filter_map(|before| before.rsplit([' ', '*', '\n']).next());
    let kernels = header.split("extern const releq_kernel ").skip(1).filter_map(|after| after.split(';').next());
    functions.chain(kernels).filter(|name| name.starts_with("releq_"))
}

/// Compiles C files of the example and links them with `library`, without any of C's own.
fn compile(files: &[&str], library: &Path, options: &[&str], to: &Path) -> Result<(), Failed> {
    let mut gcc = command("arm-none-eabi-gcc");
    gcc.current_dir(workspace().join("c"));
    gcc.args(["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]);
    gcc.args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror", "-Os", "-ffreestanding", "-nostdlib"]);
    gcc.args(["-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections", "-Wl,-z,noexecstack"]);
    gcc.args(["-I", "../../../device/capi/include", "-Wa,-I,../model"]);
    run(gcc.args(options).args(files).arg(library).arg("-o").arg(to))
}

/// One build of `region` takes one model after the other, and refuses a damaged one.
pub(crate) fn check_region() -> Result<(), Failed> {
    let sources = workspace().join("bare/src/bin");
    let lenet = workspace().join("model/lenet5.rlq");
    let other = root().join("format/golden/v1/every-op.rlq");
    for (model, file) in [(&lenet, "portable.out"), (&other, "region-every-op.out")] {
        expect("region", &answer(&program("region"), Some(model))?, &sources.join(file))?;
    }
    let mut bytes = read(&lenet)?;
    bytes.last_mut().into_iter().for_each(|byte| *byte ^= 1);
    let damaged = target().join("damaged.rlq");
    fs::write(&damaged, bytes)
        .map_err(|error| Failed::check(format!("cannot write {}: {error}", damaged.display())))?;
    match answer(&program("region"), Some(&damaged))? {
        answer if !answer.accepted && answer.text.starts_with("refused: ") => Ok(()),
        answer => Err(Failed::check(format!("region takes a damaged image and prints\n{}", answer.text))),
    }
}

/// The built program `name`.
pub(crate) fn program(name: &str) -> PathBuf {
    target().join("firmware").join(TARGET).join("release").join(name)
}

/// The examples' own workspace.
pub(crate) fn workspace() -> PathBuf {
    root().join("examples/firmware")
}

fn read(path: &Path) -> Result<Vec<u8>, Failed> {
    fs::read(path).map_err(|error| Failed::check(format!("cannot read {}: {error}", path.display())))
}

/// Fails unless the program said yes and printed what `file` holds.
fn expect(name: &str, answer: &Answer, file: &Path) -> Result<(), Failed> {
    let expected = String::from_utf8_lossy(&read(file)?).into_owned();
    if answer.accepted && answer.text == expected {
        return Ok(());
    }
    let verdict = if answer.accepted { "yes" } else { "no" };
    let file = file.display();
    Err(Failed::check(format!("{name} ends with {verdict} and prints\n{}\n{file} has\n{expected}", answer.text)))
}

/// Runs a program on QEMU's AN386, a Cortex-M4F, with `model` in the region for it.
pub(crate) fn answer(program: &Path, model: Option<&Path>) -> Result<Answer, Failed> {
    const LIMIT: Duration = Duration::from_secs(60);
    let mut qemu = command("qemu-system-arm");
    qemu.args(["-machine", "mps2-an386", "-display", "none", "-monitor", "none", "-serial", "none"]);
    qemu.args(["-icount", ICOUNT, "-semihosting-config", "enable=on,target=native", "-kernel"]).arg(program);
    if let Some(model) = model {
        qemu.arg("-device").arg(format!("loader,file={},addr={MODEL:#x},force-raw=on", model.display()));
    }
    let failed = |error: std::io::Error| Failed::check(format!("cannot run {} in QEMU: {error}", program.display()));
    let mut child = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(failed)?;
    let begun = Instant::now();
    // What they print fits a pipe's buffer, so that nobody has to read along.
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if begun.elapsed() > LIMIT {
            // It may have ended in this very moment, which is as good.
            let _ = child.kill();
            let _ = child.wait();
            return Err(Failed::check(format!("{} did not end within {} s", program.display(), LIMIT.as_secs())));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let mut text = String::new();
    if let Some(mut output) = child.stdout.take() {
        output.read_to_string(&mut text).map_err(failed)?;
    }
    let number = |mark: &str| text.lines().find_map(|line| line.strip_prefix(mark)?.parse::<u64>().ok());
    let same = |line: &&str| !line.starts_with(STACK) && !line.starts_with(TICKS);
    Ok(Answer {
        text: text.lines().filter(same).map(|line| format!("{line}\n")).collect(),
        stack: number(STACK),
        instructions: number(TICKS).map(|ticks| ticks * TICK_NS / INSTRUCTION_NS),
        accepted: status.success(),
    })
}
