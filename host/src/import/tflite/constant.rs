//! Reads TFLite constants: floats, the floats that int8 weights stand for, and whole numbers.

use super::schema::{Model, Quantization, Tensor as Entry};
use super::{FLOAT32, INT8, INT32, element_name, name};
use crate::import::ImportError;
use crate::network::Tensor;

const AGAIN: &str = "the file is damaged; convert the model again";

/// Whether `tensor` has a value of its own.
pub(super) fn is_constant(model: &Model<'_>, tensor: &Entry<'_>) -> bool {
    model.buffers.get(tensor.buffer as usize).is_some_and(|buffer| !buffer.data.is_empty() || buffer.offset > 1)
}

/// A constant of floats.
pub(super) fn floats(model: &Model<'_>, tensor: &Entry<'_>) -> Result<Tensor, ImportError> {
    let data: Vec<f32> = match tensor.element {
        FLOAT32 => words(model, tensor)?.into_iter().map(f32::from_le_bytes).collect(),
        INT8 => dequantized(model, tensor)?,
        other => {
            let cause = format!("its element type is {}, where weights are float32", element_name(other));
            return Err(fault(tensor, cause, "convert the float32 model; releq chooses the bits itself"));
        }
    };
    if let Some(value) = data.iter().find(|value| !value.is_finite()) {
        let cause = format!("it holds {value}");
        return Err(fault(tensor, cause, "training diverged; convert a checkpoint from before that"));
    }
    Ok(Tensor { shape: shape(tensor, data.len())?, data })
}

/// A constant of whole numbers, flattened.
pub(super) fn ints(model: &Model<'_>, tensor: &Entry<'_>) -> Result<Vec<i32>, ImportError> {
    if tensor.element != INT32 {
        let cause = format!("its element type is {}, where int32 belongs", element_name(tensor.element));
        return Err(fault(tensor, cause, AGAIN));
    }
    let data: Vec<i32> = words(model, tensor)?.into_iter().map(i32::from_le_bytes).collect();
    shape(tensor, data.len())?;
    Ok(data)
}

/// The floats that int8 weights stand for, with one scale or one a slice of an axis.
fn dequantized(model: &Model<'_>, tensor: &Entry<'_>) -> Result<Vec<f32>, ImportError> {
    let bytes = words::<1>(model, tensor)?;
    let shape = shape(tensor, bytes.len())?;
    let Some(Quantization { scales, zero_points, axis }) = &tensor.quantization else {
        return Err(fault(tensor, "it is int8 and no scale says what for", AGAIN));
    };
    let axis = usize::try_from(*axis).unwrap_or(usize::MAX);
    let slices = if scales.len() == 1 { 1 } else { shape.get(axis).copied().unwrap_or(0) };
    let zeros = zero_points.len() == scales.len() || zero_points.is_empty();
    if scales.is_empty() || scales.len() != slices || !zeros {
        let cause = format!(
            "it has {} scales and {} zero points for sizes {shape:?} along axis {axis}",
            scales.len(),
            zero_points.len()
        );
        return Err(fault(tensor, cause, AGAIN));
    }
    let inner: usize = shape.iter().skip(if slices == 1 { 0 } else { axis + 1 }).product();
    let real = |(at, [byte]): (usize, [u8; 1])| {
        let slice = at / inner.max(1) % slices;
        let zero = zero_points.get(slice).copied().unwrap_or(0);
        (i64::from(byte as i8).saturating_sub(zero)) as f32 * scales[slice]
    };
    Ok(bytes.into_iter().enumerate().map(real).collect())
}

/// The sizes, if they make `elements`.
fn shape(tensor: &Entry<'_>, elements: usize) -> Result<Vec<usize>, ImportError> {
    let sizes: Option<Vec<usize>> = tensor.shape.iter().map(|&size| usize::try_from(size).ok()).collect();
    let product = |sizes: &Vec<usize>| sizes.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    match sizes {
        Some(sizes) if product(&sizes) == Some(elements) => Ok(sizes),
        _ => Err(fault(tensor, format!("it has {elements} elements for sizes {:?}", tensor.shape), AGAIN)),
    }
}

/// Its little-endian bytes in words of `N`.
fn words<const N: usize>(model: &Model<'_>, tensor: &Entry<'_>) -> Result<Vec<[u8; N]>, ImportError> {
    let buffer = model.buffers.get(tensor.buffer as usize);
    let buffer = buffer.ok_or_else(|| fault(tensor, format!("there is no buffer {}", tensor.buffer), AGAIN))?;
    if buffer.offset > 1 {
        let remedy = "convert a model below 2 GiB; no microcontroller holds more";
        return Err(fault(tensor, "its elements lie behind the FlatBuffer", remedy));
    }
    match buffer.data.as_chunks::<N>() {
        (words, []) => Ok(words.to_vec()),
        _ => {
            let cause = format!("its {} bytes are no whole number of {N}-byte elements", buffer.data.len());
            Err(fault(tensor, cause, AGAIN))
        }
    }
}

fn fault(tensor: &Entry<'_>, cause: impl Into<String>, remedy: &str) -> ImportError {
    ImportError::Tensor { tensor: name(tensor).to_owned(), cause: cause.into(), remedy: remedy.to_owned() }
}
