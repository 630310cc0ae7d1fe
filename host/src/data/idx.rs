//! Reads IDX files, the form of MNIST and its relatives: `<http://yann.lecun.com/exdb/mnist/>`, plain or `.gz`.
//!
//! Big-endian: two zero bytes, the element type (8 is `u8`), the number of sizes, the sizes as `u32`, the elements.

use std::cmp::Ordering;
use std::path::{Path, PathBuf};

use super::{DataError, Dataset, Which, file};

const IMAGES: u32 = 0x0000_0803;
const LABELS: u32 = 0x0000_0801;
/// More images, or pixels a side, than any such set has: beyond it a header is damaged.
const LARGEST: u32 = 1 << 26;

/// Names of a part's two files as published; archives spell them with a dot, too.
fn names(which: Which) -> ([&'static str; 2], [&'static str; 2]) {
    match which {
        Which::Train => (
            ["train-images-idx3-ubyte", "train-images.idx3-ubyte"],
            ["train-labels-idx1-ubyte", "train-labels.idx1-ubyte"],
        ),
        Which::Test => {
            (["t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"], ["t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"])
        }
    }
}

/// Whether `directory` has images of this form.
pub(super) fn is_in(directory: &Path) -> bool {
    [Which::Train, Which::Test].into_iter().any(|which| file::find(directory, &names(which).0).is_some())
}

/// Loads one part: grey images `[1, height, width]`; classes are counted over the labels of both parts.
///
/// # Errors
/// A file that is missing, unreadable, cut short, damaged, or does not belong to the other.
pub fn load(directory: &Path, which: Which) -> Result<Dataset, DataError> {
    let (image_names, label_names) = names(which);
    let image_file = required(directory, &image_names)?;
    let label_file = required(directory, &label_names)?;
    let (sizes, images) = read(&image_file, "images", IMAGES)?;
    let (_, labels) = read(&label_file, "labels", LABELS)?;
    let [count, height, width] = [sizes[0] as usize, sizes[1] as usize, sizes[2] as usize];
    if count != labels.len() {
        return Err(DataError::Unpaired { image_file, label_file, images: count, labels: labels.len() });
    }
    let classes = classes(&labels).max(classes_of_other(directory, which)?);
    Ok(Dataset { shape: [1, height, width], images, labels, classes })
}

fn required(directory: &Path, names: &[&str; 2]) -> Result<PathBuf, DataError> {
    file::find(directory, names)
        .ok_or_else(|| DataError::Missing { file: format!("{}[.gz]", names[0]), directory: directory.to_owned() })
}

fn classes(labels: &[u8]) -> usize {
    labels.iter().max().map_or(0, |&label| usize::from(label) + 1)
}

/// A small part may lack the last class, and the two parts must agree on how many there are.
fn classes_of_other(directory: &Path, which: Which) -> Result<usize, DataError> {
    let other = if which == Which::Train { Which::Test } else { Which::Train };
    match file::find(directory, &names(other).1) {
        Some(path) => Ok(classes(&read(&path, "labels", LABELS)?.1)),
        None => Ok(0),
    }
}

