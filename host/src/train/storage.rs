//! Candle tensors as float slices.

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor};

/// The elements of a contiguous f32 storage.
pub(super) fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (Some((start, end)), CpuStorage::F32(data)) = (layout.contiguous_offsets(), storage) else {
        candle_core::bail!("the training ops take contiguous f32 tensors")
    };
    Ok(&data[start..end])
}

/// Hands the elements of a contiguous tensor to `read`, where they lie.
pub(super) fn with_floats<T>(tensor: &Tensor, read: impl FnOnce(&[f32]) -> T) -> Result<T> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(read(floats(storage, layout)?)),
        _ => candle_core::bail!("the training ops run on the CPU"),
    }
}

/// The elements of a tensor, copied.
pub(super) fn tensor_floats(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}
