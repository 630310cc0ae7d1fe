//! One row: what its search ended in, read off the run, and what hardware gains by it.

use std::fs;
use std::path::Path;

use releq_search::plan::{BitPlan, LayerBits};
use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::hardware::{Gains, HardwareError, gains};
use super::published::{ACCELERATOR_GAIN, CPU_SPEEDUP};
use super::steps;
use crate::checkpoint::{self, CheckpointError};
use crate::target::lab::Lab;

/// A network of the table and how far it got.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its name in the zoo.
    pub network: String,
    /// The set it was searched on, and whether releq drew that itself.
    pub data: String,
    /// How it differs from the paper's.
    pub differs: Option<&'static str>,
    /// What the paper reports.
    pub paper: Paper,
    /// What came out here; `None` if it is unfinished.
    pub ours: Option<Ours>,
    /// The first step that is not done.
    pub unfinished: Option<&'static str>,
}

/// The paper's numbers; `None` where its plan is of another number of layers than the network here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Paper {
    /// Weight bits of each layer.
    pub bits: Vec<u8>,
    /// Mean bits as printed.
    pub mean_bits: f64,
    /// Points lost as printed.
    pub loss: f64,
    /// Its plan on the hardware here.
    pub gains: Option<Gains>,
    /// ADMM's bits, where the paper compares with them.
    pub admm_bits: Option<Vec<u8>>,
    /// ADMM's plan on the hardware here.
    pub admm_gains: Option<Gains>,
}

/// What a finished search of ours says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ours {
    /// Weight bits of each layer.
    pub plan: BitPlan,
    /// Their mean.
    pub mean_bits: f64,
    /// The mean weighted by how many weights a layer has.
    pub mean_bits_per_weight: f64,
    /// Whether the plan keeps to the loss that was allowed.
    pub met: bool,
    /// Points allowed.
    pub max_loss: f64,
    /// Points lost on the test images.
    pub loss: f64,
    /// 95 % interval of that.
    pub loss_interval: [f64; 2],
    /// Test images.
    pub images: usize,
    /// Whether releq drew them.
    pub synthetic: bool,
    /// Bytes of the image.
    pub bytes: usize,
    /// Seconds the search took, as it says.
    pub seconds: f64,
    /// What hardware gains.
    pub gains: Gains,
}

/// The fields of `result.json` that a row shows.
#[derive(Deserialize)]
struct Found {
    plan: BitPlan,
    mean_weight_bits: f64,
    mean_bits_per_weight: f64,
    met: bool,
    max_loss: f64,
    loss: f64,
    loss_interval: [f64; 2],
    images: usize,
    synthetic: bool,
    bytes: usize,
    seconds: f64,
}

