//! Options that several verbs share: the boards that plans are weighed for, and the budgets that they keep there.

use std::time::Duration;

use releq_device::board::Board;

use super::Failure;
use crate::hardware::Place;
use crate::hardware::budget::Asked;
use crate::hardware::quantity;
use crate::search::record::BoardRecord;

/// Which boards.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct BoardOptions {
    /// Weigh plans for this board, and keep to the room it has; may be given several times
    #[arg(long, value_name = "BOARD")]
    board: Vec<String>,
    /// The boards' clock, such as 168MHz; by default the emulated machine's own
    #[arg(long, value_name = "FREQUENCY", value_parser = quantity::hertz)]
    clock: Option<f64>,
}

/// Who asks for no board still wants to know what plans take.
const USUAL: &str = "virt-m4";

impl BoardOptions {
    /// The boards that were named.
    pub(super) fn named(&self) -> Result<Vec<&'static Board>, Failure> {
        self.board.iter().map(|name| super::run::board(name)).collect()
    }

    /// With one more board, unless it is among them.
    pub(super) fn joined(&self, board: Option<&str>) -> Self {
        let mut joined = self.clone();
        joined.board.extend(board.filter(|name| self.board.iter().all(|known| known != name)).map(str::to_owned));
        joined
    }

    /// Whether a board or a clock was named.
    pub(super) fn is_given(&self) -> bool {
        !self.board.is_empty() || self.clock.is_some()
    }

    /// Those, or the usual one.
    pub(super) fn records(&self) -> Vec<BoardRecord> {
        let names = if self.board.is_empty() { vec![USUAL.to_owned()] } else { self.board.clone() };
        names.into_iter().map(|name| BoardRecord { name, clock: self.clock }).collect()
    }

    /// The same, with what is known of their speed.
    pub(super) fn places(&self) -> Result<Vec<Place>, Failure> {
        let place = |record: &BoardRecord| Ok(Place::new(super::run::board(&record.name)?, record.clock));
        self.records().iter().map(place).collect()
    }
}

/// Which budgets.
#[derive(Debug, clap::Args)]
pub(super) struct BudgetOptions {
    /// Most bytes of flash that the image may take, such as 64KiB
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes, help_heading = "Budgets")]
    max_flash: Option<u64>,
    /// Most bytes of RAM that the arena may take, such as 20KiB
    #[arg(long, value_name = "SIZE", value_parser = quantity::bytes, help_heading = "Budgets")]
    max_ram: Option<u64>,
    /// Longest inference on every board, such as 15ms: estimated cycles over the clock
    #[arg(long, value_name = "DURATION", value_parser = quantity::duration, help_heading = "Budgets")]
    max_latency: Option<Duration>,
    /// Most instructions of an inference on every board, such as 2M
    #[arg(long, value_name = "COUNT", value_parser = quantity::count, help_heading = "Budgets")]
    max_instructions: Option<f64>,
}

impl BudgetOptions {
    pub(super) fn asked(&self) -> Asked {
        Asked {
            flash: self.max_flash,
            ram: self.max_ram,
            instructions: self.max_instructions,
            latency: self.max_latency,
        }
    }
}
