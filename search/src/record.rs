//! The log of a search: one JSON line a record, appended as it happens, read back to resume.
//!
//! A process killed while it writes leaves a torn last line. Reading back drops it: what it recorded is done again,
//! and comes out the same, since equal plans get equal scores.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::evaluate::Score;
use crate::plan::BitPlan;

/// One plan that was really evaluated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Digest of the network, data and recipe that the score belongs to: under another key it is no answer.
    pub key: String,
    /// The plan.
    pub plan: BitPlan,
    /// What it scored.
    #[serde(flatten)]
    pub score: Score,
}

/// One pass over all layers that ended in a plan which was really evaluated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// Its number, from 0.
    pub episode: usize,
    /// The plan it chose.
    pub plan: BitPlan,
    /// Accuracy, 0 to 1.
    pub accuracy: f64,
    /// State of Quantization.
    pub state_of_quantization: f64,
    /// Value under the objective.
    pub value: f64,
    /// The reward of each step; of the whole plan alone, where a searcher has no steps.
    pub rewards: Vec<f64>,
    /// The chance that the policy gave each action at each step; empty for searchers without a policy.
    pub policy: Vec<Vec<f32>>,
    /// Distinct evaluations paid for by its end.
    pub distinct_evaluations: usize,
}

/// A file of JSON lines, open for appending.
#[derive(Debug)]
pub struct Log {
    file: File,
    path: PathBuf,
}

/// Why a log could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The system refused.
    #[error("the log {} could not be read or written: {cause}; nothing that is in it is lost; check the path and the space left, and give the same command again", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        cause: io::Error,
    },
    /// A whole line that is no record.
    #[error("line {line} of the log {} is no record: {cause}; move the file away to start anew", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
    /// A record that has no JSON form.
    #[error("a record for the log {} has no JSON form: {cause}; this is a fault of the program that made it", path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        cause: serde_json::Error,
    },
}

impl Log {
    /// Opens the log at `path`, made if it is not there, and reads its records. A torn last line is cut off.
    ///
    /// # Errors
    /// [`RecordError`]
    pub fn open<T: DeserializeOwned>(path: &Path) -> Result<(Self, Vec<T>), RecordError> {
        let io = |cause| RecordError::Io { path: path.to_owned(), cause };
        // Appending, so that benches with other seeds may share a log.
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path).map_err(io)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io)?;
        let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |newline| newline + 1);
        let records = records(path, &bytes[..whole])?;
        file.set_len(whole as u64).map_err(io)?;
        Ok((Self { file, path: path.to_owned() }, records))
    }

    /// Opens an empty log at `path`; what was there is gone.
    ///
    /// # Errors
    /// [`RecordError::Io`]
    pub fn create(path: &Path) -> Result<Self, RecordError> {
        let file = File::create(path).map_err(|cause| RecordError::Io { path: path.to_owned(), cause })?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Appends `record` as one line, in one write.
    ///
    /// # Errors
    /// [`RecordError`]
    pub fn append<T: Serialize>(&mut self, record: &T) -> Result<(), RecordError> {
        let record_error = |cause| RecordError::Record { path: self.path.clone(), cause };
        let mut line = serde_json::to_vec(record).map_err(record_error)?;
        line.push(b'\n');
        self.file.write_all(&line).map_err(|cause| RecordError::Io { path: self.path.clone(), cause })
    }

    /// As [`append`](Self::append), and waits until the line is on the disk: for what takes longer to make than that.
    ///
    /// # Errors
    /// [`RecordError`]
    pub fn append_synced<T: Serialize>(&mut self, record: &T) -> Result<(), RecordError> {
        self.append(record)?;
        self.file.sync_data().map_err(|cause| RecordError::Io { path: self.path.clone(), cause })
    }
}

fn records<T: DeserializeOwned>(path: &Path, bytes: &[u8]) -> Result<Vec<T>, RecordError> {
    let lines = bytes.split_inclusive(|&byte| byte == b'\n').zip(1..);
    let record = |(bytes, line): (&[u8], usize)| {
        serde_json::from_slice(bytes).map_err(|cause| RecordError::Line { path: path.to_owned(), line, cause })
    };
    lines.map(record).collect()
}

