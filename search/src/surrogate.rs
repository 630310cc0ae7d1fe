//! A model of accuracy, fitted only to plans that were really evaluated: what a search imagines between evaluations.
//!
//! Accuracy is looked at through a [`Link`], on whose scale a Gaussian process is fitted: a constant near the float
//! network's, a slope for each choice of the space in [`coarseness`] whose prior says that narrow widths cost accuracy, and a
//! smooth rest for what choices do to each other. Activations are choices like weights. Where choices were probed alone, more is
//! expected of those that did more. [`Settings::ADDITIVE`] leaves the rest out and is Bayesian
//! linear regression; [`Settings::SMOOTH`] leaves the slopes out and is the textbook process. Both follow from one set of
//! formulas.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

use crate::ledger::Ledger;
use crate::objective::Objective;
use crate::plan::BitPlan;
use crate::searcher::Problem;
use crate::space::{Choice, Space};

/// What the model believes before it has seen anything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    /// The scale on which accuracy is modelled.
    pub link: Link,
    /// Expected fall when every choice goes from many bits to 2.
    pub slope: f64,
    /// Deviation of a single choice's share of that fall, times the number of choices.
    pub slope_deviation: f64,
    /// Deviation of the constant from the float network's accuracy.
    pub constant_deviation: f64,
    /// Deviation of the smooth rest.
    pub rest_deviation: f64,
    /// Distance over which the rest is alike: 1 is one choice going from many bits to 2, among four.
    pub reach: f64,
    /// Deviation of one evaluation from what the model can say.
    pub noise: f64,
}

/// The scale on which accuracy is modelled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Link {
    /// Accuracy over the float network's.
    Relative,
    /// Log-odds of being right.
    LogOdds,
    /// Minus the logarithm of the accuracy lost against float, plus this much so that no loss stays finite.
    LogLoss(f64),
}

/// Gaussian process over the plans of one network.
#[derive(Clone, Debug)]
pub struct Surrogate {
    settings: Settings,
    float: f64,
    /// What of a plan it looks at; every layer's weights, if nothing is said.
    choices: Option<Vec<Choice>>,
    /// How much of a fall is expected of each of them, 1 on average; as much of one as of another, if nothing is said.
    gravity: Option<Vec<f64>>,
    inputs: Vec<Vec<f64>>,
    /// Observations on the link's scale, less the prior's mean.
    residuals: Vec<f64>,
    /// Rows of the lower Cholesky factor of the observations' covariance.
    factor: Vec<Vec<f64>>,
    /// Covariance⁻¹ · residuals.
    weights: Vec<f64>,
}

/// Belief about one plan on the link's scale.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Belief {
    /// Mean.
    pub mean: f64,
    /// Standard deviation, an evaluation's own noise not included.
    pub deviation: f64,
}

/// One function drawn from the model's posterior: accuracies that all evaluations so far allow, of any plan.
#[derive(Clone, Debug)]
pub struct Draw<'a> {
    model: &'a Surrogate,
    constant: f64,
    slopes: Vec<f64>,
    waves: Vec<Wave>,
    weights: Vec<f64>,
    /// Number of the draw's own luck: what each plan's single evaluation adds.
    luck: u64,
}

/// One cosine of the rest's random Fourier series.
#[derive(Clone, Debug)]
struct Wave {
    height: f64,
    phase: f64,
    frequency: Vec<f64>,
}

/// Cosines in a draw of the rest. Conditioning corrects what so few miss near the evaluated plans.
const WAVES: usize = 128;

/// How coarse `bits` are: 1 at 2 bits, halved by each more.
pub fn coarseness(bits: u8) -> f64 {
    4.0 * 0.5_f64.powi(bits.into())
}

/// Share of a choice's slope that is expected of it whatever its probe said. What a fine-tune mends a probe does not see; of
/// four shares this one foretold most of the plans of a search of ResNet-20 (docs/adr/0006).
const EQUAL: f64 = 0.5;

/// How much of a fall each choice is expected to bring, 1 on average: one half by its share of all `falls`.
fn gravity(falls: &[f64]) -> Vec<f64> {
    let mean = falls.iter().sum::<f64>() / falls.len().max(1) as f64;
    let share = |fall: &f64| if mean > 0.0 { EQUAL + (1.0 - EQUAL) * fall / mean } else { 1.0 };
    falls.iter().map(share).collect()
}

