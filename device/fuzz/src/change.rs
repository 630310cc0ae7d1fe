//! One change of one piece of an image, to a value that is likely to be near a rule's edge.

use releq_format::bits::{BitWidth, Levels};
use releq_format::graph::{KernelHint, LayerRecord, Op, Storage, TensorRecord, Weights, Window};
use releq_format::pack::Layout;
use releq_format::quant::AddScale;

use crate::dice::Dice;
use crate::parts::Parts;

/// Changes one thing.
pub fn change(parts: &mut Parts<'_>, dice: &mut Dice) {
    match dice.below(12) {
        0 => tensor(&mut parts.header.input, dice),
        1 => parts.arena = dice.number(parts.arena),
        2 => parts.features = dice.number(parts.features),
        3 => constant(&mut parts.sections, dice),
        4 => parts.header.layers = dice.number(parts.header.layers.into()) as u16,
        5 | 6 => order(parts, dice),
        _ if parts.layers.is_empty() => {}
        _ => {
            let index = dice.below(parts.layers.len());
            layer(&mut parts.layers[index], dice);
        }
    }
}

/// One byte of the sections, or their end.
fn constant(sections: &mut Vec<u8>, dice: &mut Dice) {
    if dice.once_in(8) {
        sections.truncate(dice.below(sections.len() + 1));
    } else if !sections.is_empty() {
        let index = dice.below(sections.len());
        sections[index] = dice.word() as u8;
    }
}

/// A layer more, less, or elsewhere; their number in the header follows.
fn order(parts: &mut Parts<'_>, dice: &mut Dice) {
    let layers = &mut parts.layers;
    if layers.is_empty() {
        return;
    }
    let [one, other] = [dice.below(layers.len()), dice.below(layers.len())];
    match dice.below(3) {
        0 => layers.swap(one, other),
        1 => layers.insert(other, layers[one]),
        _ => drop(layers.remove(one)),
    }
    parts.header.layers = layers.len() as u16;
}

fn layer(record: &mut LayerRecord<'_>, dice: &mut Dice) {
    match dice.below(8) {
        0 => tensor(&mut record.output, dice),
        1 => {
            let side = dice.below(2);
            record.inputs[side] = dice.number(record.inputs[side].into()) as u16;
        }
        2 => record.scratch.offset = dice.number(record.scratch.offset),
        3 => record.scratch.bytes = dice.number(record.scratch.bytes),
        4 => record.kernel = KernelHint(dice.below(6) as u8),
        5 => record.op = any_op(dice),
        _ => op(&mut record.op, dice),
    }
}

fn tensor(record: &mut TensorRecord, dice: &mut Dice) {
    match dice.below(7) {
        0 => record.height = dice.number(record.height.into()) as u16,
        1 => record.width = dice.number(record.width.into()) as u16,
        2 => record.channels = dice.number(record.channels.into()) as u16,
        3 => record.bits = any_width(dice),
        4 => record.zero_point = dice.word() as u8,
        5 => record.storage = any_storage(dice),
        _ => record.offset = dice.number(record.offset),
    }
}

fn op(op: &mut Op, dice: &mut Dice) {
    match op {
        Op::Conv2d { window, weights } | Op::Depthwise { window, weights } => match dice.once_in(2) {
            true => change_window(window, dice),
            false => change_weights(weights, dice),
        },
        Op::Dense { weights } => change_weights(weights, dice),
        Op::MaxPool { window } => change_window(window, dice),
        Op::AvgPool { window, shift, bias, multiplier } => match dice.below(4) {
            0 => change_window(window, dice),
            1 => *shift = dice.below(34) as u8,
            2 => *bias = dice.number(bias.cast_unsigned()).cast_signed(),
            _ => *multiplier = dice.number(multiplier.cast_unsigned()).cast_signed(),
        },
        Op::Add { scale } => *scale = any_scale(dice),
        Op::Concat => {}
    }
}

fn change_window(window: &mut Window, dice: &mut Dice) {
    let fields = window.kernel.iter_mut().chain(&mut window.stride).chain(&mut window.padding);
    if let Some(field) = fields.into_iter().nth(dice.below(8)) {
        *field = dice.number((*field).into()) as u8;
    }
}

fn change_weights(weights: &mut Weights, dice: &mut Dice) {
    match dice.below(6) {
        0 => weights.bits = any_width(dice),
        1 => weights.levels = any_levels(dice),
        2 => weights.layout = any_layout(dice),
        3 => weights.shift = dice.below(34) as u8,
        4 => weights.codes = dice.number(weights.codes),
        _ => weights.channels = dice.number(weights.channels),
    }
}

fn any_op(dice: &mut Dice) -> Op {
    let side = |dice: &mut Dice, most| dice.below(most) as u8;
    let kernel = [1 + side(dice, 5), 1 + side(dice, 5)];
    let stride = [1 + side(dice, 3), 1 + side(dice, 3)];
    let padding = [0; 4].map(|_| side(dice, 3));
    let window = Window { kernel, stride, padding };
    let weights = Weights {
        bits: any_width(dice),
        levels: any_levels(dice),
        layout: any_layout(dice),
        shift: side(dice, 20),
        codes: 0,
        channels: 0,
    };
    match dice.below(7) {
        0 => Op::Conv2d { window, weights },
        1 => Op::Depthwise { window, weights },
        2 => Op::Dense { weights },
        3 => Op::MaxPool { window },
        4 => Op::AvgPool { window, shift: side(dice, 20), bias: 0, multiplier: (dice.word() >> 1).cast_signed() },
        5 => Op::Add { scale: any_scale(dice) },
        _ => Op::Concat,
    }
}

fn any_scale(dice: &mut Dice) -> AddScale {
    let multipliers = [dice.word() as i16, dice.word() as i16];
    AddScale { multipliers, constant: dice.number(1 << 30).cast_signed(), shift: dice.below(34) as u8 }
}

fn any_width(dice: &mut Dice) -> BitWidth {
    BitWidth::new(1 + dice.below(8) as u8).unwrap_or(BitWidth::EIGHT)
}

fn any_levels(dice: &mut Dice) -> Levels {
    dice.pick(&[Levels::TwosComplement, Levels::MidTread, Levels::MidRise])
}

fn any_layout(dice: &mut Dice) -> Layout {
    dice.pick(&[Layout::Bytes, Layout::RowPairs, Layout::Rows, Layout::Lanes, Layout::Ends])
}

fn any_storage(dice: &mut Dice) -> Storage {
    dice.pick(&[Storage::Bits1, Storage::Bits2, Storage::Bits4, Storage::Bits8, Storage::Logits])
}
