//! `releq cost`: what each layer of a network will cost on a board at each width, before anything is trained for it.

use std::path::{Path, PathBuf};

use releq_device::board::Board;
use releq_search::cost::{BitSerialAccelerator, CostModel, PackedSimd};
use releq_search::network::StateOfQuantization;
use releq_search::plan::{BitPlan, LayerBits};
use serde::Serialize;

use super::{Failure, FileError, Outcome, is_model, load_model, open_image, print_json, read_image};
use crate::cost;
use crate::cost::layer::{Layer, layers};
use crate::cost::nominal;
use crate::cost::widths::{costs, price};
use crate::target;
use crate::terminal::{self, grouped, table};

/// Example: releq cost lenet.onnx --board virt-m4
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq cost lenet.onnx --board virt-m4")]
pub(super) struct Arguments {
    /// An image (.rlq) or a model (.onnx, .safetensors)
    file: PathBuf,
    /// Predict instructions on this board
    #[arg(long, value_name = "BOARD", default_value = "virt-m4")]
    board: String,
    /// Another cost than the board's instructions
    #[arg(long, value_enum, default_value_t = Model::PackedSimd)]
    model: Model,
    /// Prices from `releq calibrate` instead of those that releq comes with
    #[arg(long, value_name = "FILE.json")]
    prices: Option<PathBuf>,
    /// Activation bits of a model's layers; an image has its own
    #[arg(long, value_name = "BITS", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=8))]
    a: u8,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Model {
    /// Instructions of the board's kernels, at calibrated prices
    PackedSimd,
    /// Cycles of an accelerator that takes weights bit by bit
    BitserialAccelerator,
    /// Time of bit-plane kernels on a workstation, in 8-bit multiply-accumulates
    BitserialCpu,
    /// Energy of fetching weights and multiplying, in 8-bit multiply-accumulates
    EnergyWeighted,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    file: String,
    model: String,
    unit: &'static str,
    /// What layers without weights cost together.
    rest: f64,
    layers: Vec<LayerReport>,
}

#[derive(Serialize)]
struct LayerReport {
    name: String,
    op: &'static str,
    /// Bits of its codes as it reads them.
    a: u8,
    /// Weight bits in an image.
    w: Option<u8>,
    /// At 1 to 8 weight bits.
    costs: [f64; 8],
    /// For 1 to 8 bits, the cheapest wider width that costs no more.
    better: [Option<u8>; 8],
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let board = target::board(&arguments.board).map_err(|error| Failure::with_code(error.exit_code(), error))?;
    let layers = if is_model(&arguments.file) { nominal(arguments)? } else { recorded(&arguments.file)? };
    let report = report(arguments, board, &layers)?;
    if arguments.json {
        print_json(&report)?;
    } else {
        terminal::answer(&text(&report))?;
    }
    Ok(true)
}

fn recorded(path: &Path) -> Result<Vec<Layer>, Failure> {
    let bytes = read_image(path)?;
    Ok(layers(&open_image(path, &bytes)?))
}

fn nominal(arguments: &Arguments) -> Result<Vec<Layer>, Failure> {
    let network = load_model(&arguments.file)?;
    let bits = LayerBits { weights: 8, activations: arguments.a };
    let plan = BitPlan::new(vec![bits; network.graph.weighted().len()])?;
    let lowered = nominal::image(&network, &plan)?;
    Ok(layers(&open_image(&arguments.file, &lowered.image)?))
}

fn model(arguments: &Arguments, board: &Board) -> Result<Box<dyn CostModel>, Failure> {
    Ok(match (arguments.model, &arguments.prices) {
        (Model::BitserialAccelerator, _) => Box::new(BitSerialAccelerator),
        (Model::BitserialCpu, _) => Box::new(cost::workstation()),
        (Model::EnergyWeighted, _) => Box::new(StateOfQuantization::Energy),
        (Model::PackedSimd, None) => Box::new(cost::prices(board.name)?),
        (Model::PackedSimd, Some(path)) => {
            let text = std::fs::read_to_string(path);
            let text = text.map_err(|error| FileError::Unreadable { path: path.clone(), error })?;
            let prices: PackedSimd = serde_json::from_str(&text).map_err(|error| {
                anyhow::anyhow!("cannot use {} as prices: {error}; make them with `releq calibrate`", path.display())
            })?;
            Box::new(prices)
        }
    })
}

fn report(arguments: &Arguments, board: &Board, layers: &[Layer]) -> Result<Report, Failure> {
    let model = model(arguments, board)?;
    let costs = costs(layers, board.family, &*model)?;
    let mut rest = 0.0;
    for layer in layers.iter().filter(|layer| layer.op.weights().is_none()) {
        rest += price(layer, board.family, &*model)?;
    }
    let weighted = layers.iter().filter_map(|layer| Some((layer, layer.op.weights()?)));
    let row = |(index, (layer, weights)): (usize, (&Layer, &releq_format::graph::Weights))| {
        Some(LayerReport {
            name: layer.name.clone(),
            op: layer.op.name(),
            a: layer.inputs[0].bits.get(),
            w: (!is_model(&arguments.file)).then_some(weights.bits.get()),
            costs: costs.layer(index)?,
            better: costs.better(index),
        })
    };
    Ok(Report {
        schema: 1,
        file: arguments.file.display().to_string(),
        model: model.name(),
        unit: model.unit(),
        rest,
        layers: weighted.enumerate().filter_map(row).collect(),
    })
}

fn text(report: &Report) -> String {
    let whole = |cost: f64| grouped(cost.round() as u64);
    let row = |layer: &LayerReport| {
        let cell = |(index, cost): (usize, &f64)| {
            let better = if layer.better[index].is_some() { "*" } else { " " };
            let taken = if layer.w == Some(index as u8 + 1) { "<" } else { " " };
            format!("{}{better}{taken}", whole(*cost))
        };
        let head = [layer.name.clone(), layer.op.to_owned(), layer.a.to_string()];
        head.into_iter().chain(layer.costs.iter().enumerate().map(cell)).collect::<Vec<_>>()
    };
    let mut rows: Vec<Vec<String>> = report.layers.iter().map(row).collect();
    let rest = ["all others", "", ""].map(str::to_owned).into_iter();
    rows.push(rest.chain((1..=8).map(|_| format!("{}  ", whole(report.rest)))).collect());
    let header = ["layer", "op", "a", "w1  ", "w2  ", "w3  ", "w4  ", "w5  ", "w6  ", "w7  ", "w8  "];
    let mut text = format!("{}, {} predicted, by weight bits\n\n{}", report.model, report.unit, table(&header, &rows));
    if report.layers.iter().any(|layer| layer.w.is_some()) {
        text += "< what the image has\n";
    }
    let marked = report.layers.iter().flat_map(|layer| {
        let at = |(index, better): (usize, &Option<u8>)| {
            let (narrow, wide) = (index + 1, (*better)?);
            let costs = [narrow, usize::from(wide)].map(|bits| whole(layer.costs[bits - 1]));
            Some(format!("  {}: {narrow} bits cost {}, {wide} bits {}\n", layer.name, costs[0], costs[1]))
        };
        layer.better.iter().enumerate().filter_map(at).collect::<Vec<_>>()
    });
    let marked: String = marked.collect();
    if !marked.is_empty() {
        text += &format!("* no faster than a wider width; narrower weights save flash there, not time:\n{marked}");
    }
    text
}
