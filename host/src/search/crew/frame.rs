//! Frames on a stream: four bytes of length, four of CRC-32, then so many bytes; messages are JSON in them.

use std::io::{self, Read, Write};

use releq_format::crc::crc32;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Most bytes of a frame; no network of this world is larger.
pub const MOST: usize = 256 << 20;
/// Most bytes of a frame from somebody who has not shown the token.
pub const STRANGERS: usize = 1 << 10;

/// Sends one frame.
///
/// # Errors
/// What the stream says.
pub fn send_bytes(stream: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).map_err(|_| invalid("a frame of more than 4 GiB"))?;
    let mut frame = Vec::with_capacity(8 + bytes.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&crc32(bytes).to_le_bytes());
    frame.extend_from_slice(bytes);
    stream.write_all(&frame)?;
    stream.flush()
}

/// Receives one frame of at most `most` bytes.
///
/// # Errors
/// What the stream says; a longer frame, or one whose checksum is another's.
pub fn receive_bytes(stream: &mut impl Read, most: usize) -> io::Result<Vec<u8>> {
    let mut head = [0; 8];
    stream.read_exact(&mut head)?;
    let [l0, l1, l2, l3, c0, c1, c2, c3] = head;
    let (length, crc) = (u32::from_le_bytes([l0, l1, l2, l3]) as usize, u32::from_le_bytes([c0, c1, c2, c3]));
    if length > most {
        return Err(invalid("a frame longer than it may be"));
    }
    // As it comes and not as it is announced, so that a lie costs nobody memory.
    let mut bytes = Vec::new();
    stream.take(length as u64).read_to_end(&mut bytes)?;
    match (bytes.len() == length, crc32(&bytes) == crc) {
        (false, _) => Err(io::ErrorKind::UnexpectedEof.into()),
        (_, false) => Err(invalid("a frame with another checksum")),
        (true, true) => Ok(bytes),
    }
}

/// Sends one message.
///
/// # Errors
/// As [`send_bytes`].
pub fn send(stream: &mut impl Write, message: &impl Serialize) -> io::Result<()> {
    send_bytes(stream, &serde_json::to_vec(message)?)
}

/// Receives one message of at most `most` bytes.
///
/// # Errors
/// As [`receive_bytes`], and a frame that holds no such message.
pub fn receive<T: DeserializeOwned>(stream: &mut impl Read, most: usize) -> io::Result<T> {
    Ok(serde_json::from_slice(&receive_bytes(stream, most)?)?)
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_received_and_what_is_damaged_is_not() {
        let mut stream = Vec::new();
        send_bytes(&mut stream, b"a network").unwrap();
        assert_eq!(receive_bytes(&mut &stream[..], MOST).unwrap(), b"a network");
        for bit in 0..8 * stream.len() {
            let mut damaged = stream.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(receive_bytes(&mut &damaged[..], MOST).is_err(), "bit {bit}");
        }
        assert!((0..stream.len()).all(|length| receive_bytes(&mut &stream[..length], MOST).is_err()));
        assert!(receive_bytes(&mut &stream[..], 8).is_err());
    }

    #[test]
    fn an_announced_gigabyte_is_not_set_aside() {
        let head = [[0, 0, 0, 0x10], [0; 4]].concat();
        assert!(receive_bytes(&mut &head[..], usize::MAX).is_err());
    }
}
