//! What kernels take of the runner's flash, from its ELF file: by family from symbols, and by kernel from calls.
//!
//! A kernel counts with every function it reaches, so functions that kernels share count in each of them.

use std::collections::BTreeMap;
use std::path::Path;

use object::read::elf::ElfFile32;
use object::{Object, ObjectSymbol, SymbolKind};

use super::reach::Program;

/// Bytes of code by kernel family; `None` where the file is no ELF file of a 32-bit core.
pub fn by_family(runner: &Path) -> Option<BTreeMap<String, u64>> {
    let bytes = std::fs::read(runner).ok()?;
    let elf: ElfFile32 = ElfFile32::parse(&*bytes).ok()?;
    let mut sizes = BTreeMap::new();
    // Several names may stand for one function; its bytes are there once.
    let functions: BTreeMap<u64, _> = elf
        .symbols()
        .filter(|symbol| symbol.kind() == SymbolKind::Text)
        .map(|symbol| (symbol.address(), symbol))
        .collect();
    for symbol in functions.values() {
        if let Some(family) = symbol.name().ok().and_then(family) {
            *sizes.entry(family.to_owned()).or_insert(0) += symbol.size();
        }
    }
    Some(sizes)
}

/// Bytes of the functions that `kernel` reaches, such as `dsp::CONV2D`; `None` where no function has its name.
pub fn by_kernel(runner: &Path, kernel: &str) -> Option<u64> {
    let bytes = std::fs::read(runner).ok()?;
    let elf: ElfFile32 = ElfFile32::parse(&*bytes).ok()?;
    let (family, name) = kernel.split_once("::")?;
    let runs = |symbol: &str| path(symbol).is_some_and(|path| is_entry(&path, family, &name.to_lowercase()));
    let entry = elf.symbols().find(|symbol| symbol.kind() == SymbolKind::Text && symbol.name().is_ok_and(runs))?;
    let reached = Program::of(&elf).reach([entry.address() as u32]);
    Some(reached.values().map(|&size| u64::from(size)).sum())
}

/// Whether a path below `kernels` is that of a kernel's own function: family, module and its name in lower case.
fn is_entry(path: &[&str], family: &str, name: &str) -> bool {
    matches!(path, [first, _, last] if *first == family && *last == name)
}

/// The parts of a mangled name below `kernels`, up to the first that is no plain name.
fn path(symbol: &str) -> Option<Vec<&str>> {
    let (_, mut rest) = symbol.split_once("12releq_device7kernels")?;
    let mut parts = Vec::new();
    while let Some(digits) = rest.find(|letter: char| !letter.is_ascii_digit()).filter(|&digits| digits > 0) {
        let (length, tail) = rest.split_at(digits);
        let (part, tail) = tail.split_at_checked(length.parse().ok()?)?;
        parts.push(part);
        rest = tail;
    }
    // A legacy name ends in its hash, and a function within another one has more to its name.
    let legacy = rest == "E" && parts.pop().is_some();
    (legacy || rest.is_empty()).then_some(parts)
}

/// The family in a mangled name: both manglings write paths as `7kernels6packed…`, each part after its length.
fn family(symbol: &str) -> Option<&str> {
    let (_, rest) = symbol.split_once("12releq_device7kernels")?;
    let digits = rest.find(|letter: char| !letter.is_ascii_digit())?;
    let (length, rest) = rest.split_at(digits);
    let (family, inside) = rest.split_at_checked(length.parse().ok()?)?;
    // A function beside the families has no path below it.
    inside.starts_with(|letter: char| letter.is_ascii_digit()).then_some(family)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_are_read_from_both_manglings() {
        for (symbol, expected) in [
            ("_RNvNtNtNtCscyVT8HWWpP9_12releq_device7kernels6packed3dot8row_pair", Some("packed")),
            ("_ZN12releq_device7kernels9reference3add17h0123456789abcdefE", Some("reference")),
            ("_RNvNtCscyVT8HWWpP9_12releq_device7kernels6select", None),
            ("_ZN12releq_device6engine9run_layer17h0123456789abcdefE", None),
        ] {
            assert_eq!(family(symbol), expected, "{symbol}");
        }
    }

    #[test]
    fn entries_are_known_by_their_paths() {
        for (symbol, expected) in [
            ("_RNvNtNtNtCscyVT8HWWpP9_12releq_device7kernels3dsp4conv6conv2d", true),
            ("_ZN12releq_device7kernels3dsp4conv6conv2d17h0123456789abcdefE", true),
            ("_RNvNtNtNtNtCscyVT8HWWpP9_12releq_device7kernels3dsp3asm4conv6conv2d", false),
            ("_RNvNtNtNtCscyVT8HWWpP9_12releq_device7kernels6packed8weighted6conv2d", false),
            ("_RNCNvNtNtNtCscyVT8HWWpP9_12releq_device7kernels3dsp4conv6conv2d0B9_", false),
        ] {
            let entry = path(symbol).is_some_and(|path| is_entry(&path, "dsp", "conv2d"));
            assert_eq!(entry, expected, "{symbol}");
        }
    }
}
