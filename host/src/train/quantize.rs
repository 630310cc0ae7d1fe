//! The front door of quantization: a float network and a plan become a quantized network, fine-tuned.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use candle_core::Var;
use rayon::prelude::*;
use releq_format::bits::{BitWidth, Levels};
use releq_search::plan::{BitPlan, LayerBits};

use super::calibrate::{self, Calibration};
use super::device;
use super::fit::{Descent, FitError, Progress, Schedule, fit_kept};
use super::fold::{FoldError, fold};
use super::model::{ActivationState, Model, Quantizers, Transform, WeightState};
use super::norms::{self, Norms, Trainee};
use super::resume::Resume;
use super::teacher::{Distillation, Teacher};
use crate::codes;
use crate::data::Dataset;
use crate::data::augment::Augment;
use crate::lower::LowerError;
use crate::lower::fuse::Block;
use crate::lower::sharing::shared;
use crate::network::{Graph, Network, Source, Tensor};
use crate::quantized::{ActivationQuant, QuantizedNetwork, WeightQuant};

/// How weights become integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A scale per output channel, started at the least mean square error and learned (LSQ, arXiv 1902.08153).
    Learned,
    /// A scale per output channel at the least mean square error, not learned.
    Fixed,
    /// One scale for the whole layer, started at the least mean square error and learned.
    Tensor,
    /// WRPN (arXiv 1709.01134): clamp to ±1, mid-tread with one fixed scale 1 / (2^(b−1) − 1).
    Wrpn,
    /// DoReFa (arXiv 1606.06160): tanh, then mid-rise with one fixed scale 1 / (2^b − 1). At 8 bits, whose 256 odd
    /// levels no 8-bit signed code holds, mid-tread with scale 1/127.
    Dorefa,
}

impl Method {
    /// Whether scales learn.
    fn learns(self) -> bool {
        matches!(self, Self::Learned | Self::Tensor)
    }
}

/// How to quantize.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    /// How weights become integers.
    pub method: Method,
    /// How activation ranges are chosen.
    pub calibration: Calibration,
    /// Images that calibration looks at.
    pub calibration_images: usize,
    /// The fine-tuning; 0 epochs for none.
    pub schedule: Schedule,
    /// What becomes of batch normalisation.
    pub norms: Norms,
    /// How the float network's logits guide the fine-tuning, if they do.
    pub distill: Option<Distillation>,
    /// Whether layers below 3 bits get there step by step, a share of the fine-tuning at each width on the way.
    pub progressive: bool,
}

impl Recipe {
    /// releq's own: learned scales, guided by the float network's answers.
    pub fn learned(epochs: f64, seed: u64) -> Self {
        Self {
            method: Method::Learned,
            calibration: Calibration::Percentile,
            calibration_images: 512,
            norms: Norms::Reestimated,
            schedule: Schedule::adam(epochs, seed),
            distill: Some(Distillation::default()),
            progressive: false,
        }
    }

    /// What the scripts of ReLeQ's authors do to LeNet and ResNet-20 (`Method::Dorefa`) or to the others
    /// (`Method::Wrpn`), at their batch of 256; biases and activations apart, which they leave in floats.
    pub fn authors(method: Method, epochs: f64, seed: u64) -> Self {
        let schedule =
            Schedule { epochs, batch: 256, rate: 0.01, descent: Descent::Momentum, augment: Augment::NONE, seed };
        Self { method, schedule, distill: None, ..Self::learned(epochs, seed) }
    }

    /// The recipe for a network that `remembered` tells the views of: where nothing is learned, statistics are measured
    /// in these, since what the weights were made for they still expect.
    pub(crate) fn settled(
        &self,
        remembered: impl FnOnce() -> candle_core::Result<Augment>,
    ) -> candle_core::Result<Self> {
        let mut recipe = self.clone();
        if recipe.norms == Norms::Reestimated && recipe.schedule.epochs <= 0.0 {
            recipe.schedule.augment = remembered()?;
        }
        Ok(recipe)
    }
}

