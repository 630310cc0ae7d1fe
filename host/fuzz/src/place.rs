//! A directory of one's own, where one input after the other becomes files under the names that readers look for.

use std::fs;
use std::path::{Path, PathBuf};

/// The directory; `TMPDIR` says below what.
#[derive(Clone, Debug)]
pub struct Place(PathBuf);

impl Place {
    /// A place for target `name`, with `files` in it that stay.
    ///
    /// # Panics
    /// Where the system refuses; there is nothing to be fuzzed then.
    pub fn new(name: &str, files: &[(&str, &[u8])]) -> Self {
        let path = std::env::temp_dir().join(format!("releq-fuzz-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory for scratch files");
        let place = Self(path);
        files.iter().for_each(|(name, bytes)| drop(place.put(name, bytes)));
        place
    }

    /// Writes a file, in the place of one that is there.
    ///
    /// # Panics
    /// As [`Place::new`].
    pub fn put(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("room for a scratch file");
        path
    }

    /// Takes a file away, if it is there.
    pub fn take(&self, name: &str) {
        let _ = fs::remove_file(self.0.join(name));
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}
