//! Reads a file of a dataset, plain or compressed, up to where it is readable.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::DataError;

/// No file of a dataset decodes to more; larger ones are cut here, so that a damaged stream cannot fill the memory.
const LIMIT: u64 = 4 << 30;

/// An `.xz` file names the memory its decoder needs; those of CIFAR-10 ask for 65 MiB, and a damaged one may ask for more.
const XZ_MEMORY_KIB: u32 = 256 << 10;

/// What could be decoded of a file, and what stopped the decoder.
pub(super) struct Decoded {
    pub(super) bytes: Vec<u8>,
    pub(super) fault: Option<io::Error>,
}

/// The first of `names` that lies in `directory`, plain or packed.
pub(super) fn find(directory: &Path, names: &[&str]) -> Option<PathBuf> {
    let spellings = names.iter().flat_map(|name| ["", ".gz", ".xz"].map(|packed| format!("{name}{packed}")));
    spellings.map(|name| directory.join(name)).find(|path| path.is_file())
}

/// What `path` holds, decoded as the extension of `name` says: a file that is not whole yet has another name.
pub(super) fn open(path: &Path, name: &str) -> Result<Box<dyn Read>, DataError> {
    let unreadable = |source| DataError::Unreadable { file: path.to_owned(), source };
    let file = BufReader::with_capacity(1 << 16, File::open(path).map_err(unreadable)?);
    let reader: Box<dyn Read> = match Path::new(name).extension().and_then(|extension| extension.to_str()) {
        Some("gz" | "tgz") => Box::new(flate2::bufread::MultiGzDecoder::new(file)),
        Some("xz") => Box::new(lzma_rust2::XzReader::new_mem_limit(file, true, XZ_MEMORY_KIB)),
        _ => Box::new(file),
    };
    Ok(Box::new(reader.take(LIMIT)))
}

/// Decodes `path` by its extension. A damaged stream is no error here: the caller knows how many bytes it wanted.
pub(super) fn decode(path: &Path) -> Result<Decoded, DataError> {
    let mut bytes = Vec::new();
    let fault = open(path, &path.to_string_lossy())?.read_to_end(&mut bytes).err();
    Ok(Decoded { bytes, fault })
}

impl Decoded {
    /// The bytes, if the whole stream decoded; `expected` is what the error quotes for one that was cut.
    pub(super) fn whole(self, path: &Path, expected: u64) -> Result<Vec<u8>, DataError> {
        let found = self.bytes.len() as u64;
        match self.fault {
            None => Ok(self.bytes),
            Some(fault) if fault.kind() == io::ErrorKind::UnexpectedEof && found < expected => {
                Err(DataError::Truncated { file: path.to_owned(), found, expected })
            }
            Some(fault) => Err(DataError::Corrupt { file: path.to_owned(), decoded: found, reason: fault.to_string() }),
        }
    }
}
