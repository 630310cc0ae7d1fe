//! Ports that carry bytes between host and runner.

mod semihosting;

pub use semihosting::{Semihosting, complain, exit};

/// A pipe to the host.
pub trait Port {
    /// Waits for bytes and returns at least one; does not return once the host has hung up.
    fn read<'b>(&mut self, buffer: &'b mut [u8]) -> &'b [u8];

    /// Sends all of `bytes`.
    fn write(&mut self, bytes: &[u8]);
}
