//! Reads ONNX constants: elements inside the model or in a file beside it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use super::ImportError;
use super::proto::{TensorProto, element};
use crate::network::Tensor;

const AGAIN: &str = "the file is damaged; export it again";

/// A constant of floats; doubles are rounded. `model` is the file it belongs to.
pub(super) fn floats(tensor: &TensorProto, model: &Path) -> Result<Tensor, ImportError> {
    let data = match tensor.data_type {
        element::FLOAT if !tensor.float_data.is_empty() => tensor.float_data.clone(),
        element::FLOAT => words(tensor, model)?.into_iter().map(f32::from_le_bytes).collect(),
        element::DOUBLE if !tensor.double_data.is_empty() => tensor.double_data.iter().map(|&v| v as f32).collect(),
        element::DOUBLE => words(tensor, model)?.into_iter().map(|word| f64::from_le_bytes(word) as f32).collect(),
        other => {
            let cause = format!("its element type is {}, where weights are float32", type_name(other));
            return Err(fault(tensor, cause, "export the float32 model; releq chooses the bits itself"));
        }
    };
    let shape = shape(tensor, data.len())?;
    if let Some(value) = data.iter().find(|value| !value.is_finite()) {
        return Err(fault(
            tensor,
            format!("it holds {value}"),
            "training diverged; export a checkpoint from before that",
        ));
    }
    Ok(Tensor { shape, data })
}

/// A constant of whole numbers or truth values, flattened.
pub(super) fn ints(tensor: &TensorProto, model: &Path) -> Result<Vec<i64>, ImportError> {
    let data: Vec<i64> = match tensor.data_type {
        element::INT64 if !tensor.int64_data.is_empty() => tensor.int64_data.clone(),
        element::INT64 => words(tensor, model)?.into_iter().map(i64::from_le_bytes).collect(),
        element::INT32 | element::BOOL if !tensor.int32_data.is_empty() => {
            tensor.int32_data.iter().map(|&value| value.into()).collect()
        }
        element::INT32 => words(tensor, model)?.into_iter().map(|word| i32::from_le_bytes(word).into()).collect(),
        element::BOOL => words::<1>(tensor, model)?.into_iter().map(|[byte]| byte.into()).collect(),
        other => {
            let cause = format!("its element type is {}, where whole numbers belong", type_name(other));
            return Err(fault(tensor, cause, AGAIN));
        }
    };
    shape(tensor, data.len())?;
    Ok(data)
}

/// The sizes, if they make `elements`.
fn shape(tensor: &TensorProto, elements: usize) -> Result<Vec<usize>, ImportError> {
    let sizes: Option<Vec<usize>> = tensor.dims.iter().map(|&size| usize::try_from(size).ok()).collect();
    let product = |sizes: &Vec<usize>| sizes.iter().try_fold(1_usize, |product, &size| product.checked_mul(size));
    match sizes {
        Some(sizes) if product(&sizes) == Some(elements) => Ok(sizes),
        _ => Err(fault(tensor, format!("it has {elements} elements for sizes {:?}", tensor.dims), AGAIN)),
    }
}

/// Its little-endian bytes in words of `N`.
fn words<const N: usize>(tensor: &TensorProto, model: &Path) -> Result<Vec<[u8; N]>, ImportError> {
    let external = if tensor.data_location == 1 { Some(external(tensor, model)?) } else { None };
    let bytes = external.as_deref().unwrap_or(&tensor.raw_data);
    let (words, rest) = bytes.as_chunks::<N>();
    if rest.is_empty() {
        Ok(words.to_vec())
    } else {
        Err(fault(tensor, format!("its {} bytes are no whole number of {N}-byte elements", bytes.len()), AGAIN))
    }
}

/// Its bytes from the file named in `external_data`, which lies in the model's directory or below.
fn external(tensor: &TensorProto, model: &Path) -> Result<Vec<u8>, ImportError> {
    let entry =
        |key: &str| tensor.external_data.iter().find(|entry| entry.key == key).map(|entry| entry.value.as_str());
    let number = |key: &str| entry(key).map(|text| text.parse::<u64>()).transpose();
    let location = Path::new(entry("location").unwrap_or_default());
    let beside = location.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if location.as_os_str().is_empty() || !beside {
        let cause = format!("its elements lie in `{}`, outside the model's directory", location.display());
        return Err(fault(tensor, cause, "put that file beside the model and export again"));
    }
    let (Ok(offset), Ok(length)) = (number("offset"), number("length")) else {
        return Err(fault(tensor, "the place of its elements is no number", AGAIN));
    };
    let path = model.parent().unwrap_or(Path::new("")).join(location);
    let unreadable = |error: std::io::Error| {
        let cause = format!("its elements lie in {}, which cannot be read ({error})", path.display());
        fault(tensor, cause, "keep that file beside the model")
    };
    let mut file = File::open(&path).map_err(unreadable)?;
    file.seek(SeekFrom::Start(offset.unwrap_or(0))).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(length.unwrap_or(u64::MAX)).read_to_end(&mut bytes).map_err(unreadable)?;
    match length {
        Some(length) if (bytes.len() as u64) < length => {
            let cause = format!("{} ends after {} of its {length} bytes", path.display(), bytes.len());
            Err(fault(tensor, cause, "the copy was cut short; fetch that file again"))
        }
        _ => Ok(bytes),
    }
}

fn fault(tensor: &TensorProto, cause: impl Into<String>, remedy: &str) -> ImportError {
    ImportError::Tensor { tensor: tensor.name.clone(), cause: cause.into(), remedy: remedy.to_owned() }
}

fn type_name(element: i32) -> String {
    match element {
        2 => "uint8".to_owned(),
        3 => "int8".to_owned(),
        element::INT32 => "int32".to_owned(),
        element::INT64 => "int64".to_owned(),
        element::BOOL => "bool".to_owned(),
        10 => "float16".to_owned(),
        16 => "bfloat16".to_owned(),
        element::FLOAT => "float32".to_owned(),
        element::DOUBLE => "float64".to_owned(),
        other => format!("number {other} of ONNX's list"),
    }
}
