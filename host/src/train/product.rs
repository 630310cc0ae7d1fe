//! Row-major matrix products on one thread, so that callers decide what runs side by side and in which order sums go.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// Which operand lies transposed in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `left` is `[m, k]`, `right` is `[k, n]`.
    Plain,
    /// `left` is `[k, m]`.
    LeftTransposed,
    /// `right` is `[n, k]`.
    RightTransposed,
}

/// `sum += left · right`, with extents `[m, k, n]`; all row-major.
pub(super) fn product(form: Form, left: &[f32], right: &[f32], sum: &mut [f32], [m, k, n]: [usize; 3]) {
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
