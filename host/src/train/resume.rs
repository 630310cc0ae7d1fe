//! A long training that survives being killed: all its state in one file, written each minute and taken up again.
//!
//! The file holds every variable, the optimiser's moments, the statistics of batch normalisation and the number of
//! steps. Random draws need no place in it: they depend on the seed and the step alone.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use releq_search::plan::BitPlan;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

use super::fit::Schedule;
use super::quantize::Recipe;
use crate::data::Dataset;
use crate::network::Network;
use crate::whole;

const KEY: &str = "releq.training";
const STEP: &str = "releq.step";

/// Where the state of a training is kept, and what names it.
#[derive(Clone, Debug)]
pub struct Resume {
    path: PathBuf,
    key: String,
    every: Duration,
}

/// The floats of a training at one moment, in an order that it knows.
pub(super) type State = Vec<Vec<f32>>;

/// Where the state of what makes `output` lies until that is written.
pub fn beside(output: &Path) -> PathBuf {
    let mut name = output.to_owned().into_os_string();
    name.push(".part");
    name.into()
}

impl Resume {
    /// The state of training `network` on `data` by `schedule`, in `path`.
    pub fn of_training(path: &Path, network: &Network, data: &Dataset, schedule: &Schedule) -> Self {
        let crc = network.crc().update(&data.images).update(&data.labels).finish();
        Self::new(path, &format!("{crc:08x} {schedule:?} {}", env!("CARGO_PKG_VERSION")))
    }

    /// The state of quantizing `network` by `plan` on `data`, in `path`.
    pub fn of_quantizing(path: &Path, network: &Network, plan: &BitPlan, data: &Dataset, recipe: &Recipe) -> Self {
        let crc = network.crc().update(&data.images).update(&data.labels).finish();
        Self::new(path, &format!("{crc:08x} {plan} {recipe:?} {}", env!("CARGO_PKG_VERSION")))
    }

    /// State in `path`, of a training that depends on what `key` names and on nothing else.
    pub fn new(path: &Path, key: &str) -> Self {
        Self { path: path.to_owned(), key: key.to_owned(), every: Duration::from_secs(60) }
    }

    /// The same, but written after every `every`.
    pub fn every(self, every: Duration) -> Self {
        Self { every, ..self }
    }

    /// The state of stage `stage` of a training in several, beside the others.
    pub(super) fn stage(&self, stage: usize) -> Self {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{stage}"));
        Self { path: name.into(), key: format!("{} stage {stage}", self.key), every: self.every }
    }

    /// The step and the state reached, if a file of this training is there and whole. Any other file is passed over,
    /// and written over in time.
    pub(super) fn load(&self) -> Option<(usize, State)> {
        let bytes = fs::read(&self.path).ok()?;
        let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
        let said = header.metadata().as_ref()?;
        if said.get(KEY)? != &self.key {
            return None;
        }
        let tensors = SafeTensors::deserialize(&bytes).ok()?;
        let part = |index: usize| {
            let (words, _) = tensors.tensor(&index.to_string()).ok()?.data().as_chunks::<4>();
            Some(words.iter().map(|&word| f32::from_le_bytes(word)).collect())
        };
        let state = (0..tensors.len()).map(part).collect::<Option<State>>()?;
        Some((said.get(STEP)?.parse().ok()?, state))
    }

    /// Writes the state after `step` steps, whole or not at all.
    pub(super) fn save(&self, step: usize, state: &State) -> std::io::Result<()> {
        let bytes: Vec<Vec<u8>> =
            state.iter().map(|part| part.iter().flat_map(|value| value.to_le_bytes()).collect()).collect();
        let views = bytes.iter().enumerate().map(|(index, bytes)| {
            let view = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes);
            (index.to_string(), view.expect("four bytes each"))
        });
        let said = HashMap::from([(KEY.to_owned(), self.key.clone()), (STEP.to_owned(), step.to_string())]);
        let file = safetensors::serialize(views, Some(said)).map_err(std::io::Error::other)?;
        whole::write(&self.path, &file)
    }

    /// Removes what is kept, once the training's result is safe elsewhere.
    pub fn done(&self) {
        // The file may never have been written; what cannot be removed is overwritten by the next training.
        let _ = fs::remove_file(&self.path);
        for stage in 0.. {
            if fs::remove_file(self.stage(stage).path).is_err() {
                break;
            }
        }
    }
}

/// When to write next.
pub(super) struct Clock<'a> {
    resume: &'a Resume,
    written: Instant,
}

impl<'a> Clock<'a> {
    pub(super) fn of(resume: &'a Resume) -> Self {
        Self { resume, written: Instant::now() }
    }

    /// Whether it is time to write.
    pub(super) fn strikes(&mut self) -> bool {
        let due = self.written.elapsed() >= self.resume.every;
        if due {
            self.written = Instant::now();
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_comes_back_under_its_own_key_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("net.rlq.part");
        let resume = Resume::new(&path, "one");
        assert!(resume.load().is_none());
        let state: State = vec![vec![1.0, -0.0, f32::MAX], Vec::new(), vec![0.5]];
        resume.save(7, &state).unwrap();
        assert_eq!(resume.load(), Some((7, state.clone())));
        assert!(Resume::new(&path, "other").load().is_none());
        let bytes = fs::read(&path).unwrap();
        for length in [0, 5, bytes.len() - 1] {
            fs::write(&path, &bytes[..length]).unwrap();
            assert!(resume.load().is_none(), "cut to {length}");
        }
        resume.stage(0).save(1, &state).unwrap();
        resume.stage(1).save(1, &state).unwrap();
        resume.done();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
