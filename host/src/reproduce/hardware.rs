//! What hardware gains from a plan over eight bits: each gain is cost at uniform 8-bit weights by cost of the plan.

use releq_device::board::Board;
use releq_format::bits::BitWidth;
use releq_format::image::{Image, ImageBuffer};
use releq_search::cost::{BitSerialAccelerator, CostModel, Unpriced};
use releq_search::network::StateOfQuantization;
use releq_search::plan::BitPlan;
use serde::Serialize;

use crate::cost::layer::layers;
use crate::cost::measure::{MeasureError, measure};
use crate::cost::nominal::{self, NominalError};
use crate::cost::widths::{fastest, price};
use crate::cost::{self, NoPrices};
use crate::lower::{LowerError, lower_stored};
use crate::network::Network;
use crate::search::{SearchError, features};
use crate::target::lab::Lab;
use crate::target::{self, TargetError};

/// The board whose instructions are compared.
pub const BOARD: &str = "virt-m4";

/// Gains of one plan.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gains {
    /// Bit-plane kernels on a workstation, by prices fitted to times of one that has AVX2.
    pub cpu: f64,
    /// Cycles of a bit-serial accelerator (Stripes).
    pub accelerator: f64,
    /// Energy of that accelerator: fetches of weights and multiply-accumulates.
    pub energy: f64,
    /// Instructions on a Cortex-M4, counted if the emulator is there and predicted by calibrated prices if not.
    pub instructions: f64,
    /// Whether they were counted.
    pub counted: bool,
}

/// Why there are no gains.
#[derive(Debug, thiserror::Error)]
pub enum HardwareError {
    /// The network cannot be lowered.
    #[error(transparent)]
    Nominal(#[from] NominalError),
    /// The network cannot be lowered.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// Its layers have no features.
    #[error(transparent)]
    Features(#[from] SearchError),
    /// A layer has no price.
    #[error(transparent)]
    Unpriced(#[from] Unpriced),
    /// The board has none.
    #[error(transparent)]
    Prices(#[from] NoPrices),
    /// The board misbehaved.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// There is no such board.
    #[error(transparent)]
    Target(#[from] TargetError),
}

/// The gains of `plan` for `network`, whose parameters need not be trained.
///
/// # Errors
/// [`HardwareError`].
pub fn gains(network: &Network, plan: &BitPlan, lab: &Lab) -> Result<Gains, HardwareError> {
    let board = target::board(BOARD)?;
    let eight = BitPlan::uniform(8, plan.layers().len()).expect("eight bits are a width");
    let images = [eight, plan.clone()].map(|plan| on_board(network, &plan, board));
    let [eight, planned] = images;
    let (eight, planned) = (eight?, planned?);
    let gain = |model: &dyn CostModel| -> Result<f64, Unpriced> {
        Ok(total(&eight.smallest, board, model)? / total(&planned.smallest, board, model)?)
    };
    let energy = 1.0 / StateOfQuantization::Energy.of(&features(network)?, plan);
    let counted = [&eight, &planned].map(|image| counted(&image.fastest, board, lab));
    let (instructions, is_counted) = match counted {
        [Ok(Some(eight)), Ok(Some(planned))] => (eight as f64 / planned as f64, true),
        [Err(error), _] | [_, Err(error)] => return Err(error),
        _ => {
            let prices = cost::prices(BOARD)?;
            (total(&eight.fastest, board, &prices)? / total(&planned.fastest, board, &prices)?, false)
        }
    };
    Ok(Gains {
        cpu: gain(&cost::workstation())?,
        accelerator: gain(&BitSerialAccelerator)?,
        energy,
        instructions,
        counted: is_counted,
    })
}

/// A plan's images with nominal weights, stored as narrow as they are and as it is fastest.
struct OnBoard {
    smallest: ImageBuffer,
    fastest: ImageBuffer,
}

fn on_board(network: &Network, plan: &BitPlan, board: &Board) -> Result<OnBoard, HardwareError> {
    let lowered = nominal::image(network, plan)?;
    let image = Image::open(&lowered.image).map_err(LowerError::Refused)?;
    let widths = fastest(&layers(&image), board.family, &cost::prices(board.name)?)?;
    let weighted = lowered.quantized.network.graph.weighted();
    let stored = weighted.into_iter().zip(widths).collect::<std::collections::BTreeMap<usize, BitWidth>>();
    let fastest = lower_stored(&lowered.quantized, &stored)?.image;
    Ok(OnBoard { smallest: lowered.image, fastest })
}

/// The cost of all layers of an image.
fn total(image: &ImageBuffer, board: &Board, model: &dyn CostModel) -> Result<f64, Unpriced> {
    let image = Image::open(image).expect("lowering checked it");
    layers(&image).iter().map(|layer| price(layer, board.family, model)).sum()
}

/// Instructions of one inference; `None` without an emulator or a runner, or where the image does not fit the board.
fn counted(image: &ImageBuffer, board: &'static Board, lab: &Lab) -> Result<Option<u64>, HardwareError> {
    let image = Image::open(image).map_err(LowerError::Refused)?;
    match measure(board, lab, &image) {
        Ok(rows) => Ok(Some(rows.iter().map(|row| u64::from(row.instructions)).sum())),
        Err(MeasureError::Fit(_)) => Ok(None),
        Err(MeasureError::Target(error)) if error.exit_code() == 3 => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::zoo;

    /// The paper's plan for LeNet: 8 bits over MAC-weighted bits on the accelerator, and nothing gained by eight bits.
    #[test]
    fn gains_of_lenet() {
        let network = zoo::build("lenet", [1, 28, 28], 10, 1).unwrap();
        let mut nowhere = Lab::from_env();
        nowhere.launch.qemu = "/nonexistent".into();
        let of = |plan: &str| gains(&network, &plan.parse().unwrap(), &nowhere).unwrap();
        let eight = of("8,8,8,8");
        for gain in [eight.cpu, eight.accelerator, eight.energy, eight.instructions] {
            assert!((gain - 1.0).abs() < 1e-12, "{eight:?}");
        }
        let paper = of("2,2,3,2");
        let macs: [f64; 4] = [288_000.0, 1_600_000.0, 400_000.0, 5_000.0];
        let bits: f64 = macs.iter().zip([2.0, 2.0, 3.0, 2.0]).map(|(macs, bits)| macs * bits).sum();
        assert!((paper.accelerator - 8.0 * macs.iter().sum::<f64>() / bits).abs() < 1e-9, "{paper:?}");
        assert!(paper.instructions > 1.0 && paper.cpu > 1.0 && paper.energy > 1.0 && !paper.counted, "{paper:?}");
    }
}
