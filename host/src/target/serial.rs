//! The pipe to a runner's UART: a serial port, for boards whose probe is away or never was there.
//!
//! Bytes that are lost or damaged on the wire are the conversation's business, which asks again. Only RAM is written over
//! it: what lies in flash must be there already.

use std::fmt::{self, Debug, Formatter};
use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use releq_device::board::{BAUD, Board};
use serialport::{ClearBuffer, SerialPort};

use super::{TargetError, Transport};

/// A serial port with a runner at its other end.
pub struct Serial {
    board: &'static Board,
    path: String,
    port: Box<dyn SerialPort>,
}

impl Debug for Serial {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Serial").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Serial {
    /// Opens the port at `path` at the runners' rate, [`BAUD`], 8 bits, no parity; what waits there is thrown away.
    ///
    /// # Errors
    /// [`TargetError::NoPort`] where there is none, or it may not be opened.
    pub fn open(board: &'static Board, path: &str) -> Result<Self, TargetError> {
        let refused = |error: serialport::Error| TargetError::NoPort {
            path: path.to_owned(),
            error: error.description,
            ports: ports(),
        };
        // Probes leave the wires to the chip alone until a terminal says that it is there, which is what DTR is for.
        let port = serialport::new(path, BAUD).dtr_on_open(true).open().map_err(refused)?;
        port.clear(ClearBuffer::All).map_err(refused)?;
        Ok(Self { board, path: path.to_owned(), port })
    }

    fn gone(&self, error: &std::io::Error) -> TargetError {
        TargetError::Ended { board: self.board.name, status: format!("{} is gone", self.path), said: error.to_string() }
    }
}

/// The ports of this machine, for whoever named another one.
fn ports() -> String {
    let found = serialport::available_ports().unwrap_or_default();
    let names: Vec<String> = found.into_iter().map(|port| port.port_name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

impl Transport for Serial {
    fn send(&mut self, bytes: &[u8]) -> Result<(), TargetError> {
        let sent = self.port.write_all(bytes).and_then(|()| self.port.flush());
        sent.map_err(|error| self.gone(&error))
    }

    fn receive(&mut self, patience: Duration) -> Result<Option<Vec<u8>>, TargetError> {
        let mut buffer = [0; 1024];
        // A timeout of nothing means for ever to some systems.
        let timeout = patience.max(Duration::from_millis(1));
        self.port.set_timeout(timeout).map_err(|error| self.gone(&error.into()))?;
        match self.port.read(&mut buffer) {
            Ok(0) => Err(self.gone(&ErrorKind::UnexpectedEof.into())),
            Ok(count) => Ok(Some(buffer[..count].to_vec())),
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::WouldBlock) => Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(self.gone(&error)),
        }
    }
}
