//! The two pieces of memory that a server borrows for ever: the arena and the model region.

use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, Ordering};

use releq_device::Region;
use releq_device::board::{self, Board};

/// Bytes of the arena, the same on every board of this firmware.
const ARENA_BYTES: usize = board::ALL[0].arena_bytes;

const _: () = {
    let mut index = 0;
    while index < board::ALL.len() {
        assert!(board::ALL[index].arena_bytes == ARENA_BYTES, "one static arena serves all boards");
        index += 1;
    }
};

/// 8-aligned, as the engine wants it.
#[repr(C, align(8))]
struct Arena(UnsafeCell<[u8; ARENA_BYTES]>);

// SAFETY: `arena` hands the inside out once only, so no two users ever share it.
unsafe impl Sync for Arena {}

static ARENA: Arena = Arena(UnsafeCell::new([0; ARENA_BYTES]));
static TAKEN: AtomicBool = AtomicBool::new(false);

/// The arena, once.
pub fn arena() -> Option<&'static mut [u8]> {
    // Load and store, since Cortex-M0 has no swap; nothing interrupts this firmware.
    if TAKEN.load(Ordering::Relaxed) {
        return None;
    }
    TAKEN.store(true, Ordering::Relaxed);
    // SAFETY: the flag lets this line run once, so this is the only reference to the static's inside.
    Some(unsafe { &mut *ARENA.0.get() })
}

/// The model region, where the host puts images: before the core starts, or over the protocol. Once.
pub fn model(board: &'static Board) -> Region<'static> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.load(Ordering::Relaxed) {
        return Region::fixed(&[]);
    }
    TAKEN.store(true, Ordering::Relaxed);
    let start = core::ptr::without_provenance_mut(board.model.origin as usize);
    // SAFETY: the board table gives a stretch of RAM, 8-aligned, apart from code and data (its tests hold that), so
    // nothing else of this program lies there; the flag lets this line run once, so this is the only reference. Any
    // bytes are `u8`s. The emulator's loader writes only while the core is held.
    Region::writable(unsafe { core::slice::from_raw_parts_mut(start, board.model.length as usize) })
}