/// Why a network cannot be quantized.
#[derive(Debug, thiserror::Error)]
pub enum QuantizeError {
    /// The plan has another number of layers.
    #[error(
        "the plan has {given} widths, the network has {needed} weighted layers ({names}); \
         give one width for each, or a single one for all"
    )]
    PlanLength {
        /// Widths given.
        given: usize,
        /// Weighted layers.
        needed: usize,
        /// Their names.
        names: String,
    },
    /// WRPN has no 1-bit levels.
    #[error("WRPN has no levels at 1 bit for `{0}`: its formula divides by 2^0 − 1; use 2 bits or --quantizer learned")]
    WrpnOneBit(String),
    /// Batch normalisation cannot be folded.
    #[error(transparent)]
    Fold(#[from] FoldError),
    /// The graph cannot become an image.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// Fine-tuning failed.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// Candle failed.
    #[error("quantization failed: {0}")]
    Candle(#[from] candle_core::Error),
}

impl QuantizeError {
    /// Whether this plan came to no numbers, or to such that no image holds: the same plan will each time.
    pub const fn is_divergence(&self) -> bool {
        match self {
            Self::Fit(error) => error.is_divergence(),
            Self::Lower(error) => matches!(error, LowerError::Range { .. }),
            _ => false,
        }
    }
}

/// Quantizes `network` by `plan` and fine-tunes it on `data`, its state kept by `resume` if there is one. `watch` sees
/// every step of the fine-tuning.
///
/// # Errors
/// [`QuantizeError`].
pub fn quantize(
    network: &Network,
    plan: &BitPlan,
    data: &Dataset,
    recipe: &Recipe,
    resume: Option<&Resume>,
    watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<QuantizedNetwork, QuantizeError> {
    let recipe = &recipe.settled(|| norms::remembered(network, data))?;
    let distilled = recipe.distill.filter(|_| recipe.schedule.epochs > 0.0);
    let augmented = recipe.schedule.augment.is_any();
    let teacher = distilled.map(|how| Teacher::of(&Model::new(network)?, data, augmented, how)).transpose()?;
    quantize_with(network, plan, data, teacher.as_ref(), recipe, resume, watch)
}

/// As [`quantize`], guided by a teacher made before; statistics are measured in the views that
/// `recipe.schedule` has, whether anything is learned or not.
///
/// # Errors
/// [`QuantizeError`].
pub fn quantize_with(
    network: &Network,
    plan: &BitPlan,
    data: &Dataset,
    teacher: Option<&Teacher>,
    recipe: &Recipe,
    resume: Option<&Resume>,
    watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<QuantizedNetwork, QuantizeError> {
    let tuning = Tuning { data, teacher, recipe };
    let model = tuning.staged(network, plan, resume, watch)?;
    if recipe.norms == Norms::Reestimated {
        norms::reestimate(&model, data, &recipe.schedule)?;
    }
    Ok(norms::folded(&model.quantized()?)?)
}

/// Widths that a layer of fewer bits passes through on the way down.
const STEPS: [u8; 3] = [4, 3, 2];

/// The plans to fine-tune one after the other; the last is `plan` itself.
fn stages(plan: &BitPlan, recipe: &Recipe) -> Vec<BitPlan> {
    let narrowest = plan.weights().min().unwrap_or(8);
    let lowered = recipe.progressive && recipe.schedule.epochs > 0.0 && narrowest < 3;
    let steps = STEPS.iter().filter(|&&step| lowered && step > narrowest);
    let wider = |&step: &u8| {
        let layers = plan.layers().iter();
        let layers = layers.map(|layer| LayerBits { weights: layer.weights.max(step), ..*layer });
        BitPlan::new(layers.collect()).expect("widths of a plan and of `STEPS` are within 1..=8")
    };
    steps.map(wider).chain([plan.clone()]).collect()
}

/// What every stage of a fine-tuning has in common.
struct Tuning<'a> {
    data: &'a Dataset,
    teacher: Option<&'a Teacher>,
    recipe: &'a Recipe,
}

impl Tuning<'_> {
    /// `network`, quantized by `plan` and fine-tuned in as many stages as the recipe asks for, not yet folded.
    fn staged(
        &self,
        network: &Network,
        plan: &BitPlan,
        resume: Option<&Resume>,
        watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Model, QuantizeError> {
        let mut trainee = Trainee::new(network, self.recipe.norms)?;
        let schedule = &self.recipe.schedule;
        let stages = stages(plan, self.recipe);
        let epochs = schedule.epochs / stages.len() as f64;
        let last = stages.len() - 1;
        for (stage, plan) in stages[..last].iter().enumerate() {
            let schedule = Schedule { epochs, seed: schedule.seed.wrapping_add(stage as u64), ..schedule.clone() };
            let resume = resume.map(|resume| resume.stage(stage));
            trainee.network = self.tuned(&trainee, plan, &schedule, resume.as_ref(), watch)?.network()?;
        }
        let schedule = Schedule { epochs, ..schedule.clone() };
        self.tuned(&trainee, plan, &schedule, resume.map(|resume| resume.stage(last)).as_ref(), watch)
    }

    /// The network of `trainee`, quantized by `plan` and fine-tuned by `schedule`.
    fn tuned(
        &self,
        trainee: &Trainee,
        plan: &BitPlan,
        schedule: &Schedule,
        resume: Option<&Resume>,
        watch: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    ) -> Result<Model, QuantizeError> {
        let Trainee { network, blocks } = trainee;
        let float = Model::new(network)?;
        let quantizers = Quantizers {
            weights: weight_states(network, plan, self.recipe.method)?,
            activations: activation_states(network, &float, blocks, plan, self.data, self.recipe)?,
        };
        let model = Model::with_quantizers(network, quantizers)?;
        if schedule.epochs > 0.0 {
            fit_kept(&model, self.teacher, self.data, schedule, resume, watch)?;
        }
        Ok(model)
    }
}

fn weight_states(
    network: &Network,
    plan: &BitPlan,
    method: Method,
) -> Result<BTreeMap<usize, WeightState>, QuantizeError> {
    let folded = fold(network)?;
    let weighted = network.graph.weighted();
    let names =
        || weighted.iter().map(|&index| network.graph.nodes[index].name.as_str()).collect::<Vec<_>>().join(", ");
    if plan.layers().len() != weighted.len() {
        let (given, needed) = (plan.layers().len(), weighted.len());
        return Err(QuantizeError::PlanLength { given, needed, names: names() });
    }
    let state = |(&node, bits): (&usize, BitWidth)| {
        let name = &network.graph.nodes[node].name;
        let weight = network.parameters.get(&format!("{name}.weight"));
        let weight = weight.ok_or_else(|| LowerError::Missing { layer: name.clone(), what: "weights" })?;
        let rows = if method == Method::Tensor { 1 } else { weight.shape[0] };
        let (quant, transform) = match method {
            Method::Learned | Method::Fixed | Method::Tensor => {
                // Levels as the folded network has them, whatever is folded before training and what after it.
                let effective = folded.parameters.get(&format!("{name}.weight")).unwrap_or(weight);
                let levels = levels_at(method, effective, bits);
                (fitted(&weight.data, rows, bits, levels).1, Transform::Identity)
            }
            Method::Wrpn if bits.get() == 1 => return Err(QuantizeError::WrpnOneBit(name.clone())),
            Method::Wrpn => (fixed(bits, Levels::MidTread, weight.shape[0]), Transform::Identity),
            Method::Dorefa => (fixed(bits, levels_at(method, weight, bits), weight.shape[0]), Transform::Tanh),
        };
        let scales = Var::from_slice(&quant.scales, quant.scales.len(), &device::current())?;
        let learn = method.learns();
        Ok((node, WeightState { bits, levels: quant.levels, scales, learn, transform }))
    };
    let widths = plan.layers().iter().map(|layer| width(layer.weights));
    weighted.iter().zip(widths).map(state).collect()
}

/// The levels that `method` gives the weights of each layer of a folded network at 1 to 8 bits; fine-tuning changes none.
///
/// # Errors
/// [`QuantizeError`] for a layer without weights.
pub fn levels(network: &Network, method: Method) -> Result<Vec<[Levels; 8]>, QuantizeError> {
    let of = |node: &usize| {
        let name = &network.graph.nodes[*node].name;
        let weight = network.parameters.get(&format!("{name}.weight"));
        let weight = weight.ok_or_else(|| LowerError::Missing { layer: name.clone(), what: "weights" })?;
        let levels: Vec<Levels> =
            (1..=8).into_par_iter().map(|bits: u8| levels_at(method, weight, width(bits))).collect();
        Ok(std::array::from_fn(|place| levels[place]))
    };
    network.graph.weighted().iter().map(of).collect()
}

/// The levels that `method` gives effective weights `[out, …]`.
pub(crate) fn levels_at(method: Method, weight: &Tensor, bits: BitWidth) -> Levels {
    match (method, bits.get()) {
        (Method::Learned | Method::Fixed, 2..8) => least_square(&weight.data, weight.shape[0], bits).levels,
        (Method::Tensor, 2..8) => least_square(&weight.data, 1, bits).levels,
        (Method::Dorefa, 1..8) | (_, 1) => Levels::MidRise,
        _ => Levels::MidTread,
    }
}

fn width(bits: u8) -> BitWidth {
    BitWidth::new(bits).expect("a plan holds 1..=8")
}

/// One fixed scale under which the largest level is 1.
fn fixed(bits: BitWidth, levels: Levels, out: usize) -> WeightQuant {
    let unit = WeightQuant { bits, levels, scales: Vec::new() };
    let scale = 1.0 / unit.rounder().limits().1 as f32;
    WeightQuant { scales: vec![scale; out], ..unit }
}

/// The level set and per-channel scales with the least mean square error over `weights`.
///
/// Mid-tread and mid-rise compete; two's complement wastes a level on one side and never wins below 3 bits. One bit
/// has mid-rise only, eight bits mid-tread only.
pub fn least_square(weights: &[f32], out: usize, bits: BitWidth) -> WeightQuant {
    let candidates: &[Levels] = match bits.get() {
        1 => &[Levels::MidRise],
        8 => &[Levels::MidTread],
        _ => &[Levels::MidTread, Levels::MidRise],
    };
    let quantized = candidates.iter().map(|&levels| fitted(weights, out, bits, levels));
    quantized.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, quant)| quant).expect("there is a level set")
}

