//! What a search is doing, kept in its run's directory while it runs, for whoever watches from outside.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;

use super::hunt::Step;
use crate::whole;

/// The file, which a search that ends takes away.
pub const STAGE: &str = "stage.json";

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Stage {
    schema: u32,
    /// In a few words.
    doing: String,
    /// Plans evaluated by the searcher so far.
    done: usize,
    /// Its budget.
    of: usize,
    /// Measurements that were there when it began.
    known: usize,
    /// When it began, in seconds since 1970.
    started: u64,
}

/// Takes away what a search that was killed left in `run`.
pub fn clear(run: &Path) {
    // Where it cannot be taken away, the next step is written over it.
    let _ = std::fs::remove_file(run.join(STAGE));
}

/// Tells it.
#[derive(Debug)]
pub struct Teller {
    path: PathBuf,
    known: usize,
    started: u64,
    told: Option<Stage>,
}

impl Teller {
    /// For a search in `run` that begins now and knows as many measurements.
    pub fn new(run: &Path, known: usize) -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { path: run.join(STAGE), known, started, told: None }
    }

    /// Says what it does now. Nobody needs to know, so a disk that is full stops the search elsewhere.
    pub fn tell(&mut self, step: Step<'_>) {
        let Step { doing, done, of } = step;
        let stage = Stage { schema: 1, doing: doing.to_owned(), done, of, known: self.known, started: self.started };
        if self.told.as_ref() == Some(&stage) {
            return;
        }
        if let Ok(text) = serde_json::to_vec(&stage) {
            let _ = whole::write(&self.path, &text);
        }
        self.told = Some(stage);
    }

    /// It is done.
    pub fn finish(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
