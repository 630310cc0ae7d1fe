//! What happens when something cannot happen: one line on the host's standard error and an exit code, never a hang.

use core::fmt::{self, Write};
use core::panic::PanicInfo;

use crate::transport::{complain, exit};

/// Exit code of a panic.
pub const PANIC: u8 = 101;
/// Exit code of a hard fault.
pub const HARD_FAULT: u8 = 102;

/// The host's standard error.
struct Complaint;

impl Write for Complaint {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        complain(text.as_bytes());
        Ok(())
    }
}

/// Ends the program for a panic; a board's `#[panic_handler]`.
pub fn panicked(info: &PanicInfo<'_>) -> ! {
    // Nothing is left to do if even this fails.
    let _ = writeln!(Complaint, "firmware: {info}");
    exit(PANIC)
}

/// Ends the program for a hard fault, naming where it was.
pub fn hard_fault(program_counter: u32, link_register: u32) -> ! {
    let _ = writeln!(Complaint, "firmware: hard fault at {program_counter:#010x}, called from {link_register:#010x}");
    exit(HARD_FAULT)
}
