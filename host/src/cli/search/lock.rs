//! One search a directory: a lock that it holds while it runs, and who looks at it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use super::super::Failure;
use crate::search::shelf::SHELF;
use crate::whole;

/// The file.
const LOCK: &str = "lock";
/// How often it is tried, and how long after.
const LOOKS: u32 = 5;
const LOOK: Duration = Duration::from_millis(40);

/// Makes the run's directory and keeps other searches out of it until this one ends; what a killed one left half-written is
/// taken away.
pub(in crate::cli) fn take(directory: &Path) -> Result<fs::File, Failure> {
    let refused = |error: std::io::Error| {
        let directory = directory.display();
        Failure::with_code(
            2,
            anyhow::anyhow!("cannot use {directory} for the run: {error}; choose another -o or free some space"),
        )
    };
    fs::create_dir_all(directory).map_err(refused)?;
    let file = fs::File::create(directory.join(LOCK)).map_err(refused)?;
    // Who watches looks at the lock for a moment, which is no search.
    for _ in 0..LOOKS {
        match file.try_lock() {
            Ok(()) => {
                [directory, &directory.join(SHELF)].into_iter().for_each(whole::sweep);
                return Ok(file);
            }
            Err(fs::TryLockError::Error(error)) => return Err(refused(error)),
            Err(fs::TryLockError::WouldBlock) => std::thread::sleep(LOOK),
        }
    }
    let directory = directory.display();
    Err(Failure::with_code(
        2,
        anyhow::anyhow!("another search is running in {directory}; wait for it or choose another -o"),
    ))
}

/// Whether a process holds the lock of the run in `directory`.
pub(in crate::cli) fn is_held(directory: &Path) -> bool {
    let held = |file: fs::File| matches!(file.try_lock_shared(), Err(fs::TryLockError::WouldBlock));
    fs::File::open(directory.join(LOCK)).is_ok_and(held)
}
