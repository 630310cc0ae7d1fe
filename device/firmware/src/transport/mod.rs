//! Ports that carry bytes between host and runner.

mod both;
#[cfg(feature = "probe")]
mod rtt;
mod semihosting;
mod serial;

pub use both::Both;
#[cfg(feature = "probe")]
pub use rtt::{Logged, Rtt};
pub use semihosting::{Semihosted, Semihosting};
pub use serial::Serial;

/// A pipe to the host.
pub trait Port {
    /// What has arrived, from the start of `buffer`: nothing, or as much as there was room for. A port that can wait
    /// waits for at least one byte, and does not return once the host has hung up.
    fn read<'b>(&mut self, buffer: &'b mut [u8]) -> &'b [u8];

    /// Sends all of `bytes`.
    fn write(&mut self, bytes: &[u8]);
}
