//! The runner: a board's port, its clock and its memory around [`releq_device::Server`].
//!
//! A board is a binary of at most 60 lines that calls [`serve_forever`] with its parts; everything a board can differ
//! in is in `releq_device::board` or in one of these modules:
//! * [`transport`]: ports that carry bytes;
//! * [`timer`]: the instruction clock of emulated boards;
//! * [`memory`]: the arena and the model region;
//! * [`fault`]: what happens when something cannot happen.
#![no_std]
#![deny(missing_docs)]

pub mod fault;
pub mod memory;
pub mod timer;
pub mod transport;

use releq_device::board::{Board, MAX_LAYERS};
use releq_device::server::{Server, Setup};

use timer::InstructionClock;
use transport::{Port, Semihosting};

// A firmware that allocates would be a different product.
const _: () = assert!(!releq_format::HAS_ALLOC);

/// Serves the host over semihosting until it hangs up.
pub fn serve_forever(board: &'static Board) -> ! {
    let port = Semihosting::open();
    let arena = memory::arena().unwrap_or(&mut []);
    let clock = InstructionClock::start(board);
    let server = Server::new(Setup {
        board: board.name,
        version: env!("CARGO_PKG_VERSION"),
        clock,
        platform: (),
        model: memory::model(board),
        arena,
    });
    serve(server, port)
}

fn serve(mut server: Server<'_, InstructionClock, (), MAX_LAYERS>, mut port: impl Port) -> ! {
    let mut buffer = [0; 4096];
    loop {
        let mut received = port.read(&mut buffer);
        while !received.is_empty() {
            let answer = server.poll(&mut received);
            port.write(answer);
        }
    }
}

/// Everything a board's binary contains: `runner!(VIRT_M4)` for that entry of the board table.
#[macro_export]
macro_rules! runner {
    ($board:ident) => {
        static BOARD: releq_device::Board = releq_device::board::$board;

        #[cortex_m_rt::entry]
        fn main() -> ! {
            $crate::serve_forever(&BOARD)
        }

        #[panic_handler]
        fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
            $crate::fault::panicked(info)
        }

        // SAFETY: it reads the frame that the core stacked, and never returns to the faulting code.
        #[cortex_m_rt::exception]
        unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
            $crate::fault::hard_fault(frame.pc(), frame.lr())
        }
    };
}
