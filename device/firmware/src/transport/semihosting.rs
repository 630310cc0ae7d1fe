//! Semihosting: the host's standard streams through the breakpoint instruction ("Semihosting for AArch32 and AArch64",
//! Arm IHI 0100, §6 operations and §7.1 `:tt`).

use core::arch::asm;
use core::fmt;

use super::Port;
use crate::fault::LastWords;

/// Operation numbers.
mod operation {
    pub(super) const OPEN: usize = 0x01;
    pub(super) const WRITE: usize = 0x05;
    pub(super) const READ: usize = 0x06;
    pub(super) const EXIT_EXTENDED: usize = 0x20;
}

/// `ADP_Stopped_ApplicationExit`: the reason of an exit that carries a code.
const APPLICATION_EXIT: usize = 0x20026;

/// `fopen` modes of `:tt`, which select the stream.
#[derive(Clone, Copy)]
enum Stream {
    /// "r": standard input.
    Input = 0,
    /// "w": standard output.
    Output = 4,
    /// "a": standard error.
    Error = 8,
}

/// The host's standard input and output.
#[derive(Debug)]
pub struct Semihosting {
    input: usize,
    output: usize,
}

impl Semihosting {
    /// Opens both streams; ends the program where there is no host.
    pub fn open() -> Self {
        Self { input: open(Stream::Input), output: open(Stream::Output) }
    }
}

impl Port for Semihosting {
    fn read<'b>(&mut self, buffer: &'b mut [u8]) -> &'b [u8] {
        // The answer is the number of bytes NOT read; all of them means that the host has closed the stream.
        let missing = call(operation::READ, &[self.input, buffer.as_mut_ptr() as usize, buffer.len()]);
        match buffer.len().checked_sub(missing) {
            Some(count) if count > 0 => buffer.get(..count).unwrap_or(&[]),
            _ => exit(0),
        }
    }

    fn write(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() && write(self.output, bytes) != 0 {
            exit(0);
        }
    }
}

/// Lines for the host, of programs that speak no protocol.
impl fmt::Write for Semihosting {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.write(text.as_bytes());
        Ok(())
    }
}

/// Last words on the host's standard error, for the standard output belongs to the protocol; then the emulator ends.
#[derive(Debug, Default)]
pub struct Semihosted;

impl fmt::Write for Semihosted {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        write(open(Stream::Error), text.as_bytes());
        Ok(())
    }
}

impl LastWords for Semihosted {
    fn end(self, code: u8) -> ! {
        exit(code)
    }
}

/// Ends the program with a code that becomes the emulator's own.
fn exit(code: u8) -> ! {
    loop {
        call(operation::EXIT_EXTENDED, &[APPLICATION_EXIT, usize::from(code)]);
    }
}

fn open(stream: Stream) -> usize {
    const NAME: &[u8] = b":tt\0";
    call(operation::OPEN, &[NAME.as_ptr() as usize, stream as usize, NAME.len() - 1])
}

/// The number of bytes not written.
fn write(handle: usize, bytes: &[u8]) -> usize {
    call(operation::WRITE, &[handle, bytes.as_ptr() as usize, bytes.len()])
}

/// One semihosting operation: its number in r0, the address of its parameters in r1, the answer in r0.
fn call<const N: usize>(operation: usize, parameters: &[usize; N]) -> usize {
    let mut result = operation;
    // SAFETY: `bkpt 0xAB` is the semihosting trap of M-profile cores: the host reads the parameter block, reads or
    // writes the buffer it names and changes r0 only. The block and every buffer named in it outlive this call, and
    // since the asm block may touch memory, the compiler keeps no copy of a buffer across it.
    unsafe {
        asm!("bkpt 0xAB", inout("r0") result, in("r1") parameters.as_ptr(), options(nostack, preserves_flags));
    }
    result
}
