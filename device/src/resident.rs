//! The model region and the image that lies in it: written while no image is open, read while one is.
//!
//! An engine borrows its image for as long as the region lives, so that a server can keep both across requests. The
//! borrow cannot be ended by the compiler's rules and given back for writing; this room does it, and nothing of a
//! [`Resident`] lets the image's bytes out.

#![allow(unsafe_code, reason = "an image's memory is lent to an engine and taken back")]

use core::marker::PhantomData;
use core::ptr::NonNull;
use core::slice;

use releq_format::image::{Image, ImageError};

use crate::engine::{Engine, OpenError};
use crate::kernels::Kernel;
use crate::observe::Observer;

/// Memory for one image, at a multiple of 8 bytes: RAM, which can be written, or flash, which cannot.
#[derive(Debug)]
pub struct Region<'a> {
    start: NonNull<u8>,
    length: usize,
    writable: bool,
    memory: PhantomData<&'a mut [u8]>,
}

// SAFETY: it stands for the `&mut [u8]` or `&[u8]` that it was made of, and both may go to another thread.
unsafe impl Send for Region<'_> {}

impl<'a> Region<'a> {
    /// Memory that images may be written to.
    pub const fn writable(memory: &'a mut [u8]) -> Self {
        let length = memory.len();
        // SAFETY: a reference is not null.
        let start = unsafe { NonNull::new_unchecked(memory.as_mut_ptr()) };
        Self { start, length, writable: true, memory: PhantomData }
    }

    /// Memory that somebody else writes, before this program starts.
    pub const fn fixed(memory: &'a [u8]) -> Self {
        // SAFETY: a reference is not null. Nothing is written through it, since `writable` is false.
        let start = unsafe { NonNull::new_unchecked(memory.as_ptr().cast_mut()) };
        Self { start, length: memory.len(), writable: false, memory: PhantomData }
    }

    /// Whether [`Region::bytes_mut`] gives anything.
    pub const fn is_writable(&self) -> bool {
        self.writable
    }

    /// All of it.
    pub const fn bytes(&self) -> &[u8] {
        // SAFETY: `start` and `length` are those of a slice that is borrowed for 'a, and no writer lives beside `&self`:
        // `bytes_mut` takes `&mut self`, and a region inside a `Resident` is out of reach.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// All of it, to be written; `None` for flash.
    pub const fn bytes_mut(&mut self) -> Option<&mut [u8]> {
        if !self.writable {
            return None;
        }
        // SAFETY: as for `bytes`; `writable` is true for memory that was given as `&'a mut` only, and `&mut self` is
        // the only way to it.
        Some(unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.length) })
    }
}

/// Which bytes are taken as images: all that are sound ([`any`]), or fewer.
pub type Door = for<'i> fn(&'i [u8]) -> Result<Image<'i>, ResidentError>;

/// The door that is open to every sound image.
///
/// # Errors
/// Why the bytes are none.
pub fn any(bytes: &[u8]) -> Result<Image<'_>, ResidentError> {
    Image::open(bytes).map_err(ResidentError::Image)
}

/// Why the first bytes of a region cannot be run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResidentError {
    /// The region is shorter than the image is said to be.
    TooLong,
    /// They are no image.
    Image(ImageError),
    /// They are not signed, and only signed images are taken.
    Unsigned,
    /// They are signed, and not by a key that is taken.
    Foreign,
    /// They are an image with another checksum than was announced; the one they have.
    Another(u32),
    /// The image cannot be run here.
    Open(OpenError),
}

/// What an opening takes: the region, and the arena.
pub type Parts<'a> = (Region<'a>, &'a mut [u8]);

/// An image that lies in a region, ready to run.
#[derive(Debug)]
pub struct Resident<'a, const N: usize> {
    engine: Engine<'a, N>,
    region: Region<'a>,
}

