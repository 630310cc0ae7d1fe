//! Where pooling windows lie: one area of those that are inside altogether, and those at the edges one by one.

use core::ops::Range;

use releq_format::graph::{TensorRecord, Window};

use super::asm::Fours;

/// The windows of a layer.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    sides: [Side; 2],
    /// Rows and columns of outputs, and those of them whose windows lie inside.
    size: [usize; 2],
    whole: [Range<usize>; 2],
    /// Bytes of a pixel, and of a row of the input.
    pub(super) pixel: usize,
    pub(super) row: usize,
}

/// Outputs whose windows have as many pixels, in rows and columns.
#[derive(Clone, Debug)]
pub(super) struct Area {
    /// Input rows and columns under the first of them.
    pub(super) inside: [Range<usize>; 2],
    /// Rows and columns of outputs.
    pub(super) size: [usize; 2],
    /// First byte of the output.
    pub(super) output: usize,
}

/// Windows along one side of the input.
#[derive(Clone, Copy, Debug)]
struct Side {
    stride: usize,
    padding: usize,
    kernel: usize,
    size: usize,
}

impl Windows {
    pub(super) fn new(input: &TensorRecord, window: &Window, output: &TensorRecord) -> Self {
        let side = |side: usize, size: u16| Side {
            stride: usize::from(window.stride[side]),
            padding: usize::from(window.padding[side]),
            kernel: usize::from(window.kernel[side]),
            size: usize::from(size),
        };
        let sides = [side(0, input.height), side(1, input.width)];
        let size = [output.height, output.width].map(usize::from);
        let pixel = input.pixel_bytes() as usize;
        let whole = [sides[0].whole(size[0]), sides[1].whole(size[1])];
        Self { sides, size, whole, pixel, row: usize::from(input.width).wrapping_mul(pixel) }
    }

    /// Calls `run` for the windows inside, then for each of the others.
    pub(super) fn each(&self, mut run: impl FnMut(&Area)) {
        let [rows, columns] = &self.whole;
        if !rows.is_empty() && !columns.is_empty() {
            run(&self.area([rows.start, columns.start], [rows.len(), columns.len()]));
        }
        if [rows.len(), columns.len()] == self.size {
            return;
        }
        for y in 0..self.size[0] {
            let mut x = 0;
            while x < self.size[1] {
                if rows.contains(&y) && columns.contains(&x) {
                    x = columns.end;
                    continue;
                }
                run(&self.area([y, x], [1; 2]));
                x += 1;
            }
        }
    }

    fn area(&self, at: [usize; 2], size: [usize; 2]) -> Area {
        let pixel = at[0].wrapping_mul(self.size[1]).wrapping_add(at[1]);
        let inside = [self.sides[0].inside(at[0]), self.sides[1].inside(at[1])];
        Area { inside, size, output: pixel.wrapping_mul(self.pixel) }
    }

    /// The input rows under a row of outputs, and its windows over nothing but those.
    pub(super) fn of_row(&self, y: usize) -> (Range<usize>, Self) {
        let rows = self.sides[0].inside(y);
        let side = Side { stride: 1, padding: 0, kernel: rows.len(), size: rows.len() };
        let [_, columns] = self.whole.clone();
        let row =
            Self { sides: [side, self.sides[1]], size: [1, self.size[1]], whole: [0..1, columns], ..self.clone() };
        (rows, row)
    }
}

impl Area {
    /// Where the pixels under the first window start.
    pub(super) fn places(&self, windows: &Windows) -> impl Iterator<Item = usize> + use<> {
        let ([rows, columns], row, pixel) = (self.inside.clone(), windows.row, windows.pixel);
        rows.flat_map(move |y| columns.clone().map(move |x| y.wrapping_mul(row).wrapping_add(x.wrapping_mul(pixel))))
    }

    /// Four pixels of each window, of which those of the first are given.
    pub(super) fn fours(&self, windows: &Windows, from: [usize; 4]) -> Fours {
        let [rows, columns] = windows.sides;
        Fours {
            from,
            bytes: windows.pixel,
            count: self.size[1],
            rows: self.size[0],
            step: columns.stride.wrapping_mul(windows.pixel),
            row_step: rows.stride.wrapping_mul(windows.row),
            output_row: windows.size[1].wrapping_mul(windows.pixel),
        }
    }
}

impl Side {
    /// The positions under the window of output `at` that lie inside.
    fn inside(&self, at: usize) -> Range<usize> {
        let start = at.wrapping_mul(self.stride);
        let end = start.wrapping_add(self.kernel).saturating_sub(self.padding).min(self.size);
        start.saturating_sub(self.padding)..end
    }

    /// The outputs out of `count` whose windows lie inside altogether.
    fn whole(&self, count: usize) -> Range<usize> {
        let stride = self.stride.max(1);
        let first = self.padding.div_ceil(stride).min(count);
        let end = (self.size + self.padding).checked_sub(self.kernel).map_or(0, |last| last / stride + 1);
        first..end.min(count).max(first)
    }
}
