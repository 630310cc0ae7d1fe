//! What a search makes small while it keeps the accuracy: bits, energy, or what the network costs on some hardware.

use std::fmt;
use std::sync::Arc;

use releq_device::board::Board;
use releq_format::bits::BitWidth;
use releq_format::graph::KernelHint;
use releq_search::cost::{BitSerialAccelerator, CostModel, Costs};
use releq_search::network::StateOfQuantization;
use releq_search::space::Space;
use serde::{Deserialize, Serialize};

use super::SearchError;
use crate::cost::layer::nominal_levels;
use crate::cost::plans::PlansError;
use crate::cost::{self, plans};
use crate::network::Network;
use crate::train::fold::fold;
use crate::train::quantize::{self, Method};

/// What is made small.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Minimize {
    /// Mean bits of the layers: of the weights, times those of the codes they are multiplied with over 8
    #[default]
    Bits,
    /// Energy of fetching weights and multiplying, as the paper weighs layers
    Energy,
    /// Instructions of --board's kernels, predicted
    Instructions,
    /// Cycles of an accelerator that takes weights bit by bit and codes whole
    Accelerator,
    /// Time of bit-plane kernels on a workstation, predicted
    Cpu,
}

/// Why it cannot be made small.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MinimizeError {
    /// Instructions of nobody.
    #[error(
        "--minimize instructions does not say on which board; boards differ in what a width costs; name one with --board"
    )]
    NoBoard,
    /// Nobody knows the board's.
    #[error(
        "--minimize instructions has no prices for {board}; releq comes with those of {}; name one of them with --board",
        cost::priced()
    )]
    NoPrices {
        /// The board.
        board: &'static str,
    },
}

/// What is made small, ready to be asked of any plan.
#[derive(Clone)]
pub struct Measure {
    /// What it is.
    pub minimize: Minimize,
    /// The fastest family of the core that layers run on.
    pub family: KernelHint,
    /// The board that it is asked of, if any.
    pub board: Option<&'static Board>,
    /// Prices of layers; none where bits or energy are counted.
    model: Option<Arc<dyn CostModel + Send + Sync>>,
}

impl fmt::Debug for Measure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let model = self.model().map(CostModel::name);
        f.debug_struct("Measure").field("minimize", &self.minimize).field("model", &model).finish_non_exhaustive()
    }
}

impl Measure {
    /// What `minimize` says, on `board` where it is a board's.
    ///
    /// # Errors
    /// [`MinimizeError`].
    pub fn new(minimize: Minimize, board: Option<&'static Board>) -> Result<Self, MinimizeError> {
        let model: Option<Arc<dyn CostModel + Send + Sync>> = match (minimize, board) {
            (Minimize::Bits | Minimize::Energy, _) => None,
            (Minimize::Instructions, None) => return Err(MinimizeError::NoBoard),
            (Minimize::Instructions, Some(&Board { name: board, .. })) => {
                Some(Arc::new(cost::prices(board).map_err(|_| MinimizeError::NoPrices { board })?))
            }
            (Minimize::Accelerator, _) => Some(Arc::new(BitSerialAccelerator)),
            (Minimize::Cpu, _) => Some(Arc::new(cost::workstation())),
        };
        Ok(Self { minimize, family: board.map_or(KernelHint::DSP, |board| board.family), board, model })
    }

    /// The State of Quantization that stands for it where no prices do.
    pub fn state(&self) -> StateOfQuantization {
        if self.minimize == Minimize::Energy { StateOfQuantization::Energy } else { StateOfQuantization::Mean }
    }

    /// The model that prices layers, where one does.
    pub fn model(&self) -> Option<&dyn CostModel> {
        self.model.as_deref().map(|model| model as &dyn CostModel)
    }

    /// What the plans of `space` cost on `network`, its weights quantized by `method`, where layers have prices.
    ///
    /// # Errors
    /// [`SearchError`] for a network that does not become an image, or work without a price.
    pub fn costs(&self, network: &Network, space: &Space, method: Method) -> Result<Option<Costs>, SearchError> {
        let Some(model) = self.model() else { return Ok(None) };
        let folded = fold(network).map_err(PlansError::Fold)?;
        let found = quantize::levels(&folded, method)?;
        let levels = |layer: usize, bits: BitWidth| found[layer][usize::from(bits.get()) - 1];
        Ok(Some(plans::costs(&folded, space, &levels, self.family, model)?))
    }

    /// What `network` costs with 8 bits everywhere, where layers have prices.
    ///
    /// # Errors
    /// As [`costs`](Self::costs).
    pub fn at_8_bits(&self, network: &Network) -> Result<Option<f64>, SearchError> {
        let Some(model) = self.model() else { return Ok(None) };
        let eight = Space::same(&[8], network.graph.weighted().len()).map_err(PlansError::Space)?;
        let costs = plans::costs(network, &eight, &|_, bits| nominal_levels(bits), self.family, model)?;
        Ok(Some(costs.of(&eight.widest())))
    }
}

#[cfg(test)]
mod tests {
    use releq_device::board::{VIRT_M3, VIRT_M4};

    use super::*;
    use crate::zoo;

    #[test]
    fn each_is_asked_of_its_own_hardware() {
        let lenet = zoo::build("lenet", [1, 28, 28], 10, 1).unwrap();
        let space = Space::same(&[2, 8], 4).unwrap().with_activations(&[2, 8]).unwrap();
        let measure = |minimize| Measure::new(minimize, Some(&VIRT_M4)).unwrap();
        let costs = |minimize| measure(minimize).costs(&lenet, &space, Method::Dorefa).unwrap();
        assert!(costs(Minimize::Bits).is_none() && costs(Minimize::Energy).is_none());
        let narrow = "8:2,8:2,8:2,8".parse().unwrap();
        // Codes that are taken whole cost the same at any width.
        assert_eq!(costs(Minimize::Accelerator).unwrap().relative(&narrow), 1.0);
        assert!(costs(Minimize::Cpu).unwrap().relative(&narrow) < 0.5);
        let instructions = costs(Minimize::Instructions).unwrap();
        assert_ne!(instructions.relative(&narrow), 1.0);
        assert!(instructions.relative(&"2,2,2,2".parse().unwrap()) < 1.0);
        let eight = measure(Minimize::Instructions).at_8_bits(&lenet).unwrap();
        assert_eq!(eight, Some(instructions.of(&space.widest())));
    }

    #[test]
    fn instructions_need_a_board_with_prices() {
        let refused = |board| Measure::new(Minimize::Instructions, board).err();
        assert_eq!(refused(None), Some(MinimizeError::NoBoard));
        assert_eq!(refused(Some(&VIRT_M3)), Some(MinimizeError::NoPrices { board: "virt-m3" }));
    }
}