impl<'a, const N: usize> Resident<'a, N> {
    /// Opens the image of `length` bytes at the start of the region, whose recorded checksum must be `crc`, if `door` takes
    /// it.
    ///
    /// # Errors
    /// Why it cannot be run, with the region and the arena as they were.
    pub fn open(
        (region, arena): Parts<'a>,
        (length, crc): (usize, u32),
        door: Door,
        kernels: &'static [&'static Kernel],
    ) -> Result<Self, (Parts<'a>, ResidentError)> {
        // Tried on a loan first: a refusal must leave the arena here.
        if let Err(error) = Self::check(&region, arena, (length, crc), door, kernels) {
            return Err(((region, arena), error));
        }
        // SAFETY: as for `Region::bytes`, but for all of 'a. The slice goes to the engine alone and nothing of `Self`
        // hands it on. While the engine lives the region is out of reach, so nobody writes; `close` ends the engine
        // before the region can be written again.
        let memory: &'a [u8] = unsafe { slice::from_raw_parts(region.start.as_ptr(), length) };
        // It has passed the door.
        let image = any(memory);
        match image.and_then(|image| Engine::new(&image, arena, kernels).map_err(ResidentError::Open)) {
            Ok(engine) => Ok(Self { engine, region }),
            // What has just been tried does not fail.
            Err(error) => Err(((region, &mut []), error)),
        }
    }

    fn check(
        region: &Region<'_>,
        arena: &mut [u8],
        (length, crc): (usize, u32),
        door: Door,
        kernels: &'static [&'static Kernel],
    ) -> Result<(), ResidentError> {
        let bytes = region.bytes().get(..length).ok_or(ResidentError::TooLong)?;
        let image = door(bytes)?;
        if image.crc() != crc {
            return Err(ResidentError::Another(image.crc()));
        }
        Engine::<N>::new(&image, arena, kernels).map(drop).map_err(ResidentError::Open)
    }

    /// Ends the engine and gives back what the opening took.
    pub fn close(self) -> Parts<'a> {
        (self.region, self.engine.into_arena())
    }

    /// Bytes of the packed input.
    pub fn input_bytes(&self) -> usize {
        self.engine.image().input_bytes()
    }

    /// [`Engine::input_mut`].
    pub fn input_mut(&mut self) -> &mut [u8] {
        self.engine.input_mut()
    }

    /// [`Engine::input_and_spare_mut`].
    pub fn input_and_spare_mut(&mut self) -> (&mut [u8], &mut [u8]) {
        self.engine.input_and_spare_mut()
    }

    /// [`Engine::run`].
    pub fn run(&mut self, observer: &mut impl Observer) {
        self.engine.run(observer);
    }

    /// [`Engine::self_test`].
    pub fn self_test(&mut self) -> Option<bool> {
        self.engine.self_test()
    }

    /// [`Engine::logits`].
    pub fn logits(&self) -> impl Iterator<Item = i32> + '_ {
        self.engine.logits()
    }

    /// [`Engine::outputs`].
    pub fn outputs(&self) -> usize {
        self.engine.outputs()
    }

    /// [`Engine::top1`].
    pub fn top1(&self) -> usize {
        self.engine.top1()
    }

    /// [`Engine::layer_count`].
    pub fn layer_count(&self) -> usize {
        self.engine.layer_count()
    }

    /// [`Engine::kernel_name`].
    pub fn kernel_name(&self, index: usize) -> Option<&'static str> {
        self.engine.kernel_name(index)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use releq_format::crc::Crc32;
    use releq_format::image::ImageBuffer;

    use super::*;
    use crate::engine::Arena;
    use crate::{include_image, kernels};

    const TINY: &[u8] = include_image!("../../format/golden/v1/tiny.rlq");

    /// Where one of the image's weights lies.
    const WEIGHT: usize = 0xCC;

    type Tested<'a> = Resident<'a, 4>;

    /// The image with one weight changed, which runs and does not give the known answer.
    fn other() -> ImageBuffer {
        let mut bytes = ImageBuffer::from(TINY);
        bytes[WEIGHT] ^= 1;
        let checksum = Crc32::new().update(&bytes[..12]).update(&bytes[16..]).finish();
        bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn open<'a>(parts: Parts<'a>, image: &[u8]) -> Result<Tested<'a>, (Parts<'a>, ResidentError)> {
        let crc = u32::from_le_bytes(image[12..16].try_into().unwrap());
        Tested::open(parts, (image.len(), crc), any, kernels::ALL)
    }

    /// As firmware with its models in RAM does all day; in the end whoever gave the memory has it back. Under Miri this is
    /// the test of whether what is lent is taken back by the rules of aliasing.
    #[test]
    fn memory_is_lent_and_written_again() {
        let (mut memory, mut arena) = (Arena([0; 256]), Arena([0; 64]));
        let mut parts: Parts<'_> = (Region::writable(&mut memory.0), &mut arena.0);
        for (image, good) in [(TINY, true), (&other(), false), (TINY, true)] {
            parts.0.bytes_mut().unwrap()[..image.len()].copy_from_slice(image);
            let mut resident = open(parts, image).unwrap();
            assert_eq!(resident.self_test(), Some(good));
            let (input, spare) = resident.input_and_spare_mut();
            spare[..input.len()].copy_from_slice(input);
            resident.input_mut().fill(7);
            let closed = elsewhere(resident).close();
            assert!(closed.0.bytes().starts_with(image));
            parts = refused(closed, image);
            let again = open(parts, image).unwrap();
            parts = again.close();
        }
        arena.0.fill(0);
        memory.0[TINY.len()..].fill(0);
        assert!(memory.0.starts_with(TINY));
    }

    /// Runs on another thread and comes back, with all that it borrows.
    fn elsewhere(mut resident: Tested<'_>) -> Tested<'_> {
        std::thread::scope(|scope| {
            let there = scope.spawn(move || {
                resident.run(&mut ());
                assert_eq!(resident.logits().count(), resident.outputs());
                resident
            });
            there.join().unwrap()
        })
    }

    /// Damages what lies in the region, which is refused and comes back whole, and repairs it.
    fn refused<'a>((mut region, arena): Parts<'a>, image: &[u8]) -> Parts<'a> {
        let length = arena.len();
        region.bytes_mut().unwrap()[WEIGHT] ^= 2;
        let ((mut region, arena), error) = open((region, arena), image).map(drop).unwrap_err();
        assert_eq!((error, arena.len()), (ResidentError::Image(ImageError::Checksum), length));
        region.bytes_mut().unwrap()[WEIGHT] ^= 2;
        (region, arena)
    }

    /// Flash may be read by several, also while an image in it is open, and is never written.
    #[test]
    fn fixed_memory_is_shared() {
        let mut arenas = [Arena([0; 64]); 2];
        let [first, second] = &mut arenas;
        let mut closed = Region::fixed(TINY);
        assert!(closed.bytes_mut().is_none() && !closed.is_writable());
        let mut one = open((Region::fixed(TINY), &mut first.0), TINY).unwrap();
        let mut other = open((Region::fixed(TINY), &mut second.0), TINY).unwrap();
        assert_eq!([one.self_test(), other.self_test()], [Some(true); 2]);
        assert_eq!(closed.bytes(), one.close().0.bytes());
        assert_eq!(other.self_test(), Some(true));
    }
}
