//! Downloads a published set: each file is resumed where it broke off, checked by what is inside, and then there at once.
//!
//! What has come of a file lies in `NAME.part`, which no reader takes for a file; a part that turns out wrong is thrown
//! away. Nothing else in releq asks the web for anything.

mod error;
mod http;
mod part;

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

pub use error::{FetchError, Refusal};
use http::{Head, Heard};
use part::PartFile;

use super::held::{self, State};
use super::published::{Published, Remote};

/// How long is waited, and how often tried.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Tries at one source; one that brought a mebibyte does not count.
    pub tries: u32,
    /// Before the next try.
    pub pause: Duration,
    /// For the next byte.
    pub silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { tries: 4, pause: Duration::from_secs(1), silence: Duration::from_secs(30) }
    }
}

/// How often it is asked whether to go on while nothing comes.
const ASKED_EVERY: Duration = Duration::from_millis(50);
/// A try that brings as much was worth it.
const WORTH: u64 = 1 << 20;
/// HTTP: the range begins after the end.
const NO_SUCH_RANGE: u16 = 416;

/// How far a download is, for whoever watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Its name.
    pub file: &'static str,
    /// Bytes that have come.
    pub got: u64,
    /// Bytes in all, where that is known.
    pub of: Option<u64>,
}

/// A file that is here and right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Its name.
    pub name: &'static str,
    /// Where it came from; none if it was here before.
    pub from: Option<String>,
    /// Bytes that earlier commands had fetched of it.
    pub resumed_at: u64,
    /// Bytes of it as it was sent; none of one that was here before.
    pub bytes: Option<u64>,
}

/// A download in progress.
struct Fetch<'f> {
    directory: &'f Path,
    patience: Patience,
    watch: &'f mut dyn FnMut(Step) -> ControlFlow<()>,
}

/// Why a try did not bring the file.
enum Trouble {
    /// Another try may.
    Broken(Refusal),
    /// This source never will.
    Refused(Refusal),
    /// No source can.
    Here(FetchError),
}

impl From<FetchError> for Trouble {
    fn from(error: FetchError) -> Self {
        Self::Here(error)
    }
}

/// Fetches what `set` lacks into `directory`, from its mirrors or from below `from`; `watch` says whether to go on.
///
/// # Errors
/// [`FetchError`]; files that came before are there and right.
pub fn fetch(
    set: &'static Published,
    directory: &Path,
    from: Option<&str>,
    patience: Patience,
    watch: &mut dyn FnMut(Step) -> ControlFlow<()>,
) -> Result<Vec<Fetched>, FetchError> {
    let mirrors = from.map_or_else(|| set.mirrors.to_vec(), |from| vec![from.trim_end_matches('/')]);
    let new: Vec<&Path> = directory.ancestors().take_while(|parent| !is_there(parent)).collect();
    let mut fetch = Fetch { directory, patience, watch };
    let all = set.files.iter().map(|remote| fetch.file(remote, &mirrors)).collect();
    // Directories that were made for nothing go again; one that holds anything stays.
    new.into_iter().for_each(|directory| drop(std::fs::remove_dir(directory)));
    all
}

/// Whether a directory is there; the working one has no name.
fn is_there(directory: &Path) -> bool {
    directory.as_os_str().is_empty() || directory.exists()
}

