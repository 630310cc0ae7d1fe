//! Ports that carry bytes between host and runner.

#[cfg(feature = "probe")]
mod rtt;
mod semihosting;

#[cfg(feature = "probe")]
pub use rtt::{Logged, Rtt};
pub use semihosting::{Semihosted, Semihosting};

/// A pipe to the host.
pub trait Port {
    /// Waits for bytes and returns at least one; does not return once the host has hung up, where it can know.
    fn read<'b>(&mut self, buffer: &'b mut [u8]) -> &'b [u8];

    /// Sends all of `bytes`.
    fn write(&mut self, bytes: &[u8]);
}
