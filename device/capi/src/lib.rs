//! The engine for C: `libreleq.a` and `include/releq.h`, which is where its users read.
//!
//! It adds no behaviour: pointers are checked, turned into slices, and handed to `releq-device`. No heap, no panic:
//! the caller gives all storage, and a proof by linking holds for every function and kernel (feature `proof`).
//!
//! * [`engine`]: the functions; the only room with `unsafe` beside [`panic`](mod@panic);
//! * [`kernel`]: the kernels by name, so that a link holds only those that a program lists;
//! * [`status`]: every code that a function returns, and what it means.
#![cfg_attr(not(test), no_std)]
#![deny(unsafe_code)]
#![deny(missing_docs)]

#[allow(unsafe_code, reason = "the one room that takes pointers from C")]
pub mod engine;
#[allow(unsafe_code, reason = "names without mangling")]
pub mod kernel;
#[cfg(not(test))]
#[allow(unsafe_code, reason = "the proof calls what exists nowhere")]
mod panic;
pub mod status;
#[cfg(test)]
#[allow(unsafe_code, reason = "calls what takes pointers")]
mod tests;

// A library for firmware that allocates would be a different product.
const _: () = assert!(!releq_format::HAS_ALLOC);
