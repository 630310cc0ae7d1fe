//! Thumb-2 instructions in the classes that timing tells apart (Armv7-M ARM, DDI 0403, A5.2 to A5.3 and A6.4 to A6.7).

/// What an instruction is to the pipeline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// One cycle: arithmetic, multiplications of 32 and 64 bits, saturation, packing, moves.
    Arithmetic,
    /// SDIV or UDIV.
    Divide,
    /// IT.
    IfThen,
    /// NOP and other hints.
    Hint,
    /// LDR, LDRB, LDRH and their signed forms, not into the program counter.
    Load,
    /// LDRD.
    LoadDouble,
    /// LDM or POP of so many registers, not into the program counter.
    LoadMultiple(u8),
    /// STR, STRB or STRH at an immediate offset.
    Store,
    /// The same at a register's offset.
    StoreAtRegister,
    /// STRD.
    StoreDouble,
    /// STM or PUSH of so many registers.
    StoreMultiple(u8),
    /// B, CBZ and CBNZ, conditional or not, and BL.
    Branch,
    /// BX, BLX, and moves and additions into the program counter.
    BranchToRegister,
    /// LDR into the program counter.
    LoadBranch,
    /// LDM or POP of so many registers, the program counter among them.
    LoadMultipleBranch(u8),
    /// TBB or TBH.
    TableBranch,
    /// Floating point of one cycle.
    Float,
    /// VMLA, VFMA and their kin.
    FloatMultiplyAdd,
    /// VDIV or VSQRT.
    FloatDivide,
    /// VLDR or VLDM of so many words.
    FloatLoad(u8),
    /// VSTR or VSTM of so many words.
    FloatStore(u8),
    /// Anything else: system instructions, barriers, exclusives.
    Other,
}

/// One instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What it is.
    pub class: Class,
    /// Bytes: 2 or 4.
    pub size: u8,
    /// Registers that it loads from memory, a bit each.
    pub loads: u16,
    /// Registers that its address is made of, a bit each.
    pub address: u16,
}