/// Sizes and elements of an IDX file of bytes.
fn read(path: &Path, kind: &'static str, magic: u32) -> Result<(Vec<u32>, Vec<u8>), DataError> {
    let decoded = file::decode(path)?;
    let rank = (magic & 0xFF) as usize;
    let header = 4 + 4 * rank;
    let word = |index: usize| {
        let bytes = decoded.bytes.get(4 * index..4 * index + 4)?;
        Some(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    };
    if let Some(found) = word(0).filter(|&found| found != magic) {
        return Err(DataError::Magic { file: path.to_owned(), kind, found, expected: magic });
    }
    let Some(sizes) = (1..=rank).map(word).collect::<Option<Vec<u32>>>() else {
        let found = decoded.whole(path, header as u64)?.len() as u64;
        return Err(DataError::Truncated { file: path.to_owned(), found, expected: header as u64 });
    };
    let Some(expected) = announced(&sizes, header) else {
        return Err(DataError::Sizes { file: path.to_owned(), sizes });
    };
    let mut bytes = decoded.whole(path, expected)?;
    let found = bytes.len() as u64;
    match found.cmp(&expected) {
        Ordering::Less => Err(DataError::Truncated { file: path.to_owned(), found, expected }),
        Ordering::Greater => Err(DataError::TooLong { file: path.to_owned(), expected }),
        Ordering::Equal => {
            bytes.drain(..header);
            Ok((sizes, bytes))
        }
    }
}

/// Bytes of a file with these sizes, or `None` where no dataset has them.
fn announced(sizes: &[u32], header: usize) -> Option<u64> {
    if sizes.iter().any(|&size| size == 0 || size > LARGEST) {
        return None;
    }
    sizes.iter().try_fold(1_u64, |product, &size| product.checked_mul(u64::from(size)))?.checked_add(header as u64)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn idx(magic: u32, sizes: &[u32], elements: &[u8]) -> Vec<u8> {
        let header = std::iter::once(&magic).chain(sizes).flat_map(|word| word.to_be_bytes());
        header.chain(elements.iter().copied()).collect()
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// Three 2×2 images and labels 0, 2, 1 for training, one image with label 3 for testing.
    fn tiny() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        let put = |name: &str, bytes: Vec<u8>| std::fs::write(directory.path().join(name), bytes).unwrap();
        put("train-images-idx3-ubyte.gz", gz(&idx(IMAGES, &[3, 2, 2], &(0..12).collect::<Vec<u8>>())));
        put("train-labels-idx1-ubyte", idx(LABELS, &[3], &[0, 2, 1]));
        put("t10k-images.idx3-ubyte", idx(IMAGES, &[1, 2, 2], &[9, 8, 7, 6]));
        put("t10k-labels-idx1-ubyte.gz", gz(&idx(LABELS, &[1], &[3])));
        directory
    }

    fn message(directory: &Path) -> String {
        let text = load(directory, Which::Train).unwrap_err().to_string();
        text.replace(&directory.display().to_string(), "DIR")
    }

    #[test]
    fn plain_and_gzipped_files_load() {
        let directory = tiny();
        let train = load(directory.path(), Which::Train).unwrap();
        assert_eq!((train.shape, train.labels.as_slice(), train.classes), ([1, 2, 2], &[0, 2, 1][..], 4));
        assert_eq!(train.image(2), [8, 9, 10, 11]);
        let test = load(directory.path(), Which::Test).unwrap();
        assert_eq!((test.image(0), test.labels.as_slice(), test.classes), (&[9, 8, 7, 6][..], &[3][..], 4));
    }

    #[test]
    fn a_cut_plain_file_says_how_far_it_goes() {
        let directory = tiny();
        let file = directory.path().join("train-images-idx3-ubyte");
        let whole = idx(IMAGES, &[60_000, 28, 28], &[7; 1008]);
        std::fs::write(&file, &whole).unwrap();
        assert_eq!(
            message(directory.path()),
            "cannot read DIR/train-images-idx3-ubyte: it ends after 1024 of 47040016 bytes; \
             the download was cut short; fetch it again or pass --data DIR"
        );
        std::fs::write(&file, &whole[..10]).unwrap();
        assert_eq!(
            message(directory.path()),
            "cannot read DIR/train-images-idx3-ubyte: it ends after 10 of 16 bytes; \
             the download was cut short; fetch it again or pass --data DIR"
        );
        std::fs::write(&file, []).unwrap();
        assert!(message(directory.path()).contains("it ends after 0 of 16 bytes"));
    }

    #[test]
    fn a_cut_gzip_is_cut_and_a_flipped_one_is_damaged() {
        let directory = tiny();
        let file = directory.path().join("train-images-idx3-ubyte.gz");
        let noise: Vec<u8> = (0..4000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let packed = gz(&idx(IMAGES, &[10, 20, 20], &noise));
        std::fs::write(&file, &packed[..packed.len() / 2]).unwrap();
        let cut = message(directory.path());
        assert!(cut.starts_with("cannot read DIR/train-images-idx3-ubyte.gz: it ends after "), "{cut}");
        assert!(
            cut.ends_with(" of 4016 bytes; the download was cut short; fetch it again or pass --data DIR"),
            "{cut}"
        );
        let mut flipped = packed.clone();
        let crc = flipped.len() - 8;
        flipped[crc] ^= 1;
        std::fs::write(&file, flipped).unwrap();
        assert_eq!(
            message(directory.path()),
            "cannot read DIR/train-images-idx3-ubyte.gz: its compressed stream is damaged after 4016 bytes of content \
             (corrupt gzip stream does not have a matching checksum); the download was corrupted; \
             fetch it again or pass --data DIR"
        );
    }

    #[test]
    fn what_is_no_such_file_is_named() {
        let directory = tiny();
        let file = directory.path().join("train-images-idx3-ubyte");
        std::fs::write(&file, b"<!DOCTYPE html><html>").unwrap();
        assert_eq!(
            message(directory.path()),
            "cannot read DIR/train-images-idx3-ubyte: it starts with 0x3c21444f where IDX images start with \
             0x00000803; it is another kind of file under this name; fetch it again or pass --data DIR"
        );
        std::fs::write(&file, idx(IMAGES, &[u32::MAX, 28, 28], &[])).unwrap();
        assert_eq!(
            message(directory.path()),
            "cannot read DIR/train-images-idx3-ubyte: its header announces sizes [4294967295, 28, 28]; \
             no dataset has those, so the header is damaged; fetch it again or pass --data DIR"
        );
        std::fs::write(&file, idx(IMAGES, &[1, 1, 1], &[1, 2])).unwrap();
        assert_eq!(
            message(directory.path()),
            "cannot read DIR/train-images-idx3-ubyte: it goes on after the 17 bytes its header announces; \
             two files were joined or the header is damaged; fetch it again or pass --data DIR"
        );
    }

    #[test]
    fn files_that_do_not_pair_are_named() {
        let directory = tiny();
        std::fs::write(directory.path().join("train-labels-idx1-ubyte"), idx(LABELS, &[2], &[0, 1])).unwrap();
        assert_eq!(
            message(directory.path()),
            "cannot pair DIR/train-images-idx3-ubyte.gz with DIR/train-labels-idx1-ubyte: the first has 3 images and \
             the second 2 labels; they come from different sets; fetch both again or pass --data DIR"
        );
        std::fs::remove_file(directory.path().join("train-labels-idx1-ubyte")).unwrap();
        assert_eq!(
            message(directory.path()),
            "no train-labels-idx1-ubyte[.gz] in DIR; the dataset is incomplete; fetch that file too or pass --data DIR"
        );
    }
}
