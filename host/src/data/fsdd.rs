//! Reads the Free Spoken Digit Dataset, `<https://github.com/Jakobovski/free-spoken-digit-dataset>`: `recordings/` with files
//! such as `7_jackson_32.wav`, or that directory as `recordings.tar`, `.tar.xz` or `.tar.gz`.
//!
//! Its authors test with the recordings 0 to 4 of each speaker and digit and train with all others, so the speakers of the
//! test are those of the training: accuracy says how well known voices are understood, not strangers'. Each recording
//! becomes a [`spectrogram`].

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::spectrogram::{self, Spectrogram};
use super::{DataError, Dataset, Which, file, wav};

/// Digits are the classes.
const CLASSES: usize = 10;
/// Recordings of a speaker and digit that test; those after them train.
const TESTS: u32 = 5;

/// What a file's name says, in the order that the set is read in: every digit of every speaker is in any stretch that is
/// long enough, such as the last tenth, which `releq train` keeps back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name {
    number: u32,
    speaker: String,
    digit: u8,
}

/// A file of the set, not yet decoded.
struct Recording {
    name: Name,
    bytes: Vec<u8>,
}

/// The directory or the archive in `directory`.
fn find(directory: &Path) -> Option<PathBuf> {
    let archive = [".xz", ".gz"].into_iter().find_map(|packed| file::find(directory, &["recordings.tar"], packed));
    archive.or_else(|| Some(directory.join("recordings")).filter(|path| path.is_dir()))
}

/// Whether `directory` has files of this form.
pub(super) fn is_in(directory: &Path) -> bool {
    find(directory).is_some()
}

/// Loads one part, `[1, 49, 10]` images by number, speaker and digit.
///
/// # Errors
/// Files that are missing, unreadable, damaged, or no recordings of this set.
pub fn load(directory: &Path, which: Which) -> Result<Dataset, DataError> {
    let missing = || DataError::Missing { file: "recordings.tar[.xz]".to_owned(), directory: directory.to_owned() };
    let place = find(directory).ok_or_else(missing)?;
    let mut recordings = if place.is_dir() { of_directory(&place)? } else { of_archive(&place)? };
    recordings.retain(|recording| (recording.name.number < TESTS) == (which == Which::Test));
    if recordings.is_empty() {
        return Err(missing());
    }
    recordings.sort_by(|one, other| one.name.cmp(&other.name));
    let front = Spectrogram::default();
    let image = |recording: &Recording| {
        let samples = wav::samples(&recording.bytes, spectrogram::RATE);
        let samples = samples.map_err(|reason| DataError::Recording {
            name: recording.name.file(),
            file: place.clone(),
            reason,
        })?;
        Ok(front.image(&samples))
    };
    let images = recordings.par_iter().map(image).collect::<Result<Vec<Vec<u8>>, DataError>>()?;
    Ok(Dataset {
        shape: [1, spectrogram::FRAMES, spectrogram::COEFFICIENTS],
        images: images.concat(),
        labels: recordings.iter().map(|recording| recording.name.digit).collect(),
        classes: CLASSES,
    })
}

fn of_directory(place: &Path) -> Result<Vec<Recording>, DataError> {
    let unreadable = |file: &Path| {
        let file = file.to_owned();
        move |source| DataError::Unreadable { file, source }
    };
    let mut recordings = Vec::new();
    for entry in fs::read_dir(place).map_err(unreadable(place))? {
        let path = entry.map_err(unreadable(place))?.path();
        if let Some(name) = named(&path, place)? {
            recordings.push(Recording { name, bytes: fs::read(&path).map_err(unreadable(&path))? });
        }
    }
    Ok(recordings)
}

fn of_archive(place: &Path) -> Result<Vec<Recording>, DataError> {
    // Where it was cut, nobody knows how long it should have been.
    let bytes = file::decode(place)?.whole(place, 0)?;
    let mut files = 0;
    let damaged = |files: usize| DataError::Archive { file: place.to_owned(), files };
    let mut recordings = Vec::new();
    for entry in tar::Archive::new(&bytes[..]).entries().map_err(|_| damaged(0))? {
        let mut entry = entry.map_err(|_| damaged(files))?;
        let path = entry.path().map_err(|_| damaged(files))?.into_owned();
        if let Some(name) = named(&path, place)? {
            let mut bytes = Vec::new();
            let read = entry.read_to_end(&mut bytes).map_err(|_| damaged(files))?;
            if read as u64 != entry.size() {
                return Err(damaged(files));
            }
            recordings.push(Recording { name, bytes });
        }
        files += 1;
    }
    Ok(recordings)
}

/// What the name of `path` in `place` says; none where it is no WAV file at all.
fn named(path: &Path, place: &Path) -> Result<Option<Name>, DataError> {
    if path.extension().is_none_or(|extension| extension != "wav") {
        return Ok(None);
    }
    let foreign = || DataError::Recording {
        name: path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        file: place.to_owned(),
        reason: "its name is not DIGIT_SPEAKER_NUMBER.wav".to_owned(),
    };
    let name = path.file_stem().and_then(|stem| Name::of(stem.to_str()?));
    name.map(Some).ok_or_else(foreign)
}

