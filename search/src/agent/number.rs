//! The floating-point types the network is generic over: f32 to learn in, f64 to check gradients in.
//!
//! Products run on one thread: one seed gives one result however many threads there are.

use candle_core::WithDType;
use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// Which operand of a product lies transposed in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `left` is `[m, k]`, `right` is `[k, n]`.
    Plain,
    /// `left` is `[k, m]`.
    LeftTransposed,
    /// `right` is `[n, k]`.
    RightTransposed,
}

/// A floating-point type.
pub(super) trait Real: WithDType {
    /// `e^self`.
    fn exp(self) -> Self;

    /// `sum += left · right`, with extents `[m, k, n]`; all row-major.
    fn product(form: Form, left: &[Self], right: &[Self], sum: &mut [Self], extents: [usize; 3]);

    /// `1 / (1 + e^-self)`.
    fn sigmoid(self) -> Self {
        let one = Self::from_f64(1.0);
        one / (one + (Self::from_f64(0.0) - self).exp())
    }

    /// The hyperbolic tangent, to an absolute error of a few roundings.
    fn tanh(self) -> Self {
        let two = Self::from_f64(2.0);
        two * (two * self).sigmoid() - Self::from_f64(1.0)
    }
}

macro_rules! real {
    ($real:ty, $exp:path) => {
        impl Real for $real {
            #[inline]
            fn exp(self) -> Self {
                $exp(self)
            }

            fn product(form: Form, left: &[Self], right: &[Self], sum: &mut [Self], [m, k, n]: [usize; 3]) {
                let left = match form {
                    Form::LeftTransposed => MatRef::from_row_major_slice(left, k, m).transpose(),
                    _ => MatRef::from_row_major_slice(left, m, k),
                };
                let right = match form {
                    Form::RightTransposed => MatRef::from_row_major_slice(right, n, k).transpose(),
                    _ => MatRef::from_row_major_slice(right, k, n),
                };
                matmul(MatMut::from_row_major_slice_mut(sum, m, n), Accum::Add, left, right, 1.0, Par::Seq);
            }
        }
    };
}

real!(f32, exp_f32);
real!(f64, f64::exp);

/// Adding and subtracting this rounds a small f32 to the nearest integer, which stays in the low bits of the sum.
const ROUNDER: f32 = 12_582_912.0;

/// `e^x` without a branch or a call, so that the gates' loops become vector instructions: half of a pass otherwise.
#[inline]
fn exp_f32(x: f32) -> f32 {
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUNDER;
    let whole = shifted - ROUNDER;
    // ln 2 in two parts, the first with few bits, so that `whole` times it is exact.
    let rest = (x - whole * 0.693_359_4) - whole * -2.121_944_4e-4;
    let series = [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0];
    let fraction = series.iter().skip(1).fold(series[0], |sum, term| sum * rest + term);
    let exponent = shifted.to_bits().wrapping_sub(ROUNDER.to_bits()).wrapping_add(127) << 23;
    fraction * f32::from_bits(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exponential_is_right_to_a_few_roundings() {
        for step in -8_000..8_000 {
            let x = step as f32 * 0.01;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp_f32(x)) - exact).abs() <= 4e-7 * exact, "e^{x} is {exact}, not {}", exp_f32(x));
        }
        assert!(exp_f32(f32::NAN).is_nan());
        assert!(exp_f32(-1e30) < 1e-37 && exp_f32(1e30) > 1e38);
    }

    #[test]
    fn squashing_saturates() {
        assert_eq!((f32::sigmoid(0.0), Real::tanh(0.0_f32)), (0.5, 0.0));
        assert_eq!((f32::sigmoid(100.0), Real::tanh(-100.0_f32)), (1.0, -1.0));
        assert!((Real::tanh(0.3_f64) - 0.3_f64.tanh()).abs() < 1e-15);
    }
}
