//! The layers of the chosen plan's image: what the result, the image and the bench say of each, side by side.

use crate::run::{Layer, Run};

/// One layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) op: String,
    pub(crate) w: Option<u8>,
    pub(crate) out: Option<u8>,
    /// The kernel that ran on the board, or that is to run.
    pub(crate) kernel: String,
    /// Bytes of constants.
    pub(crate) bytes: Option<u64>,
    pub(crate) macs: Option<u64>,
    pub(crate) predicted: Option<f64>,
    pub(crate) measured: Option<f64>,
}

/// All layers, and what their counts are.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Layers {
    pub(crate) rows: Vec<Row>,
    /// What predictions count; none where there is none.
    pub(crate) predicted: Option<String>,
    /// What the board counted, and which it is.
    pub(crate) measured: Option<(String, String)>,
}

impl Layers {
    /// What is known of the layers in `run`.
    pub(crate) fn of(run: &Run) -> Self {
        let Some(outcome) = &run.outcome else { return Self::default() };
        let timing = run.timing();
        let row = |layer: &Layer| {
            let held = run.image.iter().flat_map(|image| &image.layers).find(|held| held.name == layer.name);
            let timed = timing.and_then(|timing| timing.layers.iter().find(|timed| timed.name == layer.name));
            let kernel = timed.map_or("", |timed| timed.kernel.as_str());
            Row {
                name: layer.name.clone(),
                op: layer.op.clone(),
                w: layer.w,
                out: layer.out,
                kernel: if kernel.is_empty() { layer.kernel.clone() } else { kernel.to_owned() },
                bytes: held.map(|held| held.weight_bytes + held.channel_bytes),
                macs: held.map(|held| held.macs),
                predicted: layer.cost.or(timed.and_then(|timed| timed.predicted)),
                measured: timed.and_then(|timed| timed.mean),
            }
        };
        let rows: Vec<Row> = outcome.layers.iter().map(row).collect();
        let unit = outcome.cost.as_ref().map_or("instructions", |cost| &cost.unit);
        let board = run.bench.as_ref().map_or(String::new(), |bench| bench.board.clone());
        Self {
            predicted: rows.iter().any(|row| row.predicted.is_some()).then(|| unit.to_owned()),
            measured: timing.map(|timing| (timing.unit.clone(), board)),
            rows,
        }
    }

    /// Predicted over measured, less one, in percent, where both count the same.
    pub(crate) fn error(&self, predicted: Option<f64>, measured: Option<f64>) -> Option<f64> {
        let same = self.predicted.as_ref() == self.measured.as_ref().map(|(unit, _)| unit);
        let (predicted, measured) = (predicted?, measured?);
        (same && measured > 0.0).then(|| 100.0 * (predicted / measured - 1.0))
    }

    /// Sums of what is predicted and measured, where every layer has it.
    pub(crate) fn totals(&self) -> [Option<f64>; 2] {
        let of: [fn(&Row) -> Option<f64>; 2] = [|row| row.predicted, |row| row.measured];
        of.map(|of| if self.rows.is_empty() { None } else { self.rows.iter().map(of).sum() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::{Bench, Cost, Image, ImageLayer, LayerTiming, Outcome, Timing};

    fn run(unit: &str) -> Run {
        let layer = |name: &str, cost| Layer { name: name.to_owned(), cost, ..Layer::default() };
        let timed =
            |name: &str, mean| LayerTiming { name: name.to_owned(), mean: Some(mean), ..LayerTiming::default() };
        let held = ImageLayer { name: "a".to_owned(), weight_bytes: 10, channel_bytes: 8, ..ImageLayer::default() };
        let timing = Timing {
            crc: "1".to_owned(),
            unit: unit.to_owned(),
            layers: vec![timed("a", 200.0), timed("b", 50.0)],
            ..Timing::default()
        };
        Run {
            outcome: Some(Outcome {
                layers: vec![layer("a", Some(100.0)), layer("b", Some(50.0))],
                cost: Some(Cost { unit: "instructions".to_owned(), ..Cost::default() }),
                ..Outcome::default()
            }),
            image: Some(Image { crc: "1".to_owned(), layers: vec![held], ..Image::default() }),
            bench: Some(Bench { board: "virt-m4".to_owned(), images: vec![timing], ..Bench::default() }),
            ..Run::default()
        }
    }

    #[test]
    fn layers_are_joined_by_name_and_compared_in_one_unit() {
        let layers = Layers::of(&run("instructions"));
        assert_eq!((layers.rows[0].bytes, layers.rows[1].bytes), (Some(18), None));
        assert_eq!(layers.totals(), [Some(150.0), Some(250.0)]);
        assert_eq!(layers.error(layers.rows[0].predicted, layers.rows[0].measured), Some(-50.0));
        let cycles = Layers::of(&run("cycles"));
        assert_eq!(cycles.error(Some(1.0), Some(1.0)), None);
    }

    #[test]
    fn another_image_was_not_measured_here() {
        let mut other = run("instructions");
        other.image.as_mut().unwrap().crc = "2".to_owned();
        assert!(Layers::of(&other).measured.is_none());
    }
}
