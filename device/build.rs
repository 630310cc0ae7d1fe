//! Tells the crate what no stable `cfg` does: whether its target has Arm's DSP extension, and whether size is what counts.
//!
//! Every ARMv7E-M core has the extension; on Armv8-M Mainline it is an option of the core, which the feature `dsp`
//! promises. Size counts where the crate is compiled at level `s` or `z`: then one loop serves all widths.

use std::env;

fn main() {
    let target = env::var("TARGET").expect("cargo sets TARGET");
    let armv8m = target.starts_with("thumbv8m.main-");
    let promised = env::var_os("CARGO_FEATURE_DSP").is_some();
    if target.starts_with("thumbv7em-") || (armv8m && promised) {
        println!("cargo:rustc-cfg=releq_dsp");
    }
    if matches!(env::var("OPT_LEVEL").as_deref(), Ok("s" | "z")) {
        println!("cargo:rustc-cfg=releq_small");
    }
    println!("cargo:rustc-check-cfg=cfg(releq_dsp, releq_small)");
    println!("cargo:rerun-if-changed=build.rs");
}
