//! Which functions of a runner a function reaches: branches and addresses in its Thumb-2 code.
//!
//! Decoded are the instructions that name a place: B, BL, and MOVW with MOVT (Armv7-M ARM, A7.7). A place in a table
//! of constants stands for all functions that the table names; the words between instructions are constants too.

use std::collections::{BTreeMap, BTreeSet};

use object::read::elf::ElfFile32;
use object::{Object, ObjectSection, ObjectSymbol, SymbolKind};

/// Functions and tables of a runner, by address.
#[derive(Debug)]
pub(super) struct Program<'a> {
    sections: Vec<(u32, &'a [u8])>,
    functions: BTreeMap<u32, u32>,
    tables: BTreeMap<u32, u32>,
    /// Where instructions begin, and where constants do.
    kinds: BTreeMap<u32, bool>,
}

impl<'a> Program<'a> {
    pub(super) fn of(elf: &ElfFile32<'a>) -> Self {
        let sections = elf.sections().filter_map(|section| Some((section.address() as u32, section.data().ok()?)));
        let mut program = Self {
            sections: sections.filter(|(address, bytes)| *address > 0 || !bytes.is_empty()).collect(),
            functions: BTreeMap::new(),
            tables: BTreeMap::new(),
            kinds: BTreeMap::new(),
        };
        for symbol in elf.symbols() {
            let (address, size) = (symbol.address() as u32, symbol.size() as u32);
            match (symbol.kind(), symbol.name()) {
                (SymbolKind::Text, _) if size > 0 => _ = program.functions.insert(address & !1, size),
                (SymbolKind::Data, _) if size > 0 => _ = program.tables.insert(address, size),
                (_, Ok(name)) if name.starts_with("$t") || name.starts_with("$d") => {
                    program.kinds.insert(address, name.starts_with("$t"));
                }
                _ => {}
            }
        }
        program
    }

    /// The functions that those at `roots` reach, themselves included, with their sizes.
    pub(super) fn reach(&self, roots: impl IntoIterator<Item = u32>) -> BTreeMap<u32, u32> {
        let mut found = BTreeMap::new();
        let mut next: Vec<u32> = roots.into_iter().map(|root| root & !1).collect();
        while let Some(address) = next.pop() {
            if let Some(&size) = self.functions.get(&address)
                && found.insert(address, size).is_none()
            {
                next.extend(self.named_by(address, size));
            }
        }
        found
    }

    /// Starts of the functions that the code at `start` names.
    fn named_by(&self, start: u32, size: u32) -> BTreeSet<u32> {
        let mut named = BTreeSet::new();
        let mut low = [None; 16];
        let mut at = start;
        while at < start + size {
            if !self.is_code(at) {
                if at.is_multiple_of(4) {
                    self.name(self.word(at), &mut named);
                }
                at += 2;
                continue;
            }
            let (first, second) = (self.half(at), self.half(at + 2));
            match decode(at, first, second) {
                Step::Branch(target) => _ = self.functions.contains_key(&target).then(|| named.insert(target)),
                Step::Low(register, value) => low[register] = Some(value),
                Step::High(register, value) => {
                    if let Some(low) = low[register] {
                        self.name(value << 16 | low, &mut named);
                    }
                }
                Step::Other => {}
            }
            at += if is_wide(first) { 4 } else { 2 };
        }
        named
    }

    /// Adds the function that an address stands for, or those of a table.
    fn name(&self, address: u32, named: &mut BTreeSet<u32>) {
        let function =
            |address: u32| (address & 1 == 1).then_some(address & !1).filter(|at| self.functions.contains_key(at));
        named.extend(function(address));
        if let Some((&table, &size)) = self.tables.range(..=address).next_back()
            && address < table + size
        {
            named.extend((table..table + size).step_by(4).filter_map(|at| function(self.word(at))));
        }
    }

    fn is_code(&self, at: u32) -> bool {
        self.kinds.range(..=at).next_back().is_none_or(|(_, &code)| code)
    }

    fn half(&self, at: u32) -> u16 {
        let within = |(address, bytes): &(u32, &'a [u8])| {
            let start = at.checked_sub(*address)? as usize;
            bytes.get(start..)?.first_chunk().copied()
        };
        self.sections.iter().find_map(within).map_or(0, u16::from_le_bytes)
    }

    fn word(&self, at: u32) -> u32 {
        u32::from(self.half(at)) | u32::from(self.half(at + 2)) << 16
    }
}

/// What an instruction says about places.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// It goes to this address.
    Branch(u32),
    /// It puts these into the low half of a register.
    Low(usize, u32),
    /// It puts these into the high half.
    High(usize, u32),
    Other,
}

/// Whether an instruction of 32 bits starts with this half.
const fn is_wide(first: u16) -> bool {
    first >> 11 >= 0b11101
}

