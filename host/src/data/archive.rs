//! Files inside a `.tar`, packed or not, in one pass over it.

use std::io::{self, Read};
use std::ops::ControlFlow;
use std::path::Path;

use super::{DataError, file};

/// Counts what passes, so that an error can say how far it came.
struct Counted {
    reader: Box<dyn Read>,
    bytes: u64,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

/// Reads a file, and says whether to go on to the next.
type Take<'t> = dyn FnMut(&Path, &mut dyn Read) -> io::Result<ControlFlow<()>> + 't;

/// Shows `take` each file in the archive at `path` with its path in there, until it has enough; `name` says how the
/// archive is packed.
///
/// # Errors
/// An archive that cannot be read, or is damaged or cut.
pub(super) fn each(path: &Path, name: &str, take: &mut Take<'_>) -> Result<(), DataError> {
    let mut archive = tar::Archive::new(Counted { reader: file::open(path, name)?, bytes: 0 });
    entries(&mut archive, take).map_err(|error| DataError::Corrupt {
        file: path.to_owned(),
        decoded: archive.into_inner().bytes,
        reason: error.to_string(),
    })
}

fn entries(archive: &mut tar::Archive<Counted>, take: &mut Take<'_>) -> io::Result<()> {
    for entry in archive.entries()? {
        let mut entry = entry?;
        let inside = entry.path()?.into_owned();
        if entry.header().entry_type().is_file() && take(&inside, &mut entry)?.is_break() {
            break;
        }
    }
    Ok(())
}
