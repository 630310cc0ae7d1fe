//! Two ports as one.

use super::Port;

/// Listens at both ports and answers at the one it was asked at, so that nobody waits for a host at the other.
///
/// One host at a time: questions that arrive at both at once damage each other, and are asked again.
#[derive(Debug)]
pub struct Both<A, B> {
    first: A,
    second: B,
    /// Which one the bytes last came from.
    asked: Asked,
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    First,
    Second,
}

impl<A: Port, B: Port> Both<A, B> {
    /// Of two ports whose reading does not wait.
    pub const fn new(first: A, second: B) -> Self {
        Self { first, second, asked: Asked::First }
    }
}

impl<A: Port, B: Port> Port for Both<A, B> {
    fn read<'b>(&mut self, buffer: &'b mut [u8]) -> &'b [u8] {
        let count = self.first.read(buffer).len();
        if count > 0 {
            self.asked = Asked::First;
            return buffer.get(..count).unwrap_or(&[]);
        }
        let received = self.second.read(buffer);
        if !received.is_empty() {
            self.asked = Asked::Second;
        }
        received
    }

    fn write(&mut self, bytes: &[u8]) {
        match self.asked {
            Asked::First => self.first.write(bytes),
            Asked::Second => self.second.write(bytes),
        }
    }
}
