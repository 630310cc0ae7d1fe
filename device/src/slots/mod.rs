//! Two slots for models in flash, of which one always holds a good one: whatever was written, and whenever the power went.
//!
//! An update goes to the slot that is not running, and is nothing until its header, written last, says what it is. At the
//! next start the newest slot is tried: its image must open and give its known answer, and then the application confirms
//! it. A slot that has been tried [`TRIES`] times and was never confirmed is passed over for the other one, which nobody
//! has touched since it ran.
//!
//! Whether an image is good is for a closure to say, so that an application asks for what it wants: a signature, the known
//! answer ([`answers`]), a name. It is asked at every start, about the slots from the newest on, until it says yes.
//!
//! With signatures (feature `signed`), a start and an update:
//!
//! ```
//! # #[cfg(feature = "signed")]
//! # mod field {
//! use std::error::Error;
//!
//! use releq_device::kernels::Kernel;
//! use releq_device::signed::{PublicKey, Signed};
//! use releq_device::slots::{MappedFlash, Slots, answers};
//! use releq_device::{Arena, Engine, kernels};
//!
//! const KERNELS: &[&Kernel] = kernels::ALL;
//! const KEYS: &[PublicKey] = &[PublicKey([0xd7; 32])];
//!
//! fn classify(region: &[u8], codes: &[u8], arena: &mut Arena<8192>) -> Result<usize, Box<dyn Error>> {
//!     let signed = Signed::open_in(region, KEYS)?; // in the place of Image::open_in
//!     let mut engine = Engine::<8>::new(signed.image(), &mut arena.0, KERNELS)?;
//!     engine.input_mut().copy_from_slice(codes);
//!     engine.run(&mut ());
//!     Ok(engine.top1())
//! }
//!
//! fn start<F: MappedFlash>(first: F, second: F, arena: &mut Arena<8192>) -> Result<Slots<F>, F::Error> {
//!     let mut slots = Slots::boot([first, second], |bytes| {
//!         Signed::open(bytes, KEYS).is_ok_and(|signed| answers::<8>(signed.image(), &mut arena.0, KERNELS))
//!     });
//!     slots.confirm()?; // once the application is content with it
//!     Ok(slots)
//! }
//!
//! fn renew<F: MappedFlash>(slots: &mut Slots<F>, pieces: &[&[u8]], length: usize) -> Result<(), Box<dyn Error>>
//! where
//!     F::Error: 'static,
//! {
//!     let (_running, spare) = slots.split(); // the model that runs may go on answering meanwhile
//!     let mut update = spare.update(length)?;
//!     for piece in pieces {
//!         update.write(piece)?; // in order, each but the last whole words of the flash
//!     }
//!     Signed::open(update.image(), KEYS)?; // if you like: refuse it now and not at the next start
//!     update.finish()?; // then reset
//!     Ok(())
//! }
//! # }
//! ```

mod header;
mod update;

use embedded_storage::nor_flash::NorFlash;
use releq_format::image::Image;

use crate::engine::Engine;
use crate::kernels::Kernel;
use header::Header;
pub use header::TRIES;
pub use update::{Spare, Update, UpdateError};

/// The flash of one slot: erased by pages, programmed by words, each once until it is erased again, and read as memory.
///
/// Its first byte is at a multiple of 8. Words are at most 256 bytes and pages a multiple of 8. A slot of its own type or
/// value lets a model run in one slot while the other is written, where the chip can.
pub trait MappedFlash: NorFlash {
    /// All of it.
    fn mapped(&self) -> &[u8];
}

impl<F: MappedFlash> MappedFlash for &mut F {
    fn mapped(&self) -> &[u8] {
        (**self).mapped()
    }
}

/// Both slots, after a start.
#[derive(Debug)]
pub struct Slots<F> {
    flash: [F; 2],
    running: Option<Slot>,
}

/// One of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

impl Slot {
    const BOTH: [Self; 2] = [Self::A, Self::B];

