//! The way to a board through a debug probe: flash, memory and RTT, with none of probe-rs's types in sight.
//!
//! * [`attached`]: a board at the end of a probe, and how to get there; [`selection`]: which probe is meant;
//! * [`flash`]: what a flash would erase ([`Plan`]), and flashing: changed sectors only, read back;
//! * [`image`]: the bytes to flash, from a slice or an ELF file;
//! * [`rtt`]: ring buffers in the board's RAM, as a pipe of bytes;
//! * [`wire`]: the few primitives all of this needs, and what a chip's memory looks like;
//! * [`mock`]: those primitives on an array of bytes that can fail in chosen ways, for tests;
//! * [`error`]: why something could not be done.
//!
//! `device` is the only file that names probe-rs. Reads and RTT leave the core running; flashing halts it.
//! Nobody has run this crate on a board yet: what is tested is everything above [`Wire`], and the chip table.

#![forbid(unsafe_code)]

pub mod attached;
mod device;
pub mod error;
pub mod flash;
pub mod image;
pub mod mock;
pub mod rtt;
pub mod selection;
pub mod wire;

pub use attached::{Attached, Link};
pub use error::{Kind, ProbeError};
pub use flash::{Flashed, Phase, Plan, Progress};
pub use image::Image;
pub use rtt::{ControlBlock, Rtt};
pub use selection::{Found, list};
pub use wire::{Memory, Sector, Wire, WireError};
