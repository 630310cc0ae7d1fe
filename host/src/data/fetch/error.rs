//! Why a file could not be fetched: each message is a fact, its cause, and what to do.

use std::io;
use std::path::{Path, PathBuf};

/// What is wrong with one source of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no connection, or it broke before an answer.
    #[error("{0}")]
    Unreachable(String),
    /// It answers with something else than a file.
    #[error("it answers with status {0}")]
    Status(u16),
    /// It broke off, time after time.
    #[error("it broke off after {got} bytes{} ({why})", of.map_or(String::new(), |of| format!(" of {of}")))]
    Cut {
        /// What has come in all.
        got: u64,
        /// What should have.
        of: Option<u64>,
        /// How.
        why: String,
    },
    /// What came is not what was published.
    #[error("what it has is not what was published: {what}")]
    Wrong {
        /// Which part, and its checksum.
        what: String,
    },
}

/// Why a set is not here now.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No source has the file.
    #[error("cannot fetch {file}: {}; {}", told(refusals), remedy(refusals, *kept, target))]
    Refused {
        /// Its name.
        file: &'static str,
        /// Where it should have come to.
        target: PathBuf,
        /// Each source, and what is wrong with it.
        refusals: Vec<(String, Refusal)>,
        /// Bytes that were kept.
        kept: u64,
    },
    /// The user asked to stop.
    #[error("interrupted after {got} bytes of {file}; what has come is kept; run the same command to go on")]
    Interrupted {
        /// Its name.
        file: &'static str,
        /// What has come.
        got: u64,
    },
    /// There is no room.
    #[error(
        "cannot write {}: {error}; the first {bytes} bytes are kept; free some space and run the same command to go on, or name another place with --to",
        path.display()
    )]
    Full {
        /// The part.
        path: PathBuf,
        /// What has come.
        bytes: u64,
        /// What the system said.
        error: io::Error,
    },
    /// The system refused.
    #[error("cannot write {}: {error}; make it writable, or name another place with --to", path.display())]
    Unwritable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Somebody else is at it.
    #[error("{} is being fetched by another process; wait for it, or name another place with --to", path.display())]
    Busy {
        /// The part.
        path: PathBuf,
    },
}

impl FetchError {
    /// Whether the user asked to stop.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Interrupted { .. })
    }
}

fn told(refusals: &[(String, Refusal)]) -> String {
    refusals.iter().map(|(url, refusal)| format!("{url}: {refusal}")).collect::<Vec<_>>().join("; ")
}

fn remedy(refusals: &[(String, Refusal)], kept: u64, target: &Path) -> String {
    let all = |is: fn(&Refusal) -> bool| refusals.iter().all(|(_, refusal)| is(refusal));
    if kept > 0 {
        return format!("{kept} bytes are kept; run the same command to go on");
    }
    let by_hand = format!("or put the file by hand at {}", target.display());
    if all(|refusal| matches!(refusal, Refusal::Unreachable(_))) {
        format!(
            "check the network (a proxy is taken from HTTPS_PROXY), name a source that is near with --from, {by_hand}"
        )
    } else {
        format!("nothing of it is kept; name another source with --from, {by_hand}")
    }
}
