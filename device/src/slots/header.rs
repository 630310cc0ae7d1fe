//! What stands in front of a slot's image: a record, written once the image is, and marks that are programmed later.
//!
//! | what | bytes | where |
//! |---|---|---|
//! | mark `F2 53 4C 54`, sequence number, bytes of the image, CRC-32 of these three | 4 each, little-endian | 0 |
//! | one mark a try | a word each | after the record, at a whole word |
//! | the mark of confirmation | a word | after those |
//! | the image | | after that, at a whole word and a multiple of 8 |
//!
//! A mark is a word of its own, since many chips program a word once between erasures. It is set as soon as one of its
//! bits is: what tears while it is programmed has been begun, and either reading of it leads to a good image.

use core::marker::PhantomData;

use embedded_storage::nor_flash::NorFlash;
use releq_format::crc::crc32;

use super::MappedFlash;

/// How often an image is tried before it must have been confirmed.
pub const TRIES: usize = 3;

/// Most bytes of a word.
pub(super) const WIDEST: usize = 256;

const MAGIC: [u8; 4] = [0xF2, b'S', b'L', b'T'];
const RECORD: usize = 16;
/// What flash holds where nothing was programmed.
const ERASED: u8 = 0xFF;

/// Where the parts of a slot lie, which depends on the flash's words.
pub(super) struct Map<F>(PhantomData<F>);

impl<F: NorFlash> Map<F> {
    pub(super) const WORD: usize = {
        assert!(F::WRITE_SIZE.is_power_of_two() && F::WRITE_SIZE <= WIDEST, "words are powers of 2 up to 256 bytes");
        assert!(
            F::ERASE_SIZE.is_multiple_of(F::WRITE_SIZE) && F::ERASE_SIZE.is_multiple_of(8),
            "pages are whole words"
        );
        F::WRITE_SIZE
    };
    const TRIED: usize = RECORD.next_multiple_of(Self::WORD);
    const CONFIRMED: usize = Self::TRIED + TRIES * Self::WORD;
    pub(super) const IMAGE: usize = (Self::CONFIRMED + Self::WORD).next_multiple_of(8);
}

/// A slot's header as it stands.
pub(super) struct Header<'f, F> {
    flash: &'f F,
    /// Sequence number and bytes of the image, if the record is whole.
    record: Option<[u32; 2]>,
}

impl<'f, F: MappedFlash> Header<'f, F> {
    pub(super) fn of(flash: &'f F) -> Self {
        Self { flash, record: flash.mapped().first_chunk().and_then(read) }
    }

    /// Whether an update was written to its end.
    pub(super) const fn is_written(&self) -> bool {
        self.record.is_some()
    }

    pub(super) fn sequence(&self) -> u32 {
        self.record.map_or(0, |[sequence, _]| sequence)
    }

    /// The bytes that the record says are an image.
    pub(super) fn image(self) -> Option<&'f [u8]> {
        let [_, length] = self.record?;
        self.flash.mapped().get(Map::<F>::IMAGE..)?.get(..length as usize)
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.is_written() && is_set(self.flash, Map::<F>::CONFIRMED)
    }
}

/// Marks one more try; whether there was one left, and the flash took it.
pub(super) fn mark_try<F: MappedFlash>(flash: &mut F) -> bool {
    let free = (0..TRIES).map(|index| Map::<F>::TRIED + index * Map::<F>::WORD).find(|&at| !is_set(flash, at));
    free.is_some_and(|at| mark(flash, at).is_ok())
}

/// Marks the slot as confirmed.
pub(super) fn confirm<F: MappedFlash>(flash: &mut F) -> Result<(), F::Error> {
    mark(flash, Map::<F>::CONFIRMED)
}

/// Writes the record of an image of `length` bytes; whether it reads back.
pub(super) fn write<F: MappedFlash>(flash: &mut F, sequence: u32, length: u32) -> Result<bool, F::Error> {
    let record = record(sequence, length);
    program(flash, 0, &record)?;
    Ok(flash.mapped().first_chunk() == Some(&record))
}

/// Programs `bytes` from `at` on, a multiple of a word; what remains of the last word stays as it is erased.
pub(super) fn program<F: MappedFlash>(flash: &mut F, at: usize, bytes: &[u8]) -> Result<(), F::Error> {
    let (whole, rest) = bytes.split_at_checked(bytes.len() & !(Map::<F>::WORD - 1)).unwrap_or((bytes, &[]));
    if !whole.is_empty() {
        flash.write(at as u32, whole)?;
    }
    let mut word = [ERASED; WIDEST];
    word.iter_mut().zip(rest).for_each(|(place, byte)| *place = *byte);
    match word.get(..Map::<F>::WORD) {
        Some(word) if !rest.is_empty() => flash.write((at + whole.len()) as u32, word),
        _ => Ok(()),
    }
}

fn mark<F: MappedFlash>(flash: &mut F, at: usize) -> Result<(), F::Error> {
    program(flash, at, [0; WIDEST].get(..Map::<F>::WORD).unwrap_or_default())
}

/// Whether the mark at `at` was begun; where there is no flash it was.
fn is_set<F: MappedFlash>(flash: &F, at: usize) -> bool {
    let word = flash.mapped().get(at..).and_then(|rest| rest.get(..Map::<F>::WORD));
    word.is_none_or(|word| word.iter().any(|&byte| byte != ERASED))
}

fn record(sequence: u32, length: u32) -> [u8; RECORD] {
    let mut record = [0; RECORD];
    let crc = crc32(&said(sequence, length)).to_le_bytes();
    record.iter_mut().zip(said(sequence, length).into_iter().chain(crc)).for_each(|(place, byte)| *place = byte);
    record
}

/// What a record says, without its checksum.
fn said(sequence: u32, length: u32) -> [u8; RECORD - 4] {
    let mut said = [0; RECORD - 4];
    let fields = [MAGIC, sequence.to_le_bytes(), length.to_le_bytes()];
    said.as_chunks_mut().0.iter_mut().zip(fields).for_each(|(place, field)| *place = field);
    said
}

/// Sequence number and length of a record that is whole.
fn read(bytes: &[u8; RECORD]) -> Option<[u32; 2]> {
    let [_, sequence, length, _] = bytes.as_chunks().0 else { return None };
    let [sequence, length] = [sequence, length].map(|field| u32::from_le_bytes(*field));
    (record(sequence, length) == *bytes).then_some([sequence, length])
}
