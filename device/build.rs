//! Tells the crate whether its target has Arm's DSP extension, since `cfg(target_feature = "dsp")` is not stable.
//!
//! Every ARMv7E-M core has it; on Armv8-M Mainline it is an option of the core, which the feature `dsp` promises.

use std::env;

fn main() {
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let armv8m = target.starts_with("thumbv8m.main-");
    let promised = env::var_os("CARGO_FEATURE_DSP").is_some();
    if target.starts_with("thumbv7em-") || (armv8m && promised) {
        println!("cargo:rustc-cfg=releq_dsp");
    }
    println!("cargo:rustc-check-cfg=cfg(releq_dsp)");
    println!("cargo:rerun-if-changed=build.rs");
}
