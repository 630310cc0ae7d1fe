//! Signed images: what opens, what does not, and that no changed bit is missed, whatever the checksum says.

mod trial;

use ed25519_dalek::{Signer, SigningKey};
use releq_device::signed::{PublicKey, Signed, SignedError};
use releq_format::image::{
    CONTAINER_BYTES, Image, ImageBuffer, ImageError, SIGNATURE, signature, signed_digest, with_signature,
};

const GOLDEN: [&[u8]; 4] = [
    include_bytes!("../../format/golden/v1/tiny.rlq"),
    include_bytes!("../../format/golden/v1/concat.rlq"),
    include_bytes!("../../format/golden/v1/ends.rlq"),
    include_bytes!("../../format/golden/v1/every-op.rlq"),
];

fn signer(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn public(signer: &SigningKey) -> PublicKey {
    PublicKey(signer.verifying_key().to_bytes())
}

/// `image`, which may be none, with a good signature and the checksum right.
fn signed(image: &[u8], signer: &SigningKey) -> ImageBuffer {
    let mut bytes = image.to_vec();
    bytes[SIGNATURE].copy_from_slice(&signer.sign(&signed_digest(image).unwrap()).to_bytes());
    trial::repair(&mut bytes);
    ImageBuffer::from(&bytes[..])
}

fn error(bytes: &[u8], keys: &[PublicKey]) -> Option<SignedError> {
    Signed::open(&ImageBuffer::from(bytes), keys).err()
}

#[test]
fn a_signed_image_opens_with_its_key() {
    let (ours, next) = (signer(1), signer(2));
    let keys = [public(&ours), public(&next)];
    for golden in GOLDEN {
        for (index, key) in [&ours, &next].into_iter().enumerate() {
            let bytes = signed(golden, key);
            let opened = Signed::open(&bytes, &keys).unwrap();
            assert_eq!((opened.signer(), opened.image().bytes()), (index, &bytes[..]));
            assert_eq!(trial::judge(&bytes), trial::Verdict::Ran);
            // Who asks for no signature takes it, too.
            assert!(Image::open(&bytes).is_ok());
            assert_eq!(error(&bytes, &keys[1 - index..][..1]), Some(SignedError::Foreign));
            assert_eq!(error(&bytes, &[]), Some(SignedError::Foreign));
        }
    }
}

#[test]
fn the_builder_signs_as_the_test_does() {
    let buffer = ImageBuffer::from(GOLDEN[0]);
    let image = Image::open(&buffer).unwrap();
    let bytes = signed(GOLDEN[0], &signer(1));
    assert_eq!(with_signature(&image, signature(&bytes).unwrap()), bytes);
    let opened = Image::open(&bytes).unwrap();
    assert_eq!(&with_signature(&opened, &[0; 64])[..], GOLDEN[0]);
}

#[test]
fn an_unsigned_image_is_refused() {
    for golden in GOLDEN {
        assert_eq!(error(golden, &[public(&signer(1))]), Some(SignedError::Unsigned));
        // Not even by a key that would take any signature.
        assert_eq!(error(golden, &[PublicKey([0; 32])]), Some(SignedError::Unsigned));
    }
}

/// A slot of zeros but for one bit is a signature, and nobody's.
#[test]
fn next_to_nothing_is_nobodys_signature() {
    for bit in 0..512 {
        let mut bytes = GOLDEN[0].to_vec();
        bytes[SIGNATURE.start + bit / 8] |= 1 << (bit % 8);
        trial::repair(&mut bytes);
        let keys = [public(&signer(1)), PublicKey([0; 32])];
        assert_eq!(error(&bytes, &keys), Some(SignedError::Foreign), "bit {bit}");
    }
}

/// Each bit of each golden image, signed before it was flipped, with the checksum put right.
#[test]
fn every_flipped_bit_is_refused_whatever_the_checksum() {
    let key = signer(1);
    let mut refused = 0;
    for golden in GOLDEN {
        let bytes = signed(golden, &key);
        for bit in 0..8 * bytes.len() {
            let mut changed = bytes.to_vec();
            changed[bit / 8] ^= 1 << (bit % 8);
            if !(12..16).contains(&(bit / 8)) && !(8..12).contains(&(bit / 8)) {
                trial::repair(&mut changed);
            }
            assert!(error(&changed, &[public(&key)]).is_some(), "bit {bit}");
            refused += 1;
        }
    }
    println!("figure: flipped bits of signed images with the checksum repaired refused {refused}");
}

/// What one of the keys has signed is checked as any other image.
#[test]
fn a_signature_makes_no_image() {
    let key = signer(1);
    let mut bytes = GOLDEN[0].to_vec();
    bytes[CONTAINER_BYTES] = 0xFF;
    let bytes = signed(&bytes, &key);
    assert_eq!(error(&bytes, &[public(&key)]), Some(SignedError::Image(ImageError::Header)));
}

#[test]
fn lengths_are_exact() {
    let key = signer(1);
    let (bytes, keys) = (signed(GOLDEN[0], &key), [public(&key)]);
    for length in 0..bytes.len() {
        assert_eq!(error(&bytes[..length], &keys), Some(ImageError::Truncated.into()), "{length} bytes");
    }
    assert_eq!(error(&[&bytes[..], &[0]].concat(), &keys), Some(ImageError::Trailing.into()));
}

#[test]
fn a_region_may_go_on_behind_its_image() {
    let key = signer(1);
    let (bytes, keys) = (signed(GOLDEN[0], &key), [public(&key)]);
    let region = ImageBuffer::from(&[&bytes[..], &[0xFF; 999]].concat()[..]);
    assert_eq!(Signed::open_in(&region, &keys).unwrap().image().bytes(), &bytes[..]);
    let refused = |region: &[u8]| Signed::open_in(&ImageBuffer::from(region), &keys).err();
    assert_eq!(refused(&bytes[..bytes.len() - 1]), Some(ImageError::Truncated.into()));
    assert_eq!(refused(&[0xFF; 4096]), Some(ImageError::NotAnImage.into()));
    assert_eq!(refused(&[0; 4096]), Some(ImageError::NotAnImage.into()));
    assert_eq!(refused(&[]), Some(ImageError::Truncated.into()));
}
