//! What candidates cost on a board: predicted from prices, or run there, and each marked as one or the other.

use releq_device::board::Board;
use releq_format::image::Image;
use releq_search::cost::{Costs, Seen};
use releq_search::plan::BitPlan;
use serde::{Deserialize, Serialize};

use crate::cost::measure::{self, MeasureError};
use crate::lower::{self, LowerError};
use crate::quantized::QuantizedNetwork;
use crate::target::lab::Lab;

/// What one candidate costs; a line of the log carries it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// On which board.
    pub board: String,
    /// What both numbers count.
    pub unit: String,
    /// By the prices that come with releq.
    pub predicted: f64,
    /// Counted on the board; none where nobody asked it.
    pub measured: Option<u64>,
}

/// Where candidates are run.
#[derive(Clone, Debug)]
pub struct Stand {
    /// The board.
    pub board: &'static Board,
    /// The way there.
    pub lab: Lab,
}

/// What a bench knows of costs.
#[derive(Clone, Debug)]
pub struct Pricing {
    /// The board whose prices these are.
    pub board: &'static Board,
    /// Predictions.
    pub costs: Costs,
    /// Where candidates are run too, if anywhere.
    pub stand: Option<Stand>,
    /// What they were measured to cost.
    pub seen: Seen,
}

impl Pricing {
    /// What a plan costs by its prices alone.
    pub fn predicted(&self, plan: &BitPlan) -> Cost {
        Cost {
            board: self.board.name.to_owned(),
            unit: self.board.counter.unit().name().to_owned(),
            predicted: self.costs.of(plan),
            measured: None,
        }
    }

    /// What a candidate costs, run on the stand if there is one.
    ///
    /// # Errors
    /// Why it cannot be run there.
    pub fn cost(&self, plan: &BitPlan, quantized: &QuantizedNetwork) -> Result<Cost, MeasureError> {
        let run = |stand: &Stand| -> Result<u64, MeasureError> {
            let lowered = lower::lower(quantized)?;
            let image = Image::open(&lowered.image).map_err(LowerError::Refused)?;
            let rows = measure::measure(stand.board, &stand.lab, &image)?;
            Ok(rows.iter().map(|row| u64::from(row.instructions)).sum())
        };
        Ok(Cost { measured: self.stand.as_ref().map(run).transpose()?, ..self.predicted(plan) })
    }

    /// Has objectives weigh `plan` by what it was measured to cost, if it was.
    pub fn tell(&self, plan: &BitPlan, cost: Option<&Cost>) {
        if let Some(total) = cost.and_then(|cost| cost.measured) {
            self.seen.tell(plan, total as f64);
        }
    }
}