impl Settings {
    /// What releq imagines with. One set for every objective; chosen among some twenty on the authors' LeNet table, so
    /// counts on that table flatter it (its neighbours there differ little: half or twice a number costs a few evaluations).
    pub const DEFAULT: Self = Self {
        link: Link::LogLoss(0.003),
        slope: 5.0,
        slope_deviation: 5.0,
        constant_deviation: 0.5,
        rest_deviation: 0.7,
        reach: 0.7,
        noise: 0.4,
    };

    /// The same beliefs of evaluations whose noise is known.
    #[must_use]
    pub fn knowing(self, noise: Option<f64>) -> Self {
        Self { noise: noise.unwrap_or(self.noise), ..self }
    }

    /// Additive: slopes only.
    pub const ADDITIVE: Self = Self { rest_deviation: 0.0, ..Self::DEFAULT };

    /// Smooth: no opinion on bits but that near plans score alike. The best of some fourteen on the same table.
    pub const SMOOTH: Self = Self {
        slope: 0.0,
        slope_deviation: 0.0,
        constant_deviation: 1.0,
        rest_deviation: 2.0,
        reach: 1.0,
        ..Self::DEFAULT
    };
}

impl Link {
    /// `accuracy`, 0 to 1, on the model's scale.
    pub fn forward(self, accuracy: f64, float: f64) -> f64 {
        match self {
            Self::Relative => accuracy / float,
            Self::LogOdds => {
                let kept = accuracy.clamp(0.002, 0.9995);
                (kept / (1.0 - kept)).ln()
            }
            Self::LogLoss(margin) => -((float - accuracy).max(-margin / 2.0) + margin).ln(),
        }
    }

    /// The accuracy of a value on the model's scale; not below 0.
    pub fn backward(self, value: f64, float: f64) -> f64 {
        match self {
            Self::Relative => (value * float).max(0.0),
            Self::LogOdds => 1.0 / (1.0 + (-value).exp()),
            Self::LogLoss(margin) => (float + margin - (-value).exp()).max(0.0),
        }
    }
}

impl Surrogate {
    /// A model of a network whose float accuracy is `float`, 0 to 1, that has seen nothing and looks at weights alone.
    pub fn new(settings: Settings, float: f64) -> Self {
        Self {
            settings,
            float,
            choices: None,
            gravity: None,
            inputs: Vec::new(),
            residuals: Vec::new(),
            factor: Vec::new(),
            weights: Vec::new(),
        }
    }

    /// The same, of a model that looks at what is chosen in `space`.
    pub fn over(space: &Space, settings: Settings, float: f64) -> Self {
        Self { choices: Some(space.choices().to_vec()), ..Self::new(settings, float) }
    }

    /// A model for a search of `problem`, with what `ledger` knows of its evaluations.
    pub fn of(problem: &Problem<'_>, ledger: &Ledger<'_>, settings: Settings) -> Self {
        let model = Self::over(problem.space, settings.knowing(ledger.noise()), problem.objective.float());
        ledger.falls().map_or(model.clone(), |falls| model.probed(falls))
    }

    /// The same before it has seen anything, knowing what each of its choices does alone; see [`Evaluator::falls`].
    ///
    /// [`Evaluator::falls`]: crate::evaluate::Evaluator::falls
    #[must_use]
    pub fn probed(self, falls: &[f64]) -> Self {
        Self { gravity: Some(gravity(falls)), ..self }
    }

    /// The bits of what it looks at.
    fn bits(&self, plan: &BitPlan) -> Vec<u8> {
        match &self.choices {
            Some(choices) => choices.iter().map(|choice| choice.of(plan)).collect(),
            None => plan.weights().collect(),
        }
    }

    fn features(&self, plan: &BitPlan) -> Vec<f64> {
        self.bits(plan).into_iter().map(coarseness).collect()
    }

    /// How many evaluations it has seen.
    pub fn seen(&self) -> usize {
        self.inputs.len()
    }

