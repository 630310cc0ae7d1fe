//! The runner: a board's port, its clock and its memory around [`releq_device::Server`].
//!
//! A board is a binary of at most 60 lines. An emulated one is the line `emulated!(VIRT_M4, Cmsdk)`; one with a debug
//! probe is `wired!(NUCLEO_F446RE, set_up)` and a function that sets its clocks and returns its trigger pin and UART.
//! Everything else a board can differ in is in `releq_device::board` or in one of these modules:
//! * [`transport`]: ports that carry bytes, semihosting, RTT and a UART, and two of them as one;
//! * [`uart`]: UARTs that are polled, those of chips' crates and two of our own;
//! * [`timer`]: the instruction clocks of emulated boards;
//! * `cycles`: the cycle clock of the others, which says so where a core's counter does not count;
//! * `trigger`: a pin that is high while a layer runs, for oscilloscopes and power analysers;
//! * [`memory`]: the arena and the model region; `fence`: memory that nothing may touch, for trials;
//! * [`keys`]: whose images it runs;
//! * [`stack`]: how much of the stack was ever used;
//! * [`fault`]: what happens when something cannot happen.
#![no_std]
#![deny(missing_docs)]

#[cfg(feature = "probe")]
pub mod cycles;
pub mod fault;
#[cfg(feature = "fence")]
pub mod fence;
pub mod keys;
pub mod memory;
mod runner;
pub mod stack;
pub mod timer;
pub mod transport;
#[cfg(feature = "probe")]
pub mod trigger;
pub mod uart;

#[cfg(feature = "probe")]
pub use cortex_m;
pub use cortex_m_rt;
pub use releq_device;
#[cfg(feature = "probe")]
pub use runner::Wiring;

use releq_device::board::Board;
use releq_device::clock::Clock;
use releq_device::server::{Server, Setup};

use releq_format::wire::MAX_FRAME;
use transport::Port;

// A firmware that allocates would be a different product.
const _: () = assert!(!releq_format::HAS_ALLOC);

/// Serves the host for ever, images of at most `N` layers.
pub fn serve_forever<const N: usize>(
    board: &'static Board,
    mut port: impl Port,
    clock: impl Clock,
    arena: &'static mut [u8],
) -> ! {
    let mut server = Server::<_, N>::new(Setup {
        board: board.name,
        version: env!("CARGO_PKG_VERSION"),
        clock,
        stack: || Some((stack::high_water() as u32, stack::size() as u32)),
        model: memory::model(board),
        door: keys::door,
        arena,
    });
    let mut buffer = [0; MAX_FRAME];
    loop {
        let mut received = port.read(&mut buffer);
        while !received.is_empty() {
            let answer = server.poll(&mut received);
            port.write(answer);
        }
    }
}
