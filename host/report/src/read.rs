//! Reads a run directory. A file that is missing is a part that is missing; one that cannot be read is an error.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::run::{Bench, Run};

/// Files of a run.
pub const FILES: [&str; 8] = [
    "run.json",
    "result.json",
    "episodes.jsonl",
    "measurements.jsonl",
    "race.json",
    "stage.json",
    "front.json",
    "comparison.json",
];

/// Those of which it has at least one.
const TELLING: [&str; 5] = [FILES[0], FILES[1], FILES[2], FILES[3], FILES[4]];

/// Why there is nothing to report.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no directory.
    #[error("cannot read the run {run}: {error}; name the directory that `releq search -o` was given", run = run.display())]
    NoDirectory {
        /// The directory.
        run: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is some other directory.
    #[error(
        "{run} holds no run: none of {files} is there; name the directory that `releq search -o` was given",
        run = run.display(),
        files = TELLING.join(", ")
    )]
    NoRun {
        /// The directory.
        run: PathBuf,
    },
    /// The system refused.
    #[error("cannot read {path}: {error}; check the path and whose file it is", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// It is there, and is something else.
    #[error(
        "{path} is no file of a run that this version of releq can read: {error}; \
         move it away to report without it, or search again",
        path = path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        error: String,
    },
    /// It is not what a bench writes.
    #[error("{path} is no bench: {error}; write one with `releq bench IMAGE --export-json FILE`", path = path.display())]
    NoBench {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        error: serde_json::Error,
    },
}

/// What the directory `run` holds.
///
/// # Errors
/// [`ReadError`], for a directory that is no run and for a file in it that is no run's.
pub fn run(run: &Path) -> Result<Run, ReadError> {
    std::fs::read_dir(run).map_err(|error| ReadError::NoDirectory { run: run.to_owned(), error })?;
    if !TELLING.iter().any(|file| run.join(file).is_file()) {
        return Err(ReadError::NoRun { run: run.to_owned() });
    }
    let mut read = Run {
        name: run.display().to_string(),
        asked: document(&run.join("run.json"))?,
        stage: document(&run.join("stage.json"))?,
        outcome: document(&run.join("result.json"))?,
        front: document(&run.join("front.json"))?,
        race: document(&run.join("race.json"))?.unwrap_or_default(),
        episodes: lines(&run.join("episodes.jsonl"))?,
        measurements: lines(&run.join("measurements.jsonl"))?,
        ..Run::default()
    };
    // The result says what it answers; the file may be a later search's.
    if let Some(answered) = read.outcome.as_mut().and_then(|outcome| outcome.asked.take()) {
        read.later = read.asked.replace(answered).filter(|last| read.asked.as_ref() != Some(last));
    }
    // The result's own rows are of its own search; the file may be an earlier one's.
    read.comparison = match read.outcome.as_mut().and_then(|outcome| outcome.comparison.take()) {
        Some(rows) => rows,
        None => document(&run.join("comparison.json"))?.unwrap_or_default(),
    };
    Ok(read)
}

/// What a bench wrote to `path`.
///
/// # Errors
/// [`ReadError::Unreadable`] or [`ReadError::NoBench`].
pub fn bench(path: &Path) -> Result<Bench, ReadError> {
    let text = std::fs::read(path).map_err(|error| ReadError::Unreadable { path: path.to_owned(), error })?;
    serde_json::from_slice(&text).map_err(|error| ReadError::NoBench { path: path.to_owned(), error })
}

fn contents(path: &Path) -> Result<Option<Vec<u8>>, ReadError> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(ReadError::Unreadable { path: path.to_owned(), error }),
    }
}

fn document<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ReadError> {
    let foreign = |error: serde_json::Error| ReadError::Foreign { path: path.to_owned(), error: error.to_string() };
    contents(path)?.map(|bytes| serde_json::from_slice(&bytes).map_err(foreign)).transpose()
}

/// One record a line. A last line without its end is one that is being written, or was when the search was killed.
fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, ReadError> {
    let bytes = contents(path)?.unwrap_or_default();
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let record = |(line, number): (&[u8], usize)| {
        let error = |error| ReadError::Foreign { path: path.to_owned(), error: format!("line {number}: {error}") };
        serde_json::from_slice(line).map_err(error)
    };
    bytes[..whole].split_inclusive(|&byte| byte == b'\n').zip(1..).map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_line_torn_anywhere_is_passed_over() {
        let room = tempfile::tempdir().unwrap();
        let line = r#"{"plan":"2,2","accuracy":0.5,"value":null,"of a newer version":[1]}"#;
        for cut in 0..=line.len() {
            fs::write(room.path().join("episodes.jsonl"), format!("{line}\n{}", &line[..cut])).unwrap();
            let read = run(room.path()).unwrap();
            assert_eq!((read.episodes.len(), read.episodes[0].accuracy, read.episodes[0].value), (1, Some(0.5), None));
        }
    }

    #[test]
    fn a_whole_line_that_is_no_record_is_named() {
        let room = tempfile::tempdir().unwrap();
        fs::write(room.path().join("episodes.jsonl"), "{}\nnonsense\n").unwrap();
        let message = run(room.path()).unwrap_err().to_string();
        assert!(message.contains("line 2") && message.contains("move it away"), "{message}");
    }

    #[test]
    fn a_result_keeps_to_what_it_answers() {
        let room = tempfile::tempdir().unwrap();
        let put = |name: &str, text: &str| fs::write(room.path().join(name), text).unwrap();
        let seeds = || {
            let read = run(room.path()).unwrap();
            [read.asked, read.later].map(|asked| asked.and_then(|asked| asked.seed))
        };
        put("run.json", r#"{"seed":2}"#);
        assert_eq!(seeds(), [Some(2), None], "of a run that is not finished");
        put("result.json", r#"{"asked":{"seed":2}}"#);
        assert_eq!(seeds(), [Some(2), None]);
        put("run.json", r#"{"seed":3}"#);
        assert_eq!(seeds(), [Some(2), Some(3)], "of a search that began later");
        put("result.json", "{}");
        assert_eq!(seeds(), [Some(3), None], "of an older version");
    }

    #[test]
    fn what_is_no_run_is_refused() {
        let room = tempfile::tempdir().unwrap();
        assert!(matches!(run(room.path()), Err(ReadError::NoRun { .. })));
        assert!(matches!(run(&room.path().join("absent")), Err(ReadError::NoDirectory { .. })));
        let path = room.path().join("bench.json");
        assert!(matches!(bench(&path), Err(ReadError::Unreadable { .. })));
        fs::write(&path, "{}").unwrap();
        assert!(matches!(bench(&path), Err(ReadError::NoBench { .. })));
        fs::write(room.path().join("result.json"), "[").unwrap();
        assert!(matches!(run(room.path()), Err(ReadError::Foreign { .. })));
    }
}
