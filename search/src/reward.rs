//! The rewards of the paper and of its authors' code: one number from State of Quantization and State of Accuracy.

use serde::{Deserialize, Serialize};

/// How accuracy and cost become one number.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reward {
    /// The asymmetric shaping that the paper proposes.
    Shaped(Shape),
    /// State of Accuracy over State of Quantization: the paper's first alternative.
    Ratio,
    /// State of Accuracy less State of Quantization: its second.
    Difference,
}

/// Constants of the shaped reward `(1 - (q - shift)^a) · y^(b/y)`, or -1 where accuracy `y` is below the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// How steeply saved bits pay; small values pay most for the last ones.
    pub a: f64,
    /// How much lost accuracy costs.
    pub b: f64,
    /// State of Accuracy below which a plan counts as lost.
    pub threshold: f64,
    /// The least State of Quantization there is, where the first factor becomes 1.
    pub shift: f64,
    /// Whether the result is stretched from 0..=1 to -1..=1.
    pub rescaled: bool,
}

impl Reward {
    /// The paper's: a .2, b .4, threshold .4.
    pub fn paper() -> Self {
        Self::Shaped(Shape { a: 0.2, b: 0.4, threshold: 0.4, shift: 0.0, rescaled: false })
    }

    /// The authors' LeNet script: a .6, b 3, threshold .8, shifted and rescaled. `narrowest` is the least width, in bits.
    pub fn authors(narrowest: u8) -> Self {
        let shift = f64::from(narrowest) / 8.0;
        Self::Shaped(Shape { a: 0.6, b: 3.0, threshold: 0.8, shift, rescaled: true })
    }

    /// The one that fits the authors' CIFAR-10 log: a .8, b 2, shifted, never lost.
    pub fn log(narrowest: u8) -> Self {
        let shift = f64::from(narrowest) / 8.0;
        Self::Shaped(Shape { a: 0.8, b: 2.0, threshold: 0.0, shift, rescaled: false })
    }

    /// The reward of State of Quantization `quantization` and State of Accuracy `accuracy`, which may exceed 1.
    pub fn value(&self, quantization: f64, accuracy: f64) -> f64 {
        match self {
            Self::Shaped(shape) => shape.value(quantization, accuracy),
            Self::Ratio => accuracy / quantization,
            Self::Difference => accuracy - quantization,
        }
    }

    /// State of Accuracy at which the reward breaks off, if it does.
    pub fn threshold(&self) -> Option<f64> {
        match self {
            Self::Shaped(shape) => Some(shape.threshold),
            Self::Ratio | Self::Difference => None,
        }
    }
}

impl Shape {
    fn value(&self, quantization: f64, accuracy: f64) -> f64 {
        if accuracy < self.threshold {
            return -1.0;
        }
        let saved = 1.0 - (quantization - self.shift).max(0.0).powf(self.a);
        // The limit at 0, which a threshold of 0 lets in.
        let kept = if accuracy <= 0.0 { 0.0 } else { accuracy.powf(self.b / accuracy) };
        if self.rescaled { 2.0 * (saved * kept - 0.5) } else { saved * kept }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_values_of_the_papers_reward() {
        for (quantization, accuracy, golden) in [
            (1.0, 1.0, 0.0),
            (0.25, 1.0, 0.242_142),
            (0.281_25, 1.0, 0.224_077),
            (0.281_25, 0.941_048, 0.218_364),
            (0.5, 1.0, 0.129_449),
            (0.5, 0.9, 0.123_527),
            (0.5, 0.4, 0.051_780),
            (0.5, 0.399, -1.0),
            (0.75, 0.95, 0.054_718),
        ] {
            let found = Reward::paper().value(quantization, accuracy);
            assert!((found - golden).abs() < 1e-6, "({quantization}, {accuracy}): {found} is not {golden}");
        }
    }

    #[test]
    fn the_authors_forms_reach_their_ends() {
        assert_eq!(Reward::authors(2).value(0.25, 1.0), 1.0);
        assert_eq!(Reward::authors(2).value(0.25, 0.799), -1.0);
        assert_eq!(Reward::log(2).value(0.25, 1.0), 1.0);
        assert_eq!(Reward::log(2).value(0.25, 0.0), 0.0);
        assert_eq!(Reward::Ratio.value(0.5, 0.9), 1.8);
        assert_eq!(Reward::Difference.value(0.5, 0.75), 0.25);
    }

    /// By the formula of [`Shape`], worked out beside this code.
    #[test]
    fn golden_values_of_the_authors_forms() {
        for (reward, quantization, accuracy, golden) in [
            (Reward::authors(2), 0.5, 0.9, -0.205_046_319),
            (Reward::authors(3), 1.0, 0.8, -0.787_150_802),
            (Reward::log(2), 0.5, 0.9, 0.530_238_461),
            (Reward::log(3), 0.75, 0.5, 0.033_982_921),
        ] {
            let found = reward.value(quantization, accuracy);
            assert!((found - golden).abs() < 1e-9, "{reward:?} ({quantization}, {accuracy}): {found} is not {golden}");
        }
    }

    #[test]
    fn a_reward_breaks_off_just_below_its_threshold() {
        for reward in every() {
            let Some(threshold) = reward.threshold() else { continue };
            assert_ne!(reward.value(0.5, threshold), -1.0, "{reward:?}");
            assert_eq!(reward.value(0.5, threshold - 1e-9), -1.0, "{reward:?}");
        }
        assert_eq!(every().map(|reward| reward.threshold()), [Some(0.4), Some(0.8), Some(0.0), None, None]);
    }

    fn every() -> [Reward; 5] {
        [Reward::paper(), Reward::authors(2), Reward::log(2), Reward::Ratio, Reward::Difference]
    }

    proptest! {
        #[test]
        fn fewer_bits_and_more_accuracy_never_pay_less(
            q in 0.25..1.0f64, saved in 0.0..0.5f64, y in 0.0..1.0f64, gained in 0.0..0.5f64,
        ) {
            for reward in every() {
                let here = reward.value(q, y);
                prop_assert!(reward.value((q - saved).max(0.25), y) >= here);
                prop_assert!(reward.value(q, y + gained) >= here);
            }
        }

        #[test]
        fn below_the_threshold_every_plan_is_lost(q in 0.25..1.0f64, y in 0.0..0.4f64) {
            prop_assert_eq!(Reward::paper().value(q, y), -1.0);
        }
    }
}
