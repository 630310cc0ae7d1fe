//! Reads sets of one's own from NumPy's `.npy` files: `x_train.npy`, `y_train.npy`, `x_test.npy`, `y_test.npy`.
//!
//! Inputs are bytes, as Keras and TFLite lay them out: `[n, height, width, channels]`, `[n, height, width]` or
//! `[n, features]`, which become one channel of height 1. An int8 value counts as the byte 128 above it, so features
//! quantized with a scale and zero point keep their codes; `releq import --scale --zero-point` tells the network what
//! they stand for. The file format is that of NumPy's enhancement proposal 1, versions 1 to 3.

use std::path::{Path, PathBuf};

use super::{DataError, Dataset, Which, file};

const MAGIC: &[u8] = b"\x93NUMPY";
/// Larger sizes are damage, and products of four such sizes cannot overflow.
const LARGEST: usize = 1 << 24;

/// The elements releq reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    U8,
    I8,
    I32,
    I64,
}

/// A decoded file: its sizes, outermost first, and its bytes.
struct Array {
    element: Element,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

fn names(which: Which) -> [&'static str; 2] {
    match which {
        Which::Train => ["x_train.npy", "y_train.npy"],
        Which::Test => ["x_test.npy", "y_test.npy"],
    }
}

/// Whether `directory` has files of this form.
pub(super) fn is_in(directory: &Path) -> bool {
    [Which::Train, Which::Test].into_iter().any(|which| file::find(directory, &names(which)[..1]).is_some())
}

/// Loads one part.
///
/// # Errors
/// A file that is missing, unreadable or no `.npy` file of bytes, and inputs and labels of different number.
pub fn load(directory: &Path, which: Which) -> Result<Dataset, DataError> {
    let [inputs, labels] = names(which).map(|name| required(directory, name));
    let (input_file, label_file) = (inputs?, labels?);
    let inputs = read(&input_file)?;
    let labels = read_labels(&label_file)?;
    let (shape, images) = channel_first(&input_file, inputs)?;
    let count = images.len() / shape.iter().product::<usize>().max(1);
    if count != labels.len() {
        return Err(DataError::Unpaired { image_file: input_file, label_file, images: count, labels: labels.len() });
    }
    // Classes are those of the whole set, where the other part is there to tell.
    let other = if which == Which::Train { Which::Test } else { Which::Train };
    let others = file::find(directory, &names(other)[1..]).map(|path| read_labels(&path)).transpose()?;
    let largest = labels.iter().chain(others.iter().flatten()).max().copied().unwrap_or(0);
    Ok(Dataset { shape, images, labels, classes: usize::from(largest) + 1 })
}

fn required(directory: &Path, name: &str) -> Result<PathBuf, DataError> {
    file::find(directory, &[name])
        .ok_or_else(|| DataError::Missing { file: format!("{name}[.gz]"), directory: directory.to_owned() })
}

/// Inputs as `[n, c, h, w]` bytes, with their `[c, h, w]`.
fn channel_first(path: &Path, array: Array) -> Result<([usize; 3], Vec<u8>), DataError> {
    let [h, w, c] = match array.shape[..] {
        [_, h, w, c] => [h, w, c],
        [_, h, w] => [h, w, 1],
        [_, features] => [1, features, 1],
        _ => {
            let reason = format!("its sizes are {:?}, not [n, height, width, channels] or [n, features]", array.shape);
            return Err(unusable(path, reason, "reshape the array"));
        }
    };
    let offset = match array.element {
        Element::U8 => 0,
        Element::I8 => 128,
        _ => {
            let remedy = "store np.clip(np.round(x / scale) + zero_point, -128, 127).astype(np.int8), and import the \
                          model with --scale and --zero-point";
            return Err(unusable(path, "its inputs are no bytes (uint8 or int8)".to_owned(), remedy));
        }
    };
    let mut images = vec![0; array.bytes.len()];
    let size = (h * w * c).max(1);
    for (from, to) in array.bytes.chunks_exact(size).zip(images.chunks_exact_mut(size)) {
        for (pixel, channels) in from.chunks_exact(c.max(1)).enumerate() {
            for (channel, &byte) in channels.iter().enumerate() {
                to[channel * h * w + pixel] = byte.wrapping_add(offset);
            }
        }
    }
    Ok(([c, h, w], images))
}

fn read_labels(path: &Path) -> Result<Vec<u8>, DataError> {
    let array = read(path)?;
    if !matches!(array.shape[..], [_] | [_, 1]) {
        let reason = format!("its labels have sizes {:?}, not [n]", array.shape);
        return Err(unusable(path, reason, "store one class number an input (np.argmax of one-hot labels)"));
    }
    let wide: Vec<i64> = match array.element {
        Element::U8 => array.bytes.iter().map(|&byte| byte.into()).collect(),
        Element::I8 => array.bytes.iter().map(|&byte| (byte as i8).into()).collect(),
        Element::I32 => array.bytes.as_chunks().0.iter().map(|&word| i32::from_le_bytes(word).into()).collect(),
        Element::I64 => array.bytes.as_chunks().0.iter().map(|&word| i64::from_le_bytes(word)).collect(),
    };
    let label = |label: i64| u8::try_from(label).map_err(|_| label);
    wide.into_iter()
        .map(label)
        .collect::<Result<_, _>>()
        .map_err(|label| unusable(path, format!("label {label} is none of 0 to 255"), "number the classes from 0"))
}

fn read(path: &Path) -> Result<Array, DataError> {
    let bytes = file::decode(path)?.whole(path, 0)?;
    let damaged = |reason: &str| unusable(path, reason.to_owned(), "save it again with np.save");
    let header = header(&bytes).ok_or_else(|| damaged("it does not start as .npy files do"))?;
    let text = std::str::from_utf8(&bytes[header.clone()]).map_err(|_| damaged("its header is no text"))?;
    let element = match quoted(text, "descr") {
        Some("|u1") => Element::U8,
        Some("|i1") => Element::I8,
        Some("<i4") => Element::I32,
        Some("<i8") => Element::I64,
        Some(other) => {
            let remedy = "store np.clip(np.round(x / scale) + zero_point, -128, 127).astype(np.int8), and import the \
                          model with --scale and --zero-point";
            return Err(unusable(path, format!("its elements are `{other}`, not bytes or integers"), remedy));
        }
        None => return Err(damaged("its header names no type")),
    };
    if !text.contains("'fortran_order': False") {
        return Err(unusable(path, "its order is Fortran's".to_owned(), "save np.ascontiguousarray(x)"));
    }
    let shape = shape(text).ok_or_else(|| damaged("its header names no sizes"))?;
    if shape.contains(&0) {
        return Err(damaged("it is empty"));
    }
    let size = match element {
        Element::U8 | Element::I8 => 1,
        Element::I32 => 4,
        Element::I64 => 8,
    };
    let expected = shape.iter().try_fold(size, |product: usize, &size| product.checked_mul(size));
    let content = bytes[header.end..].to_vec();
    match expected {
        Some(expected) if expected == content.len() => Ok(Array { element, shape, bytes: content }),
        Some(expected) if expected > content.len() => {
            let [found, expected] = [bytes.len(), expected.saturating_add(header.end)].map(|size| size as u64);
            Err(DataError::Truncated { file: path.to_owned(), found, expected })
        }
        _ => Err(damaged("it goes on after its last element")),
    }
}

/// Where the header's text lies.
fn header(bytes: &[u8]) -> Option<std::ops::Range<usize>> {
    let rest = bytes.strip_prefix(MAGIC)?;
    let (start, len): (usize, usize) = match rest.first()? {
        1 => (10, u16::from_le_bytes(*bytes.get(8..10)?.first_chunk()?) as usize),
        2 | 3 => (12, u32::from_le_bytes(*bytes.get(8..12)?.first_chunk()?) as usize),
        _ => return None,
    };
    let end = start.checked_add(len)?;
    (end <= bytes.len()).then_some(start..end)
}

/// The string that follows `'key':`.
fn quoted<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(&format!("'{key}':"))?;
    after.trim_start().strip_prefix('\'')?.split_once('\'').map(|(value, _)| value)
}

