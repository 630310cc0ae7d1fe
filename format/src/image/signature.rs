//! The signature slot: where a signature lies, and what it is over. Making and checking one is for others.

use core::ops::Range;

use super::CONTAINER_BYTES;
use super::view::at;
use crate::sha2::Sha256;

/// Bytes of an Ed25519 signature.
pub const SIGNATURE_BYTES: usize = 64;

/// Where in an image its signature lies (SPEC.md, §2).
pub const SIGNATURE: Range<usize> = CONTAINER_BYTES - SIGNATURE_BYTES..CONTAINER_BYTES;

/// The signature in an image's slot; `None` where the slot is all zero, or where bytes end before it.
pub fn signature(image: &[u8]) -> Option<&[u8; SIGNATURE_BYTES]> {
    let container: &[u8; CONTAINER_BYTES] = image.first_chunk()?;
    container.last_chunk().filter(|slot| slot.iter().any(|&byte| byte != 0))
}

/// What an image's signature is over: the SHA-256 of all its bytes, with slot and checksum zeroed. `None` for bytes that
/// end before the slot does; nothing else about them is looked at.
pub fn signed_digest(image: &[u8]) -> Option<[u8; 32]> {
    let (container, rest) = image.split_first_chunk::<CONTAINER_BYTES>()?;
    let mut zeroed = *container;
    zeroed[at::CRC..at::FEATURES].fill(0);
    zeroed[SIGNATURE].fill(0);
    Some(Sha256::new().update(&zeroed).update(rest).finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TINY: &[u8] = include_bytes!("../../golden/v1/tiny.rlq");

    #[test]
    fn a_slot_of_zeros_is_no_signature() {
        assert_eq!(signature(TINY), None);
        assert_eq!(signature(&TINY[..CONTAINER_BYTES - 1]), None);
        let mut bytes = TINY.to_vec();
        bytes[SIGNATURE.end - 1] = 1;
        assert_eq!(signature(&bytes).map(|slot| slot[SIGNATURE_BYTES - 1]), Some(1));
    }

    #[test]
    fn every_byte_is_signed_but_slot_and_checksum() {
        let digest = signed_digest(TINY).unwrap();
        for index in (0..TINY.len()).step_by(if cfg!(miri) { 13 } else { 1 }) {
            let mut bytes = TINY.to_vec();
            bytes[index] ^= 0x10;
            let free = SIGNATURE.contains(&index) || (at::CRC..at::CRC + 4).contains(&index);
            assert_eq!(signed_digest(&bytes) == Some(digest), free, "byte {index}");
        }
        assert_ne!(signed_digest(&TINY[..TINY.len() - 1]), Some(digest));
        assert_eq!(signed_digest(&TINY[..CONTAINER_BYTES - 1]), None);
    }
}
