//! RTT: ring buffers in RAM that a debug probe reads and writes while the core runs.
//!
//! Channel 0 is for text, as everywhere; the protocol has channel 1, up and down.

use core::fmt;

use rtt_target::{ChannelMode, DownChannel, UpChannel, rprint, rtt_init};

use super::Port;
use crate::fault::{self, LastWords};

/// The protocol's two channels.
pub struct Rtt {
    up: UpChannel,
    down: DownChannel,
}

impl Rtt {
    /// Makes the channels known to the probe; once.
    pub fn open() -> Self {
        let channels = rtt_init! {
            up: {
                0: { size: 512, name: "Terminal" }
                1: { size: 1024, mode: ChannelMode::BlockIfFull, name: "releq" }
            }
            down: {
                0: { size: 16, name: "Terminal" }
                1: { size: 1024, name: "releq" }
            }
        };
        rtt_target::set_print_channel(channels.up.0);
        Self { up: channels.up.1, down: channels.down.1 }
    }
}

impl Port for Rtt {
    fn read<'b>(&mut self, buffer: &'b mut [u8]) -> &'b [u8] {
        let count = self.down.read(buffer);
        buffer.get(..count).unwrap_or(&[])
    }

    fn write(&mut self, bytes: &[u8]) {
        // The channel's mode waits for room.
        self.up.write(bytes);
    }
}

/// Last words on channel 0; then the core stands still, where the probe finds it.
#[derive(Debug, Default)]
pub struct Logged;

impl fmt::Write for Logged {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        rprint!("{}", text);
        Ok(())
    }
}

impl LastWords for Logged {
    fn end(self, _: u8) -> ! {
        fault::stop()
    }
}
