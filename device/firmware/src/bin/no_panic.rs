//! A proof by linking: opening an image and running it contain no reachable panic, for every kernel.
//!
//! The panic handler calls a function that exists nowhere. As long as the optimiser can show that no panic is
//! reachable, the handler is dropped and the program links; one panic path left in the engine and it does not.
//! It is never run.
#![no_std]
#![no_main]

use core::hint::black_box;

use releq_device::{Engine, board, kernels};
use releq_firmware::memory::{self, Arena};
use releq_format::image::Image;

unsafe extern "C" {
    /// Defined nowhere, on purpose: an undefined symbol of this name means that something can panic.
    fn releq_engine_can_panic() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: never linked, hence never called.
    unsafe { releq_engine_can_panic() }
}

#[cortex_m_rt::entry]
fn main() -> ! {
    static BOARD: board::Board = board::VIRT_M3;
    static ARENA: Arena<{ board::VIRT_M3.arena_bytes }> = Arena::new();
    let arena = ARENA.take();
    // What the compiler could work out about these bytes would prove nothing about others.
    let model = black_box(memory::model(&BOARD));
    if let Ok(image) = Image::open(model.bytes())
        && let Ok(mut engine) = Engine::<{ board::MAX_LAYERS }>::new(&image, arena, kernels::ALL)
    {
        engine.input_mut().fill(black_box(0));
        engine.run(&mut ());
        black_box(engine.top1());
    }
    loop {
        core::hint::spin_loop();
    }
}
