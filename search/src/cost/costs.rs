//! What a network costs under any plan: a table for each layer, over the widths that its cost depends on.

use super::{Case, CostModel, Unpriced, Work};
use crate::network::{Codes, Network};
use crate::plan::{BITS, BitPlan};

/// How many widths there are.
const WIDTHS: usize = 8;

/// A width that the cost of a layer depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Axis {
    /// Bits of the weights of this layer of a plan, counted from 0.
    Weights(usize),
    /// Bits of codes that are read or written.
    Codes(Codes),
}

/// What one layer costs at every width of its weights and codes.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerCosts {
    axes: Vec<Axis>,
    /// Eight numbers an axis, the last axis changing fastest.
    table: Vec<f64>,
}

/// Costs of a whole network, weighted layers and others, under any plan.
#[derive(Clone, Debug, PartialEq)]
pub struct Costs {
    layers: Vec<LayerCosts>,
    /// At 8 bits everywhere.
    whole: f64,
    /// Every layer at its dearest.
    most: f64,
}

impl Axis {
    fn bits(&self, plan: &BitPlan) -> u8 {
        match self {
            Self::Weights(layer) => plan.layers()[*layer].weights,
            Self::Codes(codes) => codes.bits(plan),
        }
    }
}

impl LayerCosts {
    /// A layer that costs what `price` says of the bits along each of `along`, among which one may be repeated; no number
    /// (NaN) for bits that no plan will be asked about.
    ///
    /// # Errors
    /// The first of `price`.
    pub fn tabulate<E>(along: &[Axis], mut price: impl FnMut(&[u8]) -> Result<f64, E>) -> Result<Self, E> {
        let mut axes: Vec<Axis> = Vec::new();
        for axis in along.iter().filter(|axis| **axis != Axis::Codes(Codes::EIGHT)) {
            if !axes.contains(axis) {
                axes.push(axis.clone());
            }
        }
        let digit = |place: usize, axis: usize| (place / WIDTHS.pow((axes.len() - 1 - axis) as u32) % WIDTHS) as u8;
        let bits = |place: usize, axis: &Axis| match axes.iter().position(|own| own == axis) {
            Some(axis) => digit(place, axis) + BITS.start(),
            None => *BITS.end(),
        };
        let priced = (0..WIDTHS.pow(axes.len() as u32))
            .map(|place| price(&along.iter().map(|axis| bits(place, axis)).collect::<Vec<u8>>()));
        let table = priced.collect::<Result<_, E>>()?;
        Ok(Self { axes, table })
    }

    /// A layer that costs the same under every plan.
    fn fixed(cost: f64) -> Self {
        Self { axes: Vec::new(), table: vec![cost] }
    }

    /// What it costs under `plan`.
    ///
    /// # Panics
    /// If the plan lacks a layer that it depends on.
    pub fn of(&self, plan: &BitPlan) -> f64 {
        self.at(|axis| axis.bits(plan))
    }

    fn at(&self, bits: impl Fn(&Axis) -> u8) -> f64 {
        let place = self.axes.iter().fold(0, |place, axis| place * WIDTHS + usize::from(bits(axis) - BITS.start()));
        self.table[place]
    }

    /// What it costs at 1 to 8 bits of the weights of `layer`, if they are its own, everything else at 8.
    fn row(&self, layer: usize) -> Option<[f64; WIDTHS]> {
        let own = Axis::Weights(layer);
        let at = |bits: u8| self.at(|axis| if *axis == own { bits } else { *BITS.end() });
        self.axes.contains(&own).then(|| std::array::from_fn(|place| at(place as u8 + BITS.start())))
    }
}

impl Costs {
    /// Costs through a network's graph, from each layer's.
    pub fn through(layers: Vec<LayerCosts>) -> Self {
        let whole = layers.iter().map(|layer| layer.at(|_| *BITS.end())).sum();
        let dearest = |layer: &LayerCosts| layer.table.iter().copied().fold(0.0, f64::max);
        Self { whole, most: layers.iter().map(dearest).sum(), layers }
    }

    /// Costs that depend on weights alone: each layer's, at 1 to 8 bits, and what all others cost together.
    pub fn new(layers: Vec<[f64; WIDTHS]>, rest: f64) -> Self {
        let own =
            |(layer, row): (usize, [f64; WIDTHS])| LayerCosts { axes: vec![Axis::Weights(layer)], table: row.to_vec() };
        let weighted = layers.into_iter().enumerate().map(own);
        Self::through(weighted.chain([LayerCosts::fixed(rest)]).collect())
    }

