//! Cycles of an instruction behind another one on a Cortex-M4 whose memories have no wait states.
//!
//! Sources, by letter:
//! * A: Arm Cortex-M4 Technical Reference Manual (100166), table 3-1, instruction set summary, and its notes on pairing
//!   of loads and stores;
//! * B: the pipeline measurements on an STM32F407 in jnk0le/random on GitHub ("pipeline cycle test"): a store right behind
//!   a load hides in it, a load right behind a store does not pipeline;
//! * C: branch timing at compendium.i-0.nl (docs/control-flow): taken to a wide unaligned target, one more.

use crate::decode::{Class, Instruction};

/// The model's name; changes whenever an estimate may.
pub const NAME: &str = "m4-v1";

/// How far estimates may be off, either way, in percent.
///
/// A prototype of these rules, against published cycle counts of 19 programs on a Cortex-M4 without wait states (pqm4,
/// NUCLEO-L4R5ZI), was 6.5 % low to 5.4 % high with P and the load behind a store as below, which were chosen on the same
/// programs; with the least values, 11.4 % low to 0.9 % high. Kernels of neural networks were not among them.
pub const BAND_PERCENT: u32 = 10;

/// Refilling the pipeline after a taken branch, P: 1 to 3 (A); the middle, which fits published counts best.
const REFILL: u32 = 2;
/// A division: 2 to 12 (A), by its operands, which a plugin does not see.
const DIVIDE: u32 = 7;
/// VDIV and VSQRT (A, table 7-1).
const FLOAT_DIVIDE: u32 = 14;
/// VMLA, VFMA (A, table 7-1).
const FLOAT_MULTIPLY_ADD: u32 = 3;

/// Cycles of `this` right behind `before`, branches taken as not taken.
pub fn cycles(this: &Instruction, before: Option<&Instruction>) -> u32 {
    use Class::*;
    let after = before.map_or(Arithmetic, |before| before.class);
    // A base that the instruction before loads is there one cycle late (A: no pipelining with address dependency).
    let depends = before.is_some_and(|before| before.loads & this.address != 0);
    match this.class {
        Arithmetic | Hint | Branch | BranchToRegister | Float | Other => 1,
        Divide => DIVIDE,
        // Folded into a narrow instruction before it (A, note on IT).
        IfThen => u32::from(before.is_none_or(|before| before.size == 4)),
        // Neighbouring loads pipeline (A); behind a store they do not (B).
        Load => match after {
            Load if !depends => 1,
            Load => 3,
            Store | StoreAtRegister => 3,
            _ => 2 + u32::from(depends),
        },
        // An immediate offset goes into the write buffer (A); behind a load it hides in its second cycle (B).
        Store if after == Load => u32::from(depends),
        Store => 1 + u32::from(depends),
        StoreAtRegister if after == Load => 1 + u32::from(depends),
        StoreAtRegister => 2 + u32::from(depends),
        // 1 + N (A).
        LoadDouble | StoreDouble => 3 + u32::from(depends),
        LoadMultiple(count) | StoreMultiple(count) => 1 + u32::from(count) + u32::from(depends),
        // 1 + N + P; the branch's own share is added by `taken`.
        LoadMultipleBranch(count) => 1 + u32::from(count),
        LoadBranch => 2 + u32::from(depends),
        TableBranch => 2,
        FloatDivide => FLOAT_DIVIDE,
        FloatMultiplyAdd => FLOAT_MULTIPLY_ADD,
        FloatLoad(words) | FloatStore(words) => 1 + u32::from(words) + u32::from(depends),
    }
}

/// What a taken branch adds, to a target at `address` that is `wide` or not.
pub const fn taken(address: u32, wide: bool) -> u32 {
    // (C)
    REFILL + if wide && !address.is_multiple_of(4) { 1 } else { 0 }
}

/// What an unaligned access of a word adds: it is made as two (A).
pub const UNALIGNED: u32 = 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::decode;

    /// Cycles of a loop's turn, counted by hand from the rules above, its branch taken to an aligned target.
    fn turn(code: &[u16]) -> u32 {
        let bytes: Vec<u8> = code.iter().flat_map(|half| half.to_le_bytes()).collect();
        let (mut at, mut before, mut sum) = (0, None, 0);
        while let Some(this) = decode(&bytes[at..]) {
            sum += cycles(&this, before.as_ref());
            at += usize::from(this.size);
            before = Some(this);
        }
        sum + taken(0, true)
    }

    #[test]
    fn loops_take_what_was_counted_by_hand() {
        // subs r0, #1; bne: 1 + 1 + P.
        assert_eq!(turn(&[0x3801, 0xD1FD]), 4);
        // ldr r2, [r0]; ldr r3, [r1]; smlad r4, r2, r3, r4; subs; bne: 2 + 1 + 1 + 1 + 1 + P.
        assert_eq!(turn(&[0x6802, 0x680B, 0xFB22, 0x4403, 0x3801, 0xD1FA]), 8);
        // ldr r0, [r1]; ldr r2, [r0]; bne: the second waits for its address: 2 + 3 + 1 + P.
        assert_eq!(turn(&[0x6808, 0x6802, 0xD1FC]), 8);
        // ldm r0!, {r2-r5}; strd r2, r3, [r1]; str r2, [r1]; bne: 5 + 3 + 1 + 1 + P.
        assert_eq!(turn(&[0xC83C, 0xE9C1, 0x2300, 0x600A, 0xD1FA]), 12);
        // ldr r2, [r0]; str r2, [r1]; ldr r3, [r0]; bne: 2 + 0 + 3 + 1 + P.
        assert_eq!(turn(&[0x6802, 0x600A, 0x6803, 0xD1FB]), 8);
    }

    #[test]
    fn targets_that_straddle_words_take_one_more() {
        assert_eq!([taken(2, true), taken(2, false), taken(4, true)], [REFILL + 1, REFILL, REFILL]);
    }
}