/// The instruction at `at`.
fn decode(at: u32, first: u16, second: u16) -> Step {
    let (first, second) = (u32::from(first), u32::from(second));
    let target = |offset: i32| Step::Branch(at.wrapping_add(4).wrapping_add_signed(offset));
    // An offset of so many bits, as a signed number.
    let signed = |bits: u32, width: u32| ((bits << (32 - width)) as i32) >> (32 - width);
    let (j1, j2, s) = (second >> 13 & 1, second >> 11 & 1, first >> 10 & 1);
    match (first >> 11, second >> 14, second >> 12 & 1) {
        // B, without and with a condition, of 16 bits.
        (0b11100, ..) => target(signed(first << 1 & 0xFFF, 12)),
        _ if first >> 12 == 0b1101 && first >> 9 & 0b111 != 0b111 => target(signed(first << 1 & 0x1FF, 9)),
        // BL, and B of 32 bits.
        (0b11110, 0b11 | 0b10, 1) => {
            let (i1, i2) = (1 ^ j1 ^ s, 1 ^ j2 ^ s);
            target(signed(s << 24 | i1 << 23 | i2 << 22 | (first & 0x3FF) << 12 | (second & 0x7FF) << 1, 25))
        }
        // B with a condition.
        (0b11110, 0b10, 0) if first >> 7 & 0b111 != 0b111 => {
            target(signed(s << 20 | j2 << 19 | j1 << 18 | (first & 0x3F) << 12 | (second & 0x7FF) << 1, 21))
        }
        // MOVW and MOVT.
        (0b11110, 0b00 | 0b01, _) if matches!(first & 0x3F0, 0x240 | 0x2C0) => {
            let value = (first & 0xF) << 12 | (first >> 10 & 1) << 11 | (second >> 12 & 0b111) << 8 | second & 0xFF;
            let register = (second >> 8 & 0xF) as usize;
            if first & 0x80 == 0 { Step::Low(register, value) } else { Step::High(register, value) }
        }
        _ => Step::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Encodings as an assembler writes them for code at 0x1000.
    #[test]
    fn instructions_are_decoded() {
        for (first, second, expected) in [
            (0xF000, 0xF800, Step::Branch(0x1004)),   // bl 0x1004
            (0xF7FF, 0xFFFE, Step::Branch(0x1000)),   // bl 0x1000
            (0xF000, 0xB87E, Step::Branch(0x1100)),   // b.w 0x1100
            (0xF7FF, 0xBF7E, Step::Branch(0x0F00)),   // b.w 0xf00
            (0xF000, 0x807E, Step::Branch(0x1100)),   // beq.w 0x1100
            (0xF47F, 0xAF7E, Step::Branch(0x0F00)),   // bne.w 0xf00
            (0xE07E, 0xBF00, Step::Branch(0x1100)),   // b 0x1100
            (0xD1FE, 0xBF00, Step::Branch(0x1000)),   // bne 0x1000
            (0xF241, 0x2334, Step::Low(3, 0x1234)),   // movw r3, #0x1234
            (0xF6C8, 0x7CCD, Step::High(12, 0x8FCD)), // movt r12, #0x8fcd
            (0xDF00, 0xBF00, Step::Other),            // svc #0
            (0xFB22, 0x1103, Step::Other),            // smlad r1, r2, r3, r1
            (0xF3AF, 0x8000, Step::Other),            // nop.w
        ] {
            assert_eq!(decode(0x1000, first, second), expected, "{first:04x} {second:04x}");
        }
        assert_eq!([0xE7FF, 0xE800, 0xF000, 0xFB22].map(is_wide), [false, true, true, true]);
    }

    /// Two functions and a table: the first calls the second, whose constants name the third through the table.
    #[test]
    fn functions_are_reached_through_calls_and_tables() {
        // 0x100: bl 0x108; bx lr. 0x108: ldr r0, [pc]; bx r0; constant 0x200. 0x110: bx lr. 0x200: 0x111.
        let code: [u16; 9] = [0xF000, 0xF802, 0x4770, 0xBF00, 0x4800, 0x4700, 0x0200, 0x0000, 0x4770];
        let code: Vec<u8> = code.into_iter().flat_map(u16::to_le_bytes).collect();
        let table = 0x111u32.to_le_bytes();
        let program = Program {
            sections: vec![(0x100, &code), (0x200, &table)],
            functions: BTreeMap::from([(0x100, 8), (0x108, 8), (0x110, 2)]),
            tables: BTreeMap::from([(0x200, 4)]),
            kinds: BTreeMap::from([(0x100, true), (0x10C, false), (0x110, true)]),
        };
        assert_eq!(program.reach([0x101]), BTreeMap::from([(0x100, 8), (0x108, 8), (0x110, 2)]));
        assert_eq!(program.reach([0x110]), BTreeMap::from([(0x110, 2)]));
    }
}
