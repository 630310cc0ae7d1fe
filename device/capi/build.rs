//! Tells the crate whether the engine has kernels for Arm's DSP extension here, by the engine's own rule.

use std::env;

fn main() {
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let promised = target.starts_with("thumbv8m.main-") && env::var_os("CARGO_FEATURE_DSP").is_some();
    if target.starts_with("thumbv7em-") || promised {
        println!("cargo:rustc-cfg=releq_dsp");
    }
    println!("cargo:rerun-if-changed=build.rs");
}
