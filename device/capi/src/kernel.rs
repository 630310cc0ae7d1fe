//! The kernels by the names that C knows them by: lower case, after their family.
#![allow(non_upper_case_globals, reason = "names as C writes them")]
#![allow(missing_docs, reason = "releq.h documents them as one group")]

use releq_device::kernels::{self, Kernel};

/// `name = family::KERNEL` exported each.
macro_rules! export {
    ($($name:ident = $family:ident :: $kernel:ident),* $(,)?) => {
        $(#[unsafe(no_mangle)]
        pub static $name: Kernel = kernels::$family::$kernel;)*
    };
}

export! {
    releq_packed_conv2d = packed::CONV2D,
    releq_packed_depthwise = packed::DEPTHWISE,
    releq_packed_dense = packed::DENSE,
    releq_packed_maxpool = packed::MAXPOOL,
    releq_packed_avgpool = packed::AVGPOOL,
    releq_packed_add = packed::ADD,
    releq_packed_concat = packed::CONCAT,
}

#[cfg(releq_dsp)]
export! {
    releq_dsp_conv2d = dsp::CONV2D,
    releq_dsp_depthwise = dsp::DEPTHWISE,
    releq_dsp_dense = dsp::DENSE,
    releq_dsp_maxpool = dsp::MAXPOOL,
    releq_dsp_avgpool = dsp::AVGPOOL,
    releq_dsp_add = dsp::ADD,
}
