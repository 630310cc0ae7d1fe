//! Power that goes: flash made of bytes whose operations can be cut anywhere, and an update that is.
//!
//! Tests of a workstation and a program for the emulated board put slots on the same trial: whatever was being done when
//! the power went, the next start runs a good image, and the next update goes through.

#![allow(unreachable_pub, dead_code, reason = "shared by tests and a program, and neither needs all of it")]

use core::cell::Cell;

use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use releq_device::slots::{MappedFlash, Slots};

/// Steps in which a page is erased; the power can go at each.
const ERASE_STEPS: usize = 8;
const ERASED: u8 = 0xFF;
/// Bytes of an image that arrive at once, where words are not larger.
const PIECE: usize = 64;

/// What the power's going leaves of the word or page that was being written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tear {
    /// Bytes in order: some are done, the others untouched.
    Clean,
    /// Any of the bits that were to change, in the whole word or in what was left of the page.
    Garbled,
}

/// What flash runs on.
#[derive(Debug)]
pub struct Power {
    /// Bytes programmed and steps of erasure that it lasts for.
    left: Cell<usize>,
    tear: Tear,
    dice: Cell<u32>,
}

impl Power {
    /// Never goes.
    pub const ENDLESS: usize = usize::MAX;

    /// Lasts for `left` bytes and steps.
    pub const fn lasting(left: usize, tear: Tear) -> Self {
        // Each moment tears in its own way.
        Self { left: Cell::new(left), tear, dice: Cell::new((left as u32).wrapping_mul(2).wrapping_add(1)) }
    }

    /// Whether it has gone.
    pub fn is_off(&self) -> bool {
        self.left.get() == 0
    }

    /// Switches it on again, for `left` bytes and steps.
    pub fn restore(&self, left: usize) {
        self.left.set(left);
    }

    /// Bytes and steps since it was switched on for `given` of them.
    pub fn used(&self, given: usize) -> usize {
        given - self.left.get()
    }

    /// Takes one; whether the power has just gone or was off before.
    fn spend(&self) -> bool {
        self.left.set(self.left.get().saturating_sub(1));
        self.is_off()
    }

    fn bits(&self) -> u8 {
        let mut state = self.dice.get();
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        self.dice.set(state);
        (state >> 24) as u8
    }
}

/// The flash of a slot.
#[derive(Clone, Debug)]
#[repr(C, align(8))]
pub struct ByteFlash<'p, const BYTES: usize, const PAGE: usize, const WORD: usize> {
    bytes: [u8; BYTES],
    /// A byte that stays erased.
    pub stuck: Option<usize>,
    power: &'p Power,
}

/// Nobody is left to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Off;

impl NorFlashError for Off {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl<'p, const BYTES: usize, const PAGE: usize, const WORD: usize> ByteFlash<'p, BYTES, PAGE, WORD> {
    /// As it leaves the factory.
    pub const fn erased(power: &'p Power) -> Self {
        Self { bytes: [ERASED; BYTES], stuck: None, power }
    }

    /// Its bytes, to be damaged.
    pub const fn bytes_mut(&mut self) -> &mut [u8; BYTES] {
        &mut self.bytes
    }
}

impl<const BYTES: usize, const PAGE: usize, const WORD: usize> ErrorType for ByteFlash<'_, BYTES, PAGE, WORD> {
    type Error = Off;
}

impl<const BYTES: usize, const PAGE: usize, const WORD: usize> ReadNorFlash for ByteFlash<'_, BYTES, PAGE, WORD> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Off> {
        bytes.copy_from_slice(&self.bytes[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        BYTES
    }
}

impl<const BYTES: usize, const PAGE: usize, const WORD: usize> NorFlash for ByteFlash<'_, BYTES, PAGE, WORD> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), Off> {
        let range = from as usize..to as usize;
        assert!(range.start.is_multiple_of(PAGE) && range.end.is_multiple_of(PAGE), "half a page is erased");
        for page in self.bytes[range].chunks_exact_mut(PAGE) {
            for step in 0..ERASE_STEPS {
                if self.power.is_off() {
                    return Err(Off);
                }
                page[step * PAGE / ERASE_STEPS..(step + 1) * PAGE / ERASE_STEPS].fill(ERASED);
                if self.power.spend() {
                    let rest = &mut page[(step + 1) * PAGE / ERASE_STEPS..];
                    if self.power.tear == Tear::Garbled {
                        rest.iter_mut().for_each(|byte| *byte |= self.power.bits());
                    }
                    return Err(Off);
                }
            }
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Off> {
        let offset = offset as usize;
        assert!(offset.is_multiple_of(WORD) && bytes.len().is_multiple_of(WORD), "half a word is programmed");
        let words = self.bytes[offset..][..bytes.len()].chunks_exact_mut(WORD);
        for (word, new) in words.zip(bytes.chunks_exact(WORD)) {
            for index in 0..WORD {
                if self.power.is_off() {
                    return Err(Off);
                }
                assert!(word[index..].iter().all(|&byte| byte == ERASED), "a word is programmed a second time");
                word[index] = new[index];
                if self.power.spend() {
                    if self.power.tear == Tear::Garbled {
                        word.iter_mut().zip(new).for_each(|(byte, new)| *byte = new | self.power.bits());
                    }
                    return Err(Off);
                }
            }
        }
        if let Some(byte) = self.stuck.and_then(|stuck| self.bytes.get_mut(stuck)) {
            *byte = ERASED;
        }
        Ok(())
    }
}