impl Fetch<'_> {
    /// One file, unless all of its parts are here and right in whatever form.
    fn file(&mut self, remote: &'static Remote, mirrors: &[&str]) -> Result<Fetched, FetchError> {
        if held::checked(remote, self.directory).iter().all(|part| part.state == State::Right) {
            return Ok(Fetched { name: remote.name, from: None, resumed_at: 0, bytes: None });
        }
        let target = self.directory.join(remote.name);
        let mut part = PartFile::open(&target)?;
        let resumed_at = part.bytes();
        match self.sources(remote, mirrors, &mut part) {
            Ok(from) => {
                let bytes = Some(part.bytes());
                part.become_whole(&target)?;
                Ok(Fetched { name: remote.name, from, resumed_at, bytes })
            }
            Err(FetchError::Refused { file, target, refusals, .. }) => {
                Err(FetchError::Refused { file, target, refusals, kept: part.leave() })
            }
            Err(error) => {
                part.leave();
                Err(error)
            }
        }
    }

    /// One source after the other, until `part` is the file; says which had it, if one was asked.
    fn sources(
        &mut self,
        remote: &'static Remote,
        mirrors: &[&str],
        part: &mut PartFile,
    ) -> Result<Option<String>, FetchError> {
        if remote.bytes == Some(part.bytes()) {
            // All had come, and nobody had looked.
            match self.judged(remote, part)? {
                None => return Ok(None),
                Some(_) => part.clear()?,
            }
        }
        let mut refusals = Vec::new();
        for url in mirrors.iter().map(|mirror| format!("{mirror}/{}", remote.name)) {
            match self.source(remote, &url, part) {
                Ok(()) => return Ok(Some(url)),
                Err(Trouble::Here(error)) => return Err(error),
                Err(Trouble::Broken(refusal) | Trouble::Refused(refusal)) => refusals.push((url, refusal)),
            }
        }
        let target = self.directory.join(remote.name);
        Err(FetchError::Refused { file: remote.name, target, refusals, kept: part.bytes() })
    }

    /// One source, as often as it is worth a try.
    fn source(&mut self, remote: &'static Remote, url: &str, part: &mut PartFile) -> Result<(), Trouble> {
        let (mut left, mut answered) = (self.patience.tries, false);
        loop {
            let before = part.bytes();
            let broken = match self.transfer(remote, url, part) {
                Ok(start) => match self.judged(remote, part)? {
                    None => return Ok(()),
                    Some(wrong) => {
                        part.clear()?;
                        // What had come before may have been another's.
                        if start == 0 {
                            return Err(Trouble::Refused(wrong));
                        }
                        continue;
                    }
                },
                Err(Trouble::Broken(refusal)) => refusal,
                Err(other) => return Err(other),
            };
            // Who has never answered is not there; who has may come back.
            answered |= !matches!(broken, Refusal::Unreachable(_));
            if part.bytes() < before + WORTH {
                left = left.saturating_sub(1);
            }
            if left == 0 || !answered {
                return Err(Trouble::Broken(broken));
            }
            self.pause(remote, part)?;
        }
    }

    /// One request: says from which byte on it brought the rest.
    fn transfer(&mut self, remote: &'static Remote, url: &str, part: &mut PartFile) -> Result<u64, Trouble> {
        let heard = http::get(url, part.bytes());
        let (mut last, mut start, mut total) = (Instant::now(), None, remote.bytes);
        loop {
            self.go_on(remote, part, total)?;
            let broken = match heard.recv_timeout(ASKED_EVERY) {
                // All of it had come.
                Ok(Heard::Head(head)) if head.status == NO_SUCH_RANGE && part.bytes() > 0 => return Ok(part.bytes()),
                Ok(Heard::Head(head)) => {
                    begin(head, part)?;
                    (start, total) = (Some(part.bytes()), head.total.or(total));
                    None
                }
                Ok(Heard::Bytes(bytes)) => {
                    part.append(&bytes)?;
                    None
                }
                Ok(Heard::End) if total.is_none_or(|total| part.bytes() >= total) => return Ok(start.unwrap_or(0)),
                Ok(Heard::End) => Some("the connection was closed".to_owned()),
                Ok(Heard::Failed(why)) => Some(why),
                Err(RecvTimeoutError::Timeout) if last.elapsed() < self.patience.silence => continue,
                Err(RecvTimeoutError::Timeout) => {
                    Some(format!("nothing came for {} s", self.patience.silence.as_secs_f32()))
                }
                Err(RecvTimeoutError::Disconnected) => Some("the request ended without a word".to_owned()),
            };
            match (broken, start) {
                (None, _) => last = Instant::now(),
                (Some(why), None) => return Err(Trouble::Broken(Refusal::Unreachable(why))),
                (Some(why), Some(_)) => {
                    return Err(Trouble::Broken(Refusal::Cut { got: part.bytes(), of: total, why }));
                }
            }
        }
    }

    /// What is wrong with all that has come, if anything is.
    fn judged(&mut self, remote: &'static Remote, part: &PartFile) -> Result<Option<Refusal>, FetchError> {
        self.go_on(remote, part, remote.bytes)?;
        let states = held::downloaded(remote, part.path());
        let wrong = remote.parts.iter().zip(states).find_map(|(part, state)| {
            let name = part.name();
            match state {
                State::Right => None,
                State::Differs(found) => Some(format!("{name} has SHA-256 {}, not {}", found.sha256, part.sha256)),
                State::Damaged { why } => Some(format!("{name} cannot be read: {why}")),
                State::Missing => Some(format!("{name} is not in it")),
            }
        });
        Ok(wrong.map(|what| Refusal::Wrong { what }))
    }

    fn go_on(&mut self, remote: &'static Remote, part: &PartFile, of: Option<u64>) -> Result<(), FetchError> {
        match (self.watch)(Step { file: remote.name, got: part.bytes(), of }) {
            ControlFlow::Continue(()) => Ok(()),
            ControlFlow::Break(()) => Err(FetchError::Interrupted { file: remote.name, got: part.bytes() }),
        }
    }

    fn pause(&mut self, remote: &'static Remote, part: &PartFile) -> Result<(), FetchError> {
        let until = Instant::now() + self.patience.pause;
        while Instant::now() < until {
            self.go_on(remote, part, remote.bytes)?;
            std::thread::sleep(ASKED_EVERY.min(self.patience.pause));
        }
        Ok(())
    }
}

/// Makes `part` end where the server's answer starts, if the answer is the file.
fn begin(head: Head, part: &mut PartFile) -> Result<(), Trouble> {
    match head.status {
        200 | 206 => {}
        // Busy, or out of order: another time, perhaps.
        429 | 500..=599 => return Err(Trouble::Broken(Refusal::Status(head.status))),
        status => return Err(Trouble::Refused(Refusal::Status(status))),
    }
    if head.start != part.bytes() {
        // It takes no ranges, and sends all of it.
        part.clear()?;
    }
    if head.start != part.bytes() {
        return Err(Trouble::Refused(Refusal::Unreachable(format!("it sends from byte {} on", head.start))));
    }
    Ok(())
}