/// The square error of `weights` under the scales of least error, and those.
fn fitted(weights: &[f32], out: usize, bits: BitWidth, levels: Levels) -> (f64, WeightQuant) {
    let rows = weights.chunks((weights.len() / out.max(1)).max(1));
    let fits: Vec<(f32, f64)> = rows.map(|row| best_scale(row, bits, levels)).collect();
    let error = fits.iter().map(|(_, error)| error).sum();
    (error, WeightQuant { bits, levels, scales: fits.into_iter().map(|(scale, _)| scale).collect() })
}

/// The scale with the least square error on `row`, and that error.
fn best_scale(row: &[f32], bits: BitWidth, levels: Levels) -> (f32, f64) {
    let largest = row.iter().fold(0f32, |largest, weight| largest.max(weight.abs()));
    let unit = WeightQuant { bits, levels, scales: vec![1.0] };
    let top = unit.rounder().limits().1.max(1) as f32;
    if largest == 0.0 {
        return (f32::MIN_POSITIVE.sqrt(), 0.0);
    }
    let rounder = unit.rounder();
    let error =
        |scale: f32| row.iter().map(|&w| f64::from(rounder.integer(w / scale) as f32 * scale - w).powi(2)).sum::<f64>();
    // From a tenth of the full range to a little beyond it: outliers are worth clipping at few bits.
    let grid = (1..=64).map(|part| largest / top * (part as f32 / 60.0));
    let grid = grid.filter(|scale| scale * 10.0 * top >= largest);
    grid.map(|scale| (scale, error(scale)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .unwrap_or((largest / top, error(largest / top)))
}

fn activation_states(
    network: &Network,
    float: &Model,
    blocks: &[Block],
    plan: &BitPlan,
    data: &Dataset,
    recipe: &Recipe,
) -> Result<BTreeMap<Source, ActivationState>, QuantizeError> {
    let mut seen = calibrate::observe(float, blocks, data, recipe.calibration_images)?;
    let shared = shared(&network.graph, blocks);
    calibrate::pool(&mut seen, &shared);
    let bits = activation_bits(&network.graph, blocks, plan);
    let mut states = BTreeMap::new();
    let input = calibrate::input_quantizer(&network.graph.input);
    states.insert(Source::Input, ActivationState::fixed(input)?);
    for (source, values) in seen {
        let bits = bits.get(&source).copied().unwrap_or(BitWidth::EIGHT);
        // Few codes are worth placing well; eight bits lose nothing to outliers.
        let few = bits.get() <= 4;
        let how = if few { Calibration::MeanSquare } else { recipe.calibration };
        let quant: ActivationQuant = calibrate::quantizer(&values, bits, how);
        let learn = few && recipe.method.learns();
        states.insert(source, ActivationState { learn, ..ActivationState::fixed(quant)? });
    }
    // One variable for all that share it: a scale learns from each of them.
    for (source, first) in &shared {
        if *first == Source::Input {
            let wide = states.get(source).map(ActivationState::quant).transpose()?;
            let wide = calibrate::covering(wide.unwrap_or(input), input);
            states.insert(Source::Input, ActivationState::fixed(wide)?);
        }
        states.insert(*source, states[first].clone());
    }
    Ok(states)
}

/// Bits of each block's output, as [`codes::of`] follows the plan's along the graph.
pub(crate) fn activation_bits(graph: &Graph, blocks: &[Block], plan: &BitPlan) -> BTreeMap<Source, BitWidth> {
    codes::of(graph, blocks).into_iter().map(|(source, codes)| (source, width(codes.bits(plan)))).collect()
}

/// A network fine-tuned as [`quantize`] does it, before it is folded.
#[cfg(test)]
pub(super) fn model(network: &Network, plan: &BitPlan, data: &Dataset, recipe: &Recipe) -> Model {
    let tuning = Tuning { data, teacher: None, recipe };
    tuning.staged(network, plan, None, &mut |_| ControlFlow::Continue(())).expect("a network and a plan that fit")
}