impl<const BYTES: usize, const PAGE: usize, const WORD: usize> MappedFlash for ByteFlash<'_, BYTES, PAGE, WORD> {
    fn mapped(&self) -> &[u8] {
        &self.bytes
    }
}

/// Both slots of a device, and what tells its good images.
pub struct Device<'p, G, const BYTES: usize, const PAGE: usize, const WORD: usize> {
    /// The slots.
    pub flash: [ByteFlash<'p, BYTES, PAGE, WORD>; 2],
    power: &'p Power,
    good: G,
}

impl<'p, G: FnMut(&[u8]) -> bool, const BYTES: usize, const PAGE: usize, const WORD: usize>
    Device<'p, G, BYTES, PAGE, WORD>
{
    /// With nothing in either slot.
    pub const fn new(power: &'p Power, good: G) -> Self {
        Self { flash: [ByteFlash::erased(power), ByteFlash::erased(power)], power, good }
    }

    /// Starts, and shows what has started to `work`.
    pub fn start<T>(&mut self, work: impl FnOnce(&mut Slots<&mut ByteFlash<'p, BYTES, PAGE, WORD>>) -> T) -> T {
        let [a, b] = &mut self.flash;
        work(&mut Slots::boot([a, b], &mut self.good))
    }

    /// What runs after a start.
    pub fn runs(&mut self, image: &[u8]) -> bool {
        self.start(|slots| slots.image() == Some(image))
    }

    /// A start, an update to `image`, and a second start that confirms it; whether the power lasted.
    pub fn update(&mut self, image: &[u8]) -> bool {
        let written = self.start(|slots| {
            let mut update = slots.split().1.update(image.len()).ok()?;
            image.chunks(PIECE.max(WORD)).try_for_each(|piece| update.write(piece).ok())?;
            update.finish().ok()
        });
        written.is_some() && self.start(|slots| slots.confirm().is_ok()) && !self.power.is_off()
    }
}

/// What became of updates that were cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Cuts after which the old image ran.
    pub old: usize,
    /// Cuts after which the new one did.
    pub new: usize,
}

/// Cuts an update from `old` to `new` at each byte that it programs and at each step of its erasures. After each cut a good
/// image runs, and then an update to `next` goes through.
///
/// # Panics
/// If that is not so.
pub fn cut_everywhere<const BYTES: usize, const PAGE: usize, const WORD: usize>(
    [old, new, next]: [&[u8]; 3],
    tear: Tear,
    mut good: impl FnMut(&[u8]) -> bool,
) -> Tally {
    let mut tally = Tally::default();
    for cut in 1.. {
        let power = Power::lasting(Power::ENDLESS, tear);
        let mut device = Device::<_, BYTES, PAGE, WORD>::new(&power, &mut good);
        // Twice, so that the update finds an older image in the slot that it takes.
        assert!(device.update(next) && device.update(old));
        let power = Power::lasting(cut, tear);
        let mut device = device.on(&power);
        let lasted = device.update(new);
        power.restore(Power::ENDLESS);
        if device.runs(new) {
            tally.new += 1;
        } else {
            assert!(device.runs(old) && !lasted, "cut at {cut}: neither image runs");
            tally.old += 1;
        }
        // What runs is good: it is confirmed, and makes room.
        assert!(device.start(|slots| slots.confirm()).is_ok());
        assert!(device.update(next) && device.runs(next), "cut at {cut}: the next update fails");
        if lasted {
            return tally;
        }
    }
    tally
}

impl<'p, G, const BYTES: usize, const PAGE: usize, const WORD: usize> Device<'p, G, BYTES, PAGE, WORD> {
    /// The same device on other power.
    pub fn on<'o>(self, power: &'o Power) -> Device<'o, G, BYTES, PAGE, WORD> {
        let flash = self.flash.map(|ByteFlash { bytes, stuck, .. }| ByteFlash { bytes, stuck, power });
        Device { flash, power, good: self.good }
    }
}
