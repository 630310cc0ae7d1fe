//! Reads ONNX constants: elements inside the model or in a file beside it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path};

use super::ImportError;
use super::proto::{TensorProto, element};
use crate::network::Tensor;

const AGAIN: &str = "the file is damaged; export it again";

/// A constant of finite floats; doubles are rounded. `model` is the file it belongs to.
pub(super) fn floats(tensor: &TensorProto, model: &Path) -> Result<Tensor, ImportError> {
    let data = reals(tensor, model)?;
    let shape = shape(tensor, data.len())?;
    match data.iter().find(|value| !value.is_finite()) {
        Some(value) => {
            let remedy = "training diverged; export a checkpoint from before that";
            Err(fault(tensor, format!("it holds {value}"), remedy))
        }
        None => Ok(Tensor { shape, data }),
    }
}

/// A constant of one float, which may be infinite.
pub(super) fn scalar(tensor: &TensorProto, model: &Path) -> Result<f32, ImportError> {
    match reals(tensor, model)?[..] {
        [value] if !value.is_nan() => Ok(value),
        ref values => Err(fault(tensor, format!("it holds {} numbers, where one belongs", values.len()), AGAIN)),
    }
}

fn reals(tensor: &TensorProto, model: &Path) -> Result<Vec<f32>, ImportError> {
    Ok(match tensor.data_type {
        element::FLOAT if !tensor.float_data.is_empty() => tensor.float_data.clone(),
        element::FLOAT => words(tensor, model)?.into_iter().map(f32::from_le_bytes).collect(),
        element::DOUBLE if !tensor.double_data.is_empty() => tensor.double_data.iter().map(|&v| v as f32).collect(),
        element::DOUBLE => words(tensor, model)?.into_iter().map(|word| f64::from_le_bytes(word) as f32).collect(),
        other => {
            let cause = format!("its element type is {}, where weights are float32", type_name(other));
            return Err(fault(tensor, cause, "export the float32 model; releq chooses the bits itself"));
        }
    })
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
    let directory = model.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let path = directory.join(location);
    let unreadable = |error: std::io::Error| {
        let cause = format!("its elements lie in {}, which cannot be read ({error})", path.display());
        fault(tensor, cause, "keep that file beside the model")
    };
    let (real, root) = (path.canonicalize().map_err(unreadable)?, directory.canonicalize().map_err(unreadable)?);
    if !real.starts_with(&root) || !real.is_file() {
        let cause = format!("its elements lie in `{}`, which leads outside the model's directory", location.display());
        return Err(fault(tensor, cause, "put that file itself beside the model"));
    }
    let needed = bytes_needed(tensor)?;
    if length.is_some_and(|length| length != needed) {
        let cause = format!("it has {} bytes for sizes {:?}, which take {needed}", length.unwrap_or(0), tensor.dims);
        return Err(fault(tensor, cause, AGAIN));
    }
    let mut file = File::open(&path).map_err(unreadable)?;
    let there = file.metadata().map_err(unreadable)?.len().saturating_sub(offset.unwrap_or(0));
    if there < needed {
        let cause = format!("{} ends after {there} of its {needed} bytes", path.display());
        return Err(fault(tensor, cause, "the copy was cut short; fetch that file again"));
    }
    file.seek(SeekFrom::Start(offset.unwrap_or(0))).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(needed).read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

/// How many bytes its sizes and element type take.
fn bytes_needed(tensor: &TensorProto) -> Result<u64, ImportError> {
    let width: u64 = match tensor.data_type {
        element::BOOL => 1,
        element::INT64 | element::DOUBLE => 8,
        _ => 4,
    };
    let mut sizes = tensor.dims.iter().map(|&size| u64::try_from(size).ok());
    let product = sizes.try_fold(width, |product, size| product.checked_mul(size?));
    product.ok_or_else(|| fault(tensor, format!("its sizes are {:?}", tensor.dims), AGAIN))
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
