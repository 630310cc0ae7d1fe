//! What a search is doing, kept in its run's directory while it runs, for whoever watches from outside.

use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

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

/// What a search spent its time on, since it was started or last taken up.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spent {
    /// As [`Step::doing`].
    pub doing: String,
    /// Wall time.
    pub seconds: f64,
}

/// Tells it.
#[derive(Debug)]
pub struct Teller {
    path: PathBuf,
    known: usize,
    started: u64,
    told: Option<Stage>,
    /// Until the step that was told last.
    spent: Vec<Spent>,
    since: Instant,
}

impl Teller {
    /// For a search in `run` that begins now and knows as many measurements.
    pub fn new(run: &Path, known: usize) -> Self {
        let started = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Self { path: run.join(STAGE), known, started, told: None, spent: Vec::new(), since: Instant::now() }
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
        self.count();
        self.told = Some(stage);
    }

    /// Counts the time since the last step to what that one did.
    fn count(&mut self) {
        let seconds = self.since.elapsed().as_secs_f64();
        let Some(Stage { doing, .. }) = &self.told else { return };
        self.since = Instant::now();
        match self.spent.iter_mut().find(|spent| spent.doing == *doing) {
            Some(spent) => spent.seconds += seconds,
            None => self.spent.push(Spent { doing: doing.clone(), seconds }),
        }
    }

    /// What the time until now went to, in the order in which it was begun.
    pub fn spent(&mut self) -> Vec<Spent> {
        self.count();
        self.spent.clone()
    }

    /// It is done.
    pub fn finish(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_counted_by_what_it_went_to() {
        let run = tempfile::tempdir().unwrap();
        let mut teller = Teller::new(run.path(), 0);
        let pause = || std::thread::sleep(std::time::Duration::from_millis(20));
        for (doing, done) in [("anchors", 0), ("search", 0), ("search", 1), ("re-ranking", 1), ("search", 1)] {
            teller.tell(Step { doing, done, of: 2 });
            pause();
        }
        let spent = teller.spent();
        assert_eq!(spent.iter().map(|spent| &spent.doing[..]).collect::<Vec<_>>(), ["anchors", "search", "re-ranking"]);
        assert!(spent.iter().all(|spent| spent.seconds > 0.0) && spent[1].seconds > spent[0].seconds, "{spent:?}");
        assert!(run.path().join(STAGE).exists());
        teller.finish();
        assert!(!run.path().join(STAGE).exists());
    }
}
