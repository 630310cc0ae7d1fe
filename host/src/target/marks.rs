//! What QEMU's plugin writes down whenever the runner reads its timer: instructions once more, and cycles estimated.
//!
//! The runner reads its timer before and after each layer, and twice around nothing when it starts. So the last two marks
//! for each layer are the layers', and what lies between those around nothing is taken off them, as the runner does.

use std::io;
use std::path::Path;
use std::sync::Arc;

use serde::Serialize;
use tempfile::NamedTempFile;

use super::TargetError;

/// The plugin's file.
#[derive(Clone, Debug)]
pub struct Marks {
    board: &'static str,
    file: Arc<NamedTempFile>,
}

/// The model that cycles are estimated by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Model {
    /// Its name and version.
    pub name: String,
    /// How far estimates may be off, either way.
    pub band_percent: u32,
}

/// Marks that the runner makes when it starts: around nothing, twice, of which the second pair counts.
const AROUND_NOTHING: usize = 4;

/// Instructions and cycles since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    instructions: u64,
    cycles: u64,
}

impl Marks {
    pub(super) fn new(board: &'static str) -> io::Result<Self> {
        Ok(Self { board, file: Arc::new(NamedTempFile::with_suffix(".marks")?) })
    }

    pub(super) fn path(&self) -> &Path {
        self.file.path()
    }

    /// The model, and the cycles it estimates for each layer of the last inference, whose own counts are `counts`.
    ///
    /// # Errors
    /// [`TargetError::Miscounted`] where the plugin's instructions are not the board's.
    pub fn cycles(&self, counts: &[u32]) -> Result<(Model, Vec<u64>), TargetError> {
        let text = std::fs::read_to_string(self.path()).unwrap_or_default();
        read(&text, counts).map_err(|(layer, plugin)| TargetError::Miscounted {
            board: self.board,
            layer,
            counted: counts.get(layer).copied().unwrap_or(0),
            plugin: plugin.map_or("no".to_owned(), |count| count.to_string()),
        })
    }
}

/// The layer that differs, with the plugin's count of it.
type Difference = (usize, Option<u64>);

fn read(text: &str, counts: &[u32]) -> Result<(Model, Vec<u64>), Difference> {
    let mut lines = text.lines();
    let model = lines.next().and_then(model).ok_or((0, None))?;
    let marks = lines.map(mark).collect::<Option<Vec<Mark>>>().ok_or((0, None))?;
    let between = |pair: &[Mark]| match pair {
        [begin, end] => {
            Some((end.instructions.checked_sub(begin.instructions)?, end.cycles.checked_sub(begin.cycles)?))
        }
        _ => None,
    };
    let nothing = marks.get(AROUND_NOTHING - 2..AROUND_NOTHING).and_then(between).ok_or((0, None))?;
    let start = marks.len().checked_sub(2 * counts.len()).filter(|&start| start >= AROUND_NOTHING).ok_or((0, None))?;
    let layer = |(index, (pair, &count)): (usize, (&[Mark], &u32))| {
        let (instructions, cycles) = between(pair).ok_or((index, None))?;
        let own = instructions.saturating_sub(nothing.0);
        if own == u64::from(count) { Ok(cycles.saturating_sub(nothing.1)) } else { Err((index, Some(own))) }
    };
    let cycles = marks[start..].chunks(2).zip(counts).enumerate().map(layer).collect::<Result<_, _>>()?;
    Ok((model, cycles))
}

fn model(line: &str) -> Option<Model> {
    let (name, band) = line.split_once(' ')?;
    Some(Model { name: name.to_owned(), band_percent: band.parse().ok()? })
}

fn mark(line: &str) -> Option<Mark> {
    let mut numbers = line.split(' ').map(|number| number.parse().ok());
    Some(Mark { instructions: numbers.next()??, cycles: numbers.next()?? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "m4-v1 10\n0 0 0\n17 40 0\n20 50 0\n36 90 0\n100 200 0\n216 440 0\n300 600 1\n516 1040 1\n";

    #[test]
    fn the_last_marks_are_the_layers() {
        let (model, cycles) = read(TEXT, &[100, 200]).unwrap();
        assert_eq!((model.name.as_str(), model.band_percent), ("m4-v1", 10));
        assert_eq!(cycles, [200, 400]);
        assert_eq!(read(TEXT, &[200]).unwrap().1, [400]);
    }

    #[test]
    fn other_instructions_and_missing_marks_are_told() {
        assert_eq!(read(TEXT, &[100, 201]), Err((1, Some(200))));
        assert_eq!(read(TEXT, &[1, 2, 3]), Err((0, None)));
        assert_eq!(read("", &[1]), Err((0, None)));
        assert_eq!(read("m4-v1 10\n0 0\n1 1\n", &[]), Err((0, None)));
    }
}
