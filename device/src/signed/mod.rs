//! The door for applications that run their own models only: an image opens if one of their keys has signed it.
//!
//! Nothing of an image is decoded before its signature holds: bytes that are not ours meet a length, a hash and a curve.
//! A signature says who made an image and nothing of when; an older one with a good signature opens as well.
//!
//! ```
//! use releq_device::signed::{PublicKey, Signed, SignedError};
//!
//! const KEYS: &[PublicKey] = &[PublicKey([7; 32])];
//! # let bytes: &[u8] = releq_device::include_image!("../../../format/golden/v1/tiny.rlq");
//! assert!(matches!(Signed::open(bytes, KEYS), Err(SignedError::Unsigned)));
//! ```

mod ed25519;

use releq_format::image::{CONTAINER_BYTES, Image, ImageError, MAGIC, signature, signed_digest};

use crate::resident::ResidentError;

/// An Ed25519 public key, as RFC 8032 encodes it (§5.1.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// Whether this key's owner has signed `message`.
    ///
    /// Stricter than RFC 8032 asks: no key or signature has two encodings, and keys of small order, whose signatures
    /// fit any message, sign nothing.
    pub fn has_signed(&self, message: &[u8], signature: &[u8; 64]) -> bool {
        ed25519::verify(&self.0, message, signature)
    }
}

/// An image that was signed, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    image: Image<'a>,
    signer: usize,
}

/// Why bytes are no image that may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignedError {
    /// Its signature slot is all zero.
    Unsigned,
    /// None of the keys made its signature: it was signed with another key, or was changed since.
    Foreign,
    /// It is no image; where its signature has been looked at, one of the keys has signed it all the same.
    Image(ImageError),
}

impl core::fmt::Display for SignedError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unsigned => f.write_str("it is not signed"),
            Self::Foreign => f.write_str("none of the keys made its signature, or it was changed since"),
            Self::Image(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for SignedError {}

impl From<ImageError> for SignedError {
    fn from(error: ImageError) -> Self {
        Self::Image(error)
    }
}

impl From<SignedError> for ResidentError {
    fn from(error: SignedError) -> Self {
        match error {
            SignedError::Unsigned => Self::Unsigned,
            SignedError::Foreign => Self::Foreign,
            SignedError::Image(error) => Self::Image(error),
        }
    }
}

impl<'a> Signed<'a> {
    /// Opens `bytes`, an image as a whole, if one of `keys` has signed it.
    ///
    /// Each key costs a verification, so they are few: the one in use, and the next one.
    ///
    /// # Errors
    /// The first reason why it may not run: its length, then its signature, then all that [`Image::open`] checks.
    pub fn open(bytes: &'a [u8], keys: &[PublicKey]) -> Result<Self, SignedError> {
        match bytes.len().checked_sub(stated_length(bytes)?) {
            None => return Err(ImageError::Truncated.into()),
            Some(0) => {}
            Some(_) => return Err(ImageError::Trailing.into()),
        }
        let signature = signature(bytes).ok_or(SignedError::Unsigned)?;
        let digest = signed_digest(bytes).ok_or(ImageError::Truncated)?;
        let signer = keys.iter().position(|key| key.has_signed(&digest, signature)).ok_or(SignedError::Foreign)?;
        Ok(Self { image: Image::open(bytes)?, signer })
    }

    /// As [`Signed::open`] for an image at the start of `region`, a stretch of flash that may go on behind it.
    ///
    /// # Errors
    /// As [`Signed::open`]; [`ImageError::Truncated`] where it does not fit into the region.
    pub fn open_in(region: &'a [u8], keys: &[PublicKey]) -> Result<Self, SignedError> {
        Self::open(region.get(..stated_length(region)?).ok_or(ImageError::Truncated)?, keys)
    }

    /// The image.
    pub const fn image(&self) -> &Image<'a> {
        &self.image
    }

    /// Index of the key that made its signature.
    pub const fn signer(&self) -> usize {
        self.signer
    }
}

/// The length that an image states, so that a hash knows its end. It is signed as the rest is.
fn stated_length(bytes: &[u8]) -> Result<usize, ImageError> {
    let container: &[u8; CONTAINER_BYTES] = bytes.first_chunk().ok_or(ImageError::Truncated)?;
    let [magic, _, length, ..] = container.as_chunks::<4>().0 else { return Err(ImageError::Truncated) };
    if *magic == MAGIC { Ok(u32::from_le_bytes(*length) as usize) } else { Err(ImageError::NotAnImage) }
}
