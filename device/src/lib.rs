//! Runs images: releq's integer inference engine. `no_std`, no heap ever, no floats, no panic once an image is open.
//!
//! It is not a converter and it does not parse while it runs: [`Engine::new`] decodes a checked
//! [`Image`](releq_format::image::Image) once, [`Engine::run`] only walks the table.
//!
//! From the outside in:
//! * [`engine`]: the layer table and the walk over it;
//! * [`observe`]: what a caller may watch between layers (time, digests);
//! * [`mod@kernels`]: the loops, in families: `reference` (the oracle), `packed` (portable, any core), `dsp` (assembly for
//!   Cortex-M4, M7 and M33) and `bitserial` (a workstation's vectors); these last two and `resident` are the only rooms
//!   with `unsafe`;
//! * [`tensor`]: reading and writing codes of 1, 2, 4 and 8 bits, shared by all kernels;
//! * `signed` (feature): images that open only if one of the application's keys has signed them; `slots` (feature): two
//!   models in flash, of which one always boots;
//! * [`server`]: answers a host's requests, the runner firmware without its port; [`clock`] is what it measures with,
//!   [`resident`] the memory its image lies in;
//! * [`board`]: the boards there are, one table for firmware, emulator and fit check.
//!
//! ```no_run
//! use releq_device::{Arena, Engine, include_image, kernels};
//! use releq_format::image::Image;
//!
//! # fn codes() -> [u8; 784] { [0; 784] }
//! # let bytes: &[u8] = &[];
//! // let bytes = include_image!("lenet.rlq");
//! let image = Image::open(bytes)?; // checks everything, once
//! let mut arena = Arena([0; 16384]);
//! let mut engine = Engine::<8>::new(&image, &mut arena.0, kernels::ALL)?;
//! engine.input_mut().copy_from_slice(&codes());
//! engine.run(&mut ()); // nothing can fail from here
//! let class = engine.top1();
//! # let _ = class;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```
#![no_std]
#![deny(unsafe_code)]
#![deny(missing_docs)]

#[cfg(test)]
extern crate alloc;

pub mod board;
pub mod clock;
pub mod engine;
pub mod kernels;
pub mod observe;
pub mod resident;
pub mod server;
#[cfg(feature = "signed")]
pub mod signed;
#[cfg(feature = "slots")]
pub mod slots;
mod stopwatch;
pub mod tensor;

pub use board::Board;
pub use engine::{Arena, Engine, OpenError};
pub use observe::Observer;
pub use resident::Region;
pub use server::Server;

/// Embeds an image file in the program at the alignment the engine needs.
///
/// The path is relative to the invoking file, as with `include_bytes!`.
#[macro_export]
macro_rules! include_image {
    ($path:expr) => {{
        #[repr(C, align(8))]
        struct Aligned<Bytes: ?Sized>(Bytes);
        static IMAGE: &Aligned<[u8]> = &Aligned(*include_bytes!($path));
        &IMAGE.0
    }};
}
