//! Least squares whose unknowns are not negative: what counted work costs is never less than nothing.
//!
//! The active set method of Lawson and Hanson (Solving Least Squares Problems, 1974, chapter 23) on the normal
//! equations, whose columns are scaled to one length first; tens of unknowns, thousands of equations.

/// Share of a diagonal that is added to it, so that columns which say the same share a price.
const RIDGE: f64 = 1e-9;

/// Gradients below this are none: columns have length 1.
const TOLERANCE: f64 = 1e-10;

/// The `x ≥ 0` with the least `Σ (row · x − target)²`; as many as a row has entries.
///
/// Unknowns whose column is empty are 0.
///
/// # Panics
/// If rows differ in length or in number from targets.
pub fn non_negative(rows: &[Vec<f64>], targets: &[f64]) -> Vec<f64> {
    assert_eq!(rows.len(), targets.len(), "each equation has a target");
    let unknowns = rows.first().map_or(0, Vec::len);
    let length = |column: usize| rows.iter().map(|row| row[column] * row[column]).sum::<f64>().sqrt();
    let lengths: Vec<f64> = (0..unknowns).map(length).collect();
    let scale = |column: usize| if lengths[column] > 0.0 { 1.0 / lengths[column] } else { 0.0 };
    let mut products = vec![vec![0.0; unknowns]; unknowns];
    let mut right = vec![0.0; unknowns];
    for (row, target) in rows.iter().zip(targets) {
        let scaled: Vec<f64> = row.iter().enumerate().map(|(column, entry)| entry * scale(column)).collect();
        for (one, entry) in scaled.iter().enumerate().filter(|(_, entry)| **entry != 0.0) {
            right[one] += entry * target;
            scaled.iter().zip(&mut products[one]).for_each(|(other, sum)| *sum += entry * other);
        }
    }
    let found = Normal { products, right }.solve();
    found.into_iter().enumerate().map(|(column, value)| value * scale(column)).collect()
}

/// Normal equations.
struct Normal {
    products: Vec<Vec<f64>>,
    right: Vec<f64>,
}

impl Normal {
    fn solve(&self) -> Vec<f64> {
        let unknowns = self.right.len();
        let mut values = vec![0.0; unknowns];
        let mut free: Vec<usize> = Vec::new();
        // Each turn frees an unknown for good or shows that none helps; the limit is for rounding that goes in circles.
        for _ in 0..10 * unknowns + 10 {
            let gradient = |index: usize| {
                self.right[index] - self.products[index].iter().zip(&values).map(|(a, x)| a * x).sum::<f64>()
            };
            let held = (0..unknowns).filter(|index| !free.contains(index) && self.products[*index][*index] > 0.0);
            let best = held.map(|index| (gradient(index), index)).max_by(|one, other| one.0.total_cmp(&other.0));
            let Some((_, entering)) = best.filter(|(gradient, _)| *gradient > TOLERANCE) else { break };
            free.push(entering);
            self.settle(&mut free, &mut values);
        }
        values
    }

    /// Solves for the free unknowns, and holds those at 0 that would turn negative on the way.
    fn settle(&self, free: &mut Vec<usize>, values: &mut [f64]) {
        loop {
            let wanted = self.among(free);
            let blocks = |(&index, &value): (&usize, &f64)| {
                (value <= 0.0).then(|| values[index] / (values[index] - value).max(f64::MIN_POSITIVE))
            };
            let step = free.iter().zip(&wanted).filter_map(blocks).fold(1.0, f64::min);
            for (&index, &value) in free.iter().zip(&wanted) {
                values[index] += step * (value - values[index]);
            }
            if step >= 1.0 {
                return;
            }
            free.retain(|&index| {
                let stays = values[index] > TOLERANCE;
                if !stays {
                    values[index] = 0.0;
                }
                stays
            });
            if free.is_empty() {
                return;
            }
        }
    }

    /// The unconstrained solution among some unknowns, by Cholesky's factors.
    fn among(&self, free: &[usize]) -> Vec<f64> {
        let size = free.len();
        let mut factor = vec![vec![0.0; size]; size];
        for row in 0..size {
            for column in 0..=row {
                let ridge = if row == column { RIDGE } else { 0.0 };
                let known: f64 = (0..column).map(|k| factor[row][k] * factor[column][k]).sum();
                let left = self.products[free[row]][free[column]] + ridge - known;
                factor[row][column] =
                    if row == column { left.max(RIDGE * RIDGE).sqrt() } else { left / factor[column][column] };
            }
        }
        let mut solution: Vec<f64> = free.iter().map(|&index| self.right[index]).collect();
        for row in 0..size {
            let known: f64 = (0..row).map(|k| factor[row][k] * solution[k]).sum();
            solution[row] = (solution[row] - known) / factor[row][row];
        }
        for row in (0..size).rev() {
            let known: f64 = (row + 1..size).map(|k| factor[k][row] * solution[k]).sum();
            solution[row] = (solution[row] - known) / factor[row][row];
        }
        solution
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_negative_wish_is_held_at_nothing() {
        // Free, the best is x = 3, y = −1; held, y = 0 and x = (1·2 + 1·4) / 2.
        let rows = vec![vec![1.0, 1.0], vec![1.0, -1.0]];
        let found = non_negative(&rows, &[2.0, 4.0]);
        assert!((found[0] - 3.0).abs() < 1e-6 && found[1] == 0.0, "{found:?}");
    }

    proptest! {
        /// At the optimum no unknown can be moved without loss: the conditions of Karush, Kuhn and Tucker.
        #[test]
        fn nothing_nearby_is_better(
            entries in proptest::collection::vec(0.0f64..10.0, 40),
            targets in proptest::collection::vec(-5.0f64..50.0, 10),
        ) {
            let rows: Vec<Vec<f64>> = entries.chunks(4).map(<[f64]>::to_vec).collect();
            let found = non_negative(&rows, &targets);
            let loss = |x: &[f64]| -> f64 {
                let residual = |(row, target): (&Vec<f64>, &f64)| {
                    row.iter().zip(x).map(|(a, x)| a * x).sum::<f64>() - target
                };
                rows.iter().zip(&targets).map(residual).map(|r| r * r).sum()
            };
            let least = loss(&found);
            for index in 0..4 {
                prop_assert!(found[index] >= 0.0);
                for step in [1e-3, -1e-3] {
                    let mut moved = found.clone();
                    moved[index] = (moved[index] + step).max(0.0);
                    prop_assert!(loss(&moved) >= least - 1e-6 * (1.0 + least), "{found:?} {index} {step}");
                }
            }
        }
    }
}
