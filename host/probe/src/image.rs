//! What is to lie in flash: bytes at addresses, from a slice or from the sections of an ELF file.

use std::fs;
use std::path::Path;

use object::elf::{PT_LOAD, SHF_ALLOC};
use object::read::elf::{ElfFile32, ElfSection32, FileHeader, ProgramHeader, SectionHeader};
use object::{Architecture, Endianness, Object, ObjectSection, ObjectSymbol};

use crate::error::ProbeError;

/// Bytes that lie together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) address: u32,
    pub(crate) bytes: Vec<u8>,
}

impl Piece {
    pub(crate) fn end(&self) -> u64 {
        u64::from(self.address) + self.bytes.len() as u64
    }
}

/// What is to lie in flash: at least one byte, none at an address claimed twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Image {
    /// By ascending address.
    pieces: Vec<Piece>,
    control_block: Option<u32>,
}

impl Image {
    /// `bytes` at `address`.
    ///
    /// # Errors
    /// [`ProbeError::Empty`] without bytes.
    pub fn bin(address: u32, bytes: &[u8]) -> Result<Self, ProbeError> {
        Self::of_pieces("the model", vec![Piece { address, bytes: bytes.to_vec() }], None)
    }

    /// The sections of the ELF file at `path`, each at the address it is loaded to.
    ///
    /// # Errors
    /// Where the file cannot be read, is no ELF file for a 32-bit Arm, holds nothing, or claims an address twice.
    pub fn elf(path: &Path) -> Result<Self, ProbeError> {
        let bytes = fs::read(path).map_err(|cause| ProbeError::File { path: path.into(), cause })?;
        Self::elf_bytes(&path.display().to_string(), &bytes)
    }

    /// As [`Image::elf`], of a file already read; `name` is for error texts.
    ///
    /// # Errors
    /// As [`Image::elf`].
    pub fn elf_bytes(name: &str, bytes: &[u8]) -> Result<Self, ProbeError> {
        let unfit = |cause: String| ProbeError::Elf { name: name.into(), cause };
        let file =
            ElfFile32::<Endianness>::parse(bytes).map_err(|error| unfit(format!("it is no ELF file ({error})")))?;
        if file.architecture() != Architecture::Arm {
            return Err(unfit(format!("it is built for {:?}", file.architecture())));
        }
        let pieces = loaded_sections(&file, bytes).map_err(|error| unfit(format!("it is damaged ({error})")))?;
        let control_block = file
            .symbols()
            .find(|symbol| symbol.is_definition() && symbol.name() == Ok("_SEGGER_RTT"))
            .and_then(|symbol| u32::try_from(symbol.address()).ok());
        Self::of_pieces(name, pieces, control_block)
    }

    fn of_pieces(name: &str, mut pieces: Vec<Piece>, control_block: Option<u32>) -> Result<Self, ProbeError> {
        pieces.retain(|piece| !piece.bytes.is_empty());
        pieces.sort_by_key(|piece| piece.address);
        if pieces.is_empty() {
            return Err(ProbeError::Empty { name: name.into() });
        }
        match pieces.windows(2).find(|pair| pair[0].end() > u64::from(pair[1].address)) {
            Some(pair) => Err(ProbeError::Overlap { name: name.into(), address: pair[1].address }),
            None => Ok(Self { pieces, control_block }),
        }
    }

    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// Bytes to lie in flash.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.bytes.len() as u64).sum()
    }

    /// Where the firmware's RTT control block lies, the ELF file's symbol `_SEGGER_RTT`.
    pub const fn control_block(&self) -> Option<u32> {
        self.control_block
    }
}

/// Every section with bytes to load, where it is loaded to.
///
/// Sections and not segments: linkers put the file's own headers and padding into segments.
fn loaded_sections(file: &ElfFile32<'_, Endianness>, bytes: &[u8]) -> object::Result<Vec<Piece>> {
    let endian = file.endian();
    let segments = file.elf_header().program_headers(endian, bytes)?;
    let mut pieces = Vec::new();
    let allocated = |section: &ElfSection32<'_, '_, Endianness>| {
        section.elf_section_header().sh_flags(endian) & SHF_ALLOC == SHF_ALLOC
    };
    for section in file.sections() {
        let Some((offset, length)) = section.file_range().filter(|_| allocated(&section)) else { continue };
        let segment = segments.iter().filter(|segment| segment.p_type(endian) == PT_LOAD).find(|segment| {
            let (start, size) = segment.file_range(endian);
            start <= offset && offset + length <= start + size
        });
        let Some(segment) = segment else { continue };
        let within = (offset - segment.file_range(endian).0) as u32;
        let address = segment.p_paddr(endian).wrapping_add(within);
        pieces.push(Piece { address, bytes: section.data()?.to_vec() });
    }
    Ok(pieces)
}
