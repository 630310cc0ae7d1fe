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
        self.tell_at(step, Instant::now());
    }

    /// [`Self::tell`], the time being `now`.
    fn tell_at(&mut self, step: Step<'_>, now: Instant) {
        let Step { doing, done, of } = step;
        let stage = Stage { schema: 1, doing: doing.to_owned(), done, of, known: self.known, started: self.started };
        if self.told.as_ref() == Some(&stage) {
            return;
        }
        if let Ok(text) = serde_json::to_vec(&stage) {
            let _ = whole::write(&self.path, &text);
        }
        self.count(now);
        self.told = Some(stage);
    }

    /// Counts the time from the last step to `now` to what that one did.
    fn count(&mut self, now: Instant) {
        let Some(Stage { doing, .. }) = &self.told else { return };
        let seconds = now.duration_since(self.since).as_secs_f64();
        match self.spent.iter_mut().find(|spent| spent.doing == *doing) {
            Some(spent) => spent.seconds += seconds,
            None => self.spent.push(Spent { doing: doing.clone(), seconds }),
        }
        self.since = now;
    }

    /// What the time until now went to, in the order in which it was begun.
    pub fn spent(&mut self) -> Vec<Spent> {
        self.count(Instant::now());
        self.spent.clone()
    }

    /// It is done.
    pub fn finish(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_is_counted_by_what_it_went_to() {
        let run = tempfile::tempdir().unwrap();
        let mut teller = Teller::new(run.path(), 0);
        let start = teller.since;
        let steps = [(1, "anchors", 0), (4, "search", 0), (6, "search", 1), (13, "re-ranking", 1), (29, "search", 1)];
        for (second, doing, done) in steps {
            teller.tell_at(Step { doing, done, of: 2 }, start + Duration::from_secs(second));
        }
        teller.count(start + Duration::from_secs(61));
        let spent: Vec<_> = teller.spent.iter().map(|spent| (&spent.doing[..], spent.seconds)).collect();
        // The first second, in which it said nothing yet, counts as the first step's.
        assert_eq!(spent, [("anchors", 4.0), ("search", 9.0 + 32.0), ("re-ranking", 16.0)]);
        assert!(run.path().join(STAGE).exists());
        teller.finish();
        assert!(!run.path().join(STAGE).exists());
    }
}