impl Name {
    fn of(stem: &str) -> Option<Self> {
        let (digit, rest) = stem.split_once('_')?;
        let (speaker, number) = rest.rsplit_once('_')?;
        let digit: u8 = digit.parse().ok().filter(|&digit| usize::from(digit) < CLASSES)?;
        Some(Self { number: number.parse().ok()?, speaker: speaker.to_owned(), digit })
    }

    fn file(&self) -> String {
        format!("{}_{}_{}.wav", self.digit, self.speaker, self.number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tenth of a second of a tone that rises with the digit.
    fn recording(digit: u8) -> Vec<u8> {
        let pitch = 200.0 + 100.0 * f64::from(digit);
        let sample = |at: u32| 20_000.0 * (std::f64::consts::TAU * pitch * f64::from(at) / 8000.0).sin();
        wav::file(&(0..800).map(|at| sample(at) as i16).collect::<Vec<i16>>(), spectrogram::RATE)
    }

    /// Two speakers, two digits, two recordings of each that test and one that trains; not in the order of their names.
    fn files() -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for number in [5, 1, 0] {
            for (speaker, digit) in [("zoe", 3), ("zoe", 7), ("ann_b", 7), ("ann_b", 3)] {
                files.push((format!("{digit}_{speaker}_{number}.wav"), recording(digit)));
            }
        }
        files
    }

    fn unpacked(files: &[(String, Vec<u8>)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let recordings = directory.path().join("recordings");
        fs::create_dir(&recordings).unwrap();
        files.iter().for_each(|(name, bytes)| fs::write(recordings.join(name), bytes).unwrap());
        fs::write(recordings.join("README"), "not sound").unwrap();
        directory
    }

    fn packed(files: &[(String, Vec<u8>)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let mut archive = tar::Builder::new(fs::File::create(directory.path().join("recordings.tar")).unwrap());
        for (name, bytes) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, format!("recordings/{name}"), &bytes[..]).unwrap();
        }
        archive.finish().unwrap();
        directory
    }

    fn message(directory: &Path) -> String {
        let text = load(directory, Which::Train).unwrap_err().to_string();
        text.replace(&directory.display().to_string(), "DIR")
    }

    #[test]
    fn packed_or_not_it_is_the_same_set_in_the_same_order() {
        let (one, other) = (unpacked(&files()), packed(&files()));
        assert!(is_in(one.path()) && is_in(other.path()) && !is_in(&one.path().join("recordings")));
        for which in [Which::Train, Which::Test] {
            assert_eq!(load(one.path(), which).unwrap(), load(other.path(), which).unwrap());
        }
        let [train, test] = [Which::Train, Which::Test].map(|which| load(one.path(), which).unwrap());
        assert_eq!((train.shape, train.classes), ([1, 49, 10], 10));
        assert_eq!(
            (train.labels.as_slice(), test.labels.as_slice()),
            (&[3, 7, 3, 7][..], &[3, 7, 3, 7, 3, 7, 3, 7][..])
        );
        assert_eq!(test.image(0), test.image(2));
        assert_ne!(test.image(0), test.image(1));
    }

    #[test]
    fn what_is_missing_damaged_or_foreign_is_named() {
        let empty = tempfile::tempdir().unwrap();
        let missing =
            "no recordings.tar[.xz] in DIR; the dataset is incomplete; fetch that file too or pass --data DIR";
        assert_eq!(message(empty.path()), missing);
        assert_eq!(message(unpacked(&[]).path()), missing);
        let foreign = unpacked(&[("seven.wav".to_owned(), recording(7))]);
        assert_eq!(
            message(foreign.path()),
            "cannot read seven.wav in DIR/recordings: its name is not DIGIT_SPEAKER_NUMBER.wav; the file is damaged or \
             holds another set; fetch it again or pass --data DIR"
        );
        let cut = unpacked(&[("7_ann_5.wav".to_owned(), recording(7)[..100].to_vec())]);
        assert_eq!(
            message(cut.path()),
            "cannot read 7_ann_5.wav in DIR/recordings: its chunk `data` has 56 of 1600 bytes; the file is damaged or \
             holds another set; fetch it again or pass --data DIR"
        );
        let archive = packed(&files());
        let path = archive.path().join("recordings.tar");
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..2000]).unwrap();
        let text = message(archive.path());
        assert_eq!(
            text,
            "cannot read DIR/recordings.tar: it breaks off after 0 files; it was cut short, is damaged or is \
             no tar archive; fetch it again or pass --data DIR"
        );
    }

    #[test]
    fn names_are_taken_apart() {
        let name = Name::of("7_ann_b_12").unwrap();
        assert_eq!((name.digit, name.speaker.as_str(), name.number), (7, "ann_b", 12));
        assert_eq!(name.file(), "7_ann_b_12.wav");
        for foreign in ["10_ann_1", "x_ann_1", "7_ann", "7_1", "7_ann_-1", ""] {
            assert_eq!(Name::of(foreign), None, "{foreign}");
        }
    }
}
