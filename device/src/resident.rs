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
