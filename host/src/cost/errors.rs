//! How far predictions are from counts: of layers, and of networks whole.

use std::collections::BTreeMap;

use releq_format::graph::KernelHint;
use releq_search::cost::{PackedSimd, Unpriced};
use serde::{Deserialize, Serialize};

use super::table::Row;

/// Relative errors of predictions, |predicted / counted − 1|.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    /// How many there are.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// The largest, and whose it is.
    pub worst: f64,
    /// The layer or network with the largest.
    pub worst_of: String,
}

/// What predictions of some networks are worth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// Of layers, each counting alike.
    pub layers: Errors,
    /// Of layers by kernel.
    pub kernels: BTreeMap<String, Errors>,
    /// Of networks.
    pub networks: Errors,
    /// What each network counted, and was predicted to.
    pub totals: BTreeMap<String, [f64; 2]>,
}

/// Compares the counts in `rows` with what `model` says of the same layers on a core of `family`.
///
/// # Errors
/// [`Unpriced`] for a layer that the model knows nothing of.
pub fn compare(rows: &[Row], family: KernelHint, model: &PackedSimd) -> Result<Verdict, Unpriced> {
    let (mut layers, mut kernels) = (Vec::new(), BTreeMap::<String, Vec<_>>::new());
    let mut totals = BTreeMap::<String, [f64; 2]>::new();
    for row in rows {
        let work = row.layer.work(family);
        let (counted, predicted) = (f64::from(row.instructions), model.instructions(&work)?);
        let found = (format!("{} {}", row.network, row.layer.name), relative(counted, predicted));
        layers.push(found.clone());
        kernels.entry(work.kernel).or_default().push(found);
        let total = totals.entry(row.network.clone()).or_default();
        *total = [total[0] + counted, total[1] + predicted];
    }
    let networks = totals.iter().map(|(name, &[counted, predicted])| (name.clone(), relative(counted, predicted)));
    Ok(Verdict {
        layers: Errors::of(&layers),
        kernels: kernels.into_iter().map(|(kernel, found)| (kernel, Errors::of(&found))).collect(),
        networks: Errors::of(&networks.collect::<Vec<_>>()),
        totals,
    })
}

fn relative(counted: f64, predicted: f64) -> f64 {
    (predicted / counted.max(1.0) - 1.0).abs()
}

impl Errors {
    fn of(found: &[(String, f64)]) -> Self {
        let worst = found.iter().max_by(|one, other| one.1.total_cmp(&other.1));
        Self {
            count: found.len(),
            mean: found.iter().map(|(_, error)| error).sum::<f64>() / found.len().max(1) as f64,
            worst: worst.map_or(0.0, |(_, error)| *error),
            worst_of: worst.map_or_else(String::new, |(name, _)| name.clone()),
        }
    }
}
