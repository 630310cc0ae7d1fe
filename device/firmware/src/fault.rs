//! What happens when something cannot happen: one line to whoever listens, then an end, never a wrong answer.

use core::fmt::Write;
use core::panic::PanicInfo;

/// Exit code of a panic.
pub const PANIC: u8 = 101;
/// Exit code of a hard fault.
pub const HARD_FAULT: u8 = 102;

/// Where a dying firmware's last line goes, and what ends it.
pub trait LastWords: Write {
    /// Ends the program, with a code where anything takes one.
    fn end(self, code: u8) -> !;
}

/// Ends the program for a panic; a board's `#[panic_handler]`.
pub fn panicked(info: &PanicInfo<'_>, mut words: impl LastWords) -> ! {
    // Nothing is left to do if even this fails.
    let _ = writeln!(words, "firmware: {info}");
    words.end(PANIC)
}

/// Ends the program for a hard fault, naming where it was.
pub fn hard_fault(program_counter: u32, link_register: u32, mut words: impl LastWords) -> ! {
    let _ = writeln!(words, "firmware: hard fault at {program_counter:#010x}, called from {link_register:#010x}");
    words.end(HARD_FAULT)
}

/// Stands still; a probe sees where.
pub fn stop() -> ! {
    loop {
        core::hint::spin_loop();
    }
}
