//! Reads CIFAR-10's binary version, `<https://www.cs.toronto.edu/~kriz/cifar.html>`: the archive as published, the
//! directory that it unpacks to, or its files, plain or packed one by one.
//!
//! A file is records of 3,073 bytes: the label, then 32 × 32 pixels of red, green and blue, row by row.

use std::ops::ControlFlow;
use std::path::Path;

use rayon::prelude::*;

use super::held::Place;
use super::published::CIFAR10;
use super::{DataError, Dataset, Which, archive, file};

const PIXELS: usize = 3 * 32 * 32;
const RECORD: usize = 1 + PIXELS;
const CLASSES: u8 = 10;
/// Bytes of every file as published; only errors quote it.
const PUBLISHED: u64 = 10_000 * RECORD as u64;

fn names(which: Which) -> &'static [&'static str] {
    match which {
        Which::Train => {
            &["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"]
        }
        Which::Test => &["test_batch.bin"],
    }
}

/// Whether `directory` has files of this form.
pub(super) fn is_in(directory: &Path) -> bool {
    [Which::Train, Which::Test].into_iter().any(|which| place(directory, names(which)[0]).is_some())
}

/// Where a file lies.
fn place(directory: &Path, name: &str) -> Option<Place> {
    let [archive] = CIFAR10.files else { return None };
    archive.parts.iter().find(|part| part.name() == name).and_then(|part| Place::of(archive, part, directory))
}

/// Loads one part, `[3, 32, 32]` images in the order of the files; files of their own are decoded in parallel, and an
/// `.xz` one needs about 100 MiB while it is.
///
/// # Errors
/// A file that is missing, unreadable, cut short or damaged, and labels that are not 0 to 9.
pub fn load(directory: &Path, which: Which) -> Result<Dataset, DataError> {
    let missing = |name: &str| DataError::Missing { file: format!("{name}[.xz]"), directory: directory.to_owned() };
    let find = |name: &&'static str| place(directory, name).ok_or_else(|| missing(name));
    let places = names(which).iter().map(find).collect::<Result<Vec<Place>, _>>()?;
    let packed = places.iter().find_map(|place| match place {
        Place::Archive(path) => Some(path),
        _ => None,
    });
    let batches = match packed {
        Some(archive) => unpacked(archive, names(which))?,
        None => {
            let paths: Vec<&Path> = places.iter().map(Place::path).collect();
            paths.into_par_iter().map(read).collect::<Result<Vec<Vec<u8>>, _>>()?
        }
    };
    let count: usize = batches.iter().map(|batch| batch.len() / RECORD).sum();
    let mut images = Vec::with_capacity(count * PIXELS);
    let mut labels = Vec::with_capacity(count);
    for record in batches.iter().flat_map(|batch| batch.chunks_exact(RECORD)) {
        labels.push(record[0]);
        images.extend_from_slice(&record[1..]);
    }
    Ok(Dataset { shape: [3, 32, 32], images, labels, classes: usize::from(CLASSES) })
}

/// The records of one file, each with a label that exists.
fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let bytes = file::decode(path)?.whole(path, PUBLISHED)?;
    checked(path, bytes)
}

