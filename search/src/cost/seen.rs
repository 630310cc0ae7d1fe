//! What plans were measured to cost, where somebody measures.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::plan::BitPlan;

/// Measured totals of the plans that were measured; clones share them, so that an objective learns what a bench finds.
#[derive(Clone, Debug, Default)]
pub struct Seen(Arc<RwLock<BTreeMap<BitPlan, f64>>>);

impl Seen {
    /// From now on `plan` costs `total`, in the unit of the costs that were predicted.
    pub fn tell(&self, plan: &BitPlan, total: f64) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(plan.clone(), total);
    }

    /// What `plan` was measured to cost, if it was.
    pub fn of(&self, plan: &BitPlan) -> Option<f64> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(plan).copied()
    }
}
