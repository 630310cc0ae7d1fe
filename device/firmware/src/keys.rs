//! Whose images the runner runs: everybody's, or with the feature `signed` those that the keys it was built with have
//! signed.

#[cfg(not(feature = "signed"))]
pub use releq_device::resident::any as door;
#[cfg(feature = "signed")]
pub use signed::door;

#[cfg(feature = "signed")]
mod signed {
    use releq_device::resident::ResidentError;
    use releq_device::signed::{PublicKey, Signed};
    use releq_format::image::Image;

    const KEYS: &[PublicKey] = include!(concat!(env!("OUT_DIR"), "/keys.rs"));

    /// The door for images that one of the keys has signed.
    ///
    /// # Errors
    /// Why the bytes are none.
    pub fn door(bytes: &[u8]) -> Result<Image<'_>, ResidentError> {
        Ok(*Signed::open(bytes, KEYS)?.image())
    }
}
