//! im2col for two pixels at a time: what lies under their windows, widened side by side.

use core::ops::Range;

use releq_format::graph::{Storage, Window};

use super::asm;
use super::conv::Scratch;
use super::plan::{BLOCK, QUAD};
use crate::tensor::Input;

/// Walks over output pixels and widens what lies under their windows.
///
/// Bytes are read where they lie. Narrower codes are unpacked once a row, into a band of as many rows as the windows
/// of two neighbouring pixels have.
pub(super) struct Gatherer<'a> {
    input: Input<'a>,
    band: &'a mut [u8],
    /// Offsets of columns from a window's start, in the order in which they are fetched; none if runs are whole words.
    table: &'a mut [u8],
    /// The largest of them.
    reach: usize,
    /// log2 of what codes are multiplied by.
    scale: u32,
    /// Codes of one patch, and of one row of it.
    columns: usize,
    run: usize,
    /// First input row that is not in the band yet.
    next_row: usize,
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
    channels: usize,
    /// Rows and columns of outputs whose windows lie inside bytes altogether.
    whole: [Range<usize>; 2],
    /// Columns of the output.
    width: usize,
    /// Next output pixel.
    y: usize,
    x: usize,
}

/// The part of a window that lies inside the input.
#[derive(Clone, Copy)]
struct Inside {
    /// First input row and column.
    top: usize,
    left: usize,
    /// Window rows and columns before it.
    above: usize,
    before: usize,
    rows: usize,
    columns: usize,
}

impl<'a> Gatherer<'a> {
    /// Starts at the first of an output `width` pixels wide; codes are multiplied by 2^scale, which must be
    /// 0 where there is a table.
    pub(super) fn new(
        input: Input<'a>,
        window: &Window,
        width: usize,
        band: &'a mut [u8],
        table: &'a mut [u8],
        scale: u32,
    ) -> Self {
        let [top, left, ..] = window.padding;
        let kernel = window.kernel.map(usize::from);
        let run = kernel[1].wrapping_mul(usize::from(input.record.channels));
        let whole = |side: usize, size: u16| {
            let (stride, padding) = (usize::from(window.stride[side]).max(1), usize::from(window.padding[side]));
            let end = (usize::from(size) + padding).checked_sub(kernel[side]).map_or(0, |last| last / stride + 1);
            if input.record.storage == Storage::Bits8 { padding.div_ceil(stride)..end } else { 0..0 }
        };
        let mut gatherer = Self {
            whole: [whole(0, input.record.height), whole(1, input.record.width)],
            input,
            band,
            table,
            reach: 0,
            scale,
            run,
            columns: run.wrapping_mul(kernel[0]),
            next_row: 0,
            size: [input.record.height, input.record.width].map(usize::from),
            kernel,
            stride: window.stride.map(usize::from),
            padding: [top, left].map(usize::from),
            channels: usize::from(input.record.channels),
            width,
            y: 0,
            x: 0,
        };
        gatherer.fill_table();
        gatherer
    }

    fn fill_table(&mut self) {
        let row = self.size[1].wrapping_mul(self.channels);
        let (columns, run) = (self.columns, self.run.max(1));
        for (index, entry) in self.table.as_chunks_mut::<4>().0.iter_mut().enumerate() {
            // 4c, 4c + 2, 4c + 1, 4c + 3.
            let column = index / QUAD * QUAD + [0, 2, 1, 3][index % QUAD];
            let column = if column < columns { column } else { 0 };
            let offset = (column / run).wrapping_mul(row).wrapping_add(column % run);
            self.reach = self.reach.max(offset);
            *entry = (offset as u32).to_le_bytes();
        }
    }

