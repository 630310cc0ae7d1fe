//! Counts of layers as CSV: all that a prediction needs to know of a layer, and what a board counted for it.

use std::fmt::Write;
use std::str::FromStr;

use releq_format::bits::{BitWidth, Levels};
use releq_format::graph::{Op, Storage, TensorRecord, Weights, Window};
use releq_format::pack::Layout;
use releq_format::quant::AddScale;

use super::layer::Layer;

/// A layer and its count.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The network it is a layer of.
    pub network: String,
    /// The layer, without constants.
    pub layer: Layer,
    /// The kernel that the board ran it with.
    pub kernel: String,
    /// What that counted, the engine's own work included.
    pub instructions: u32,
}

/// The first line. Sizes are height × width × channels; a window is its kernel, its stride, and its padding at the top,
/// left, bottom and right; `second_bits` are those of an add's other operand.
const HEADER: &str = "network,layer,op,input,input_bits,input_zero,second_bits,window,output_channels,output_bits,\
                      output_zero,weight_bits,levels,layout,kernel,instructions";

/// Why a text is no table of counts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line} of the table is no row of counts: {what}; make the table again with `releq calibrate`")]
pub struct TableError {
    line: usize,
    what: String,
}

/// The rows as CSV.
pub fn write(rows: &[Row]) -> String {
    let mut text = HEADER.to_owned() + "\n";
    for row in rows {
        let Row { network, layer, kernel, instructions } = row;
        let Layer { name, op, inputs: [input, second], output } = layer;
        let TensorRecord { height, width, channels, bits, zero_point, .. } = input;
        let weights = op.weights().map(|weights| (weights.bits.get().to_string(), weights.levels, weights.layout));
        let (bits_of, levels, layout) = match weights {
            Some((bits, levels, layout)) => (bits, format!("{levels:?}"), format!("{layout:?}")),
            None => Default::default(),
        };
        let logits = output.storage == Storage::Logits;
        let output_bits = if logits { "logits".to_owned() } else { output.bits.get().to_string() };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{network},{name},{},{height}x{width}x{channels},{},{zero_point},{},{},{},{output_bits},{},{bits_of},{levels},{layout},{kernel},{instructions}",
            op.name(),
            bits.get(),
            second.bits.get(),
            window_of(op).map_or_else(String::new, window_text),
            output.channels,
            output.zero_point,
        );
    }
    text
}

/// The rows of a CSV table.
///
/// # Errors
/// [`TableError`] with the first line that is none.
pub fn read(text: &str) -> Result<Vec<Row>, TableError> {
    let mut lines = text.lines().enumerate();
    let error = |line: usize, what: String| TableError { line: line + 1, what };
    match lines.next() {
        Some((_, HEADER)) => {}
        _ => return Err(error(0, "the header is another one".to_owned())),
    }
    lines.map(|(line, text)| row(text).map_err(|what| error(line, what))).collect()
}

fn row(line: &str) -> Result<Row, String> {
    let fields: Vec<&str> = line.split(',').collect();
    let fields: [&str; 16] = fields.try_into().map_err(|_| "it has not 16 fields".to_owned())?;
    let [network, name, op, input, input_bits, input_zero, second_bits, window, out, output_bits, output_zero] =
        *fields.first_chunk().ok_or("it is short")?;
    let [weight_bits, levels, layout, kernel, instructions] = *fields.last_chunk().ok_or("it is short")?;
    let [height, width, channels] = numbers(input, 'x')?;
    let input = record([height, width, channels], input_bits, input_zero)?;
    let mut second = record([height, width, channels], second_bits, input_zero)?;
    let window = if window.is_empty() { None } else { Some(read_window(window)?) };
    let weights = if weight_bits.is_empty() { None } else { Some(weights(weight_bits, levels, layout)?) };
    let op = read_op(op, window, weights)?;
    let [height, width] = match (op, window) {
        (Op::Dense { .. }, _) => [1; 2],
        (_, Some(window)) => window.output(input.height, input.width).ok_or("its window does not fit")?,
        (_, None) => [input.height, input.width],
    };
    if let Op::Concat = op {
        let out: u16 = number(out)?;
        second.channels = out.checked_sub(channels).ok_or("it joins more channels than it has")?;
    }
    let logits = output_bits == "logits";
    let bits = if logits { "8" } else { output_bits };
    let mut output = record([height, width, number(out)?], bits, output_zero)?;
    if logits {
        output.storage = Storage::Logits;
    }
    let layer = Layer { name: name.to_owned(), op, inputs: [input, second], output };
    Ok(Row { network: network.to_owned(), layer, kernel: kernel.to_owned(), instructions: number(instructions)? })
}

fn number<N: FromStr>(text: &str) -> Result<N, String> {
    text.parse().map_err(|_| format!("`{text}` is no number"))
}

