//! Verification of Ed25519 signatures (RFC 8032, §5.1.7) over curve25519-dalek's arithmetic.
//!
//! ed25519-dalek's own is faster and indexes tables by what the signature says, which leaves panic paths; here both
//! products are those that signers use, in constant time and with none (docs/adr/0019).

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use releq_format::sha2::Sha512;

/// Whether `signature` is the one that `key`'s owner has made of `message`.
pub(super) fn verify(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    holds(key, message, signature).unwrap_or(false)
}

/// `None` for what encodes no point or no scalar.
fn holds(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> Option<bool> {
    let (commitment, response) = signature.split_first_chunk::<32>()?;
    // Below the group's order, or adding the order would make another signature of this one.
    let response: Option<Scalar> = Scalar::from_canonical_bytes(*response.first_chunk()?).into();
    let owner = CompressedEdwardsY(*key).decompress()?;
    let hash = Sha512::new().update(commitment).update(key).update(message).finish();
    let challenge = Scalar::from_bytes_mod_order_wide(&hash);
    let expected = EdwardsPoint::mul_base(&response?) - owner * challenge;
    // Points are compared as bytes, of which each has but one canonical string.
    let canonical = owner.compress().to_bytes() == *key;
    let whole = !owner.is_small_order() && !expected.is_small_order();
    Some(canonical && whole && expected.compress().to_bytes() == *commitment)
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use curve25519_dalek::constants::EIGHT_TORSION;
    use ed25519_dalek::{Signature, Signer, SigningKey, Verifier, VerifyingKey};

    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        (0..text.len() / 2).map(|index| u8::from_str_radix(&text[2 * index..][..2], 16).unwrap()).collect()
    }

    fn array<const N: usize>(text: &str) -> [u8; N] {
        bytes(text).try_into().unwrap()
    }

    /// RFC 8032, §7.1: TEST 1, 2, 3 and SHA(abc), secret key, public key, message, signature.
    const VECTORS: [[&str; 4]; 4] = [
        [
            "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
            "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
            "",
            "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
        ],
        [
            "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
            "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
            "72",
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
        ],
        [
            "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
            "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
            "af82",
            "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
        ],
        [
            "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
            "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
        ],
    ];

    #[test]
    fn vectors_of_the_standard() {
        for [secret, public, message, signature] in VECTORS {
            let (key, signature) = (array(public), array(signature));
            let message = bytes(message);
            let signer = SigningKey::from_bytes(&array(secret));
            assert_eq!((signer.verifying_key().to_bytes(), signer.sign(&message).to_bytes()), (key, signature));
            assert!(verify(&key, &message, &signature), "{public}");
            let more = [&message[..], &[0]].concat();
            assert!(!verify(&key, &more, &signature));
        }
    }

    fn signed() -> ([u8; 32], [u8; 32], [u8; 64]) {
        let (signer, message) = (SigningKey::from_bytes(&[3; 32]), [9; 32]);
        (signer.verifying_key().to_bytes(), message, signer.sign(&message).to_bytes())
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (key, message, signature) = signed();
        assert!(verify(&key, &message, &signature));
        let flip = |bytes: &mut [u8], bit: usize| bytes[bit / 8] ^= 1 << (bit % 8);
        for bit in 0..512 {
            let mut signature = signature;
            flip(&mut signature, bit);
            assert!(!verify(&key, &message, &signature), "bit {bit} of the signature");
        }
        for bit in 0..256 {
            let (mut other, mut changed) = (key, message);
            flip(&mut other, bit);
            flip(&mut changed, bit);
            assert!(!verify(&other, &message, &signature), "bit {bit} of the key");
            assert!(!verify(&key, &changed, &signature), "bit {bit} of the message");
        }
    }

    /// The same response plus the group's order, up to where 256 bits end: other signatures of the same message.
    #[test]
    fn a_signature_has_no_second_form() {
        const ORDER: &str = "edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010";
        let (key, message, mut signature) = signed();
        for times in 1..15 {
            let mut carry = 0;
            for (byte, order) in signature[32..].iter_mut().zip(array::<32>(ORDER)) {
                let sum = u16::from(*byte) + u16::from(order) + carry;
                (*byte, carry) = (sum as u8, sum >> 8);
            }
            assert_eq!(carry, 0);
            assert!(!verify(&key, &message, &signature), "{times} orders more");
        }
    }

    /// A key of small order would have signed anything: here all that the equation without strictness would take.
    #[test]
    fn keys_of_small_order_sign_nothing() {
        let mut lenient = 0;
        for (key, commitment) in
            EIGHT_TORSION.iter().flat_map(|key| EIGHT_TORSION.iter().map(move |other| (key, other)))
        {
            let (key, commitment) = (key.compress().to_bytes(), commitment.compress().to_bytes());
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&commitment);
            for message in [b"a", b"b", b"c", b"d"] {
                let verdict =
                    VerifyingKey::from_bytes(&key).unwrap().verify(message, &Signature::from_bytes(&signature));
                lenient += usize::from(verdict.is_ok());
                assert!(!verify(&key, message, &signature));
            }
        }
        assert!(lenient > 20, "the cases are none: {lenient}");
    }

    /// Strings whose y is not below 2^255 − 19, all there are: other ones for points that have one already.
    #[test]
    fn keys_have_one_form() {
        for low in 0xEDu8..=0xFF {
            for high in [0x7F, 0xFF] {
                let mut key = [0xFF; 32];
                (key[0], key[31]) = (low, high);
                let Some(point) = CompressedEdwardsY(key).decompress() else { continue };
                // Whoever knew this point's logarithm would sign so; nobody does, so only the check can be seen.
                assert_ne!(point.compress().to_bytes(), key);
                assert!(!verify(&key, b"", &[0; 64]));
            }
        }
    }

    /// ed25519-dalek's strict verification is the oracle.
    #[test]
    fn it_agrees_with_the_crate() {
        let mut state = 1u32;
        let mut dice = || {
            for shift in [13i32, -17, 5] {
                state ^= if shift > 0 { state << shift } else { state >> -shift };
            }
            state
        };
        let mut accepted = 0;
        for case in 0..300u32 {
            let signer = SigningKey::from_bytes(&core::array::from_fn(|_| dice() as u8));
            let mut key = signer.verifying_key().to_bytes();
            let message: [u8; 32] = core::array::from_fn(|_| dice() as u8);
            let mut signature = signer.sign(&message).to_bytes();
            match case % 3 {
                0 => {}
                1 => signature[dice() as usize % 64] ^= 1 << (dice() % 8),
                _ => key = core::array::from_fn(|_| dice() as u8),
            }
            let expected = VerifyingKey::from_bytes(&key)
                .is_ok_and(|key| key.verify_strict(&message, &Signature::from_bytes(&signature)).is_ok());
            assert_eq!(verify(&key, &message, &signature), expected, "case {case}");
            accepted += usize::from(expected);
        }
        assert_eq!(accepted, 100);
    }
}
