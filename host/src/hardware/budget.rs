//! Budgets: what a plan may take of flash, RAM, instructions and time, by wish or for want of room.

use std::time::Duration;

use releq_device::board::Board;
use releq_format::image::Image;
use serde::{Deserialize, Serialize};

use super::speed::Time;
use super::{Hardware, Place};
use crate::cost::measure::{estimate, measure};
use crate::cost::table::Row;
use crate::target::lab::Lab;
use crate::terminal::grouped;

/// Something that plans take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resource {
    /// Bytes of the image.
    Flash,
    /// Bytes of the arena.
    Ram,
    /// Instructions of an inference on a board.
    Instructions,
    /// Seconds of an inference on a board: its estimated cycles over its clock.
    Latency,
}

/// The most that may be taken of something.
#[derive(Clone, Debug, PartialEq)]
pub struct Limit {
    /// Of what.
    pub resource: Resource,
    /// On which board, by its number, where that matters.
    pub place: Option<usize>,
    /// Its name.
    pub board: Option<&'static str>,
    /// Bytes, instructions or seconds.
    pub most: f64,
    /// Whether someone asked for it; if not, it is the room that the board has.
    pub asked: bool,
}

/// What someone asked for; each holds on every board.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Asked {
    /// Bytes.
    pub flash: Option<u64>,
    /// Bytes.
    pub ram: Option<u64>,
    /// Of an inference.
    pub instructions: Option<f64>,
    /// Of an inference.
    pub latency: Option<Duration>,
}

/// Why a budget cannot be weighed.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BudgetError {
    /// The board is not calibrated.
    #[error(transparent)]
    NoPrices(#[from] crate::cost::NoPrices),
    /// Its core has no model of cycles.
    #[error(
        "there is no estimate of cycles for {0}: only the Cortex-M4 has a model of them; \
         limit its instructions with --max-instructions, or choose virt-m4"
    )]
    NoCycles(&'static str),
}

impl Asked {
    /// Whether nothing was asked for.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The limits on `places`.
    ///
    /// # Errors
    /// [`BudgetError`] for a limit on time where that is not known.
    pub fn limits(&self, places: &[Place]) -> Result<Vec<Limit>, BudgetError> {
        let anywhere =
            |resource, most: u64| Limit { resource, place: None, board: None, most: most as f64, asked: true };
        let mut limits: Vec<Limit> = Vec::new();
        limits.extend(self.flash.map(|most| anywhere(Resource::Flash, most)));
        limits.extend(self.ram.map(|most| anywhere(Resource::Ram, most)));
        for (number, place) in places.iter().enumerate() {
            let on = |resource, most| Limit {
                resource,
                place: Some(number),
                board: Some(place.board.name),
                most,
                asked: true,
            };
            if let Some(most) = self.instructions {
                place.speed.as_ref().map_err(Clone::clone)?;
                limits.push(on(Resource::Instructions, most));
            }
            if let Some(most) = self.latency {
                let speed = place.speed.as_ref().map_err(Clone::clone)?;
                speed.cycles.as_ref().ok_or(BudgetError::NoCycles(place.board.name))?;
                limits.push(on(Resource::Latency, most.as_secs_f64()));
            }
        }
        Ok(limits)
    }
}

/// The room that `board` has, whatever is asked.
pub fn room(board: &Board, place: usize) -> [Limit; 2] {
    let room = |resource, most| Limit { resource, place: Some(place), board: Some(board.name), most, asked: false };
    [room(Resource::Flash, f64::from(board.model.length)), room(Resource::Ram, board.arena_bytes as f64)]
}

impl Limit {
    /// Whether it is one on instructions or time.
    fn is_time(&self) -> bool {
        matches!(self.resource, Resource::Instructions | Resource::Latency)
    }

    /// An amount of what it limits: `64 852 bytes`.
    pub fn amount(&self, amount: f64) -> String {
        match self.resource {
            Resource::Flash | Resource::Ram => format!("{} bytes", grouped(amount.ceil() as u64)),
            Resource::Instructions => format!("{} instructions", grouped(amount.ceil() as u64)),
            Resource::Latency => format!("{:.2} ms", 1e3 * amount),
        }
    }

