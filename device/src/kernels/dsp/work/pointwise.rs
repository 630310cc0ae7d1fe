//! Layers that meet each code a few times at most: depthwise windows, pools, and additions.

use releq_format::graph::{Op, Storage, TensorRecord, Window};

use super::{Layer, are_bytes, pack, stored, unpack};
use crate::kernels::dsp::plan::{self, AddPlan, AveragePlan, DepthwisePlan, GROUP, PLANES_BYTES, TAPS};
use crate::kernels::work::Work;

/// The work of a depthwise layer; `None` without a plan.
pub(super) fn depthwise(layer: &Layer<'_>) -> Option<Work> {
    let Op::Depthwise { window, weights } = layer.op else { return None };
    let plan = DepthwisePlan::new(layer.op, layer.input, layer.output)?;
    let mut work = Work::new("dsp::DEPTHWISE", if plan.across == 1 { "planes" } else { "planes apart" });
    let groups = usize::from(layer.input.channels).div_ceil(GROUP);
    let [height, width] = [layer.output.height, layer.output.width].map(usize::from);
    let from = [0, stored(layer.input)];
    for top in (0..height).step_by(plan.rows.max(1)) {
        for left in (0..width).step_by(plan.columns.max(1)) {
            let (rows, columns) = (plan.rows.min(height - top), plan.columns.min(width - left));
            let under = [
                under(top, rows, plan.stride, window.padding[0], layer.input.height),
                under(left, columns, plan.across, window.padding[1], layer.input.width),
            ];
            work.add("tiles", 1);
            work.add("cleared words", PLANES_BYTES / 4);
            work.add_for("groups", [weights.bits.get(), 0], groups);
            work.add_for("spread rows", from, groups * under[0]);
            work.add_for("spread fours", from, groups * under[0] * (under[1] / 4));
            work.add_for("spread rests", from, groups * under[0] * (under[1] % 4));
            let paired = if plan.stride == 1 && plan.across == 1 { rows & !1 } else { 0 };
            let pairs = columns.div_ceil(2);
            for (name, turns, passes) in [
                ("passes of two rows", "turns of two rows", paired / 2),
                ("passes of a row", "turns of a row", rows - paired),
            ] {
                work.add(name, groups * GROUP * passes);
                work.add(turns, groups * GROUP * passes * pairs);
            }
            if plan.staged {
                work.add_for("packed rows", [0, stored(layer.output)], groups * rows);
                work.add_for("packed fours", [0, stored(layer.output)], groups * rows * columns);
            }
        }
    }
    Some(work)
}

/// Input positions under `outputs` windows of three.
fn under(at: usize, outputs: usize, stride: usize, padding: u8, size: u16) -> usize {
    let (start, padding) = (at * stride, usize::from(padding));
    let end = (start + (outputs - 1) * stride + TAPS).saturating_sub(padding).min(usize::from(size));
    end.saturating_sub(start.saturating_sub(padding))
}

/// The work of a max pool; `None` without a plan.
pub(super) fn maxpool(layer: &Layer<'_>) -> Option<Work> {
    let Op::MaxPool { window } = layer.op else { return None };
    if !plan::pools(layer.input, layer.output) {
        return None;
    }
    let mut work = Work::new("dsp::MAXPOOL", "windows");
    let (bits, bytes) = (stored(layer.input), layer.input.pixel_bytes() as usize);
    let sixteens = if bits == 8 && bytes.is_multiple_of(4) { bytes / 16 } else { 0 };
    let rest = bytes - 16 * sixteens;
    areas(layer, window, |inside, size| {
        // Four places at first, then three more with what there is.
        let batches = 1 + (inside[0] * inside[1]).saturating_sub(4).div_ceil(3);
        work.add("areas", 1);
        work.add_for("batches", [0, bits], batches);
        work.add("rows", batches * size[0]);
        work.add("windows", batches * size[0] * size[1]);
        work.add("sixteens", batches * size[0] * size[1] * sixteens);
        work.add_for("words", [0, bits], batches * size[0] * size[1] * (rest / 4));
        work.add_for("rests", [0, bits], batches * size[0] * size[1] * (rest % 4));
    });
    Some(work)
}

