//! The pipe to an emulated board: QEMU as a child process, the runner's semihosting on its standard streams.
//!
//! An image is put into the model region by QEMU's own loader before the core starts. Instructions are counted by the
//! runner under `-icount`, where virtual time passes per instruction, so equal runs give equal counts.

use std::env;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use releq_device::board::{self, Board, Counter, ICOUNT_SHIFT, InstructionTimer, Reach};
use releq_format::image::Image;
use tempfile::NamedTempFile;

use super::marks::Marks;
use super::{TargetError, Transport};
use crate::terminal;

/// Where the emulator and the runner firmware are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// QEMU, a path or a name to be found on PATH.
    pub qemu: PathBuf,
    /// Directories that may hold `<board>.elf`, the first that does wins.
    pub runners: Vec<PathBuf>,
    /// The plugin that estimates cycles, or why there is none.
    pub plugin: Result<PathBuf, NoPlugin>,
}

/// Why cycles are not estimated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoPlugin {
    /// It lies beside no runner.
    #[error("QEMU's plugin, {PLUGIN}, lies beside no runner; `cargo xtask firmware` puts it there")]
    Missing,
    /// QEMU speaks another version of the plugins' interface.
    #[error("the plugin is for QEMU 6 to 8, and this is {0}")]
    Version(String),
    /// The board counts cycles itself.
    #[error("the counts are cycles")]
    Wired,
    /// The model is of another core.
    #[error("the model of cycles is the Cortex-M4's, and this core is none")]
    Core,
}

/// The plugin's file, beside the runners.
const PLUGIN: &str = "releq_plugin.so";
/// Major versions of QEMU whose plugins' interface it speaks.
const PLUGIN_VERSIONS: std::ops::RangeInclusive<u32> = 6..=8;

impl Launch {
    /// `RELEQ_QEMU` or `qemu-system-arm`; `RELEQ_RUNNERS`, or `runners/` beside the program or up to two levels above.
    pub fn from_env() -> Self {
        let qemu = env::var_os("RELEQ_QEMU").map_or_else(|| "qemu-system-arm".into(), PathBuf::from);
        let runners = match env::var_os("RELEQ_RUNNERS") {
            Some(directory) => vec![directory.into()],
            None => env::current_exe().map_or_else(|_| Vec::new(), |program| beside(&program)),
        };
        let plugin = plugin(&qemu, &runners);
        Self { qemu, runners, plugin }
    }

    /// The plugin for `board`.
    fn plugin_for(&self, board: &Board) -> Result<&Path, NoPlugin> {
        if !board.core.starts_with("Cortex-M4") {
            return Err(NoPlugin::Core);
        }
        self.plugin.as_deref().map_err(NoPlugin::clone)
    }

    /// The runner of `board`.
    ///
    /// # Errors
    /// [`TargetError::NoRunner`], with every place looked at.
    pub fn runner(&self, board: &Board) -> Result<PathBuf, TargetError> {
        let file = format!("{}.elf", board.name);
        let found = self.runners.iter().map(|directory| directory.join(&file)).find(|path| path.is_file());
        found.ok_or_else(|| {
            let looked = self.runners.iter().map(|directory| directory.display().to_string());
            TargetError::NoRunner { board: board.name, file, looked: looked.collect::<Vec<_>>().join(", ") }
        })
    }
}

/// The plugin beside a runner, if `qemu` loads it.
fn plugin(qemu: &Path, runners: &[PathBuf]) -> Result<PathBuf, NoPlugin> {
    let found = runners.iter().map(|directory| directory.join(PLUGIN)).find(|path| path.is_file());
    let found = found.and_then(|path| path.canonicalize().ok()).ok_or(NoPlugin::Missing)?;
    let said = Command::new(qemu).arg("--version").output().map_or_else(|_| Vec::new(), |output| output.stdout);
    let said = String::from_utf8_lossy(&said);
    let version = said.split_whitespace().find(|word| word.starts_with(|letter: char| letter.is_ascii_digit()));
    let version = version.unwrap_or("of no known version");
    let major = version.split('.').next().and_then(|major| major.parse().ok());
    match major.is_some_and(|major| PLUGIN_VERSIONS.contains(&major)) {
        true => Ok(found),
        false => Err(NoPlugin::Version(version.to_owned())),
    }
}

/// `target/debug/releq` and `target/debug/deps/some_test` both find `target/runners`.
fn beside(program: &Path) -> Vec<PathBuf> {
    program.ancestors().skip(1).take(3).map(|directory| directory.join("runners")).collect()
}

/// A running emulator; ended when dropped.
#[derive(Debug)]
pub struct Qemu {
    board: &'static Board,
    child: Child,
    output: Receiver<Vec<u8>>,
    complaint: Option<JoinHandle<String>>,
    /// Read by QEMU when it starts; removed with the emulator.
    _model: Option<NamedTempFile>,
    marks: Result<Marks, NoPlugin>,
}

impl Qemu {
    /// Starts `board` with `image` in its model region.
    ///
    /// # Errors
    /// [`TargetError`] where the emulator or the runner is missing or does not start.
    pub fn start(board: &'static Board, image: &Image<'_>, launch: &Launch) -> Result<Self, TargetError> {
        Self::launch(board, Some(image), launch)
    }