    /// The same, and of what: `64 852 bytes of flash`.
    pub fn text(&self, amount: f64) -> String {
        let what = match self.resource {
            Resource::Flash => " of flash".to_owned(),
            Resource::Ram => " of RAM".to_owned(),
            Resource::Instructions | Resource::Latency => {
                self.board.map_or(String::new(), |board| format!(" on {board}"))
            }
        };
        self.amount(amount) + &what
    }

    /// What to type for it: `--max-flash 64852`. Rounded so that `amount` keeps it.
    pub fn option(&self, amount: f64) -> String {
        match self.resource {
            Resource::Flash => format!("--max-flash {amount:.0}"),
            Resource::Ram => format!("--max-ram {amount:.0}"),
            Resource::Instructions => format!("--max-instructions {:.0}", amount.ceil()),
            Resource::Latency => format!("--max-latency {}us", (1e6 * amount).ceil()),
        }
    }
}

/// A budget beside what an image takes of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Checked {
    /// Of what.
    pub resource: Resource,
    /// On which board, where that matters.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub board: Option<String>,
    /// What was asked: bytes, instructions or seconds.
    pub asked: f64,
    /// What the image takes.
    pub got: f64,
    /// What is left; negative where it is missed.
    pub margin: f64,
    /// Whether it is kept.
    pub kept: bool,
    /// Where `got` is from.
    pub basis: Basis,
}

/// How what an image takes is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// Its bytes: exact.
    Image,
    /// Calibrated prices of its layers' work.
    Prices,
    /// The emulated board's own count, or the estimate of cycles that goes with it.
    Emulator,
}

impl Hardware {
    /// Every budget that was asked for, against the image that was built. Where a time was asked for and the emulated board
    /// is there, the image runs on it, and its own counts take the place of predictions.
    pub fn checked(&self, image: &Image<'_>) -> Vec<Checked> {
        let mut taken = self.taken_by(image);
        let timed = |place: usize| {
            self.limits().iter().any(|limit| limit.asked && limit.place == Some(place) && limit.is_time())
        };
        let counted: Vec<Option<Time>> =
            (0..self.places().len()).map(|place| timed(place).then(|| self.counted(place, image))?).collect();
        for (time, counted) in taken.times.iter_mut().zip(&counted) {
            *time = counted.or(*time);
        }
        let basis = |limit: &Limit| match limit.place.filter(|_| limit.is_time()) {
            None => Basis::Image,
            Some(place) if counted[place].is_some() => Basis::Emulator,
            Some(_) => Basis::Prices,
        };
        let check = |limit: &Limit| {
            let got = self.amount(&taken, limit);
            Checked {
                resource: limit.resource,
                board: limit.board.map(str::to_owned),
                asked: limit.most,
                got,
                margin: limit.most - got,
                kept: got <= limit.most,
                basis: basis(limit),
            }
        };
        self.limits().iter().filter(|limit| limit.asked).map(check).collect()
    }

    /// What the emulated board counts for one inference of `image`; none without emulator or runner.
    fn counted(&self, place: usize, image: &Image<'_>) -> Option<Time> {
        let Place { board, speed } = self.places().get(place)?;
        let lab = Lab::from_env();
        let sum = |rows: Vec<Row>| rows.iter().map(|row| f64::from(row.instructions)).sum::<f64>();
        let instructions = sum(measure(board, &lab, image).ok()?);
        // Without the plugin there is no estimate of cycles, and the predicted one stays.
        let estimated = estimate(board, &lab, image).ok().map(|(_, rows)| sum(rows));
        let has_cycles = speed.as_ref().is_ok_and(|speed| speed.cycles.is_some());
        if has_cycles && estimated.is_none() {
            return None;
        }
        Some(Time { instructions, cycles: estimated.filter(|_| has_cycles) })
    }
}
