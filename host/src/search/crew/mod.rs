//! Other processes that measure plans: a search hands jobs to whoever connects, and gets measurements back.
//!
//! A plan measures the same wherever it is measured, so who does it makes no difference to the search, and a worker that
//! goes away costs its one job, which somebody else does. [`frame`] carries messages, [`foreman`] hands out jobs, and a
//! [`worker`] does them. What a worker needs to know comes to it with the network, but for the images: those it finds by
//! the name of their set, as `--data` does, and the digest of all of it says whether they are the same.

pub mod foreman;
pub mod frame;
pub mod worker;

use serde::{Deserialize, Serialize};

use super::bench::{Measurement, Stage};
use super::preset::{Preset, Published};
use releq_search::plan::BitPlan;

/// What both sides speak; another number is another language.
pub const PROTOCOL: u32 = 2;

/// A plan to be measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// What for.
    pub stage: Stage,
    /// The plan.
    pub plan: BitPlan,
    /// Images of fine-tuning.
    pub images: usize,
}

/// What a worker is to measure plans of; the network itself follows as a frame of bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// Digest of network, data and recipe; a worker that comes to another has other images or another version.
    pub key: String,
    /// How plans are fine-tuned.
    pub preset: Preset,
    /// The quantizer of the published preset.
    pub quantizer: Published,
    /// The seed of fine-tuning.
    pub seed: u64,
    /// The set of images, by name or directory.
    pub data: String,
    /// The user's own images for validation.
    pub val: Option<String>,
}

/// What a worker says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromWorker {
    /// The first word.
    Hello {
        /// [`PROTOCOL`].
        protocol: u32,
        /// What the foreman's user gave to whom he trusts.
        token: String,
    },
    /// It has everything, and waits for jobs.
    Ready,
    /// It cannot measure what is asked.
    Unable {
        /// Why.
        why: String,
    },
    /// It is alive and at work.
    Working,
    /// What the job came to.
    Done(Measurement),
    /// The plan cannot be measured, here or anywhere.
    Failed {
        /// Why.
        why: String,
    },
}

/// What a foreman says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromForeman {
    /// What it is about.
    Task(Task),
    /// The next job.
    Job(Job),
    /// There is no more to do.
    Over,
}