/// Decodes the instruction at the start of `bytes`; `None` if they end within it.
pub fn decode(bytes: &[u8]) -> Option<Instruction> {
    let half = |at: usize| Some(u16::from_le_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
    let first = half(0)?;
    if first >> 11 >= 0b11101 { Some(wide(first, half(2)?)) } else { Some(narrow(first)) }
}

/// Program counter.
const PC: u16 = 15;

fn of(class: Class, size: u8) -> Instruction {
    Instruction { class, size, loads: 0, address: 0 }
}

/// A bit for the register whose number is in the low bits.
fn register(number: u16, bits: u32) -> u16 {
    1 << (number & ((1 << bits) - 1))
}

fn narrow(code: u16) -> Instruction {
    use Class::*;
    let arithmetic = of(Arithmetic, 2);
    let (base, target) = (register(code >> 3, 3), register(code, 3));
    let load = |address: u16, loads: u16| Instruction { class: Load, size: 2, loads, address };
    let store = |class: Class, address: u16| Instruction { address, ..of(class, 2) };
    match code >> 12 {
        0b0000..=0b0011 => arithmetic,
        0b0100 if code >> 10 == 0b01_0000 => arithmetic,
        0b0100 if code >> 10 == 0b01_0001 => {
            // ADD, CMP, MOV of all registers, and BX or BLX.
            let target = (code >> 4 & 8) | (code & 7);
            match code >> 8 & 3 {
                3 => of(BranchToRegister, 2),
                0 | 2 if target == PC => of(BranchToRegister, 2),
                _ => arithmetic,
            }
        }
        // A constant behind the code.
        0b0100 => load(0, register(code >> 8, 3)),
        0b0101 => {
            let address = base | register(code >> 6, 3);
            if code >> 9 & 7 < 3 { store(StoreAtRegister, address) } else { load(address, target) }
        }
        0b0110..=0b1000 if code >> 11 & 1 == 1 => load(base, target),
        0b0110..=0b1000 => store(Store, base),
        0b1001 if code >> 11 & 1 == 1 => load(1 << 13, register(code >> 8, 3)),
        0b1001 => store(Store, 1 << 13),
        0b1010 => arithmetic,
        0b1011 => miscellaneous(code),
        0b1100 => {
            let list = code & 0xFF;
            let (count, address) = (list.count_ones() as u8, register(code >> 8, 3));
            if code >> 11 & 1 == 1 {
                Instruction { class: LoadMultiple(count), size: 2, loads: list, address }
            } else {
                store(StoreMultiple(count), address)
            }
        }
        0b1101 if code >> 9 & 7 == 7 => of(Other, 2),
        _ => of(Branch, 2),
    }
}

fn miscellaneous(code: u16) -> Instruction {
    use Class::*;
    let list = code & 0xFF;
    let count = list.count_ones() as u8 + (code >> 8 & 1) as u8;
    match code >> 8 & 0xF {
        0b0001 | 0b0011 | 0b1001 | 0b1011 => of(Branch, 2),
        0b0100 | 0b0101 => Instruction { address: 1 << 13, ..of(StoreMultiple(count), 2) },
        0b1100 => Instruction { class: LoadMultiple(count), size: 2, loads: list, address: 1 << 13 },
        0b1101 => Instruction { class: LoadMultipleBranch(count), size: 2, loads: list, address: 1 << 13 },
        0b1111 if code & 0xF != 0 => of(IfThen, 2),
        0b1111 => of(Hint, 2),
        0b0110 | 0b1110 => of(Other, 2),
        _ => of(Arithmetic, 2),
    }
}

fn wide(first: u16, second: u16) -> Instruction {
    use Class::*;
    let base = register(first, 4);
    match (first >> 11 & 3, first >> 9 & 3) {
        (1, 0) if first & 0x40 == 0 => multiple(first, second),
        (1, 0) => double(first, second),
        (1, 1) => of(Arithmetic, 4),
        (1, _) | (3, 2 | 3) => coprocessor(first, second),
        (2, _) if second >> 15 == 0 => of(Arithmetic, 4),
        (2, _) => branch_or_control(first, second),
        (_, 0) if first & 0x10 == 0 => {
            // Immediate offsets of 12 bits, or of 8 with bit 11 of the second half set.
            let at_register = first & 0x80 == 0 && second & 0x0800 == 0;
            let index = if at_register { register(second, 4) } else { 0 };
            Instruction { address: base | index, ..of(if at_register { StoreAtRegister } else { Store }, 4) }
        }
        (_, 0) => single_load(first, second),
        _ if first & 0xFFD0 == 0xFB90 => of(Divide, 4),
        _ => of(Arithmetic, 4),
    }
}

fn single_load(first: u16, second: u16) -> Instruction {
    use Class::*;
    let (base, target) = (first & 0xF, second >> 12);
    let at_register = base != PC && first & 0x80 == 0 && second & 0x0800 == 0;
    let index = if at_register { register(second, 4) } else { 0 };
    let address = if base == PC { 0 } else { register(base, 4) | index };
    match (first >> 5 & 3, target) {
        (2, PC) => Instruction { address, ..of(LoadBranch, 4) },
        // Preloads.
        (_, PC) => of(Hint, 4),
        _ => Instruction { class: Load, size: 4, loads: 1 << target, address },
    }
}

fn multiple(first: u16, second: u16) -> Instruction {
    use Class::*;
    let (count, address) = (second.count_ones() as u8, register(first, 4));
    match (first >> 4 & 1, second >> 15) {
        (0, _) => Instruction { address, ..of(StoreMultiple(count), 4) },
        (_, 0) => Instruction { class: LoadMultiple(count), size: 4, loads: second, address },
        _ => Instruction { class: LoadMultipleBranch(count), size: 4, loads: second & 0x7FFF, address },
    }
}

/// Two registers, exclusives and table branches.
fn double(first: u16, second: u16) -> Instruction {
    use Class::*;
    let address = register(first, 4);
    if first & 0xFFF0 == 0xE8D0 && second & 0xFFE0 == 0xF000 {
        return of(TableBranch, 4);
    }
    if first & 0x0120 == 0 {
        return of(Other, 4);
    }
    if first & 0x10 == 0 {
        return Instruction { address, ..of(StoreDouble, 4) };
    }
    let loads = 1 << (second >> 12) | register(second >> 8, 4);
    Instruction { class: LoadDouble, size: 4, loads, address }
}

fn branch_or_control(first: u16, second: u16) -> Instruction {
    use Class::*;
    match (second >> 12 & 5, first >> 6 & 0xF) {
        (0, 14) if first & 0xFFF0 == 0xF3A0 => of(Hint, 4),
        (0, 14 | 15) => of(Other, 4),
        _ => of(Branch, 4),
    }
}

/// The floating-point unit: the only coprocessor there is.
fn coprocessor(first: u16, second: u16) -> Instruction {
    use Class::*;
    if first & 0xFE00 == 0xEC00 {
        // VMOV of two registers has neither index, nor direction, nor write-back.
        if first & 0x01A0 == 0 {
            return of(Float, 4);
        }
        let address = register(first, 4);
        let single = first & 0x0120 == 0x0100;
        let words = if single { 1 + (second >> 8 & 1) as u8 } else { (second & 0xFF) as u8 };
        let class = if first & 0x10 == 0 { FloatStore(words) } else { FloatLoad(words) };
        return Instruction { address, ..of(class, 4) };
    }
    let operation = second & 0x10 == 0 && first & 0xFF00 == 0xEE00;
    match (operation, first >> 4 & 0xB, second >> 6 & 1) {
        // VMLA, VMLS, VNMLA, VNMLS and the fused ones.
        (true, 0 | 1 | 9 | 10, _) => of(FloatMultiplyAdd, 4),
        (true, 8, _) => of(FloatDivide, 4),
        (true, 11, 1) if first & 0xF == 1 && second & 0x80 != 0 => of(FloatDivide, 4),
        _ => of(Float, 4),
    }
}
