//! The two pieces of memory that a server borrows for ever: the arena and the model region.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use releq_device::Region;
use releq_device::board::{Board, Writing};

/// Working memory of `BYTES`, 8-aligned as the engine wants it, lent once.
#[derive(Debug)]
#[repr(C, align(8))]
pub struct Arena<const BYTES: usize> {
    bytes: UnsafeCell<[u8; BYTES]>,
    taken: AtomicBool,
}

// SAFETY: `take` hands the inside out once only, so no two users ever share it.
unsafe impl<const BYTES: usize> Sync for Arena<BYTES> {}

impl<const BYTES: usize> Arena<BYTES> {
    /// Zeros.
    #[expect(clippy::new_without_default, reason = "only ever a static, which a default cannot make")]
    pub const fn new() -> Self {
        Self { bytes: UnsafeCell::new([0; BYTES]), taken: AtomicBool::new(false) }
    }

    /// All of it the first time, nothing after that.
    pub fn take(&'static self) -> &'static mut [u8] {
        // Load and store, since Cortex-M0 has no swap; nothing that interrupts this firmware takes it.
        if self.taken.load(Ordering::Relaxed) {
            return &mut [];
        }
        self.taken.store(true, Ordering::Relaxed);
        // SAFETY: the flag lets this line run once, so this is the only reference to the inside.
        unsafe { &mut *self.bytes.get() }
    }
}

/// The model region, where the host puts images: before the core starts, or over the protocol where it is RAM. Once.
pub fn model(board: &'static Board) -> Region<'static> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.load(Ordering::Relaxed) {
        return Region::fixed(&[]);
    }
    TAKEN.store(true, Ordering::Relaxed);
    let (start, length) =
        (core::ptr::with_exposed_provenance_mut(board.model.origin as usize), board.model.length as usize);
    if board.model_writing == Writing::Ram {
        // SAFETY: the board table gives a stretch of RAM, 8-aligned, apart from code and data (its tests hold that), so
        // nothing else of this program lies there; the flag lets this line run once, so this is the only reference. The
        // emulator's loader writes only while the core is held.
        return Region::writable(unsafe { core::slice::from_raw_parts_mut(start, length) });
    }
    // SAFETY: as above, but flash, which the host writes only while the core is held.
    Region::fixed(unsafe { core::slice::from_raw_parts(start, length) })
}
