//! Convolutions as matrix products: the pixels under each kernel position as a row of a matrix, and back.
//!
//! Where a step is one pixel and rows stay as wide as they are, the pixels under one kernel position lie side by side in
//! the channel with its margins: a row of the matrix is then one run of it, copied at once, and the product has a column
//! or two at the end of each row of pixels that belong to none. Elsewhere rows of pixels are copied one by one.

use std::ops::Range;

use super::product::Accum;
use super::vectors::widest;
use crate::network::Window;

/// How one channel of an image becomes rows of a matrix, one a kernel position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    window: Window,
    input: [usize; 2],
    output: [usize; 2],
    /// From one row of pixels to the next in a run; `None` where rows are copied one by one.
    pitch: Option<usize>,
}

impl Columns {
    /// Of channels of `input` rows and columns, under `window`, for `output` rows and columns.
    pub(super) fn of(window: &Window, input: [usize; 2], output: [usize; 2]) -> Self {
        let [_, left, _, right] = window.padding;
        let runs = window.stride == [1, 1] && input[1] == output[1];
        Self { window: *window, input, output, pitch: runs.then_some(input[1] + left.max(right)) }
    }

    /// Whether rows of the matrix are runs of a channel.
    pub(super) fn are_runs(&self) -> bool {
        self.pitch.is_some()
    }

    /// Columns of the matrix.
    pub(super) fn count(&self) -> usize {
        self.output[0] * self.pitch.unwrap_or(self.output[1])
    }

    /// Elements of a channel with its margins; none where it is not copied with them.
    pub(super) fn with_margins(&self) -> usize {
        let [top, left, bottom, _] = self.window.padding;
        let rows = top + self.input[0] + bottom;
        self.pitch.map_or(0, |pitch| left + rows * pitch + self.window.kernel[1])
    }

    /// Where row `row` of the pixels lies in a channel with its margins.
    fn row(&self, pitch: usize, row: usize) -> Range<usize> {
        let [top, left, ..] = self.window.padding;
        let start = left + (top + row) * pitch;
        start..start + self.input[1]
    }

    /// `matrix[(c, ky, kx), (y, x)]` of an `image`; `channel` is working memory.
    pub(super) fn gather(&self, image: &[f32], channel: &mut [f32], matrix: &mut [f32]) {
        match self.pitch {
            Some(pitch) => self.gather_runs(pitch, image, channel, matrix),
            None => widest(|| self.gather_rows(image, matrix)),
        }
    }

    fn gather_runs(&self, pitch: usize, image: &[f32], channel: &mut [f32], matrix: &mut [f32]) {
        let count = self.count();
        channel.fill(0.0);
        let mut rows = matrix.chunks_exact_mut(count);
        for pixels in image.chunks_exact(self.input[0] * self.input[1]) {
            for (index, pixels) in pixels.chunks_exact(self.input[1]).enumerate() {
                channel[self.row(pitch, index)].copy_from_slice(pixels);
            }
            for ((ky, kx), row) in taps(&self.window).zip(&mut rows) {
                row.copy_from_slice(&channel[ky * pitch + kx..][..count]);
            }
        }
    }

    #[inline(always)]
    fn gather_rows(&self, image: &[f32], matrix: &mut [f32]) {
        // Without padding, every element is written.
        if self.window.padding != [0; 4] {
            matrix.fill(0.0);
        }
        let mut rows = matrix.chunks_exact_mut(self.count());
        for plane in image.chunks_exact(self.input[0] * self.input[1]) {
            for ((ky, kx), row) in taps(&self.window).zip(&mut rows) {
                rows_under(&self.window, self.input, self.output, [ky, kx], |output, input, count| {
                    let to = &mut row[output..output + count];
                    match self.window.stride[1] {
                        1 => copy_row(to, &plane[input..input + count]),
                        stride => {
                            to.iter_mut().zip(plane[input..].iter().step_by(stride)).for_each(|(to, from)| *to = *from);
                        }
                    }
                });
            }
        }
    }

    /// The transpose of [`gather`](Self::gather): adds every element to the pixel it came from. `image` is zeros before.
    pub(super) fn scatter(&self, matrix: &[f32], channel: &mut [f32], image: &mut [f32]) {
        widest(|| match self.pitch {
            Some(pitch) => self.scatter_runs(pitch, matrix, channel, image),
            None => self.scatter_rows(matrix, image),
        });
    }

    #[inline(always)]
    fn scatter_runs(&self, pitch: usize, matrix: &[f32], channel: &mut [f32], image: &mut [f32]) {
        let count = self.count();
        let mut rows = matrix.chunks_exact(count);
        for pixels in image.chunks_exact_mut(self.input[0] * self.input[1]) {
            channel.fill(0.0);
            for ((ky, kx), row) in taps(&self.window).zip(&mut rows) {
                let to = &mut channel[ky * pitch + kx..][..count];
                to.iter_mut().zip(row).for_each(|(to, from)| *to += *from);
            }
            for (index, pixels) in pixels.chunks_exact_mut(self.input[1]).enumerate() {
                pixels.copy_from_slice(&channel[self.row(pitch, index)]);
            }
        }
    }

    #[inline(always)]
    fn scatter_rows(&self, matrix: &[f32], image: &mut [f32]) {
        let mut rows = matrix.chunks_exact(self.count());
        for plane in image.chunks_exact_mut(self.input[0] * self.input[1]) {
            for ((ky, kx), row) in taps(&self.window).zip(&mut rows) {
                rows_under(&self.window, self.input, self.output, [ky, kx], |output, input, count| {
                    let from = &row[output..output + count];
                    match self.window.stride[1] {
                        1 => plane[input..input + count].iter_mut().zip(from).for_each(|(to, from)| *to += *from),
                        stride => {
                            plane[input..].iter_mut().step_by(stride).zip(from).for_each(|(to, from)| *to += *from);
                        }
                    }
                });
            }
        }
    }