fn numbers<N: FromStr + Copy + Default, const COUNT: usize>(text: &str, between: char) -> Result<[N; COUNT], String> {
    let all = text.split(between).map(number).collect::<Result<Vec<N>, String>>()?;
    all.try_into().map_err(|_| format!("`{text}` is not {COUNT} numbers"))
}

fn width(text: &str) -> Result<BitWidth, String> {
    BitWidth::new(number(text)?).ok_or_else(|| format!("`{text}` is no width"))
}

fn record([height, width_, channels]: [u16; 3], bits: &str, zero: &str) -> Result<TensorRecord, String> {
    let bits = width(bits)?;
    let storage = Storage::narrowest(bits);
    Ok(TensorRecord { height, width: width_, channels, bits, zero_point: number(zero)?, storage, offset: 0 })
}

fn window_of(op: &Op) -> Option<Window> {
    match *op {
        Op::Conv2d { window, .. }
        | Op::Depthwise { window, .. }
        | Op::MaxPool { window }
        | Op::AvgPool { window, .. } => Some(window),
        Op::Dense { .. } | Op::Add { .. } | Op::Concat => None,
    }
}

fn window_text(window: Window) -> String {
    let Window { kernel: [rows, columns], stride: [down, across], padding: [top, left, bottom, right] } = window;
    format!("{rows}x{columns}/{down}x{across}/{top}x{left}x{bottom}x{right}")
}

fn read_window(text: &str) -> Result<Window, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let [kernel, stride, padding] = parts.try_into().map_err(|_| format!("`{text}` is no window"))?;
    Ok(Window { kernel: numbers(kernel, 'x')?, stride: numbers(stride, 'x')?, padding: numbers(padding, 'x')? })
}

fn weights(bits: &str, levels: &str, layout: &str) -> Result<Weights, String> {
    let levels = [Levels::TwosComplement, Levels::MidTread, Levels::MidRise]
        .into_iter()
        .find(|known| format!("{known:?}") == levels)
        .ok_or_else(|| format!("`{levels}` are no levels"))?;
    let layout = [Layout::Bytes, Layout::RowPairs, Layout::Rows, Layout::Lanes, Layout::Ends]
        .into_iter()
        .find(|known| format!("{known:?}") == layout)
        .ok_or_else(|| format!("`{layout}` is no layout"))?;
    Ok(Weights { bits: width(bits)?, levels, layout, shift: 0, codes: 0, channels: 0 })
}

fn read_op(name: &str, window: Option<Window>, weights: Option<Weights>) -> Result<Op, String> {
    match (name, window, weights) {
        ("conv2d", Some(window), Some(weights)) => Ok(Op::Conv2d { window, weights }),
        ("depthwise", Some(window), Some(weights)) => Ok(Op::Depthwise { window, weights }),
        ("dense", None, Some(weights)) => Ok(Op::Dense { weights }),
        ("maxpool", Some(window), None) => Ok(Op::MaxPool { window }),
        ("avgpool", Some(window), None) => Ok(Op::AvgPool { window, shift: 0, bias: 0, multiplier: 0 }),
        ("concat", None, None) => Ok(Op::Concat),
        ("add", None, None) => Ok(Op::Add { scale: AddScale { multipliers: [0; 2], constant: 0, shift: 0 } }),
        _ => Err(format!("`{name}` does not go with its window and weights")),
    }
}

#[cfg(test)]
mod tests {
    use releq_format::graph::KernelHint;
    use releq_format::image::Image;

    use super::*;
    use crate::cost::layer::layers;
    use crate::cost::sample::{joined, lowered};

    /// A layer that went through a table does the same work as before.
    #[test]
    fn tables_keep_what_predictions_need() {
        for lowered in (0..8).flat_map(|index| [lowered(index), joined(index)]) {
            let lowered = lowered.unwrap();
            let row = |layer| Row { network: "n".into(), layer, kernel: "k".into(), instructions: 7 };
            let rows: Vec<Row> = layers(&Image::open(&lowered.image).unwrap()).into_iter().map(row).collect();
            let again = read(&write(&rows)).unwrap();
            assert_eq!(rows.len(), again.len());
            for (row, again) in rows.iter().zip(&again) {
                for family in [KernelHint::DSP, KernelHint::PACKED] {
                    assert_eq!(row.layer.work(family), again.layer.work(family), "{row:?}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_table_is_named_with_its_line() {
        assert_eq!(read("a,b\n").unwrap_err().line, 1);
        let text = format!("{HEADER}\nn,l,dense,1x1x8,8,0,8,,4,8,0,9,MidTread,Lanes,k,7\n");
        assert_eq!(
            read(&text).unwrap_err().to_string().split(';').next().unwrap(),
            "line 2 of the table is no row of counts: `9` is no width"
        );
    }
}
