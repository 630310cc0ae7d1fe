//! Writing a new image into the slot that does not run.

use releq_format::crc::Crc32;

use super::MappedFlash;
use super::header::{self, Map};

/// The slot that does not run.
#[derive(Debug)]
pub struct Spare<'f, F> {
    flash: &'f mut F,
    /// Whether the other slot may be left alone with the device.
    permitted: bool,
    sequence: u32,
}

/// An image being written, in pieces and in order. Dropped before [`Update::finish`], it is as if it had never begun.
#[derive(Debug)]
pub struct Update<'f, F> {
    flash: &'f mut F,
    sequence: u32,
    length: usize,
    written: usize,
    crc: Crc32,
}

/// Why an update cannot go on. The image that runs is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpdateError<E> {
    /// The image that runs has not been confirmed, and the other slot is what there is to fall back to.
    Unconfirmed,
    /// The image is longer than a slot has room for.
    TooLong {
        /// Bytes of the image.
        needed: usize,
        /// Bytes for an image in the slot.
        room: usize,
    },
    /// A piece that is not the last is no multiple of the flash's words, or there is more than was announced.
    Ragged,
    /// Less was written than was announced.
    Incomplete {
        /// Bytes that are missing.
        missing: usize,
    },
    /// The flash holds something else than was written: it is worn, or was not erased.
    Worn,
    /// The flash refuses.
    Flash(E),
}

impl<E> From<E> for UpdateError<E> {
    fn from(error: E) -> Self {
        Self::Flash(error)
    }
}

impl<E: core::fmt::Debug> core::fmt::Display for UpdateError<E> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unconfirmed => f.write_str("the image that runs has not been confirmed"),
            Self::TooLong { needed, room } => write!(f, "the image has {needed} bytes, a slot has room for {room}"),
            Self::Ragged => f.write_str("a piece is no whole words, or goes past the image's end"),
            Self::Incomplete { missing } => write!(f, "{missing} bytes of the image are missing"),
            Self::Worn => f.write_str("the flash holds something else than was written"),
            Self::Flash(error) => write!(f, "the flash refuses: {error:?}"),
        }
    }
}

impl<E: core::fmt::Debug> core::error::Error for UpdateError<E> {}

impl<'f, F: MappedFlash> Spare<'f, F> {
    pub(super) const fn new(flash: &'f mut F, permitted: bool, sequence: u32) -> Self {
        Self { flash, permitted, sequence }
    }

    /// Bytes that an image may have.
    pub fn room(&self) -> usize {
        self.flash.capacity().min(self.flash.mapped().len()).saturating_sub(Map::<F>::IMAGE)
    }

    /// Erases as much as an image of `length` bytes needs, its header first.
    ///
    /// # Errors
    /// Where the image that runs has not been confirmed, where there is no room, and what the flash says.
    pub fn update(self, length: usize) -> Result<Update<'f, F>, UpdateError<F::Error>> {
        let room = self.room();
        if !self.permitted {
            return Err(UpdateError::Unconfirmed);
        }
        if length > room {
            return Err(UpdateError::TooLong { needed: length, room });
        }
        let end = (Map::<F>::IMAGE + length).next_multiple_of(F::ERASE_SIZE);
        for page in (0..end).step_by(F::ERASE_SIZE) {
            self.flash.erase(page as u32, (page + F::ERASE_SIZE) as u32)?;
        }
        Ok(Update { flash: self.flash, sequence: self.sequence, length, written: 0, crc: Crc32::new() })
    }
}

impl<F: MappedFlash> Update<'_, F> {
    /// Writes the next piece: whole words of the flash, unless it is the last.
    ///
    /// # Errors
    /// For a piece that does not fit there, and what the flash says.
    pub fn write(&mut self, piece: &[u8]) -> Result<(), UpdateError<F::Error>> {
        let written = self.written.saturating_add(piece.len());
        let whole = self.written.is_multiple_of(Map::<F>::WORD);
        let ends = written == self.length || piece.len().is_multiple_of(Map::<F>::WORD);
        if written > self.length || !whole || !ends {
            return Err(UpdateError::Ragged);
        }
        header::program(self.flash, Map::<F>::IMAGE + self.written, piece)?;
        self.crc = self.crc.update(piece);
        self.written = written;
        Ok(())
    }

    /// What lies there so far, to be looked at before [`Update::finish`].
    pub fn image(&self) -> &[u8] {
        let behind = self.flash.mapped().get(Map::<F>::IMAGE..);
        behind.and_then(|rest| rest.get(..self.written)).unwrap_or_default()
    }

    /// Reads back what was written, and writes the header: from here on the next start tries this image.
    ///
    /// # Errors
    /// Where bytes are missing or were not kept, and what the flash says.
    pub fn finish(self) -> Result<(), UpdateError<F::Error>> {
        match self.length.saturating_sub(self.written) {
            0 => {}
            missing => return Err(UpdateError::Incomplete { missing }),
        }
        if Crc32::new().update(self.image()).finish() != self.crc.finish() {
            return Err(UpdateError::Worn);
        }
        let kept = header::write(self.flash, self.sequence, self.length as u32)?;
        if kept { Ok(()) } else { Err(UpdateError::Worn) }
    }
}