    /// Learns that `plan` scored `accuracy`, 0 to 1. Costs the square of what was seen.
    pub fn observe(&mut self, plan: &BitPlan, accuracy: f64) {
        let input = self.features(plan);
        let mut row = self.covariances(&input);
        solve_lower(&self.factor, &mut row);
        let noise = self.settings.noise.powi(2);
        let left = self.kernel(&input, &input) + noise - row.iter().map(|entry| entry * entry).sum::<f64>();
        // Rounding can take the rest below the noise that is surely left.
        row.push(left.max(noise * 0.5 + 1e-12).sqrt());
        self.residuals.push(self.settings.link.forward(accuracy, self.float) - self.prior_mean(&input));
        self.factor.push(row);
        self.inputs.push(input);
        self.weights = self.solve(self.residuals.clone());
    }

    /// What it believes of `plan` on the link's scale.
    pub fn belief(&self, plan: &BitPlan) -> Belief {
        let input = self.features(plan);
        let mut covariances = self.covariances(&input);
        let mean = self.prior_mean(&input) + dot(&covariances, &self.weights);
        solve_lower(&self.factor, &mut covariances);
        let variance = self.kernel(&input, &input) - dot(&covariances, &covariances);
        Belief { mean, deviation: variance.max(0.0).sqrt() }
    }

    /// The accuracy of `plan`, 0 to 1, at the middle of what it believes.
    pub fn accuracy(&self, plan: &BitPlan) -> f64 {
        let input = self.features(plan);
        let mean = self.prior_mean(&input) + dot(&self.covariances(&input), &self.weights);
        self.settings.link.backward(mean, self.float)
    }

    /// The value that evaluating `plan` is expected to show, its own noise included.
    pub fn expected_value(&self, objective: &Objective, plan: &BitPlan) -> f64 {
        self.expected(objective, plan, |value| value)
    }

    /// How much evaluating `plan` is expected to raise the value above `best`: what to evaluate next is where it is largest.
    pub fn expected_improvement(&self, objective: &Objective, plan: &BitPlan, best: f64) -> f64 {
        self.expected(objective, plan, |value| (value - best).max(0.0))
    }

    /// What to evaluate next is where this is largest: the expected improvement over `best` where any is to be expected.
    /// Elsewhere it is not above 0: how far the expected value falls short of `best`, so that there is a way up from
    /// where nothing improves, which in a large space is nearly everywhere.
    pub fn promise(&self, objective: &Objective, plan: &BitPlan, best: f64) -> f64 {
        let gain = self.expected_improvement(objective, plan, best);
        if gain > 0.0 { gain } else { self.expected_value(objective, plan).min(best) - best }
    }

    /// Mean of `of` the value over what one evaluation may say, on either side of the objective's cliff apart.
    fn expected(&self, objective: &Objective, plan: &BitPlan, of: impl Fn(f64) -> f64) -> f64 {
        if !objective.admits(plan) {
            return of(objective.value(plan, 0.0));
        }
        let belief = self.belief(plan);
        let deviation = belief.deviation.hypot(self.settings.noise);
        let quantization = objective.quantization(plan);
        let at = |z: f64| of(objective.value_at(quantization, self.as_accuracy(belief.mean + deviation * z)));
        let cliff = objective
            .cliff()
            .map_or(-TAIL, |accuracy| (self.settings.link.forward(accuracy, self.float) - belief.mean) / deviation);
        let cliff = cliff.clamp(-TAIL, TAIL);
        normal_mean(at, -TAIL, cliff) + normal_mean(at, cliff, TAIL)
    }

    /// A value on the link's scale as accuracy, 0 to 1.
    pub fn as_accuracy(&self, value: f64) -> f64 {
        self.settings.link.backward(value, self.float)
    }

