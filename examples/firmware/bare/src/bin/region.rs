//! Any model, from a flash region of its own: a new one is written there, and this program stays as it is.
#![no_std]
#![no_main]

use bare::Memory;
use releq_device::kernels::Kernel;
use releq_device::{Arena, kernels};

/// Every portable kernel, since the next model may have other layers.
const KERNELS: &[&Kernel] = kernels![
    packed::CONV2D,
    packed::DEPTHWISE,
    packed::DENSE,
    packed::MAXPOOL,
    packed::AVGPOOL,
    packed::ADD,
    packed::CONCAT,
];

#[cortex_m_rt::entry]
fn main() -> ! {
    static mut MEMORY: Memory = Arena([0; _]);
    bare::classify(bare::memory::model(), MEMORY, KERNELS)
}
