//! The chosen plan layer by layer: the widths, the kernel that runs it, and what it is predicted to cost.

use releq_format::graph::Storage;
use releq_format::image::Image;
use releq_search::cost::Unpriced;
use serde::Serialize;

use crate::cost::layer::{Layer, layers};
use crate::cost::widths::price;
use crate::network::Network;
use crate::search::SearchError;
use crate::search::minimize::Measure;
use crate::terminal::grouped;

/// What an image costs on the hardware that was searched for.
#[derive(Serialize)]
pub(super) struct Cost {
    model: String,
    unit: &'static str,
    /// Of the image.
    predicted: f64,
    /// Of one with 8 bits everywhere.
    at_8_bits: f64,
}

/// One layer of the image.
#[derive(Serialize)]
pub(super) struct LayerReport {
    name: String,
    op: &'static str,
    /// Bits of its weights.
    w: Option<u8>,
    /// Bits of the codes it reads; the wider of an addition's.
    a: u8,
    /// Bits of the codes it hands on; none of sums that are handed out whole.
    out: Option<u8>,
    /// The kernel that runs it, and which of its ways.
    kernel: String,
    /// What is minimised, of this layer, where layers have prices.
    cost: Option<f64>,
}

/// The layers of `image` in execution order.
///
/// # Errors
/// [`Unpriced`].
pub(super) fn reports(image: &Image<'_>, measure: &Measure) -> Result<Vec<LayerReport>, Unpriced> {
    let report = |layer: Layer| {
        let cost = measure.model().map(|model| price(&layer, measure.family, model)).transpose()?;
        Ok(LayerReport {
            op: layer.op.name(),
            w: layer.op.weights().map(|weights| weights.bits.get()),
            a: layer.inputs[0].bits.max(layer.inputs[1].bits).get(),
            out: (layer.output.storage != Storage::Logits).then(|| layer.output.bits.get()),
            kernel: layer.work(measure.family).kernel,
            name: layer.name,
            cost,
        })
    };
    layers(image).into_iter().map(report).collect()
}

impl Cost {
    /// The cost of `layers`, those of an image of `network`; none where layers have no prices.
    ///
    /// # Errors
    /// As the measure's.
    pub(super) fn of(
        layers: &[LayerReport],
        measure: &Measure,
        network: &Network,
    ) -> Result<Option<Self>, SearchError> {
        let (Some(model), Some(at_8_bits)) = (measure.model(), measure.at_8_bits(network)?) else { return Ok(None) };
        let predicted = layers.iter().filter_map(|layer| layer.cost).sum();
        Ok(Some(Self { model: model.name(), unit: model.unit(), predicted, at_8_bits }))
    }

    pub(super) fn text(&self) -> String {
        let whole = |cost: f64| grouped(cost.round() as u64);
        let Self { model, unit, predicted, at_8_bits } = self;
        format!("{} {unit} predicted by {model}, {} with 8 bits everywhere\n", whole(*predicted), whole(*at_8_bits))
    }
}
