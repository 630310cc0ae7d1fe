//! Firmware files for mock boards: ELF32 for Arm, as linkers write them (TIS ELF 1.2).

/// A section of an ELF file.
#[derive(Clone, Copy, Debug)]
pub struct Section<'a> {
    /// `.text`, as a rule.
    pub name: &'a str,
    /// Where it runs, and where it is loaded to.
    pub addresses: (u32, u32),
    /// What is in it.
    pub bytes: &'a [u8],
    /// Whether it is for the chip.
    pub allocated: bool,
}

/// A section that runs where it is loaded to.
pub const fn loaded<'a>(name: &'a str, address: u32, bytes: &'a [u8]) -> Section<'a> {
    Section { name, addresses: (address, address), bytes, allocated: true }
}

/// Little-endian halfwords and words, one behind the other.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn halves(mut self, values: &[u16]) -> Self {
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self
    }

    fn words(mut self, values: &[u32]) -> Self {
        self.0.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        self
    }
}

const EHDR: u32 = 52;
const PHDR: u32 = 32;

/// An ELF32 file for Arm (TIS ELF 1.2): each section in a segment of its own, and a symbol `_SEGGER_RTT` if given.
pub fn elf(sections: &[Section<'_>], control_block: Option<u32>) -> Vec<u8> {
    let count = sections.len() as u32;
    let entry = sections.first().map_or(0, |section| section.addresses.0);
    let mut offset = EHDR + PHDR * count;
    let (mut segments, mut headers, mut body, mut names) =
        (Bytes::default(), Bytes::default().words(&[0; 10]), Vec::new(), vec![0]);
    let mut name = |text: &str| {
        let at = names.len() as u32;
        names.extend(text.bytes().chain([0]));
        (at, names.clone())
    };
    for section in sections {
        let (length, (runs, loads)) = (section.bytes.len() as u32, section.addresses);
        // PT_LOAD only for what is allocated; PT_NULL else.
        segments = segments.words(&[section.allocated.into(), offset, runs, loads, length, length, 5, 4]);
        let flags = if section.allocated { 2 } else { 0 };
        headers = headers.words(&[name(section.name).0, 1, flags, runs, offset, length, 0, 0, 4, 0]);
        body.extend_from_slice(section.bytes);
        offset += length;
    }
    let symbol = control_block.map_or_else(Bytes::default, |address| {
        Bytes::default().words(&[0; 4]).words(&[1, address, 48]).halves(&[0x11, 1])
    });
    let strings = b"\0_SEGGER_RTT\0";
    let symbols = [name(".symtab").0, name(".strtab").0];
    let (at, names) = name(".shstrtab");
    let (length, text) = (symbol.0.len() as u32, strings.len() as u32);
    let headers = headers
        .words(&[symbols[0], 2, 0, 0, offset, length, count + 2, 1, 4, 16])
        .words(&[symbols[1], 3, 0, 0, offset + length, text, 0, 0, 1, 0])
        .words(&[at, 3, 0, 0, offset + length + text, names.len() as u32, 0, 0, 1, 0]);
    let table = offset + length + text + names.len() as u32;
    let mut file = Bytes(b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0".to_vec())
        .halves(&[2, 40])
        .words(&[1, entry, EHDR, table, 0x0500_0000])
        .halves(&[EHDR as u16, PHDR as u16, count as u16, 40, count as u16 + 4, count as u16 + 3])
        .0;
    for part in [&segments.0[..], &body, &symbol.0, strings, &names, &headers.0] {
        file.extend_from_slice(part);
    }
    file
}