    /// Gathers the next `count` pixels, two at a time; `correction` times their sums is taken off X and O.
    pub(super) fn gather(&mut self, count: usize, quads: usize, scratch: &mut Scratch<'_>, correction: [i32; 2]) {
        let blocks =
            scratch.patches.chunks_exact_mut((8 * BLOCK * quads).max(1)).zip(scratch.starts.as_chunks_mut::<32>().0);
        let mut left = count;
        for (patches, starts) in blocks {
            let (starts, _) = starts.as_chunks_mut::<4>();
            for half in 0..2 {
                if left == 0 {
                    return;
                }
                let to = patches.get_mut(8 * half..).unwrap_or(&mut []);
                let sums = match if left > 1 { self.widen_whole(to) } else { None } {
                    Some(sums) => sums,
                    None => {
                        let first = self.next();
                        let second = if left > 1 { self.next() } else { first };
                        self.widen(to, [first, second], quads, scratch.gather)
                    }
                };
                left = left.saturating_sub(2);
                let takes = correction.map(|factor| sums.map(|sum| factor.wrapping_mul(sum as i32).wrapping_neg()));
                if let [x0, x1, x2, x3, o0, o1, o2, o3] = starts {
                    let places = if half == 0 { [[x0, x1], [o0, o1]] } else { [[x2, x3], [o2, o3]] };
                    for (place, start) in places.into_iter().flatten().zip(takes.into_iter().flatten()) {
                        *place = start.to_le_bytes();
                    }
                }
            }
        }
    }

    /// Widens the next two output pixels' patches if both lie whole in one line: most do.
    fn widen_whole(&mut self, to: &mut [u8]) -> Option<[u32; 2]> {
        let [rows, columns] = &self.whole;
        let tabled = !self.table.is_empty();
        if !rows.contains(&self.y)
            || self.x < columns.start
            || self.x + 1 >= columns.end
            || !(tabled || self.run.is_multiple_of(QUAD))
        {
            return None;
        }
        let row = self.size[1].wrapping_mul(self.channels);
        let top = self.y.wrapping_mul(self.stride[0]).wrapping_sub(self.padding[0]);
        let left = self.x.wrapping_mul(self.stride[1]).wrapping_sub(self.padding[1]);
        let start = top.wrapping_mul(row).wrapping_add(left.wrapping_mul(self.channels));
        let mut from = self.input.bytes.get(start..)?;
        let step = self.stride[1].wrapping_mul(self.channels);
        let mut sums = [0u32; 2];
        if tabled {
            sums = asm::fetch_pair(to, [from, from.get(step..)?], self.table, self.reach, self.columns);
        } else {
            for to in to.chunks_mut((8 * self.run).max(1)).take(self.kernel[0]) {
                let [first, second] = asm::widen_pair(to, [from, from.get(step..)?], self.run / QUAD, self.scale);
                sums = [sums[0].wrapping_add(first), sums[1].wrapping_add(second)];
                from = from.get(row..).unwrap_or(&[]);
            }
        }
        self.x += 2;
        if self.x >= self.width {
            (self.y, self.x) = (self.y + 1, 0);
        }
        Some(sums)
    }

    /// What of the next output pixel's window lies inside.
    fn next(&mut self) -> Inside {
        let span = |output: usize, side: usize| {
            let start = output.wrapping_mul(self.stride[side]);
            let before = self.padding[side].saturating_sub(start);
            let first = start.saturating_sub(self.padding[side]);
            let count = self.kernel[side].saturating_sub(before).min(self.size[side].saturating_sub(first));
            (first, before, count)
        };
        let (top, above, rows) = span(self.y, 0);
        let (left, before, columns) = span(self.x, 1);
        self.x += 1;
        if self.x >= self.width {
            (self.y, self.x) = (self.y + 1, 0);
        }
        Inside { top, left, above, before, rows, columns }
    }

