//! Bits of every weighted layer, as plans are written: `2,2,3,2`, or with activation bits `2:8,2:4,3:4,2:8`.

/// Bits of one layer: its weights', and those of the codes it hands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// Of the weights, 1..=8.
    pub weights: u8,
    /// Of the codes handed on, 1..=8.
    pub activations: u8,
}

/// Bits of every weighted layer, in forward order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan(pub Vec<Bits>);

impl Plan {
    /// The plan that `text` writes; none where it writes none.
    pub fn parse(text: &str) -> Option<Self> {
        let bits = |part: &str| part.trim().parse::<u8>().ok().filter(|bits| (1..=8).contains(bits));
        let layer = |part: &str| {
            let (weights, activations) = part.split_once(':').unwrap_or((part, "8"));
            Some(Bits { weights: bits(weights)?, activations: bits(activations)? })
        };
        text.split(',').map(layer).collect::<Option<_>>().map(Self)
    }

    /// Whether any codes have other than 8 bits, so that activations are worth showing.
    pub fn has_activations(&self) -> bool {
        self.0.iter().any(|layer| layer.activations != 8)
    }

    /// Unweighted mean of the weight bits.
    pub fn mean_weight_bits(&self) -> f64 {
        self.0.iter().map(|layer| f64::from(layer.weights)).sum::<f64>() / self.0.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_read_as_they_are_written() {
        let bits = |weights, activations| Bits { weights, activations };
        assert_eq!(Plan::parse("2, 8"), Some(Plan(vec![bits(2, 8), bits(8, 8)])));
        let both = Plan::parse("2:4,3:8").unwrap();
        assert_eq!(both, Plan(vec![bits(2, 4), bits(3, 8)]));
        assert!(both.has_activations() && both.mean_weight_bits() == 2.5);
        for no_plan in ["", "2,", "9", "0", "2:9", "<script>"] {
            assert_eq!(Plan::parse(no_plan), None, "{no_plan}");
        }
    }
}