    /// Draws a function from the posterior, for plans of `choices` choices.
    ///
    /// It is a draw of the prior, corrected by what the same draw would have had to be at the evaluated plans.
    pub fn draw(&self, choices: usize, rng: &mut ChaCha8Rng) -> Draw<'_> {
        let settings = &self.settings;
        let spread = settings.slope_deviation / choices.max(1) as f64;
        let constant = settings.constant_deviation * normal(rng);
        let slopes = (0..choices).map(|_| spread * normal(rng)).collect();
        let waves = if settings.rest_deviation > 0.0 { self.waves(choices, rng) } else { Vec::new() };
        let mut draw = Draw { model: self, constant, slopes, waves, weights: Vec::new(), luck: rng.random() };
        let missed = self.inputs.iter().zip(&self.residuals);
        let missed = missed.map(|(input, residual)| residual - draw.prior(input) - settings.noise * normal(rng));
        draw.weights = self.solve(missed.collect());
        draw
    }

    /// Draws the accuracies of all `plans` at once.
    pub fn draw_at(&self, plans: &[BitPlan], rng: &mut ChaCha8Rng) -> Vec<f64> {
        let choices = plans.first().map_or(0, |plan| self.bits(plan).len());
        let draw = self.draw(choices, rng);
        plans.iter().map(|plan| draw.accuracy(plan)).collect()
    }

    fn waves(&self, choices: usize, rng: &mut ChaCha8Rng) -> Vec<Wave> {
        let height = self.settings.rest_deviation * (2.0 / WAVES as f64).sqrt();
        let wave = |_| Wave {
            height: height * normal(rng),
            phase: rng.random_range(0.0..std::f64::consts::TAU),
            frequency: (0..choices).map(|_| normal(rng) / reach(&self.settings, choices)).collect(),
        };
        (0..WAVES).map(wave).collect()
    }

    fn prior_mean(&self, input: &[f64]) -> f64 {
        let fall = match &self.gravity {
            Some(gravity) => dot(gravity, input),
            None => input.iter().sum::<f64>(),
        };
        let middle = fall / input.len().max(1) as f64;
        self.settings.link.forward(self.float, self.float) - self.settings.slope * middle
    }

    fn kernel(&self, one: &[f64], other: &[f64]) -> f64 {
        let settings = &self.settings;
        let choices = one.len().max(1);
        let slope = (settings.slope_deviation / choices as f64).powi(2) * dot(one, other);
        let apart: f64 = one.iter().zip(other).map(|(a, b)| (a - b) * (a - b)).sum();
        let rest = if settings.rest_deviation > 0.0 {
            settings.rest_deviation.powi(2) * (-0.5 * apart / reach(settings, choices).powi(2)).exp()
        } else {
            0.0
        };
        settings.constant_deviation.powi(2) + slope + rest
    }

    fn covariances(&self, input: &[f64]) -> Vec<f64> {
        self.inputs.iter().map(|seen| self.kernel(seen, input)).collect()
    }

    /// Covariance⁻¹ · `right`.
    fn solve(&self, mut right: Vec<f64>) -> Vec<f64> {
        solve_lower(&self.factor, &mut right);
        for row in (0..right.len()).rev() {
            right[row] /= self.factor[row][row];
            let solved = right[row];
            for (entry, &factor) in right[..row].iter_mut().zip(&self.factor[row]) {
                *entry -= factor * solved;
            }
        }
        right
    }
}

impl Draw<'_> {
    /// The accuracy that evaluating `plan` gives in this draw, 0 to 1; the same each time it is asked.
    ///
    /// An evaluation is one short training, and keeps its luck: a plan may well score what its neighbours do not.
    pub fn accuracy(&self, plan: &BitPlan) -> f64 {
        let input = self.model.features(plan);
        self.model.as_accuracy(self.smooth(&input) + self.model.settings.noise * self.luck(plan))
    }

    /// The accuracy that `plan` would have in this draw on average over evaluations, 0 to 1.
    pub fn expected(&self, plan: &BitPlan) -> f64 {
        self.model.as_accuracy(self.smooth(&self.model.features(plan)))
    }

    fn smooth(&self, input: &[f64]) -> f64 {
        let corrected = dot(&self.model.covariances(input), &self.weights);
        self.model.prior_mean(input) + self.prior(input) + corrected
    }

    /// A standard normal number of this draw and plan.
    fn luck(&self, plan: &BitPlan) -> f64 {
        let mix = |state: u64, bits: u8| (state ^ u64::from(bits)).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(23);
        normal(&mut ChaCha8Rng::seed_from_u64(self.model.bits(plan).into_iter().fold(self.luck, mix)))
    }

    fn prior(&self, input: &[f64]) -> f64 {
        let waves = self.waves.iter().map(|wave| wave.height * (wave.phase + dot(&wave.frequency, input)).cos());
        self.constant + dot(&self.slopes, input) + waves.sum::<f64>()
    }
}

