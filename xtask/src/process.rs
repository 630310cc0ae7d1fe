//! Starting other programs, and the repository's files: what is run is said, and a failure names it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::{fmt, fs};

/// Why a verb ended.
#[derive(Debug)]
pub(crate) struct Failed {
    code: u8,
    text: String,
}

impl Failed {
    /// What was asked makes no sense.
    pub(crate) fn usage(text: String) -> Self {
        Self { code: 2, text }
    }

    /// A check failed.
    pub(crate) fn check(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }

    pub(crate) fn code(&self) -> u8 {
        self.code
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().unwrap_or(manifest).to_owned()
}

/// Where builds go: `CARGO_TARGET_DIR` or `target/`.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// `program` in the repository's root, never asking rustup for the network.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root()).env("RUSTUP_AUTO_INSTALL", "0");
    command
}

/// The cargo that runs this, on the workspace as it is locked.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Says what is run, runs it, and fails if it fails.
pub(crate) fn run(command: &mut Command) -> Result<(), Failed> {
    let line = line(command);
    eprintln!("$ {line}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(Failed::check(format!("`{line}` failed ({status})"))),
        Err(error) => Err(Failed::check(format!("cannot start `{line}`: {error}"))),
    }
}

/// Whether a program can be started and is content; its output is not shown.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    let quiet = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    quiet.status().is_ok_and(|status| status.success())
}

/// What a program prints, trimmed; `None` if it fails or is not there.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// A file of the repository.
pub(crate) fn read(path: &str) -> Result<String, Failed> {
    fs::read_to_string(root().join(path)).map_err(|error| Failed::check(format!("cannot read {path}: {error}")))
}

/// Writes a file of the repository.
pub(crate) fn save(path: &str, text: &str) -> Result<(), Failed> {
    fs::write(root().join(path), text).map_err(|error| Failed::check(format!("cannot write {path}: {error}")))
}

/// The command as it would be typed, without its environment.
fn line(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
