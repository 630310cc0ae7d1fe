//! Why no plan keeps a set of budgets: which resource, which layer takes it, and the nearest point that would do.

use std::fmt;

use releq_search::budget::{Least, Limits, admitted, least};
use releq_search::plan::BitPlan;
use releq_search::space::Space;

use super::budget::{Limit, Resource};
use super::{Hardware, Share};

/// No plan is within the limits, or none was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Infeasible {
    network: String,
    /// The limits that the nearest plan breaks.
    missed: Vec<Missed>,
    /// Whether each of them can be kept alone.
    together: bool,
    /// Whether every plan was looked at.
    every: bool,
    /// The plan that breaks them least.
    pub nearest: BitPlan,
}

/// A limit that is broken.
#[derive(Clone, Debug, PartialEq)]
struct Missed {
    limit: Limit,
    /// What the nearest plan takes.
    needed: f64,
    /// The layer that takes the most of it, and how much.
    layer: (String, f64),
}

impl Hardware {
    /// A plan of `space` within all limits: the widest one narrowed until it is, where that leads there.
    ///
    /// # Errors
    /// [`Infeasible`].
    pub fn feasible(&self, space: &Space) -> Result<BitPlan, Box<Infeasible>> {
        if let Some(plan) = admitted(space, &space.widest(), self) {
            return Ok(plan);
        }
        // One limit that no plan keeps says more than all of them together.
        for limit in &self.limits {
            let alone = least(space, |plan| self.amount(&self.taken(plan), limit));
            if alone.measure > limit.most {
                return Err(Box::new(self.infeasible(alone, std::slice::from_ref(limit), false)));
            }
        }
        let nearest = least(space, |plan| self.excess(plan));
        if nearest.measure <= 0.0 {
            return Ok(nearest.plan);
        }
        Err(Box::new(self.infeasible(nearest, &self.limits, true)))
    }

    fn infeasible(&self, Least { plan, every, .. }: Least, limits: &[Limit], together: bool) -> Infeasible {
        let (taken, shares) = (self.taken(&plan), self.shares(&plan));
        let missed = |limit: &Limit| {
            let needed = self.amount(&taken, limit);
            let missed = Missed { limit: limit.clone(), needed, layer: self.largest(&shares, limit) };
            (needed > limit.most).then_some(missed)
        };
        Infeasible {
            network: self.blueprint().name().to_owned(),
            missed: limits.iter().filter_map(missed).collect(),
            together,
            every,
            nearest: plan,
        }
    }

    /// The layer that takes the most of what `limit` limits, and how much.
    fn largest(&self, shares: &[Share], limit: &Limit) -> (String, f64) {
        let amount = |share: &Share| {
            let time = limit.place.and_then(|place| Some((place, share.times.get(place).copied().flatten()?)));
            match limit.resource {
                Resource::Flash => share.flash as f64,
                Resource::Ram => share.ram as f64,
                Resource::Instructions => time.map_or(0.0, |(_, time)| time.instructions),
                Resource::Latency => {
                    let seconds = time.and_then(|(place, time)| self.seconds(place, &time));
                    seconds.map_or(0.0, |seconds| seconds.as_secs_f64())
                }
            }
        };
        let most = shares.iter().max_by(|one, other| amount(one).total_cmp(&amount(other)));
        most.map_or((String::new(), 0.0), |share| (share.layer.clone(), amount(share)))
    }
}

impl std::error::Error for Infeasible {}

impl fmt::Display for Infeasible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |of: &dyn Fn(&Missed) -> String, between: &str| {
            self.missed.iter().map(of).collect::<Vec<_>>().join(between)
        };
        let Self { network, nearest, .. } = self;
        let budgets = list(&|missed| missed.budget(), " and ");
        let found = if self.every { "no plan keeps" } else { "no plan was found that keeps" };
        if self.together {
            let takes = list(&|missed| missed.takes(), " and ");
            write!(
                f,
                "{found} all budgets together, though each alone can be kept: the nearest plan, {nearest}, takes {takes}"
            )?;
        } else {
            let least = list(&|missed| missed.limit.text(missed.needed), " and ");
            write!(f, "{found} {budgets}: {network} takes at least {least}, ")?;
            write!(f, "{}; ", list(&|missed| missed.excess(), " and "))?;
            write!(f, "{}", list(&|missed| missed.dominant(), " and "))?;
        }
        let asked = self.missed.iter().all(|missed| missed.limit.asked);
        if asked {
            let options = list(&|missed| missed.limit.option(missed.needed), " ");
            write!(
                f,
                "; the nearest that would do is {options}, with the plan {nearest}; give that, or narrower --weights"
            )
        } else {
            write!(f, "; the nearest plan is {nearest}; give narrower --weights or choose a larger board")
        }
    }
}

impl Missed {
    /// `--max-flash 65536`, or whose room it is.
    fn budget(&self) -> String {
        match self.limit.board {
            Some(board) if !self.limit.asked => {
                format!("within the room of {board}, {}", self.limit.text(self.limit.most))
            }
            _ => self.limit.option(self.limit.most),
        }
    }

    fn excess(&self) -> String {
        let more = self.needed - self.limit.most;
        match self.limit.resource {
            Resource::Latency => format!("{} too many", self.limit.amount(more)),
            _ => format!("{} too many", crate::terminal::grouped(more.ceil() as u64)),
        }
    }

    fn dominant(&self) -> String {
        let (layer, amount) = &self.layer;
        let amount = self.limit.amount(*amount);
        match self.limit.resource {
            Resource::Ram => format!("most is needed while layer `{layer}` runs, {amount}"),
            _ => format!("layer `{layer}` takes the most of it, {amount}"),
        }
    }

    fn takes(&self) -> String {
        let (layer, _) = &self.layer;
        format!(
            "{} (allowed {}, most for layer `{layer}`)",
            self.limit.text(self.needed),
            self.limit.option(self.limit.most)
        )
    }
}
