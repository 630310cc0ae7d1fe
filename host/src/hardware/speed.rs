//! How long layers take on a board: instructions at calibrated prices, cycles at prices of their estimates, and a clock.
//!
//! Instructions are predicted within a percent or two of what the board counts (docs/cost.md). Cycles are those of the
//! model that estimates them in the emulator, so they carry its band on top; only the Cortex-M4 has one.

use std::time::Duration;

use releq_device::board::Board;
use releq_search::cost::{PackedSimd, Unpriced};
use serde::{Deserialize, Serialize};

use crate::cost::errors::Errors;
use crate::cost::layer::Layer;
use crate::cost::{self, NoPrices};

/// As `releq calibrate --board virt-m4 --cycles` wrote it.
const VIRT_M4_CYCLES: &str = include_str!("../../calibration/virt-m4-cycles.json");

/// Cycles by the same pieces of work as instructions.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cycles {
    /// The model that estimated them.
    pub model: String,
    /// How far its estimates may be off, either way, in percent.
    pub band_percent: u32,
    /// How far these prices are from its estimates, of the random networks that they were fitted on.
    pub fitted: Errors,
    /// The same of networks that nothing was fitted on.
    pub checked: Option<Errors>,
    /// Cycles of each piece.
    pub prices: PackedSimd,
}

/// What layers cost on one board.
#[derive(Clone, Debug)]
pub struct Speed {
    /// The board.
    pub board: &'static Board,
    /// Its clock, in hertz.
    pub clock: f64,
    instructions: PackedSimd,
    /// None for cores without a model.
    pub cycles: Option<Cycles>,
}

/// What one inference takes on a board.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Time {
    /// Instructions, predicted.
    pub instructions: f64,
    /// Cycles, estimated; none for cores without a model.
    pub cycles: Option<f64>,
}

impl Speed {
    /// On `board`, at `clock` hertz or at what its runner sets.
    ///
    /// # Errors
    /// [`NoPrices`] for a board that is not calibrated.
    pub fn of(board: &'static Board, clock: Option<f64>) -> Result<Self, NoPrices> {
        let cycles = if board.core == "Cortex-M4F" { serde_json::from_str(VIRT_M4_CYCLES).ok() } else { None };
        let clock = clock.unwrap_or_else(|| f64::from(board.clock.hertz));
        Ok(Self { board, clock, instructions: cost::prices(board.name)?, cycles })
    }

    /// What `layer` takes; no cycles where none of its work has a price in them.
    ///
    /// # Errors
    /// [`Unpriced`] for work that instructions were not fitted from.
    pub fn of_layer(&self, layer: &Layer) -> Result<Time, Unpriced> {
        let work = layer.work(self.board.family);
        let cycles = self.cycles.as_ref().and_then(|cycles| cycles.prices.instructions(&work).ok());
        Ok(Time { instructions: self.instructions.instructions(&work)?, cycles })
    }

    /// How long `cycles` are.
    pub fn duration(&self, cycles: f64) -> Duration {
        Duration::from_secs_f64(cycles / self.clock)
    }
}

impl std::ops::Add for Time {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let cycles = self.cycles.zip(other.cycles).map(|(one, other)| one + other);
        Self { instructions: self.instructions + other.instructions, cycles }
    }
}