    /// Widens the patches of two pixels; straight from the input where whole words lie under whole windows.
    fn widen(&mut self, to: &mut [u8], pixels: [Inside; 2], quads: usize, patches: &mut [u8]) -> [u32; 2] {
        let run = self.run;
        if self.input.record.storage != Storage::Bits8 {
            pixels.iter().for_each(|inside| self.unpack(inside));
        }
        let whole = |inside: &Inside| [inside.rows, inside.columns] == self.kernel;
        let all_whole = pixels.iter().all(whole);
        if all_whole && !self.table.is_empty() {
            let from = pixels.map(|inside| self.row(inside.top, inside.left));
            return asm::fetch_pair(to, from, self.table, self.reach, self.columns);
        }
        if all_whole && run.is_multiple_of(QUAD) {
            let mut sums = [0u32; 2];
            for (ky, to) in to.chunks_mut((8 * run).max(1)).take(self.kernel[0]).enumerate() {
                let rows = pixels.map(|inside| self.row(inside.top.wrapping_add(ky), inside.left));
                let [first, second] = asm::widen_pair(to, rows, run / QUAD, self.scale);
                sums = [sums[0].wrapping_add(first), sums[1].wrapping_add(second)];
            }
            return sums;
        }
        let (first, second) = patches.split_at_mut_checked(QUAD * quads).unwrap_or_default();
        let second = second.get_mut(..QUAD * quads).unwrap_or(&mut []);
        self.assemble(first, &pixels[0], run);
        self.assemble(second, &pixels[1], run);
        asm::widen_pair(to, [first, second], quads, self.scale)
    }

    /// One patch in a row; the zero point where the window hangs over an edge.
    fn assemble(&self, patch: &mut [u8], inside: &Inside, run: usize) {
        if [inside.rows, inside.columns] != self.kernel {
            let columns = run.wrapping_mul(self.kernel[0]);
            patch.get_mut(..columns).unwrap_or(&mut []).fill(self.input.record.zero_point);
        }
        // Columns beyond the last.
        patch.get_mut(self.columns..).unwrap_or(&mut []).fill(0);
        let start = inside.above.wrapping_mul(run).wrapping_add(inside.before.wrapping_mul(self.channels));
        let to = patch.get_mut(start..).unwrap_or(&mut []);
        let bytes = inside.columns.wrapping_mul(self.channels);
        if self.input.record.storage == Storage::Bits8 {
            let stride = self.size[1].wrapping_mul(self.channels);
            asm::copy_rectangle(to, self.row(inside.top, inside.left), [run, stride], bytes, inside.rows);
            return;
        }
        // The rows of a band lie in a ring.
        for (ky, to) in to.chunks_mut(run.max(1)).take(inside.rows).enumerate() {
            asm::copy_rectangle(to, self.row(inside.top.wrapping_add(ky), inside.left), [0; 2], bytes, 1);
        }
    }

    /// Input bytes, or unpacked codes, from row `y`, column `x` on.
    fn row(&self, y: usize, x: usize) -> &[u8] {
        let (rows, y) = match self.input.record.storage {
            Storage::Bits8 => (self.input.bytes, y),
            _ => (&*self.band, y % self.slots()),
        };
        let start = y.wrapping_mul(self.size[1]).wrapping_add(x).wrapping_mul(self.channels);
        rows.get(start..).unwrap_or(&[])
    }

    /// Rows of the band: two neighbouring pixels may lie in two lines.
    fn slots(&self) -> usize {
        self.kernel[0].wrapping_add(self.stride[0]).max(1)
    }

    /// Brings the rows under a window into the band.
    fn unpack(&mut self, inside: &Inside) {
        let end = inside.top.wrapping_add(inside.rows);
        let row = self.size[1].wrapping_mul(self.channels);
        for y in self.next_row.max(inside.top)..end {
            let start = (y % self.slots()).wrapping_mul(row);
            let codes = self.band.get_mut(start..).and_then(|rest| rest.get_mut(..row));
            self.input.unpack(y, 0, codes.unwrap_or(&mut []));
        }
        self.next_row = self.next_row.max(end);
    }
}