    /// Costs of the weighted layers of `network` by a model that goes by their sizes and widths alone, such as one's own:
    /// no [`Work`] is counted for it, and what has no weights costs nothing.
    ///
    /// # Errors
    /// The model's first [`Unpriced`], such as that of one which does go by work.
    pub fn priced(network: &Network, model: &dyn CostModel) -> Result<Self, Unpriced> {
        let work = Work { kernel: "a kernel that nobody named".to_owned(), parts: Vec::new() };
        let layers = network.layers().iter().zip(network.reads()).enumerate().map(|(index, (layer, reads))| {
            let price = |bits: &[u8]| model.cost(&Case { layer, weights: bits[0], activations: bits[1], work: &work });
            LayerCosts::tabulate(&[Axis::Weights(index), Axis::Codes(reads.clone())], price)
        });
        Ok(Self::through(layers.collect::<Result<_, _>>()?))
    }

    /// Each layer's costs, in the order in which they run.
    pub fn layers(&self) -> &[LayerCosts] {
        &self.layers
    }

    /// What layer `layer` of a plan, counted from 0, costs at 1 to 8 bits of weights and 8-bit codes.
    pub fn layer(&self, layer: usize) -> Option<[f64; WIDTHS]> {
        self.layers.iter().find_map(|costs| costs.row(layer))
    }

    /// The whole network's cost under `plan`: the sum of its layers', in the order in which they run.
    ///
    /// # Panics
    /// If the plan has fewer layers.
    pub fn of(&self, plan: &BitPlan) -> f64 {
        self.layers.iter().map(|layer| layer.of(plan)).sum()
    }

    /// That cost over the cost at 8 bits everywhere, as a State of Quantization is; may exceed 1.
    ///
    /// # Panics
    /// As [`of`](Self::of).
    pub fn relative(&self, plan: &BitPlan) -> f64 {
        self.of(plan) / self.whole
    }

    /// What 8 bits everywhere cost.
    pub fn whole(&self) -> f64 {
        self.whole
    }

    /// No plan costs more than this, over the cost at 8 bits everywhere; at least 1.
    pub fn dearest(&self) -> f64 {
        self.most / self.whole
    }

    /// For each width of a layer's weights the cheapest wider one that costs no more, at 8-bit codes: who asks for speed
    /// had better take that.
    pub fn better(&self, layer: usize) -> [Option<u8>; WIDTHS] {
        let mut better = [None; WIDTHS];
        let Some(costs) = self.layer(layer) else { return better };
        for (narrow, place) in better.iter_mut().enumerate() {
            let wider = (narrow + 1..costs.len()).filter(|&wide| costs[wide] <= costs[narrow]);
            *place = wider.min_by(|&one, &other| costs[one].total_cmp(&costs[other])).map(|wide| wide as u8 + 1);
        }
        better
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_that_cost_no_less_than_a_wider_one_are_named() {
        let costs = Costs::new(vec![[1.0, 2.0, 3.0, 3.0, 9.0, 8.0, 9.0, 4.0]], 10.0);
        let expected = [None, None, Some(4), None, Some(8), Some(8), Some(8), None];
        assert_eq!(costs.better(0), expected);
        assert_eq!(costs.better(1), [None; 8]);
        assert_eq!(costs.of(&"3".parse().unwrap()), 13.0);
    }

    #[test]
    fn layers_cost_by_their_own_weights_and_the_codes_they_read_and_write() {
        let price = |bits: &[u8]| Ok::<f64, ()>(bits.iter().fold(0.0, |sum, &bits| 10.0 * sum + f64::from(bits)));
        let first = LayerCosts::tabulate(&[Axis::Weights(0), Axis::Codes(Codes::of(0))], price).unwrap();
        let second =
            LayerCosts::tabulate(&[Axis::Weights(1), Axis::Codes(Codes::of(0)), Axis::Codes(Codes::of(1))], price)
                .unwrap();
        let sum = Codes::of(0).or(&Codes::of(1));
        let added = [Axis::Codes(Codes::EIGHT), Axis::Codes(sum.clone()), Axis::Codes(sum)];
        let added = LayerCosts::tabulate(&added, price).unwrap();
        let costs = Costs::through(vec![first, second, added]);
        let plan = "2:5,3:4,1:8".parse().unwrap();
        let each: Vec<f64> = costs.layers().iter().map(|layer| layer.of(&plan)).collect();
        assert_eq!(each, [25.0, 354.0, 855.0]);
        assert_eq!(costs.of(&plan), 1234.0);
        assert_eq!(costs.relative(&plan), 1234.0 / (88.0 + 888.0 + 888.0));
        assert_eq!(costs.layer(1).unwrap()[2], 388.0);
        assert_eq!(costs.dearest(), 1.0);
        assert_eq!(Costs::new(vec![[1.0, 9.0, 3.0, 3.0, 9.0, 8.0, 9.0, 4.0]], 2.0).dearest(), 11.0 / 6.0);
    }
}
