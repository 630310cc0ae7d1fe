//! What kernels take of the runner's flash, from the symbols of its ELF file.
//!
//! Counted by family: after link-time optimisation the kernels of a family share their inner functions, and which
//! bytes belong to one kernel alone is no longer a question with an answer.

use std::collections::BTreeMap;
use std::path::Path;

use object::read::elf::ElfFile32;
use object::{Object, ObjectSymbol, SymbolKind};

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
}
