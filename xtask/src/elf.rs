//! Sizes of the sections of an ELF file of a 32-bit little-endian core; xtask has no dependencies to read it with.

use std::collections::BTreeMap;

/// Bytes of each section that takes memory on the device; `None` where it is no such file.
pub(crate) fn sections(file: &[u8]) -> Option<BTreeMap<String, u64>> {
    const ALLOCATED: u32 = 2;
    // Magic, 32-bit class, little-endian (System V ABI, ELF header).
    file.starts_with(&[0x7F, b'E', b'L', b'F', 1, 1]).then_some(())?;
    let table = word(file, 0x20)? as usize;
    let [entry, count, names] = [half(file, 0x2E)?, half(file, 0x30)?, half(file, 0x32)?];
    let header = |index: usize| table.checked_add(index.checked_mul(entry)?);
    let names = word(file, header(names)? + 0x10)? as usize;
    let mut sizes = BTreeMap::new();
    for index in 0..count {
        let header = header(index)?;
        let name = file.get(names + word(file, header)? as usize..)?.split(|&byte| byte == 0).next()?;
        if word(file, header + 0x08)? & ALLOCATED != 0 {
            sizes.insert(String::from_utf8_lossy(name).into_owned(), u64::from(word(file, header + 0x14)?));
        }
    }
    Some(sizes)
}

fn word(file: &[u8], at: usize) -> Option<u32> {
    file.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn half(file: &[u8], at: usize) -> Option<usize> {
    file.get(at..)?.first_chunk().map(|bytes| usize::from(u16::from_le_bytes(*bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with the section `.text` of 12 bytes, one of debugging data, and the section of names.
    fn file() -> Vec<u8> {
        let mut file = vec![0; 0x34];
        file[..6].copy_from_slice(&[0x7F, b'E', b'L', b'F', 1, 1]);
        let names = b"\0.text\0.debug\0.names\0";
        file.extend(names);
        file.resize(0x4C, 0);
        file[0x20] = 0x4C;
        (file[0x2E], file[0x30], file[0x32]) = (40, 3, 2);
        for [name, flags, offset, size] in [[1u32, 6, 0, 12], [7, 0, 0, 99], [14, 0, 0x34, 21]] {
            let fields = [name, 1, flags, 0, offset, size, 0, 0, 0, 0];
            file.extend(fields.iter().flat_map(|field| field.to_le_bytes()));
        }
        file
    }

    #[test]
    fn what_takes_memory_is_listed() {
        assert_eq!(sections(&file()), Some(BTreeMap::from([(".text".to_owned(), 12)])));
    }

    #[test]
    fn other_files_have_none() {
        assert_eq!(sections(b"#!/bin/sh"), None);
        let file = file();
        // Of the last header, which takes no memory, nothing behind its flags is read.
        for length in 0..file.len() - 28 {
            assert_eq!(sections(&file[..length]), None, "cut to {length} bytes");
        }
    }
}