/// The work of an average; `None` without a plan.
pub(super) fn avgpool(layer: &Layer<'_>) -> Option<Work> {
    let Op::AvgPool { window, .. } = layer.op else { return None };
    let plan = AveragePlan::new(layer.op, layer.input, layer.output)?;
    let mut work = Work::new("dsp::AVGPOOL", if plan.is_direct() { "windows" } else { "rows of windows" });
    let channels = usize::from(layer.input.channels);
    areas(layer, window, |inside, size| {
        let windows = size[0] * size[1];
        work.add("areas", 1);
        if inside[0] * inside[1] == 4 {
            work.add("fours", windows);
            work.add("words of fours", windows * channels.div_ceil(4));
        } else {
            work.add("windows", windows);
            // A last word that is not whole is another call.
            work.add("calls", windows * (1 + usize::from(!channels.is_multiple_of(4))));
            work.add("words", windows * channels.div_ceil(4));
            work.add("rows of words", windows * channels.div_ceil(4) * inside[0]);
            work.add("summed words", windows * channels.div_ceil(4) * inside[0] * inside[1]);
        }
    });
    if !plan.is_direct() {
        let height = usize::from(layer.output.height);
        work.add("rows", height);
        for _ in 0..height {
            for _ in 0..usize::from(window.kernel[0]).min(usize::from(layer.input.height)) {
                unpack(&mut work, layer.input, usize::from(layer.input.width));
            }
            if plan.staging > 0 {
                pack(&mut work, layer.output, usize::from(layer.output.width), channels);
            }
        }
    }
    Some(work)
}

/// Calls `each` with the rows and columns of windows that lie inside, and of outputs that have such windows: those
/// inside altogether at once, the others one by one.
fn areas(layer: &Layer<'_>, window: &Window, mut each: impl FnMut([usize; 2], [usize; 2])) {
    let sizes = [(layer.input.height, layer.output.height), (layer.input.width, layer.output.width)];
    let side = |side: usize| {
        let (input, output) = (usize::from(sizes[side].0), usize::from(sizes[side].1));
        let [kernel, stride] = [window.kernel[side], window.stride[side]].map(usize::from);
        let padding = usize::from(window.padding[side]);
        let first = padding.div_ceil(stride).min(output);
        let end = (input + padding).checked_sub(kernel).map_or(0, |last| last / stride + 1);
        (first..end.min(output).max(first), move |at: usize| {
            let start = at * stride;
            (start + kernel).saturating_sub(padding).min(input).saturating_sub(start.saturating_sub(padding))
        })
    };
    let ((rows, inside_rows), (columns, inside_columns)) = (side(0), side(1));
    let kernel = window.kernel.map(usize::from);
    if !rows.is_empty() && !columns.is_empty() {
        each(kernel, [rows.len(), columns.len()]);
    }
    for y in 0..usize::from(layer.output.height) {
        for x in 0..usize::from(layer.output.width) {
            if !(rows.contains(&y) && columns.contains(&x)) {
                each([inside_rows(y), inside_columns(x)], [1; 2]);
            }
        }
    }
}

/// The work of a residual add; `None` without a plan.
pub(super) fn add(inputs: [&TensorRecord; 2], output: &TensorRecord) -> Option<Work> {
    let plan = AddPlan::new(inputs[0], output)?;
    let storages = [inputs[0].storage, inputs[1].storage, output.storage];
    let codes = output.pixels() as usize * usize::from(output.channels);
    if storages == [Storage::Bits8; 3] && are_bytes(output) {
        let mut work = Work::new("dsp::ADD", "bytes");
        work.add("eights", codes / 8);
        work.add("rests", codes % 8);
        return Some(work);
    }
    if storages == [Storage::Bits4; 3] && output.bits.get() == 4 && output.channels.is_multiple_of(2) {
        let mut work = Work::new("dsp::ADD", "nibbles");
        work.add("eights", codes / 8);
        work.add("rests", codes / 2 % 4);
        return Some(work);
    }
    if AddPlan::narrows(storages, output) {
        let mut work = Work::new("dsp::ADD", "bytes to nibbles");
        work.add("eights", codes / 8);
        return Some(work);
    }
    if plan.pixels == 0 {
        // Only the right operand is packed: the reference's loop.
        let mut work = Work::new("dsp::ADD", "code by code");
        work.add("pixels", output.pixels() as usize);
        work.add_for("outputs", [stored(inputs[1]), stored(output)], codes);
        return Some(work);
    }
    let mut work = Work::new("dsp::ADD", "unpacked");
    let width = usize::from(output.width);
    for _ in 0..output.height {
        for x in (0..width).step_by(plan.pixels) {
            let pixels = plan.pixels.min(width - x);
            let codes = pixels * usize::from(output.channels);
            for input in inputs {
                unpack(&mut work, input, pixels);
                if input.storage == Storage::Bits8 {
                    work.add("copied codes", codes);
                }
            }
            work.add("eights", codes / 8);
            work.add("rests", codes % 8);
            pack(&mut work, output, pixels, usize::from(output.channels));
        }
    }
    Some(work)
}
