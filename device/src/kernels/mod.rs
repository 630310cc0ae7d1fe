//! The loops: kernels in families, and how a layer gets one.
//!
//! * [`mod@reference`]: the obvious loops, the oracle for everything else;
//! * [`packed`]: bit-packed portable kernels, for any core from a Cortex-M0+ to a workstation;
//! * `bitserial`: AND and popcount on a workstation's vectors, and the 8-bit kernel beside it; not in firmware.
//! * [`dsp`]: assembly for Cortex-M cores with the DSP extension; elsewhere only its need of scratch is known.
//!
//! [`work()`] counts what a kernel does for a layer, without running it.
//!
//! Every family runs every layout it claims with equal results, bit for bit; the suite in `tests/kernels.rs` holds
//! them to it.

#[cfg(not(target_arch = "arm"))]
pub mod bitserial;
pub mod dsp;
mod gather;
pub mod packed;
pub mod reference;
mod work;

pub use work::{Part, Work, work};

use releq_format::graph::{KernelHint, Op, TensorRecord};
use releq_format::pack::Layout;

use crate::tensor::Input;

/// Whether a kernel runs an op from an input to an output.
pub type Supports = fn(op: &Op, input: &TensorRecord, output: &TensorRecord) -> bool;

/// One way to run some layers.
#[derive(Debug)]
pub struct Kernel {
    /// Its path below [`kernels`](self), as `kernels!` takes it.
    pub name: &'static str,
    /// The family a hint in an image means.
    pub family: KernelHint,
    /// Whether it runs `op` from `input` to `output`.
    pub supports: Supports,
    /// Bytes of scratch it needs for `op` from `input` to `output`.
    pub scratch_bytes: fn(op: &Op, input: &TensorRecord, output: &TensorRecord) -> u32,
    /// Runs one layer.
    pub run: fn(task: Task<'_>),
}

/// One layer to run: what it is and where everything lies.
#[derive(Debug)]
pub struct Task<'a> {
    /// What to compute.
    pub op: &'a Op,
    /// The input; its bytes are empty for an add in place, whose left operand is in `output`.
    pub input: Input<'a>,
    /// The right operand of an add or concatenation; otherwise the same as `input`.
    pub other: Input<'a>,
    /// Shape and encoding of the output.
    pub output_record: TensorRecord,
    /// The output's bytes.
    pub output: &'a mut [u8],
    /// Working memory, 4-byte aligned.
    pub scratch: &'a mut [u8],
    /// Packed weights, 4-byte aligned; empty without weights.
    pub codes: &'a [u8],
    /// Channel constants; empty without weights.
    pub channels: &'a [u8],
}

/// Every kernel, best first: for runners that must take any image.
pub const ALL: &[&Kernel] = &[
    #[cfg(releq_dsp)]
    &dsp::CONV2D,
    #[cfg(releq_dsp)]
    &dsp::DEPTHWISE,
    #[cfg(releq_dsp)]
    &dsp::DENSE,
    #[cfg(releq_dsp)]
    &dsp::MAXPOOL,
    #[cfg(releq_dsp)]
    &dsp::AVGPOOL,
    #[cfg(releq_dsp)]
    &dsp::ADD,
    &packed::CONV2D,
    &packed::DEPTHWISE,
    &packed::DENSE,
    &packed::MAXPOOL,
    &packed::AVGPOOL,
    &packed::ADD,
    &packed::CONCAT,
    &reference::CONV2D,
    &reference::DEPTHWISE,
    &reference::DENSE,
    &reference::MAXPOOL,
    &reference::AVGPOOL,
    &reference::ADD,
    &reference::CONCAT,
    // Last: taken only by images that hint at them, since only those reserve the scratch.
    #[cfg(not(target_arch = "arm"))]
    &bitserial::CONV2D,
    #[cfg(not(target_arch = "arm"))]
    &bitserial::DENSE,
    #[cfg(not(target_arch = "arm"))]
    &bitserial::INT8_CONV2D,
    #[cfg(not(target_arch = "arm"))]
    &bitserial::INT8_DENSE,
];

/// Families that no firmware has, and whose scratch is no microcontroller's.
const WORKSTATION: [KernelHint; 2] = [KernelHint::BITSERIAL, KernelHint::INT8];

/// The kernels of one family out of [`ALL`].
pub fn family(hint: KernelHint) -> impl Iterator<Item = &'static Kernel> {
    ALL.iter().copied().filter(move |kernel| kernel.family == hint)
}

/// Scratch that lets any kernel of any core run `op`, in bytes, a multiple of 4. The host's planner reserves this.
///
/// The families of workstations need more; see [`hinted_scratch_bytes`].
pub fn scratch_bytes(op: &Op, input: &TensorRecord, output: &TensorRecord) -> u32 {
    let anywhere = |kernel: &&&Kernel| !WORKSTATION.contains(&kernel.family);
    let suited = ALL.iter().filter(anywhere).filter(|kernel| (kernel.supports)(op, input, output));
    let here = suited.map(|kernel| (kernel.scratch_bytes)(op, input, output)).max().unwrap_or(0);
    let most = here.max(dsp::scratch_bytes(op, input, output).unwrap_or(0));
    most.checked_next_multiple_of(4).unwrap_or(u32::MAX)
}

/// As [`scratch_bytes`], and enough for the family of `hint`: what an image with that hint reserves.
pub fn hinted_scratch_bytes(hint: KernelHint, op: &Op, input: &TensorRecord, output: &TensorRecord) -> u32 {
    let suited = family(hint).filter(|kernel| (kernel.supports)(op, input, output));
    let most = suited.map(|kernel| (kernel.scratch_bytes)(op, input, output)).max().unwrap_or(0);
    most.checked_next_multiple_of(4).unwrap_or(u32::MAX).max(scratch_bytes(op, input, output))
}

/// The family to hint at for a layer: the fastest that any core has for it.
pub fn hint(op: &Op, input: &TensorRecord, output: &TensorRecord) -> KernelHint {
    match dsp::scratch_bytes(op, input, output) {
        Some(_) => KernelHint::DSP,
        None => KernelHint::PACKED,
    }
}

/// The layout for the weights of `op`, which lie in [`Layout::Lanes`], that kernels run fastest.
pub fn layout(op: &Op, input: &TensorRecord, output: &TensorRecord) -> Layout {
    if dsp::prefers_ends(op, input, output) { Layout::Ends } else { Layout::Lanes }
}

/// The kernels a program links: `kernels![packed::CONV2D, packed::DENSE]`.
#[macro_export]
macro_rules! kernels {
    ($($family:ident :: $name:ident),* $(,)?) => {
        &[$(&$crate::kernels::$family::$name),*] as &'static [&'static $crate::kernels::Kernel]
    };
}

/// The kernel for a layer: the hinted family's, else the first of `kernels` that runs it within the scratch given.
pub fn select(
    kernels: &[&'static Kernel],
    hint: KernelHint,
    op: &Op,
    input: &TensorRecord,
    output: &TensorRecord,
    scratch: u32,
) -> Option<&'static Kernel> {
    let mut chosen = None;
    for &kernel in kernels {
        if (kernel.supports)(op, input, output) && (kernel.scratch_bytes)(op, input, output) <= scratch {
            if kernel.family == hint {
                return Some(kernel);
            }
            chosen = chosen.or(Some(kernel));
        }
    }
    chosen
}
