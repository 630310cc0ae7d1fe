//! The gradients of a convolution by another one: of the result's gradient, with the kernels turned by half a circle.
//!
//! Where a step is one pixel, the input's gradient is such a convolution, with input and output channels exchanged. The
//! pixels that it gathers make the weights' gradient too, so that nothing else is gathered and nothing is scattered.

use super::columns::Columns;
use super::conv::{Sizes, Work, convolve};
use super::product::{Accum, Form, product};
use crate::network::Window;

/// The convolution of the result's gradient.
#[derive(Clone, Debug)]
pub(super) struct Mirror {
    window: Window,
    sizes: Sizes,
    weight: Vec<f32>,
}

impl Mirror {
    /// That of a convolution with `weight` `[o, c, kh, kw]`; `None` where its pixels would have to be gathered one by one.
    pub(super) fn of(window: &Window, sizes: &Sizes, weight: &[f32]) -> Option<Self> {
        let ([kh, kw], [top, left, bottom, right]) = (window.kernel, window.padding);
        let margin = |extent: usize, padding: usize| (extent - 1).checked_sub(padding);
        let padding = [margin(kh, top)?, margin(kw, left)?, margin(kh, bottom)?, margin(kw, right)?];
        let mirror = Window { kernel: window.kernel, stride: window.stride, padding };
        let sizes = sizes.exchanged()?;
        Columns::of(&mirror, sizes.input, sizes.output).are_runs().then(|| {
            let weight = turned(weight, [sizes.channels, sizes.out]);
            Self { window: mirror, sizes, weight }
        })
    }

    /// Of one image, adds the gradient of the weights, turned, to `dw`, and that of the input to `dx`.
    pub(super) fn gradients(&self, image: &[f32], gradient: &[f32], work: &mut Work, dw: &mut [f32], dx: &mut [f32]) {
        let Sizes { out, terms, .. } = self.sizes;
        convolve(&self.window, &self.sizes, gradient, &self.weight, work, dx);
        let (columns, matrix, wide) = work.gathered(&self.window, &self.sizes);
        columns.widened(image, wide, |image| {
            product(Form::RightTransposed, image, matrix, Accum::Add, dw, [out, columns.count(), terms]);
        });
    }

    /// A gradient that [`gradients`](Self::gradients) has summed, as the weights lie.
    pub(super) fn weights(&self, dw: &[f32]) -> Vec<f32> {
        turned(dw, [self.sizes.out, self.sizes.channels])
    }
}

/// `kernels` `[a, b, taps]` as `[b, a, taps]`, each kernel turned by half a circle.
fn turned(kernels: &[f32], [a, b]: [usize; 2]) -> Vec<f32> {
    let taps = kernels.len() / (a * b);
    let kernel = |(b_at, a_at): (usize, usize)| kernels[(a_at * b + b_at) * taps..][..taps].iter().rev();
    (0..b).flat_map(|b_at| (0..a).map(move |a_at| (b_at, a_at))).flat_map(kernel).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::columns::{rows_under, taps};

    /// Over every pair of a pixel and a result that meet, once each.
    fn by_definition(
        window: &Window,
        sizes: &Sizes,
        [image, weight, gradient]: [&[f32]; 3],
        dw: &mut [f32],
        dx: &mut [f32],
    ) {
        let ([height, width], [rows, columns]) = (sizes.input, sizes.output);
        for (out, channel) in (0..sizes.out).flat_map(|out| (0..sizes.channels).map(move |channel| (out, channel))) {
            for (tap, at) in taps(window).enumerate() {
                let index = out * sizes.terms + channel * window.kernel[0] * window.kernel[1] + tap;
                rows_under(window, sizes.input, sizes.output, at.into(), |output, input, count| {
                    for step in 0..count {
                        let y = gradient[out * rows * columns + output + step];
                        let pixel = channel * height * width + input + step;
                        dw[index] += y * image[pixel];
                        dx[pixel] += y * weight[index];
                    }
                });
            }
        }
    }

    #[test]
    fn mirrored_gradients_are_those_of_the_definition() {
        let same = [([1, 1], [0; 4]), ([3, 3], [1; 4]), ([5, 3], [2, 1, 2, 1]), ([2, 2], [0, 0, 1, 1])];
        let others = [([3, 2], [0, 1, 1, 0]), ([1, 4], [0, 3, 0, 0])];
        for (kernel, padding) in same.into_iter().chain(others) {
            let window = Window { kernel, stride: [1, 1], padding };
            let sizes = Sizes::of(&window, false, 1, [2, 5, 7], 3).unwrap();
            // Whole numbers, so that every order of sums gives the same.
            let whole = |count: usize, step: usize| (0..count).map(|index| (index * step % 11) as f32 - 5.0).collect();
            let image: Vec<f32> = whole(2 * 5 * 7, 3);
            let weight: Vec<f32> = whole(3 * sizes.terms, 7);
            let gradient: Vec<f32> = whole(3 * sizes.output[0] * sizes.output[1], 5);
            let (mut dw, mut dx) = (vec![0.0; weight.len()], vec![0.0; image.len()]);
            by_definition(&window, &sizes, [&image, &weight, &gradient], &mut dw, &mut dx);

            let mirror = Mirror::of(&window, &sizes, &weight).unwrap();
            let (mut turned, mut mirrored) = (vec![0.0; weight.len()], vec![0.0; image.len()]);
            mirror.gradients(&image, &gradient, &mut Work::default(), &mut turned, &mut mirrored);
            assert_eq!((mirror.weights(&turned), mirrored), (dw, dx), "{window:?}");
        }
    }

    #[test]
    fn only_runs_are_mirrored() {
        let of = |stride, padding| {
            let window = Window::square(3, stride, padding);
            Mirror::of(&window, &Sizes::of(&window, false, 1, [2, 6, 6], 3).unwrap(), &[0.0; 54]).is_some()
        };
        assert!(of(1, 1));
        assert!(![(2, 1), (1, 0), (1, 3)].into_iter().any(|(stride, padding)| of(stride, padding)));
        let window = Window::square(3, 1, 1);
        assert!(Mirror::of(&window, &Sizes::of(&window, true, 1, [2, 6, 6], 2).unwrap(), &[0.0; 18]).is_none());
    }
}