    const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

/// Whether an image fits this arena and these kernels and gives the known answer that it carries; one that carries none
/// gives it.
pub fn answers<const N: usize>(image: &Image<'_>, arena: &mut [u8], kernels: &'static [&'static Kernel]) -> bool {
    Engine::<N>::new(image, arena, kernels).is_ok_and(|mut engine| engine.self_test() != Some(false))
}

impl<F: MappedFlash> Slots<F> {
    /// Chooses the slot to run: the newest whose image is `good`, of those that were confirmed or may still be tried; where
    /// there is none, the newest whose image is `good` all the same.
    ///
    /// What is tried has a mark before `good` is asked about it, so that a start which never returns counts, too. The only
    /// flash that is written here is that mark.
    pub fn boot(flash: [F; 2], mut good: impl FnMut(&[u8]) -> bool) -> Self {
        let mut slots = Self { flash, running: None };
        let mut passed_over = [None; 2];
        for (slot, passed_over) in slots.newest_first().into_iter().zip(&mut passed_over) {
            if !slots.may_run(slot) {
                *passed_over = Some(slot);
            } else if slots.image_in(slot).is_some_and(&mut good) {
                slots.running = Some(slot);
                return slots;
            }
        }
        let mut rest = passed_over.into_iter().flatten();
        slots.running = rest.find(|slot| slots.image_in(*slot).is_some_and(&mut good));
        slots
    }

    /// Which slot runs; `None` where neither holds a good image, as before the first update.
    pub const fn running(&self) -> Option<Slot> {
        self.running
    }

    /// The image that runs.
    pub fn image(&self) -> Option<&[u8]> {
        self.image_in(self.running?)
    }

    /// Whether the image that runs was confirmed, in this start or an earlier one.
    pub fn is_confirmed(&self) -> bool {
        self.running.is_some_and(|slot| Header::of(self.of(slot)).is_confirmed())
    }

    /// Says of the image that runs that it works: from now on it is what a later update falls back to.
    ///
    /// # Errors
    /// Of the flash; asking again is in order.
    pub fn confirm(&mut self) -> Result<(), F::Error> {
        match self.running {
            Some(slot) if !self.is_confirmed() => header::confirm(self.of_mut(slot)),
            _ => Ok(()),
        }
    }

    /// The image that runs, and beside it the slot that an update may take.
    pub fn split(&mut self) -> (Option<&[u8]>, Spare<'_, F>) {
        let confirmed = self.is_confirmed() || self.running.is_none();
        let [a, b] = &mut self.flash;
        let (running, spare) = match self.running {
            Some(Slot::A) => (Some(&*a), b),
            Some(Slot::B) => (Some(&*b), a),
            None => (None, a),
        };
        let header = running.map(Header::of);
        let sequence = header.as_ref().map_or(0, |header| header.sequence().wrapping_add(1));
        (header.and_then(Header::image), Spare::new(spare, confirmed, sequence))
    }

    /// Whether `slot` was confirmed, or may be tried once more, which is marked here.
    fn may_run(&mut self, slot: Slot) -> bool {
        let header = Header::of(self.of(slot));
        header.is_confirmed() || header.is_written() && header::mark_try(self.of_mut(slot))
    }

    fn image_in(&self, slot: Slot) -> Option<&[u8]> {
        Header::of(self.of(slot)).image()
    }

    fn newest_first(&self) -> [Slot; 2] {
        let [a, b] = Slot::BOTH.map(|slot| Header::of(self.of(slot)));
        // Numbers wrap, which two that follow each other survive.
        let b_is_newer = b.is_written() && (!a.is_written() || b.sequence().wrapping_sub(a.sequence()) as i32 > 0);
        let newest = if b_is_newer { Slot::B } else { Slot::A };
        [newest, newest.other()]
    }

    const fn of(&self, slot: Slot) -> &F {
        let [a, b] = &self.flash;
        match slot {
            Slot::A => a,
            Slot::B => b,
        }
    }

    const fn of_mut(&mut self, slot: Slot) -> &mut F {
        let [a, b] = &mut self.flash;
        match slot {
            Slot::A => a,
            Slot::B => b,
        }
    }
}