    /// Hands `with` the output's rows as the product has them, with columns of no pixel; they are 0. `wide` is working
    /// memory.
    pub(super) fn widened(&self, y: &[f32], wide: &mut [f32], with: impl FnOnce(&[f32])) {
        let Some(pitch) = self.pitch else { return with(y) };
        let rows = y.chunks_exact(self.output[1]).zip(wide.chunks_exact_mut(pitch));
        rows.for_each(|(row, wide)| {
            let (pixels, rest) = wide.split_at_mut(row.len());
            pixels.copy_from_slice(row);
            rest.fill(0.0);
        });
        with(wide);
    }

    /// Adds to `y` what `product` makes of the matrix that it is handed. `wide` is working memory.
    pub(super) fn narrowed(&self, y: &mut [f32], wide: &mut [f32], product: impl FnOnce(&mut [f32], Accum)) {
        let Some(pitch) = self.pitch else { return product(y, Accum::Add) };
        product(wide, Accum::Replace);
        let rows = y.chunks_exact_mut(self.output[1]).zip(wide.chunks_exact(pitch));
        widest(|| rows.for_each(|(row, wide)| row.iter_mut().zip(wide).for_each(|(y, wide)| *y += *wide)));
    }
}

/// Copies a row of pixels: rows are short, and a call of `memcpy` for each takes longer than the copy.
#[inline]
fn copy_row(to: &mut [f32], from: &[f32]) {
    let ((to, to_rest), (from, from_rest)) = (to.as_chunks_mut::<8>(), from.as_chunks::<8>());
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    to_rest.iter_mut().zip(from_rest).for_each(|(to, from)| *to = *from);
}

/// Kernel positions (ky, kx) in weight order.
pub(super) fn taps(window: &Window) -> impl Iterator<Item = (usize, usize)> + use<> {
    let [kh, kw] = window.kernel;
    (0..kh).flat_map(move |ky| (0..kw).map(move |kx| (ky, kx)))
}

/// The overlap of one kernel position with the input: output rows/columns it touches, and the input it starts at.
fn overlap(offset: usize, before: usize, stride: usize, input: usize, output: usize) -> (Range<usize>, usize) {
    let first = before.saturating_sub(offset).div_ceil(stride);
    let end = (input + before).saturating_sub(offset).div_ceil(stride).min(output);
    (first..end.max(first), (first * stride + offset).saturating_sub(before))
}

/// Calls `visit(output range start, input start, count)` for every output row that kernel position `[ky, kx]` touches.
#[inline]
pub(super) fn rows_under(
    window: &Window,
    input: [usize; 2],
    output: [usize; 2],
    [ky, kx]: [usize; 2],
    mut visit: impl FnMut(usize, usize, usize),
) {
    let [top, left, ..] = window.padding;
    let (ys, y0) = overlap(ky, top, window.stride[0], input[0], output[0]);
    let (xs, x0) = overlap(kx, left, window.stride[1], input[1], output[1]);
    for (step, y) in ys.enumerate() {
        visit(y * output[1] + xs.start, (y0 + step * window.stride[0]) * input[1] + x0, xs.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs are what rows copied one by one are, but for the columns of no pixel, there and back.
    #[test]
    fn runs_are_rows() {
        let input = [5, 7];
        let windows = [([1, 1], [0; 4]), ([3, 3], [1; 4]), ([5, 3], [2, 1, 2, 1]), ([2, 2], [0, 0, 1, 1])];
        let others = [([2, 2], [1, 1, 0, 0]), ([3, 3], [0, 1, 0, 1]), ([1, 4], [0, 3, 0, 0])];
        for (kernel, padding) in windows.into_iter().chain(others) {
            let window = Window { kernel, stride: [1, 1], padding };
            let output = window.output(input[0], input[1]).unwrap();
            let runs = Columns::of(&window, input, output);
            let rows = Columns { pitch: None, ..runs };
            let terms = 2 * kernel[0] * kernel[1];
            let image: Vec<f32> = (1..=2 * input[0] * input[1]).map(|pixel| pixel as f32).collect();
            // What was there before is gone.
            let (mut channel, mut wide) = (vec![9.0; runs.with_margins()], vec![9.0; terms * runs.count()]);
            let mut narrow = vec![9.0; terms * rows.count()];
            runs.gather(&image, &mut channel, &mut wide);
            rows.gather(&image, &mut [], &mut narrow);
            let mut stripped = vec![1.0; narrow.len()];
            let mut work = vec![9.0; wide.len()];
            runs.narrowed(&mut stripped, &mut work, |work, accum| {
                assert_eq!(accum, Accum::Replace);
                work.copy_from_slice(&wide);
            });
            stripped.iter_mut().for_each(|element| *element -= 1.0);
            assert_eq!(stripped, narrow, "{window:?}");

            let (mut from_runs, mut from_rows) = (vec![0.0; image.len()], vec![0.0; image.len()]);
            runs.widened(&narrow, &mut work, |wide| runs.scatter(wide, &mut channel, &mut from_runs));
            rows.scatter(&narrow, &mut [], &mut from_rows);
            assert_eq!(from_runs, from_rows, "{window:?}");
        }
    }
}
