//! Bytes and their meaning: the model image, its integer arithmetic, its weight layouts and the wire messages.
//!
//! Everything here is integer-only, `no_std` and allocation-free, so that one author's rules hold on the workstation
//! and on a Cortex-M0+ alike. It is not a training format (floats stay on the host) and it never runs a network
//! (that is `releq-device`).
//!
//! A tour, in the order bytes gain meaning:
//! * [`bits`]: a bit-width 1..=8 and the level sets a weight code may stand for;
//! * [`quant`]: the one arithmetic: requantize, logits, residual add, and the bounds that keep it exact;
//! * [`pack`]: weight layouts: where the fields of a b-bit weight lie in 32-bit words;
//! * [`graph`]: layer and tensor records;
//! * [`image`]: the `.rlq` container: check once, then infallible;
//! * [`crc`]: the checksum of containers and frames; [`sha2`]: the hashes of signatures;
//! * [`wire`]: the messages between a workstation and a board.
//!
//! ```
//! use releq_format::bits::{BitWidth, Levels};
//! let two = BitWidth::new(2).unwrap();
//! assert_eq!(Levels::MidRise.value(0b11, two), 3); // codes 0..=3 stand for -3, -1, 1, 3
//! ```
#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(any(feature = "alloc", test))]
extern crate alloc;

pub mod bits;
pub mod crc;
pub mod ends;
pub mod graph;
pub mod image;
pub mod pack;
pub mod quant;
pub mod sha2;
pub mod wire;

/// Whether this build of the crate may allocate; firmware asserts that it does not.
pub const HAS_ALLOC: bool = cfg!(feature = "alloc");
