//! The part of a file that has come so far: `NAME.part`, held by one process, and the file itself once it is right.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::FetchError;

/// What has come, open for more.
#[derive(Debug)]
pub(super) struct PartFile {
    file: File,
    path: PathBuf,
    bytes: u64,
}

impl PartFile {
    /// That of the file at `target`, with what an earlier command left in it.
    ///
    /// # Errors
    /// A place that cannot be written, and a part that another process is at.
    pub(super) fn open(target: &Path) -> Result<Self, FetchError> {
        let mut name = target.to_owned().into_os_string();
        name.push(".part");
        let path = PathBuf::from(name);
        let unwritable = |error| FetchError::Unwritable { path: path.clone(), error };
        if let Some(directory) = target.parent() {
            let unwritable = |error| FetchError::Unwritable { path: directory.to_owned(), error: plainly(error) };
            fs::create_dir_all(directory).map_err(unwritable)?;
        }
        let file = OpenOptions::new().append(true).create(true).open(&path).map_err(unwritable)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(FetchError::Busy { path }),
            // A file system without locks has one user.
            Err(fs::TryLockError::Error(_)) => {}
        }
        let bytes = file.metadata().map_err(unwritable)?.len();
        Ok(Self { file, path, bytes })
    }

    /// How much has come.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds what comes next.
    ///
    /// # Errors
    /// A full disk, above all; what came before stays.
    pub(super) fn append(&mut self, bytes: &[u8]) -> Result<(), FetchError> {
        self.file.write_all(bytes).map_err(|error| self.failed(error))?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Forgets what has come.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn clear(&mut self) -> Result<(), FetchError> {
        if self.bytes > 0 {
            self.file.set_len(0).map_err(|error| self.failed(error))?;
            self.bytes = 0;
        }
        Ok(())
    }

    /// Becomes the file at `target`, whole on the disk first.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn become_whole(self, target: &Path) -> Result<(), FetchError> {
        self.file.sync_all().map_err(|error| self.failed(error))?;
        fs::rename(&self.path, target).map_err(|error| FetchError::Unwritable { path: target.to_owned(), error })
    }

    /// Leaves what has come for the next command, and nothing where nothing has.
    pub(super) fn leave(self) -> u64 {
        if self.bytes == 0 {
            let _ = fs::remove_file(&self.path);
        }
        self.bytes
    }

    fn failed(&self, error: io::Error) -> FetchError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                FetchError::Full { path: self.path.clone(), bytes: self.bytes, error }
            }
            _ => FetchError::Unwritable { path: self.path.clone(), error },
        }
    }
}

/// A file in a directory's place exists, which is no reason to anybody.
fn plainly(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::AlreadyExists { io::ErrorKind::NotADirectory.into() } else { error }
}
