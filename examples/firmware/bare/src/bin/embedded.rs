//! LeNet as part of the program, with the three DSP kernels that it needs.
#![no_std]
#![no_main]

use bare::Memory;
use releq_device::kernels::Kernel;
use releq_device::{Arena, include_image, kernels};

/// What `releq inspect --kernels` prints for the image, of the family of this core.
const KERNELS: &[&Kernel] = kernels![dsp::CONV2D, dsp::DENSE, dsp::MAXPOOL];

#[cortex_m_rt::entry]
fn main() -> ! {
    static mut MEMORY: Memory = Arena([0; _]);
    let image = include_image!("../../../model/lenet5.rlq");
    bare::classify(image, MEMORY, KERNELS)
}
