//! Row-major matrix products on one thread, so that callers decide what runs side by side and in which order sums go.

pub(super) use faer::Accum;
use faer::linalg::matmul::matmul;
use faer::{MatMut, MatRef, Par};

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

/// Adds `left · right` to `result`, or puts it in its place, with extents `[m, k, n]`; all row-major.
pub(super) fn product(
    form: Form,
    left: &[f32],
    right: &[f32],
    accum: Accum,
    result: &mut [f32],
    [m, k, n]: [usize; 3],
) {
    let left = match form {
        Form::LeftTransposed => MatRef::from_row_major_slice(left, k, m).transpose(),
        _ => MatRef::from_row_major_slice(left, m, k),
    };
    let right = match form {
        Form::RightTransposed => MatRef::from_row_major_slice(right, n, k).transpose(),
        _ => MatRef::from_row_major_slice(right, k, n),
    };
    matmul(MatMut::from_row_major_slice_mut(result, m, n), accum, left, right, 1.0, Par::Seq);
}
