//! Instruction clocks of emulated boards: under QEMU's `-icount` time passes per instruction, so a timer counts them.

mod cmsdk;
mod nordic;

use core::arch::asm;

use releq_device::board::{Board, Counter, InstructionTimer, TimerKind};

pub use cmsdk::Cmsdk;
pub use nordic::Nordic;

/// The timer of `board`, for a static.
///
/// # Panics
/// While the static is evaluated, which is during the build: if the board's timer is not of that make.
pub const fn of(board: &Board, kind: TimerKind) -> InstructionTimer {
    match (board.counter, kind) {
        (Counter::Timer(timer @ InstructionTimer { kind: TimerKind::Cmsdk, .. }), TimerKind::Cmsdk)
        | (Counter::Timer(timer @ InstructionTimer { kind: TimerKind::Nordic, .. }), TimerKind::Nordic) => timer,
        _ => panic!("the board table gives this board another counter"),
    }
}

/// A word register of a timer.
fn register(timer: &InstructionTimer, offset: u32) -> *mut u32 {
    core::ptr::without_provenance_mut((timer.address + offset) as usize)
}

fn write(timer: &InstructionTimer, offset: u32, value: u32) {
    // SAFETY: the board table gives the address of such a timer, which has word registers at the offsets that its
    // module names, and nothing else in the firmware uses it. Writing them affects no memory.
    unsafe { register(timer, offset).write_volatile(value) }
}

fn read(timer: &InstructionTimer, offset: u32) -> u32 {
    // SAFETY: as for writing; reading has no side effect.
    unsafe { register(timer, offset).read_volatile() }
}

/// A loop of two instructions a turn, at least one turn.
#[inline(never)]
pub(crate) fn spin(loops: u32) {
    // SAFETY: only r-registers and flags change; the loop ends since the counter reaches 0 from at least 1.
    unsafe {
        asm!("2:", "subs {left}, {left}, #1", "bne 2b", left = inout(reg) loops.max(1) => _, options(nomem, nostack));
    }
}