    /// Starts `board` with nothing in its model region.
    ///
    /// # Errors
    /// As [`Qemu::start`].
    pub fn empty(board: &'static Board, launch: &Launch) -> Result<Self, TargetError> {
        Self::launch(board, None, launch)
    }

    fn launch(board: &'static Board, image: Option<&Image<'_>>, launch: &Launch) -> Result<Self, TargetError> {
        let (machine, timer) = emulation(board)?;
        let runner = launch.runner(board)?;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => TargetError::NoEmulator { board: board.name, program: launch.qemu.clone() },
            _ => TargetError::Start { program: launch.qemu.clone(), error },
        };
        let model = image.map(model_file).transpose();
        let model = model.map_err(|error| TargetError::Start { program: launch.qemu.clone(), error })?;
        let mut command = command(machine, &launch.qemu, &runner);
        if let Some(model) = &model {
            let path = escaped(model.path());
            command.args(["-device", &format!("loader,file={path},addr={:#x},force-raw=on", board.model.origin)]);
        }
        let marks = match launch.plugin_for(board) {
            Ok(plugin) => Ok(watched(&mut command, board, timer, plugin).map_err(failed)?),
            Err(none) => Err(none),
        };
        terminal::detail(&format!("{command:?}"));
        let mut child = command.spawn().map_err(failed)?;
        let output = forward(child.stdout.take());
        let complaint = child.stderr.take().map(|stderr| thread::spawn(|| listen(stderr)));
        Ok(Self { board, child, output, complaint, _model: model, marks })
    }

    /// What the plugin writes down, or why there is none. Good for as long as it is held.
    ///
    /// # Errors
    /// [`NoPlugin`].
    pub fn marks(&self) -> Result<Marks, NoPlugin> {
        self.marks.clone()
    }

    /// How it ended, with what it said.
    fn ended(&mut self) -> TargetError {
        // Its output is closed, so it is ending or beyond use.
        let _ = self.child.kill();
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let said = self.complaint.take().and_then(|thread| thread.join().ok()).unwrap_or_default();
        let said = if said.trim().is_empty() { "it said nothing".to_owned() } else { said.trim().replace('\n', "; ") };
        TargetError::Ended { board: self.board.name, status, said }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        // SIGKILL: a QEMU that waits in a semihosting read does not hear SIGTERM.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Transport for Qemu {
    fn send(&mut self, bytes: &[u8]) -> Result<(), TargetError> {
        let sent = match self.child.stdin.as_mut() {
            Some(stdin) => stdin.write_all(bytes).and_then(|()| stdin.flush()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        };
        sent.map_err(|_| self.ended())
    }

    fn receive(&mut self, patience: Duration) -> Result<Option<Vec<u8>>, TargetError> {
        match self.output.recv_timeout(patience) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }
}

fn model_file(image: &Image<'_>) -> io::Result<NamedTempFile> {
    let mut file = NamedTempFile::with_suffix(".rlq")?;
    file.write_all(image.bytes())?;
    file.flush()?;
    Ok(file)
}

/// QEMU's name of the board, and the timer that counts its instructions.
fn emulation(board: &Board) -> Result<(&'static str, &InstructionTimer), TargetError> {
    match (&board.reach, &board.counter) {
        (Reach::Qemu { machine }, Counter::Timer(timer)) => Ok((machine, timer)),
        _ => {
            let emulated = board::emulated().map(|board| board.name).collect::<Vec<_>>().join(", ");
            Err(TargetError::NotEmulated { board: board.name, emulated })
        }
    }
}

fn command(machine: &str, qemu: &Path, runner: &Path) -> Command {
    let mut command = Command::new(qemu);
    // No chardev at all: semihosting then uses the process's own streams, a thousand times faster than the UART.
    command.args(["-machine", machine, "-display", "none", "-monitor", "none", "-serial", "none"]);
    command.args(["-semihosting-config", "enable=on,target=native"]);
    command.args(["-icount", &format!("shift={ICOUNT_SHIFT}")]);
    command.arg("-kernel").arg(runner);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A path as a part of QEMU's lists, where a doubled comma is one of its own.
fn escaped(path: &Path) -> String {
    path.display().to_string().replace(',', ",,")
}

/// Has `plugin` watch the board's timer.
fn watched(command: &mut Command, board: &Board, timer: &InstructionTimer, plugin: &Path) -> io::Result<Marks> {
    let marks = Marks::new(board.name)?;
    let (plugin, out) = (escaped(plugin), escaped(marks.path()));
    command.args(["-plugin", &format!("{plugin},timer={:#x},out={out}", timer.value_address())]);
    Ok(marks)
}

/// Reads a stream in a thread of its own, so that waiting for it can end.
fn forward(stream: Option<impl Read + Send + 'static>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    let Some(mut stream) = stream else { return receiver };
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// Everything a stream says, as text.
fn listen(mut stream: impl Read) -> String {
    let mut bytes = Vec::new();
    // What came before a failure to read is still worth telling.
    let _ = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}