fn shape(text: &str) -> Option<Vec<usize>> {
    let (_, after) = text.split_once("'shape':")?;
    let (inside, _) = after.trim_start().strip_prefix('(')?.split_once(')')?;
    let sizes = inside.split(',').map(str::trim).filter(|size| !size.is_empty());
    sizes.map(|size| size.parse().ok().filter(|&size| size <= LARGEST)).collect()
}

fn unusable(path: &Path, reason: String, remedy: &'static str) -> DataError {
    DataError::Array { file: path.to_owned(), reason, remedy }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file as NumPy 1.x writes it.
    fn npy(descr: &str, shape: &str, content: &[u8]) -> Vec<u8> {
        let mut text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({shape}), }}");
        while (10 + text.len() + 1) % 64 != 0 {
            text.push(' ');
        }
        text.push('\n');
        [MAGIC, &[1, 0], &(text.len() as u16).to_le_bytes(), text.as_bytes(), content].concat()
    }

    fn message(directory: &Path) -> String {
        let text = load(directory, Which::Test).unwrap_err().to_string();
        text.replace(&directory.display().to_string(), "DIR")
    }

    #[test]
    fn channel_last_bytes_become_planes() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        std::fs::write(here.join("x_test.npy"), npy("|i1", "1, 1, 2, 3", &[0x80, 0, 1, 2, 3, 0x7F])).unwrap();
        std::fs::write(here.join("y_test.npy"), npy("<i8", "1,", &2i64.to_le_bytes())).unwrap();
        std::fs::write(here.join("y_train.npy"), npy("|u1", "2, 1", &[0, 11])).unwrap();
        assert!(is_in(here));
        let set = load(here, Which::Test).unwrap();
        assert_eq!(
            set,
            Dataset { shape: [3, 1, 2], images: vec![0, 130, 128, 131, 129, 255], labels: vec![2], classes: 12 }
        );
        std::fs::write(here.join("x_test.npy"), npy("|u1", "1, 4", &[1, 2, 3, 4])).unwrap();
        assert_eq!(load(here, Which::Test).unwrap().shape, [1, 1, 4]);
    }

    #[test]
    fn what_is_no_array_of_bytes_is_said() {
        let directory = tempfile::tempdir().unwrap();
        let here = directory.path();
        std::fs::write(here.join("y_test.npy"), npy("|u1", "2,", &[0, 1])).unwrap();
        for (bytes, reason) in [
            (npy("<f4", "2, 1", &[0; 8]), "its elements are `<f4`, not bytes or integers"),
            (npy("|u1", "2, 3", &[0; 5]), "it ends after 133 of 134 bytes"),
            (npy("|u1", "2, 3", &[0; 7]), "it goes on after its last element"),
            (npy("|u1", "99999999999, 3", &[0; 7]), "its header names no sizes"),
            (npy("|u1", "6,", &[0; 6]), "its sizes are [6]"),
            (b"PK\x03\x04".to_vec(), "it does not start as .npy files do"),
        ] {
            std::fs::write(here.join("x_test.npy"), bytes).unwrap();
            let text = message(here);
            assert!(text.starts_with(&format!("cannot read DIR/x_test.npy: {reason}")), "{text}");
        }
        std::fs::write(here.join("x_test.npy"), npy("|u1", "3, 1", &[0; 3])).unwrap();
        assert!(message(here).starts_with("cannot pair DIR/x_test.npy with DIR/y_test.npy: the first has 3 images"));
    }
}
