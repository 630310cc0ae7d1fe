//! Instructions of packed kernels on a core with dual multiplications: a price for each piece of each kernel.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::fit::non_negative;
use super::{Case, CostModel, Unpriced, Work};

/// Instructions of a layer that counts half as much as one of many: what is fixed in it, down to how its registers were
/// allocated, is no property of its shape, and no network spends its time there.
const SMALL: f64 = 30_000.0;

/// Prices fitted from a board: for each kernel, what one run of each of its pieces costs; never negative.
///
/// The pieces are those of [`Work`], so a price is near the number of instructions of one turn of a loop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PackedSimd {
    /// Where it was fitted.
    pub board: String,
    /// By kernel, then by piece.
    prices: BTreeMap<String, BTreeMap<String, f64>>,
}

impl PackedSimd {
    /// The prices with the least squared relative error over layers whose instructions are known; small ones count less.
    pub fn fitted<'a>(board: &str, layers: impl IntoIterator<Item = (&'a Work, f64)>) -> Self {
        let mut kernels: BTreeMap<&str, Vec<(&Work, f64)>> = BTreeMap::new();
        for (work, instructions) in layers {
            kernels.entry(&work.kernel).or_default().push((work, instructions));
        }
        let priced = kernels.into_iter().map(|(kernel, layers)| (kernel.to_owned(), prices(&layers)));
        Self { board: board.to_owned(), prices: priced.collect() }
    }

    /// Instructions of a layer's work.
    ///
    /// # Errors
    /// [`Unpriced`] for a kernel or a piece that was in none of the layers it was fitted from.
    pub fn instructions(&self, work: &Work) -> Result<f64, Unpriced> {
        let unpriced = |part: &str| Unpriced { model: self.name(), kernel: work.kernel.clone(), part: part.to_owned() };
        let first = || work.parts.first().map_or("work", |part| &part.name);
        let prices = self.prices.get(&work.kernel).ok_or_else(|| unpriced(first()))?;
        let cost = |part: &super::Part| {
            prices.get(&part.name).map(|price| price * part.count).ok_or_else(|| unpriced(&part.name))
        };
        work.parts.iter().map(cost).sum()
    }
}

impl CostModel for PackedSimd {
    fn name(&self) -> String {
        format!("packed-simd {}", self.board)
    }

    fn unit(&self) -> &'static str {
        "instructions"
    }

    fn cost(&self, case: &Case<'_>) -> Result<f64, Unpriced> {
        self.instructions(case.work)
    }
}

/// One kernel's prices: each layer is an equation, divided by its instructions so that all but small ones count alike.
fn prices(layers: &[(&Work, f64)]) -> BTreeMap<String, f64> {
    let mut names: Vec<&str> = layers.iter().flat_map(|(work, _)| &work.parts).map(|part| &*part.name).collect();
    names.sort_unstable();
    names.dedup();
    let weight = |instructions: f64| (instructions / (instructions + SMALL)).sqrt();
    let equation = |(work, instructions): &(&Work, f64)| {
        let mut row = vec![0.0; names.len()];
        for part in &work.parts {
            if let Ok(column) = names.binary_search(&&*part.name) {
                row[column] = part.count / instructions * weight(*instructions);
            }
        }
        row
    };
    let rows: Vec<Vec<f64>> = layers.iter().map(equation).collect();
    let targets: Vec<f64> = layers.iter().map(|(_, instructions)| weight(*instructions)).collect();
    let found = non_negative(&rows, &targets);
    // Four digits are more than a fit is worth, and make a file that can be read.
    let rounded = found.into_iter().map(|price| format!("{price:.3e}").parse().unwrap_or(price));
    names.into_iter().map(str::to_owned).zip(rounded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Part;

    fn work(kernel: &str, counts: &[(&str, f64)]) -> Work {
        let part = |&(name, count): &(&str, f64)| Part { name: name.to_owned(), count };
        Work { kernel: kernel.to_owned(), parts: counts.iter().map(part).collect() }
    }

    #[test]
    fn prices_of_counted_pieces_are_found_again() {
        let layers: Vec<(Work, f64)> = (1..20)
            .map(|size| {
                let (turns, pixels) = (f64::from(size * size), f64::from(size % 7));
                (
                    work("k", &[("layers", 1.0), ("turns", turns), ("pixels", pixels)]),
                    300.0 + 12.0 * turns + 5.0 * pixels,
                )
            })
            .collect();
        let model = PackedSimd::fitted("b", layers.iter().map(|(work, count)| (work, *count)));
        let other = work("k", &[("layers", 1.0), ("turns", 1000.0), ("pixels", 100.0)]);
        let found = model.instructions(&other).unwrap();
        assert!((found / 12_800.0 - 1.0).abs() < 1e-3, "{found}");
    }

    #[test]
    fn what_was_never_seen_has_no_price() {
        let known = work("k", &[("layers", 1.0)]);
        let model = PackedSimd::fitted("b", [(&known, 300.0)]);
        assert_eq!(model.instructions(&known), Ok(300.0));
        assert!(model.instructions(&work("k", &[("turns w3", 1.0)])).unwrap_err().to_string().contains("turns w3"));
        assert!(model.instructions(&work("other", &[("layers", 1.0)])).is_err());
        // Not even work that was not counted.
        assert!(crate::cost::Costs::priced(&crate::network::tests::lenet(), &model).is_err());
    }
}
