//! A subject on a board: what it counts there, and whether it answers as the `reference` kernels do here.

use releq_device::OpenError;
use releq_device::board::Board;
use releq_format::image::{Image, ImageError};
use serde::Serialize;

use super::code;
use super::shape::{Case, Per, Shape};
use super::subject::{Fill, Subject};
use crate::lower::LowerError;
use crate::network::Op;
use crate::summary::{ImageSummary, LayerSummary};
use crate::target::TargetError;
use crate::target::fit::{FitError, check_fit};
use crate::target::lab::{Lab, Opened};
use crate::target::native;
use crate::target::session::Measured;

/// Why a case could not be measured.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// It cannot be lowered.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// Its image is refused, which lowering rules out.
    #[error("the image of a bench subject is refused: {0}; this is a defect of releq, please report it")]
    Refused(#[from] ImageError),
    /// It does not run here, which lowering rules out.
    #[error("a bench subject does not run here: {0}; this is a defect of releq, please report it")]
    Unrunnable(#[from] OpenError),
    /// It does not fit the board.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The board is missing or misbehaved.
    #[error(transparent)]
    Target(#[from] TargetError),
}

/// One row of the table: a layer at certain widths.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The shape's name.
    pub op: &'static str,
    /// Sizes, as published tables write them.
    pub shape: String,
    /// Bits of each weight.
    pub w: Option<u8>,
    /// Bits of each input and output code.
    pub a: u8,
    /// The kernel that the board ran it with.
    pub kernel: String,
    /// How weights lie in flash.
    pub layout: Option<&'static str>,
    /// The layer's whole count: packing, zero points, rounding and stores included.
    pub instructions: u32,
    /// What `per` counts.
    pub terms: u64,
    /// `instructions` ÷ `terms`.
    #[serde(rename = "instructions_per_mac")]
    pub ratio: f64,
    /// Cycles ÷ `terms`, estimated by the report's model; `None` without QEMU's plugin.
    pub cycles_per_mac_estimate: Option<f64>,
    /// What the ratios are per.
    pub per: Per,
    /// Bytes of working memory that the image reserves for the layer.
    pub scratch_bytes: u64,
    /// Bytes of packed weights.
    pub weight_bytes: u64,
    /// Bytes of all functions that its kernel reaches in the runner, shared ones included.
    pub code_bytes: Option<u64>,
    /// Whether random, all largest and all smallest operands gave the oracle's outputs, bit for bit.
    pub exact: bool,
}

/// Measures `case` on `board` with random operands, then at both extremes.
///
/// # Errors
/// [`MeasureError`].
pub fn measure(board: &'static Board, lab: &Lab, case: &Case) -> Result<Row, MeasureError> {
    let mut trials = Vec::new();
    for fill in Fill::ALL {
        trials.push(Trial::run(board, lab, &Subject::new(case, fill)?)?);
    }
    let shape = &case.shape;
    let Trial { instructions, cycles, ref kernel, ref summary, .. } = trials[0];
    let terms = if summary.macs > 0 { summary.macs } else { shape.elements() };
    Ok(Row {
        op: shape.name,
        shape: shape.text(),
        w: case.weights,
        a: case.activations,
        kernel: kernel.clone(),
        layout: summary.layout,
        instructions,
        terms,
        ratio: f64::from(instructions) / terms as f64,
        cycles_per_mac_estimate: cycles.map(|cycles| cycles as f64 / terms as f64),
        per: shape.per(),
        scratch_bytes: summary.scratch_bytes,
        weight_bytes: summary.weight_bytes,
        code_bytes: lab.launch.runner(board).ok().and_then(|runner| code::by_kernel(&runner, kernel)),
        exact: trials.iter().all(|trial| trial.exact),
    })
}

/// What a residual add of one code counts: the engine's own work for a layer, and the least that a kernel can do.
///
/// # Errors
/// [`MeasureError`].
pub fn overhead(board: &'static Board, lab: &Lab) -> Result<u32, MeasureError> {
    let shape = Shape { name: "smallest", input: [1, 1, 1], op: Op::Add, first: false };
    let case = Case { shape, weights: None, activations: 8 };
    Ok(Trial::run(board, lab, &Subject::new(&case, Fill::Random)?)?.instructions)
}

/// One subject's run.
struct Trial {
    instructions: u32,
    cycles: Option<u64>,
    kernel: String,
    summary: LayerSummary,
    exact: bool,
}

impl Trial {
    fn run(board: &'static Board, lab: &Lab, subject: &Subject) -> Result<Self, MeasureError> {
        let image = Image::open(&subject.image)?;
        check_fit(board, &image)?;
        let Opened { mut session, marks } = lab.open(board, &image)?;
        let input = subject.input(image.header());
        let Measured { inference, counts, .. } = session.infer(&input)?;
        let mut layers = ImageSummary::of(&image).layers;
        Ok(Self {
            cycles: match marks {
                Ok(marks) => marks.cycles(&counts)?.1.get(subject.layer).copied(),
                Err(_) => None,
            },
            instructions: counts[subject.layer],
            kernel: session.kernel(subject.layer)?,
            summary: layers.swap_remove(subject.layer),
            exact: inference == native::oracle(&image, &input)?,
        })
    }
}
