//! Decoding against a disassembler: every mnemonic and every shape of address in the runner of virt-m4, and floats.
//!
//! `golden.txt` has the bytes of an instruction and its text on each line, from LLVM 14's `llvm-objdump -d` of
//! `virt-m4.elf` and `llvm-mc --show-encoding` (for `cortex-m4`).

use releq_cycles::decode::{Class, decode};

/// Mnemonics of one cycle, without conditions, flags and widths.
const ARITHMETIC: &str = "adc add addw adr and asr bfc bfi bic clz cmn cmp eor lsl lsr mla mls mov movt movw mul mvn orn \
                          orr pkhbt pkhtb rbit rev rsb ror sbc smla smlabb smlabt smlad smlatb smlatt smmla smmul smmulr \
                          smuad smulbb ssub16 sub subw sxtb sxtb16 sxth teq tst uadd16 uadd8 ubfx umlal umull uqadd16 \
                          uqadd8 uqsub16 uqsub8 usad8 usada8 usat usat16 usub8 uxtab uxtab16 uxtah uxtb uxtb16 uxth sbfx \
                          sel ssat smlal smull smulbt smultb smultt uxtah sxtah sxtab";
const CONDITIONS: [&str; 14] = ["eq", "ne", "hs", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le"];

/// A mnemonic without its condition: `movhi` is `mov`, and `movs` too.
fn plain(mnemonic: &str) -> &str {
    let known =
        |text: &str| ARITHMETIC.split_whitespace().any(|name| name == text) || class_of_memory(text, "").is_some();
    let mnemonic = mnemonic.strip_suffix(".w").unwrap_or(mnemonic);
    let without = |suffix: &&str| {
        mnemonic.strip_suffix(suffix).filter(|rest| known(rest.strip_suffix('s').unwrap_or(rest)) || known(rest))
    };
    let rest = if known(mnemonic) { mnemonic } else { CONDITIONS.iter().find_map(without).unwrap_or(mnemonic) };
    match rest.strip_suffix('s') {
        Some(stem) if known(stem) && !known(rest) => stem,
        _ => rest,
    }
}

/// Registers in braces, doubles as two, ranges written out.
fn listed(operands: &str) -> u8 {
    let inside = operands.split_once('{').map_or("", |(_, rest)| rest.trim_end_matches('}'));
    inside.split(", ").map(|register| if register.starts_with('d') { 2 } else { u8::from(!register.is_empty()) }).sum()
}

fn class_of_memory(mnemonic: &str, operands: &str) -> Option<Class> {
    let to_counter = operands.ends_with("pc}");
    let at_register = operands.split_once('[').is_some_and(|(_, rest)| {
        rest.split(", ").nth(1).is_some_and(|index| index.starts_with('r') || index.starts_with("lr"))
            && !operands.contains("],")
    });
    Some(match mnemonic {
        "ldr" if operands.starts_with("pc,") => Class::LoadBranch,
        "ldr" | "ldrb" | "ldrh" | "ldrsb" | "ldrsh" => Class::Load,
        "str" | "strb" | "strh" if at_register => Class::StoreAtRegister,
        "str" | "strb" | "strh" => Class::Store,
        "ldrd" => Class::LoadDouble,
        "strd" => Class::StoreDouble,
        "ldm" | "ldmdb" | "pop" if to_counter => Class::LoadMultipleBranch(listed(operands)),
        "ldm" | "ldmdb" | "pop" => Class::LoadMultiple(listed(operands)),
        "stm" | "stmdb" | "push" => Class::StoreMultiple(listed(operands)),
        _ => return None,
    })
}

fn class(mnemonic: &str, operands: &str) -> Class {
    if let Some(stem) = mnemonic.strip_prefix('v') {
        return match stem.split('.').next().unwrap_or(stem) {
            "ldr" | "str" => {
                let words = if operands.starts_with('d') { 2 } else { 1 };
                if stem.starts_with('l') { Class::FloatLoad(words) } else { Class::FloatStore(words) }
            }
            "ldmia" | "pop" => Class::FloatLoad(listed(operands)),
            "stmia" | "push" => Class::FloatStore(listed(operands)),
            "div" | "sqrt" => Class::FloatDivide,
            "mla" | "mls" | "fma" | "fms" | "nmla" | "fnms" | "fnma" => Class::FloatMultiplyAdd,
            _ => Class::Float,
        };
    }
    if mnemonic.starts_with("it") {
        return Class::IfThen;
    }
    let plain = plain(mnemonic);
    if let Some(class) = class_of_memory(plain, operands) {
        return class;
    }
    let branch = |text: &str| CONDITIONS.contains(&text.trim_end_matches(".w")) || matches!(text, "" | ".w" | "l");
    match plain {
        _ if plain.starts_with("bx") || plain.starts_with("blx") => Class::BranchToRegister,
        "mov" | "add" if operands.starts_with("pc,") => Class::BranchToRegister,
        _ if ARITHMETIC.split_whitespace().any(|name| name == plain) => Class::Arithmetic,
        "cbz" | "cbnz" => Class::Branch,
        _ if mnemonic.strip_prefix('b').is_some_and(branch) => Class::Branch,
        "tbb" | "tbh" => Class::TableBranch,
        _ if plain.starts_with("udiv") || plain.starts_with("sdiv") => Class::Divide,
        "nop" | "pld" => Class::Hint,
        "bkpt" | "udf" | "msr" | "mrs" | "dsb" | "isb" | "dmb" | "ldrex" | "strex" | "svc" | "cpsid" | "cpsie" => {
            Class::Other
        }
        _ => panic!("the test does not know `{mnemonic} {operands}`"),
    }
}

/// The number of a register by name.
fn number(name: &str) -> Option<u32> {
    match name {
        "sp" => Some(13),
        "lr" => Some(14),
        "pc" => Some(15),
        _ => name.strip_prefix('r')?.parse().ok(),
    }
}

#[test]
fn instructions_are_what_a_disassembler_says() {
    let mut seen = 0;
    for line in include_str!("golden.txt").lines() {
        let (hex, text) = line.split_once(' ').unwrap();
        let bytes: Vec<u8> =
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
        let (mnemonic, operands) = text.split_once(' ').unwrap_or((text, ""));
        let found = decode(&bytes).unwrap();
        assert_eq!((found.class, usize::from(found.size)), (class(mnemonic, operands), bytes.len()), "{line}");
        if found.class == Class::Load {
            let (target, address) = operands.split_once(", ").unwrap();
            let inside = address.trim_start_matches('[').split(']').next().unwrap();
            let parts = inside.split(", ").filter_map(number).filter(|&register| register != 15);
            let address = parts.fold(0, |mask, register| mask | 1 << register);
            assert_eq!((found.loads, found.address), (1 << number(target).unwrap(), address), "{line}");
        }
        seen += 1;
    }
    assert!(seen > 300);
}

#[test]
fn what_ends_within_an_instruction_is_none() {
    assert_eq!(decode(&[]), None);
    assert_eq!(decode(&[0x00]), None);
    assert_eq!(decode(&[0x2d, 0xe9]), None);
}
