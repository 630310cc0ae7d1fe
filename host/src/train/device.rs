//! Where training computes: this machine's processor, or a graphics processor that Candle drives.
//!
//! One choice a process, made before anything is trained: networks live there, and batches are brought there. What is
//! counted in integers, such as the evaluation of a quantized network, stays on the processor.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use candle_core::{Device, Result, Tensor};

/// A device as it is named on the command line: `cpu`, `cuda`, `cuda:1`, `metal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// This machine's processor, by releq's own ops.
    #[default]
    Cpu,
    /// An NVIDIA processor, by its number.
    Cuda(usize),
    /// An Apple processor, by its number.
    Metal(usize),
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "cpu"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
            Self::Metal(number) => write!(f, "metal:{number}"),
        }
    }
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let unknown = || format!("there is no device `{text}`; say cpu, cuda, metal, or cuda:N for the N-th");
        let (kind, number) = text.split_once(':').unwrap_or((text, "0"));
        let number = number.parse().map_err(|_| unknown())?;
        match kind {
            "cpu" if !text.contains(':') => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(number)),
            "metal" => Ok(Self::Metal(number)),
            _ => Err(unknown()),
        }
    }
}

/// Why a device cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Its driver or its feature is missing.
    #[error(
        "{choice} cannot be used: {error}; build releq with `--features {feature}` on a machine that has one, or leave \
         --device out"
    )]
    Unusable {
        /// What was asked for.
        choice: Choice,
        /// The feature of this crate that brings it.
        feature: &'static str,
        /// What Candle says, on one line.
        error: String,
    },
    /// Something was trained elsewhere before.
    #[error("training has begun on another device already; choose one for the whole process, before anything else")]
    Late,
}

static CHOSEN: OnceLock<Device> = OnceLock::new();

fn opened(choice: Choice) -> std::result::Result<Device, DeviceError> {
    let (device, feature) = match choice {
        Choice::Cpu => (Ok(Device::Cpu), ""),
        Choice::Cuda(number) => (Device::new_cuda(number), "cuda"),
        Choice::Metal(number) => (Device::new_metal(number), "metal"),
    };
    device.map_err(|error| {
        let error = error.to_string().lines().next().unwrap_or_default().to_owned();
        DeviceError::Unusable { choice, feature, error }
    })
}

/// Says whether `choice` can be used.
///
/// # Errors
/// [`DeviceError::Unusable`].
pub fn there(choice: Choice) -> std::result::Result<(), DeviceError> {
    opened(choice).map(drop)
}

/// From now on networks live on `choice`.
///
/// # Errors
/// [`DeviceError`]; training then stays where it was.
pub fn choose(choice: Choice) -> std::result::Result<(), DeviceError> {
    let device = opened(choice)?;
    let held = CHOSEN.get_or_init(|| device.clone());
    if held.same_device(&device) { Ok(()) } else { Err(DeviceError::Late) }
}

/// Where networks live: the processor unless another device was chosen.
pub fn current() -> Device {
    CHOSEN.get_or_init(|| Device::Cpu).clone()
}

/// What stands beside the names of things that were trained here, since other processors round otherwise: nothing on
/// this machine's own.
pub fn mark() -> &'static str {
    match current() {
        Device::Cpu => "",
        Device::Cuda(_) => " by cuda",
        Device::Metal(_) => " by metal",
    }
}

/// Runs `op`, which only the processor has, wherever its inputs are: they cross over, and its result crosses back.
///
/// # Errors
/// Those of `op`, and of the crossing.
pub(super) fn on_processor(inputs: &[&Tensor], op: impl FnOnce(&[Tensor]) -> Result<Tensor>) -> Result<Tensor> {
    let here = inputs.iter().map(|x| x.to_device(&Device::Cpu)).collect::<Result<Vec<_>>>()?;
    op(&here)?.to_device(inputs[0].device())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_by_name() {
        for (text, choice) in [("cpu", Choice::Cpu), ("cuda", Choice::Cuda(0)), ("metal:1", Choice::Metal(1))] {
            assert_eq!(text.parse(), Ok(choice));
        }
        for text in ["", "gpu", "cpu:1", "cuda:", "cuda:x", "cuda:-1"] {
            assert!(text.parse::<Choice>().is_err(), "{text}");
        }
    }
}