/// Why a row cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RowError {
    /// A result that is none.
    #[error(
        "cannot read {path}: {reason}; it is not what `releq search` of this version writes; remove it and run again"
    )]
    Result {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The checkpoint cannot be read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// Hardware says nothing.
    #[error(transparent)]
    Hardware(#[from] HardwareError),
}

/// The row of `entry`, whose steps wrote below `directory`.
///
/// # Errors
/// [`RowError`]; what is missing is no error but an unfinished row.
pub fn row(entry: &Entry, directory: &Path, data: &str, lab: &Lab) -> Result<Row, RowError> {
    let steps = steps::steps(entry, directory, data, Path::new(""));
    let unfinished = steps.iter().find(|step| !step.is_done()).map(|step| step.what);
    let published = &entry.published;
    let mut row = Row {
        network: entry.network.to_owned(),
        data: data.to_owned(),
        differs: entry.differs,
        paper: Paper {
            bits: published.bits.to_vec(),
            mean_bits: published.mean_bits,
            loss: published.loss,
            gains: None,
            admm_bits: published.admm.map(<[u8]>::to_vec),
            admm_gains: None,
        },
        ours: None,
        unfinished,
    };
    if !steps[0].is_done() {
        return Ok(row);
    }
    let network = checkpoint::load(&steps::float(directory, entry))?;
    let of = |bits: &[u8]| {
        let layers = bits.iter().map(|&weights| LayerBits { weights, activations: 8 }).collect();
        let fits = bits.len() == network.graph.weighted().len();
        let plan = BitPlan::new(layers).ok().filter(|_| fits);
        plan.map(|plan| gains(&network, &plan, lab)).transpose()
    };
    row.paper.gains = of(published.bits)?;
    row.paper.admm_gains = published.admm.map(of).transpose()?.flatten();
    if unfinished.is_none() {
        let found = found(&steps[1].done)?;
        let gains = gains(&network, &found.plan, lab)?;
        row.ours = Some(found.with(gains));
    }
    Ok(row)
}

fn found(path: &Path) -> Result<Found, RowError> {
    let wrong = |reason: String| RowError::Result { path: path.display().to_string(), reason };
    let text = fs::read(path).map_err(|error| wrong(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))
}

impl Found {
    fn with(self, gains: Gains) -> Ours {
        Ours {
            plan: self.plan,
            mean_bits: self.mean_weight_bits,
            mean_bits_per_weight: self.mean_bits_per_weight,
            met: self.met,
            max_loss: self.max_loss,
            loss: self.loss,
            loss_interval: self.loss_interval,
            images: self.images,
            synthetic: self.synthetic,
            bytes: self.bytes,
            seconds: self.seconds,
            gains,
        }
    }
}

/// The heads of [`cells`].
pub const HEADS: [&str; 9] =
    ["network", "whose", "bits", "mean", "loss, points", "CPU", "accelerator", "energy", "Cortex-M4"];

/// The rows of one network: ours, the paper's, ADMM's.
pub fn cells(row: &Row) -> Vec<[String; 9]> {
    let bits = |bits: &[u8]| bits.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
    let mean = |bits: &[u8]| bits.iter().copied().map(f64::from).sum::<f64>() / bits.len().max(1) as f64;
    let ours = match &row.ours {
        Some(ours) => {
            let [low, high] = ours.loss_interval;
            let missed = if ours.met { "" } else { ", not allowed" };
            let loss = format!("{:.2} ({low:.2} to {high:.2}){missed}", ours.loss);
            line(&row.network, "ours", &ours.plan.to_string(), ours.mean_bits, &loss, Some(&ours.gains))
        }
        None => {
            let what = format!("unfinished: {}", row.unfinished.unwrap_or("search"));
            let mut cells = std::array::from_fn(|_| "unfinished".to_owned());
            (cells[0], cells[1], cells[2]) = (row.network.clone(), "ours".to_owned(), what);
            cells
        }
    };
    let paper = &row.paper;
    let loss = format!("{:.2}", paper.loss);
    let mut lines = vec![ours, line("", "paper", &bits(&paper.bits), paper.mean_bits, &loss, paper.gains.as_ref())];
    if let Some(admm) = &paper.admm_bits {
        lines.push(line("", "ADMM", &bits(admm), mean(admm), "-", paper.admm_gains.as_ref()));
    }
    lines
}

fn line(network: &str, whose: &str, bits: &str, mean: f64, loss: &str, gains: Option<&Gains>) -> [String; 9] {
    let gain = |of: fn(&Gains) -> f64| gains.map_or_else(|| "-".to_owned(), |gains| format!("{:.2}×", of(gains)));
    let mut instructions = gain(|gains| gains.instructions);
    if gains.is_some_and(|gains| !gains.counted) {
        instructions += " predicted";
    }
    [
        network.to_owned(),
        whose.to_owned(),
        bits.to_owned(),
        format!("{mean:.2}"),
        loss.to_owned(),
        gain(|gains| gains.cpu),
        gain(|gains| gains.accelerator),
        gain(|gains| gains.energy),
        instructions,
    ]
}

/// Under the table: geometric means of our finished rows beside the paper's claims; `None` if there are none.
pub fn means(rows: &[Row]) -> Option<String> {
    let ours: Vec<&Gains> = rows.iter().filter_map(|row| Some(&row.ours.as_ref()?.gains)).collect();
    let mean = |of: fn(&Gains) -> f64| (ours.iter().map(|gains| of(gains).ln()).sum::<f64>() / ours.len() as f64).exp();
    (!ours.is_empty()).then(|| {
        format!(
            "mean of {} finished of {} (geometric): CPU {:.2}× (paper {CPU_SPEEDUP}×), accelerator {:.2}× (paper \
             {ACCELERATOR_GAIN}×), energy {:.2}× (paper {ACCELERATOR_GAIN}×), Cortex-M4 {:.2}×",
            ours.len(),
            rows.len(),
            mean(|gains| gains.cpu),
            mean(|gains| gains.accelerator),
            mean(|gains| gains.energy),
            mean(|gains| gains.instructions),
        )
    })
}