/// Deviations beyond which nothing is expected.
const TAIL: f64 = 5.0;

/// Integral of `of` times the normal density from `low` to `high`, by midpoints.
fn normal_mean(of: impl Fn(f64) -> f64, low: f64, high: f64) -> f64 {
    const POINTS: usize = 24;
    let step = (high - low) / POINTS as f64;
    let density = |z: f64| (-0.5 * z * z).exp() / std::f64::consts::TAU.sqrt();
    let points = (0..POINTS).map(|point| low + step * (point as f64 + 0.5));
    step * points.map(|z| of(z) * density(z)).sum::<f64>()
}

/// The reach among `choices`: distances grow with their root.
fn reach(settings: &Settings, choices: usize) -> f64 {
    settings.reach * (choices as f64 / 4.0).sqrt()
}

fn dot(one: &[f64], other: &[f64]) -> f64 {
    one.iter().zip(other).map(|(a, b)| a * b).sum()
}

/// `right` becomes factor⁻¹ · `right`.
fn solve_lower(factor: &[Vec<f64>], right: &mut [f64]) {
    for (row, entries) in factor.iter().enumerate().take(right.len()) {
        right[row] = (right[row] - dot(&entries[..row], &right[..row])) / entries[row];
    }
}

/// A standard normal number, by Box and Muller.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
    radius * (std::f64::consts::TAU * rng.random::<f64>()).cos()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::tests::lenet;
    use crate::objective::Contest;
    use crate::seed;
    use crate::space::Space;
    use proptest::prelude::*;

    const SEEN: [(&str, f64); 5] =
        [("8,8,8,8", 0.9953), ("2,2,3,2", 0.9392), ("2,2,2,2", 0.1143), ("5,4,3,3", 0.992), ("2,3,4,4", 0.9958)];

    fn plan(text: &str) -> BitPlan {
        text.parse().unwrap()
    }

    fn taught(settings: Settings) -> Surrogate {
        let mut model = Surrogate::new(settings, 0.998);
        SEEN.iter().for_each(|(text, accuracy)| model.observe(&plan(text), *accuracy));
        model
    }

    #[test]
    fn the_grown_factor_is_that_of_the_whole_covariance() {
        let model = taught(Settings::DEFAULT);
        for (row, one) in model.inputs.iter().enumerate() {
            for (column, other) in model.inputs.iter().enumerate().take(row + 1) {
                let noise = if row == column { model.settings.noise.powi(2) } else { 0.0 };
                let product = dot(&model.factor[row][..=column], &model.factor[column][..=column]);
                assert!((product - model.kernel(one, other) - noise).abs() < 1e-9);
            }
        }
        let back = |row: usize| {
            (0..5)
                .map(|column| {
                    let noise = if row == column { model.settings.noise.powi(2) } else { 0.0 };
                    (model.kernel(&model.inputs[row], &model.inputs[column]) + noise) * model.weights[column]
                })
                .sum::<f64>()
        };
        (0..5).for_each(|row| assert!((back(row) - model.residuals[row]).abs() < 1e-9));
    }

    #[test]
    fn one_slope_is_textbook_regression() {
        // One layer, prior N(-slope, deviation^2) on its slope: the posterior has a closed form.
        let settings = Settings { constant_deviation: 0.0, slope: 2.0, slope_deviation: 3.0, ..Settings::ADDITIVE };
        let mut model = Surrogate::new(settings, 0.9);
        let (x, y) = (coarseness(3), settings.link.forward(0.5, 0.9) - settings.link.forward(0.9, 0.9));
        model.observe(&plan("3"), 0.5);
        let precision = 1.0 / 9.0 + x * x / settings.noise.powi(2);
        let slope = (-2.0 / 9.0 + x * y / settings.noise.powi(2)) / precision;
        let belief = model.belief(&plan("2"));
        assert!((belief.mean - settings.link.forward(0.9, 0.9) - slope).abs() < 1e-9);
        assert!((belief.deviation - (1.0 / precision).sqrt()).abs() < 1e-9);
    }

    #[test]
    fn before_any_evaluation_narrow_layers_cost_accuracy() {
        let model = Surrogate::new(Settings::DEFAULT, 0.998);
        let foretold = ["8,8,8,8", "4,4,4,4", "3,3,3,3", "2,2,2,2"].map(|text| model.accuracy(&plan(text)));
        assert!(foretold.is_sorted_by(|wide, narrow| wide > narrow), "{foretold:?}");
        assert!((foretold[0] - 0.998).abs() < 1e-3);
    }

    /// Plans dearer than the best cannot improve on it, and still differ in how near they come.
    #[test]
    fn a_plain_has_a_way_up() {
        let model = taught(Settings::DEFAULT);
        let space = Space::same(&[2, 3, 4, 5, 8], 4).unwrap();
        let objective = Contest::Floor.objective(&space, crate::network::tests::lenet(), 0.998);
        let best = objective.value(&plan("2,2,3,2"), 0.998);
        let dearer = ["5,5,5,5", "5,8,5,8", "8,8,8,8"].map(plan);
        assert!(dearer.iter().all(|plan| model.expected_improvement(&objective, plan, best) == 0.0));
        let promises = dearer.map(|plan| model.promise(&objective, &plan, best));
        assert!(promises[0] < 0.0 && promises.is_sorted_by(|near, far| near > far), "{promises:?}");
    }

    #[test]
    fn draws_are_the_belief() {
        for settings in [Settings::DEFAULT, Settings::ADDITIVE, Settings::SMOOTH] {
            let model = taught(settings);
            let mut rng = seed::stream(3, "test");
            let draws: Vec<Draw> = (0..4000).map(|_| model.draw(4, &mut rng)).collect();
            for text in ["2,2,3,2", "2,3,3,4", "3,3,3,3", "8,5,8,4"] {
                let belief = model.belief(&plan(text));
                let values: Vec<f64> = draws.iter().map(|draw| draw.smooth(&model.features(&plan(text)))).collect();
                let mean = values.iter().sum::<f64>() / values.len() as f64;
                let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
                assert!((mean - belief.mean).abs() < 0.08 * belief.deviation + 0.01, "{text}: {mean} {belief:?}");
                assert!(
                    (variance.sqrt() / belief.deviation - 1.0).abs() < 0.08,
                    "{text}: {} {belief:?}",
                    variance.sqrt()
                );
            }
        }
    }

    #[test]
    fn a_draw_answers_the_same_each_time_and_lists_are_draws() {
        let model = taught(Settings::DEFAULT);
        let plans = ["2,2,3,2", "2,3,3,4"].map(plan);
        let draw = model.draw(4, &mut seed::stream(1, "test"));
        let answers: Vec<f64> = plans.iter().map(|plan| draw.accuracy(plan)).collect();
        assert_eq!(answers, plans.iter().map(|plan| draw.accuracy(plan)).collect::<Vec<_>>());
        assert_eq!(answers, model.draw_at(&plans, &mut seed::stream(1, "test")));
        assert_ne!(draw.accuracy(&plans[0]), draw.expected(&plans[0]));
    }

    #[test]
    fn activations_are_looked_at_where_they_are_chosen() {
        let space = Space::same(&[2, 3, 4, 5, 8], 4).unwrap().with_activations(&[2, 4, 8]).unwrap();
        let mut both = Surrogate::over(&space, Settings::DEFAULT, 0.998);
        let narrow = plan("3:2,3:4,3:8,3:8");
        assert!(both.accuracy(&narrow) < both.accuracy(&plan("3,3,3,3")));
        both.observe(&plan("3:2,3:2,3:2,3:8"), 0.6);
        both.observe(&plan("3,3,3,3"), 0.995);
        let [coarse, fine] = ["4:2,4:2,4:2,4:8", "4,4,4,4"].map(|text| both.accuracy(&plan(text)));
        assert!(coarse < 0.9 && fine > 0.98, "{coarse} {fine}");
        let draw = both.draw(space.choices().len(), &mut seed::stream(1, "test"));
        assert_ne!(draw.luck(&narrow), draw.luck(&plan("3,3,3,3")));
        // Over weights alone nothing is different, its draws included.
        let weights = Space::same(&[2, 3, 4, 5, 8], 4).unwrap();
        let [one, other] =
            [Surrogate::over(&weights, Settings::DEFAULT, 0.998), Surrogate::new(Settings::DEFAULT, 0.998)]
                .map(|model| model.draw_at(&["2,2,3,2", "2,3,3,4"].map(plan), &mut seed::stream(1, "test")));
        assert_eq!(one, other);
    }

    /// Without an evaluation, a model that knows probes foretells less of what narrows a fragile layer.
    #[test]
    fn fragile_layers_cost_more() {
        let space = Space::same(&[2, 8], 4).unwrap();
        let model = Surrogate::over(&space, Settings::DEFAULT, 0.998).probed(&[0.5, 0.1, 0.1, 0.1]);
        let [fragile, sturdy, all] = ["2,8,8,8", "8,2,8,8", "2,2,2,2"].map(|text| model.belief(&plan(text)).mean);
        assert!(fragile < sturdy, "{fragile} {sturdy}");
        // Together as much as ever, and as uncertain.
        let equal = Surrogate::over(&space, Settings::DEFAULT, 0.998);
        assert!((all - equal.belief(&plan("2,2,2,2")).mean).abs() < 1e-9);
        assert_eq!(model.belief(&plan("2,8,8,8")).deviation, equal.belief(&plan("2,8,8,8")).deviation);
        assert_eq!(gravity(&[0.0; 4]), [1.0; 4]);
    }

    #[test]
    fn expectations_are_those_of_draws() {
        let model = taught(Settings::DEFAULT);
        let space = Space::same(&[2, 3, 4, 5, 8], 4).unwrap();
        let mut rng = seed::stream(4, "test");
        let draws: Vec<Draw> = (0..8000).map(|_| model.draw(4, &mut rng)).collect();
        for contest in Contest::ALL {
            let objective = contest.objective(&space, lenet(), 0.998);
            let best = SEEN
                .map(|(text, accuracy)| objective.value(&plan(text), accuracy))
                .into_iter()
                .fold(f64::MIN, f64::max);
            for candidate in ["2,3,3,4", "2,2,3,3", "3,3,3,3"].map(plan) {
                let values = draws.iter().map(|draw| objective.value(&candidate, draw.accuracy(&candidate)));
                let (value, gain) =
                    values.fold((0.0, 0.0), |(value, gain), one| (value + one, gain + (one - best).max(0.0)));
                let (value, gain) = (value / 8000.0, gain / 8000.0);
                assert!((value - model.expected_value(&objective, &candidate)).abs() < 0.02, "{contest} {candidate}");
                let found = model.expected_improvement(&objective, &candidate, best);
                assert!((gain - found).abs() < 0.003, "{contest} {candidate}: {gain} {found}");
            }
        }
    }

    proptest! {
        #[test]
        fn links_come_back(accuracy in 0.01..0.9f64) {
            for link in [Link::Relative, Link::LogOdds, Link::LogLoss(0.002)] {
                prop_assert!((link.backward(link.forward(accuracy, 0.95), 0.95) - accuracy).abs() < 1e-9);
            }
        }

        #[test]
        fn nothing_seen_breaks_it(accuracies in proptest::collection::vec(0.0..1.0f64, 1..30), seed in any::<u64>()) {
            let space = Space::same(&[1, 2, 3, 4, 5, 8], 5).unwrap();
            let mut rng = seed::stream(seed, "test");
            for settings in [Settings::DEFAULT, Settings::ADDITIVE, Settings::SMOOTH] {
                let mut model = Surrogate::new(settings, 0.7);
                for &accuracy in &accuracies {
                    model.observe(&space.sample(&mut rng), accuracy);
                    let found = model.accuracy(&space.sample(&mut rng));
                    prop_assert!((0.0..=1.0).contains(&found), "{}", found);
                }
            }
        }
    }
}