/// The records of each of `names` in an archive.
fn unpacked(archive: &Path, names: &[&str]) -> Result<Vec<Vec<u8>>, DataError> {
    let mut found: Vec<Option<Vec<u8>>> = vec![None; names.len()];
    archive::each(archive, &archive.to_string_lossy(), &mut |inside, reader| {
        if let Some(index) = names.iter().position(|name| inside.file_name().is_some_and(|file| file == *name)) {
            let mut bytes = Vec::new();
            reader.read_to_end(&mut bytes)?;
            found[index] = Some(bytes);
        }
        Ok(if found.iter().all(Option::is_some) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    let batch = |(bytes, name): (Option<Vec<u8>>, &&str)| {
        let within = archive.join(name);
        let missing = || DataError::Missing { file: (*name).to_owned(), directory: archive.to_owned() };
        checked(&within, bytes.ok_or_else(missing)?)
    };
    found.into_iter().zip(names).map(batch).collect()
}

/// `bytes` of the file at `path`, if they are records whose labels exist.
fn checked(path: &Path, bytes: Vec<u8>) -> Result<Vec<u8>, DataError> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(RECORD) {
        let found = bytes.len() as u64;
        let expected = PUBLISHED.max(found.next_multiple_of(RECORD as u64));
        return Err(DataError::Truncated { file: path.to_owned(), found, expected });
    }
    match bytes.chunks_exact(RECORD).position(|record| record[0] >= CLASSES) {
        Some(record) => {
            Err(DataError::Label { file: path.to_owned(), record, label: bytes[record * RECORD], classes: CLASSES })
        }
        None => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two records, `[label, label + 1]`, whose pixels are `label` plus 100 times the channel.
    fn batch(label: u8) -> Vec<u8> {
        let record =
            |label: u8| std::iter::once(label).chain((0..PIXELS).map(move |at| label + 100 * (at / 1024) as u8));
        record(label).chain(record(label + 1)).collect()
    }

    fn tiny() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (index, name) in names(Which::Train).iter().enumerate() {
            std::fs::write(directory.path().join(name), batch(index as u8)).unwrap();
        }
        directory
    }

    fn message(directory: &Path) -> String {
        let text = load(directory, Which::Train).unwrap_err().to_string();
        text.replace(&directory.display().to_string(), "DIR")
    }

    #[test]
    fn records_keep_their_order() {
        let train = load(tiny().path(), Which::Train).unwrap();
        assert_eq!((train.shape, train.classes), ([3, 32, 32], 10));
        assert_eq!(train.labels, [0, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
        let image = train.image(9);
        assert_eq!([image[0], image[1023], image[1024], image[3071]], [5, 5, 105, 205]);
    }

    #[test]
    fn cut_files_and_foreign_labels_are_named() {
        let directory = tiny();
        std::fs::write(directory.path().join("data_batch_3.bin"), [0; 1024]).unwrap();
        assert_eq!(
            message(directory.path()),
            "cannot read DIR/data_batch_3.bin: it ends after 1024 of 30730000 bytes; \
             the download was cut short; fetch it again or pass --data DIR"
        );
        let mut foreign = batch(0);
        foreign[RECORD] = 33;
        std::fs::write(directory.path().join("data_batch_3.bin"), foreign).unwrap();
        assert_eq!(
            message(directory.path()),
            "cannot read DIR/data_batch_3.bin: record 1 has label 33 where labels are below 10; \
             the file is damaged or holds another dataset; fetch it again or pass --data DIR"
        );
        std::fs::remove_file(directory.path().join("data_batch_3.bin")).unwrap();
        assert_eq!(
            message(directory.path()),
            "no data_batch_3.bin[.xz] in DIR; the dataset is incomplete; fetch that file too or pass --data DIR"
        );
    }

    /// As `tiny`, in an archive as its author packs it.
    fn packed(batches: usize) -> Vec<u8> {
        let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for (index, name) in names(Which::Train).iter().chain(names(Which::Test)).take(batches).enumerate() {
            let (bytes, mut header) = (batch(index as u8), tar::Header::new_gnu());
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, format!("cifar-10-batches-bin/{name}"), &bytes[..]).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn the_archive_and_what_it_unpacks_to_are_the_same() {
        let [archive, unpacked] = [0, 1].map(|_| tempfile::tempdir().unwrap());
        assert!(!is_in(archive.path()));
        std::fs::write(archive.path().join("cifar-10-binary.tar.gz"), packed(6)).unwrap();
        std::fs::rename(tiny().keep(), unpacked.path().join("cifar-10-batches-bin")).unwrap();
        let expected = load(tiny().path(), Which::Train).unwrap();
        for directory in [&archive, &unpacked] {
            assert!(is_in(directory.path()));
            assert_eq!(load(directory.path(), Which::Train).unwrap(), expected);
        }
        assert_eq!(load(archive.path(), Which::Test).unwrap().labels, [5, 6]);
    }

    #[test]
    fn an_archive_that_is_cut_or_lacks_a_file_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (path, whole) = (directory.path().join("cifar-10-binary.tar.gz"), packed(4));
        std::fs::write(&path, &whole).unwrap();
        assert_eq!(
            message(directory.path()),
            "no data_batch_5.bin in DIR/cifar-10-binary.tar.gz; the dataset is incomplete; fetch that file too or pass \
             --data DIR"
        );
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        let cut = message(directory.path());
        assert!(cut.starts_with("cannot read DIR/cifar-10-binary.tar.gz: its compressed stream is damaged"), "{cut}");
    }

    #[test]
    fn what_is_no_xz_stream_is_damaged() {
        let directory = tiny();
        std::fs::remove_file(directory.path().join("data_batch_1.bin")).unwrap();
        std::fs::write(directory.path().join("data_batch_1.bin.xz"), [0x5A; 64]).unwrap();
        assert_eq!(
            message(directory.path()),
            "cannot read DIR/data_batch_1.bin.xz: its compressed stream is damaged after 0 bytes of content \
             (invalid XZ magic bytes); the download was corrupted; fetch it again or pass --data DIR"
        );
    }
}
