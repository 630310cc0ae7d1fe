//! A proof by linking: nothing that an application calls, and nothing that a host asks, reaches a panic, for every
//! kernel.
//!
//! The panic handler calls a function that exists nowhere. As long as the optimiser can show that no panic is
//! reachable, the handler is dropped and the program links; one panic path left in engine or server and it does not.
//! It is never run.
#![no_std]
#![no_main]

use core::hint::black_box;

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};
use releq_device::clock::Clock;
use releq_device::resident::Door;
use releq_device::server::{Server, Setup};
use releq_device::signed::{PublicKey, Signed};
use releq_device::slots::{MappedFlash, Slots, answers};
use releq_device::{Engine, Region, board, kernels};
use releq_firmware::memory::{self, Arena};
use releq_format::image::Image;
use releq_format::wire::{MAX_FRAME, Unit};

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
    apply(model.bytes(), arena);
    update(arena);
    serve(&BOARD, model, arena)
}

/// Everything that an application calls.
fn apply(region: &[u8], arena: &mut [u8]) {
    let keys = black_box([PublicKey([0; 32])]);
    if let Ok(signed) = Signed::open_in(region, &keys) {
        black_box((signed.signer(), signed.image().crc()));
    }
    if let Ok(image) = Image::open_in(region)
        && let Ok(mut engine) = Engine::<{ board::MAX_LAYERS }>::new(&image, arena, kernels::ALL)
    {
        engine.input_mut().fill(black_box(0));
        engine.run(&mut ());
        black_box((engine.top1(), engine.outputs(), engine.layer_count(), engine.image().crc()));
        engine.logits().for_each(|logit| _ = black_box(logit));
        black_box(engine.kernel_name(black_box(0)));
        black_box(engine.self_test());
        black_box(engine.input_and_spare_mut());
        black_box(engine.into_arena());
    }
}

/// Everything that an application calls of its slots.
fn update(arena: &mut [u8]) {
    let good = |bytes: &[u8]| Image::open(bytes).is_ok_and(|image| answers::<8>(&image, arena, kernels::ALL));
    let mut slots = Slots::boot([AnyFlash, AnyFlash], good);
    black_box((slots.running(), slots.image(), slots.is_confirmed()));
    let _ = black_box(slots.confirm());
    let (running, spare) = slots.split();
    black_box((running, spare.room()));
    if let Ok(mut update) = spare.update(black_box(0)) {
        let _ = black_box(update.write(black_box(&[0; 8])));
        black_box(update.image());
        let _ = black_box(update.finish());
    }
}

/// Everything that a host asks.
fn serve(board: &'static board::Board, model: Region<'static>, arena: &'static mut [u8]) -> ! {
    let (stack, door): (fn() -> _, Door) =
        (|| black_box(None), |bytes| Ok(*Signed::open(bytes, &black_box([PublicKey([0; 32])]))?.image()));
    let setup = Setup { board: board.name, version: "0.0.0", clock: Any, stack, model, door, arena };
    let mut server = Server::<_, { board::MAX_LAYERS }>::new(setup);
    let mut frame = [0; MAX_FRAME];
    loop {
        let mut received: &[u8] = black_box(&mut frame);
        while !received.is_empty() {
            black_box(server.poll(&mut received));
        }
    }
}

/// Flash that holds and does anything.
struct AnyFlash;

impl ErrorType for AnyFlash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for AnyFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, _: u32, _: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        black_box(Ok(()))
    }

    fn capacity(&self) -> usize {
        black_box(0)
    }
}

impl NorFlash for AnyFlash {
    const WRITE_SIZE: usize = 8;
    const ERASE_SIZE: usize = 2048;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        black_box((from, to));
        black_box(Ok(()))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        black_box((offset, bytes));
        black_box(Ok(()))
    }
}

impl MappedFlash for AnyFlash {
    fn mapped(&self) -> &[u8] {
        black_box(&[])
    }
}

/// A clock that says anything.
struct Any;

impl Clock for Any {
    fn unit(&self) -> Unit {
        black_box(Unit::Cycles)
    }

    fn ticks(&self) -> u32 {
        black_box(0)
    }

    fn units(&self, begin: u32, end: u32) -> u32 {
        black_box(end.wrapping_sub(begin))
    }

    fn spin(&self, loops: u32) {
        black_box(loops);
    }
}