/// The scores among `evaluations` that belong to `key`, for [`crate::evaluate::Cached::resume`].
pub fn scores(evaluations: impl IntoIterator<Item = Evaluation>, key: &str) -> BTreeMap<BitPlan, Score> {
    let ours = evaluations.into_iter().filter(|evaluation| evaluation.key == key);
    ours.map(|evaluation| (evaluation.plan, evaluation.score)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngExt;
    use std::fs;

    fn evaluation(key: &str, plan: &str, accuracy: f64) -> Evaluation {
        Evaluation { key: key.to_owned(), plan: plan.parse().unwrap(), score: Score { accuracy } }
    }

    #[test]
    fn what_was_appended_is_read_back_and_gone_on_from() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("evaluations.jsonl");
        let all = [evaluation("a", "2,2,3,2", 0.93916667), evaluation("a", "8,8,8,8", 1.0 / 3.0)];
        for (count, record) in all.iter().enumerate() {
            let (mut log, before) = Log::open::<Evaluation>(&path).unwrap();
            assert_eq!(before, all[..count]);
            log.append_synced(record).unwrap();
        }
        assert_eq!(
            fs::read_to_string(&path).unwrap().lines().next().unwrap(),
            r#"{"key":"a","plan":"2,2,3,2","accuracy":0.93916667}"#
        );
        assert_eq!(Log::open::<Evaluation>(&path).unwrap().1, all);
    }

    /// Or a search that goes on would decide by other numbers than one that never stopped.
    #[test]
    fn floats_are_read_back_to_the_last_bit() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("evaluations.jsonl");
        let mut log = Log::create(&path).unwrap();
        let mut rng = crate::seed::stream(1, "test");
        let accuracies: Vec<f64> = (0..2000).map(|_| rng.random()).collect();
        accuracies.iter().for_each(|&accuracy| log.append(&evaluation("a", "2,2", accuracy)).unwrap());
        let read = Log::open::<Evaluation>(&path).unwrap().1.into_iter().map(|one| one.score.accuracy.to_bits());
        assert!(read.eq(accuracies.iter().map(|accuracy| accuracy.to_bits())));
    }

    #[test]
    fn a_line_torn_anywhere_is_dropped_and_written_over() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("evaluations.jsonl");
        let (first, second) = (evaluation("a", "2,2", 0.5), evaluation("a", "3,3", 0.25));
        let whole = format!("{}\n", serde_json::to_string(&first).unwrap());
        let torn = serde_json::to_string(&second).unwrap();
        for cut in 0..=torn.len() {
            fs::write(&path, format!("{whole}{}", &torn[..cut])).unwrap();
            let (mut log, records) = Log::open::<Evaluation>(&path).unwrap();
            assert_eq!(records, std::slice::from_ref(&first));
            log.append(&second).unwrap();
            assert_eq!(Log::open::<Evaluation>(&path).unwrap().1, [first.clone(), second.clone()]);
        }
    }

    #[test]
    fn a_whole_line_that_is_no_record_is_an_error_with_its_number() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("evaluations.jsonl");
        fs::write(&path, format!("{}\n{{}}\n", serde_json::to_string(&evaluation("a", "2", 0.5)).unwrap())).unwrap();
        let message = Log::open::<Evaluation>(&path).unwrap_err().to_string();
        assert!(message.starts_with("line 2 of the log") && message.contains("key"), "{message}");
    }

    #[test]
    fn scores_of_another_recipe_are_no_answer() {
        let all = [evaluation("a", "2,2", 0.5), evaluation("b", "2,2", 0.75), evaluation("b", "3,3", 0.8)];
        assert_eq!(scores(all.clone(), "a").len(), 1);
        assert_eq!(scores(all, "b")[&"2,2".parse().unwrap()], Score { accuracy: 0.75 });
    }
}
