//! Files that appear whole or not at all: written into a neighbour first, which then takes their name.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use tempfile::NamedTempFile;

/// Writes `bytes` to `path`; an interruption leaves the old file or the new one and never half of one.
///
/// # Errors
/// What the file system says; what was there before is then unchanged.
pub fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    named(filled(path, bytes)?, path)
}

/// Writes files that belong together: none takes its name before all of them are on the disk, so that where there is no
/// room for one, each stays what it was.
///
/// # Errors
/// The file that could not be written, and what the file system says.
pub fn write_together<'f>(files: &[(&'f Path, &[u8])]) -> Result<(), (&'f Path, io::Error)> {
    let fill = |&(path, bytes): &(&'f Path, &[u8])| Ok((path, filled(path, bytes).map_err(|error| (path, error))?));
    let filled = files.iter().map(fill).collect::<Result<Vec<_>, _>>()?;
    filled.into_iter().try_for_each(|(path, file)| named(file, path).map_err(|error| (path, error)))
}

/// A neighbour of `path` with `bytes` in it, on the disk.
fn filled(path: &Path, bytes: &[u8]) -> io::Result<NamedTempFile> {
    let mut file = neighbour(path)?;
    // Not by its own name, which its errors would tell.
    file.as_file_mut().write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

fn named(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.persist(path).map(|_: File| ()).map_err(|error| error.error)
}

/// Whether [`write()`] could write to `path` now. What takes minutes asks this first.
///
/// # Errors
/// What the file system says against it.
pub fn check_writable(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    neighbour(path).map(drop)
}

fn neighbour(path: &Path) -> io::Result<NamedTempFile> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Asked first, since the scratch file's own random name would only puzzle whoever reads its message.
    std::fs::metadata(directory)?;
    let mut builder = tempfile::Builder::new();
    share(builder.prefix(BEGINS).suffix(ENDS));
    builder.tempfile_in(directory).map_err(|error| error.kind().into())
}

/// What scratch files are called, with random letters in between.
const BEGINS: &str = ".releq-";
const ENDS: &str = ".tmp";

/// Takes scratch files away that a killed process has left in `directory`. Only for who knows that nobody writes there now.
pub fn sweep(directory: &Path) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    let scratch = |name: &str| name.starts_with(BEGINS) && name.ends_with(ENDS);
    for entry in entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(scratch)) {
        // One that stays is in nobody's way.
        let _ = std::fs::remove_file(entry.path());
    }
}

/// Scratch files are private by default; these get what the user's umask allows.
#[cfg(unix)]
fn share(builder: &mut tempfile::Builder<'_, '_>) {
    use std::os::unix::fs::PermissionsExt;
    builder.permissions(PermissionsExt::from_mode(0o666));
}

#[cfg(not(unix))]
fn share(_: &mut tempfile::Builder<'_, '_>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_leaves_the_old_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        write(&path, b"old").unwrap();
        assert!(check_writable(&path).is_ok());
        assert!(write(&directory.path().join("absent/a"), b"new").is_err());
        assert!(check_writable(directory.path()).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        let absent = directory.path().join("absent/b");
        let refused = write_together(&[(&path, b"new"), (&absent, b"new")]);
        assert!(refused.is_err_and(|(path, _)| path == absent));
        assert_eq!(std::fs::read(&path).unwrap(), b"old", "what belongs together stays together");
        write_together(&[(&path, b"newer")]).unwrap();
        write(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no scratch is left");
    }

    #[test]
    fn what_a_killed_process_left_is_swept() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a.tmp"), b"mine").unwrap();
        // Neither dropped nor named: as if the process had been killed.
        neighbour(&directory.path().join("a")).unwrap().keep().unwrap();
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
        sweep(directory.path());
        let left = std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.collect::<Vec<_>>(), ["a.tmp"]);
    }
}
