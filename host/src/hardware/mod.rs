//! What a plan takes of its hardware, known before anything is trained, and the budgets it keeps there.
//!
//! * [`blueprint`]: the image of any plan without its constants: flash and RAM to the byte;
//! * [`speed`]: instructions and cycles of its layers on a board, at calibrated prices, and the board's clock;
//! * [`budget`]: the limits, which a search respects and an image is checked against;
//! * [`infeasible`]: why no plan keeps them, and what would do;
//! * [`quantity`]: sizes and durations as people write them.

pub mod blueprint;
pub mod budget;
pub mod infeasible;
pub mod quantity;
pub mod speed;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use releq_device::board::Board;
use releq_format::image::Image;
use releq_search::budget::{Limits, least};
use releq_search::cost::Unpriced;
use releq_search::plan::BitPlan;
use releq_search::space::Space;

use crate::cost::NoPrices;
use crate::cost::layer::{Layer, layers};
use crate::cost::nominal::NominalError;
use crate::network::Network;
use crate::train::quantize::Method;
use blueprint::Blueprint;
use budget::{Limit, Resource};
use speed::{Speed, Time};

/// A board that plans are weighed for, and how fast it is where that is known.
#[derive(Clone, Debug)]
pub struct Place {
    /// The board.
    pub board: &'static Board,
    /// Its prices.
    pub speed: Result<Speed, NoPrices>,
}

impl Place {
    /// `board` at `clock` hertz, or at its own clock.
    pub fn new(board: &'static Board, clock: Option<f64>) -> Self {
        Self { board, speed: Speed::of(board, clock) }
    }
}

/// A network on some boards.
#[derive(Debug)]
pub struct Hardware {
    blueprint: Blueprint,
    places: Vec<Place>,
    limits: Vec<Limit>,
    known: Mutex<HashMap<BitPlan, Taken>>,
}

/// What one plan takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Taken {
    /// Bytes of the image.
    pub flash: u64,
    /// Bytes of the arena.
    pub ram: u64,
    /// Time on each board; none where there are no prices.
    pub times: Vec<Option<Time>>,
}

/// What one layer takes under a plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Share {
    /// The layer.
    pub layer: String,
    /// Bytes of its constants.
    pub flash: u64,
    /// Bytes that are live in the arena while it runs, its scratch included.
    pub ram: u64,
    /// Its time on each board.
    pub times: Vec<Option<Time>>,
}

impl Hardware {
    /// `network`, quantized by `method`, on `places`, with no limits.
    ///
    /// # Errors
    /// [`NominalError`] for a network that cannot be lowered.
    pub fn new(network: &Network, method: Method, places: Vec<Place>) -> Result<Self, NominalError> {
        let blueprint = Blueprint::of(network, method)?;
        Ok(Self { blueprint, places, limits: Vec::new(), known: Mutex::default() })
    }

    /// The same with `limits`.
    #[must_use]
    pub fn within(self, limits: Vec<Limit>) -> Self {
        Self { limits, ..self }
    }

    /// The boards.
    pub fn places(&self) -> &[Place] {
        &self.places
    }

    /// The limits.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// The image of any plan, without constants.
    pub fn blueprint(&self) -> &Blueprint {
        &self.blueprint
    }

    /// What `plan` takes. A plan that no image holds, or whose work has no price, takes more than there is.
    pub fn taken(&self, plan: &BitPlan) -> Taken {
        if let Some(taken) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(plan) {
            return taken.clone();
        }
        let beyond = Taken { flash: u64::MAX, ram: u64::MAX, times: vec![None; self.places.len()] };
        let taken = self.blueprint.draw(plan).map_or(beyond, |drawing| Taken {
            flash: drawing.flash.into(),
            ram: drawing.ram.into(),
            times: self.times(|| drawing.layers.iter().map(|drawn| &drawn.layer)),
        });
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(plan.clone(), taken.clone());
        taken
    }

    /// What an image that was built takes: its own bytes, and the time of its own layers.
    pub fn taken_by(&self, image: &Image<'_>) -> Taken {
        let layers = layers(image);
        Taken { flash: image.len() as u64, ram: image.arena_bytes() as u64, times: self.times(|| layers.iter()) }
    }

    /// What each layer takes under `plan`, those without weights included.
    pub fn shares(&self, plan: &BitPlan) -> Vec<Share> {
        let Ok(drawing) = self.blueprint.draw(plan) else { return Vec::new() };
        let live = drawing.live();
        let share = |(drawn, live): (&blueprint::Drawn, u32)| Share {
            layer: drawn.layer.name.clone(),
            flash: drawn.constants.into(),
            ram: live.into(),
            times: self.times(|| std::iter::once(&drawn.layer)),
        };
        drawing.layers.iter().zip(live).map(share).collect()
    }

    fn times<'l, L: Iterator<Item = &'l Layer>>(&self, layers: impl Fn() -> L) -> Vec<Option<Time>> {
        let of = |speed: &Speed| -> Result<Time, Unpriced> {
            let nothing = Time { instructions: 0.0, cycles: speed.cycles.as_ref().map(|_| 0.0) };
            layers().try_fold(nothing, |sum, layer| Ok(sum + speed.of_layer(layer)?))
        };
        self.places.iter().map(|place| place.speed.as_ref().ok().and_then(|speed| of(speed).ok())).collect()
    }

    /// How much `taken` takes of what `limit` limits.
    pub fn amount(&self, taken: &Taken, limit: &Limit) -> f64 {
        let time = || taken.times.get(limit.place?).copied().flatten();
        let amount = match limit.resource {
            Resource::Flash => Some(taken.flash as f64),
            Resource::Ram => Some(taken.ram as f64),
            Resource::Instructions => time().map(|time| time.instructions),
            Resource::Latency => time().and_then(|time| Some(self.seconds(limit.place?, &time)?.as_secs_f64())),
        };
        amount.unwrap_or(f64::INFINITY)
    }

    /// How far estimates of cycles may be off, either way, in percent, where some board has them.
    pub fn band(&self) -> Option<u32> {
        let speeds = self.places.iter().filter_map(|place| place.speed.as_ref().ok());
        speeds.filter_map(|speed| speed.cycles.as_ref()).map(|cycles| cycles.band_percent).max()
    }

    /// Whether some plan of `space` is beyond a limit: if none is, there might as well be no limits.
    pub fn binds(&self, space: &Space) -> bool {
        // The most is where the reciprocal is least.
        let most = |limit: &Limit| least(space, |plan| self.amount(&self.taken(plan), limit).recip()).measure.recip();
        self.limits.iter().any(|limit| most(limit) > limit.most)
    }

    /// How long `time` is on board number `place`.
    pub fn seconds(&self, place: usize, time: &Time) -> Option<std::time::Duration> {
        let speed = self.places.get(place)?.speed.as_ref().ok()?;
        time.cycles.map(|cycles| speed.duration(cycles))
    }
}

impl Limits for Hardware {
    fn excess(&self, plan: &BitPlan) -> f64 {
        if self.limits.is_empty() {
            return 0.0;
        }
        let taken = self.taken(plan);
        self.limits.iter().map(|limit| (self.amount(&taken, limit) / limit.most - 1.0).max(0.0)).sum()
    }
}
