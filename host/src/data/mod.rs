//! Labelled images: finds a dataset on this machine, says what it is, and loads the split that is asked for.
//!
//! Files are read where they lie, in the form their authors published them ([`idx`], [`cifar`], [`fsdd`]) or as NumPy
//! arrays of one's own ([`npy`]); a machine without any draws a synthetic set ([`glyphs`], or [`noise`] for any network).
//! Sound is drawn as images ([`spectrogram`]). What is loaded stays bytes; the network's input record turns them into
//! floats.
//!
//! Sets with a name are [`published`] with checksums of their contents; [`held`] says whether what lies here is what was
//! published, and `fetch` brings what is missing.

mod archive;
pub mod augment;
pub mod cifar;
pub mod digest;
mod error;
#[cfg(feature = "fetch")]
pub mod fetch;
mod file;
pub mod fsdd;
pub mod glyphs;
pub mod held;
pub mod idx;
mod locate;
pub mod noise;
pub mod npy;
pub mod published;
pub mod spectrogram;
mod wav;

use std::ops::Range;
use std::path::{Path, PathBuf};

use published::Published;

pub use error::DataError;
pub use locate::Source;

/// Images of one shape with one label each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Channels, height, width of every image.
    pub shape: [usize; 3],
    /// Pixels 0..=255 of all images, one after the other, each channel by channel, row by row (NCHW).
    pub images: Vec<u8>,
    /// One label an image, each below `classes`.
    pub labels: Vec<u8>,
    /// How many classes there are, in the whole set and not just in this part of it.
    pub classes: usize,
}

impl Dataset {
    /// How many images there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Bytes of one image.
    pub fn image_len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Pixels of image `index`, `C·H·W` of them.
    ///
    /// # Panics
    /// If `index` is not below [`Dataset::len`].
    pub fn image(&self, index: usize) -> &[u8] {
        let size = self.image_len();
        &self.images[index * size..(index + 1) * size]
    }

    /// A copy of the images and labels in `range`.
    ///
    /// # Panics
    /// If `range` ends after [`Dataset::len`].
    pub fn slice(&self, range: Range<usize>) -> Dataset {
        let size = self.image_len();
        Dataset {
            shape: self.shape,
            images: self.images[range.start * size..range.end * size].to_vec(),
            labels: self.labels[range].to_vec(),
            classes: self.classes,
        }
    }
}

/// One part of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// What networks learn from.
    Train,
    /// What they are judged by.
    Test,
}

/// Both parts of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splits {
    /// Its name for tables, such as `mnist`.
    pub name: String,
    /// Whether releq drew the images itself; every output that quotes an accuracy says so.
    pub synthetic: bool,
    /// What networks learn from.
    pub train: Dataset,
    /// What they are judged by.
    pub test: Dataset,
}

/// Finds a dataset and loads both parts; [`locate`] finds it and leaves the loading to the caller.
///
/// # Errors
/// Where nothing is found, or a file cannot be read or is not what its name says.
pub fn open(spec: Option<&str>, data_root: Option<&Path>) -> Result<Splits, DataError> {
    let source = locate(spec, data_root)?;
    let (train, test) = rayon::join(|| source.load(Which::Train), || source.load(Which::Test));
    Ok(Splits { name: source.name().to_owned(), synthetic: source.synthetic(), train: train?, test: test? })
}

/// Finds a dataset without reading more than names of files.
///
/// `spec` is `mnist`, `cifar10`, `fsdd`, `glyphs`, `noise` or a directory. The three published sets are looked for under
/// `data_root`, or else the `RELEQ_DATA` directory, or else `shared/data` beside the working directory or one of its
/// parents and then the user's own data, `~/.local/share/releq`. Without `spec`, the first published set of images found
/// that way is taken, and on a machine that has none the synthetic glyphs,
/// unless `data_root` or `RELEQ_DATA` said where to look.
///
/// # Errors
/// Where nothing is found (the error lists where it looked), or the directory holds no dataset.
pub fn locate(spec: Option<&str>, data_root: Option<&Path>) -> Result<Source, DataError> {
    locate::Places::here(data_root).find(spec)
}

/// The directory that holds `set` or some of it, looked for as [`locate`] does.
///
/// # Errors
/// Where there is none; the error lists where it looked.
pub fn directory_of(set: &Published) -> Result<PathBuf, DataError> {
    locate::Places::here(None).of(set)
}

/// Where `set` should be put so that it is found: below `RELEQ_DATA`, or else among the user's own data. None for a user
/// without a home.
pub fn new_home(set: &Published) -> Option<PathBuf> {
    locate::Places::here(None).new_home(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn four() -> Dataset {
        Dataset { shape: [1, 1, 2], images: (0..8).collect(), labels: vec![0, 1, 2, 0], classes: 3 }
    }

    #[test]
    fn images_and_slices_are_the_right_bytes() {
        let set = four();
        assert_eq!((set.len(), set.image_len(), set.is_empty()), (4, 2, false));
        assert_eq!(set.image(3), [6, 7]);
        let middle = set.slice(1..3);
        assert_eq!(middle, Dataset { shape: [1, 1, 2], images: vec![2, 3, 4, 5], labels: vec![1, 2], classes: 3 });
        assert!(set.slice(2..2).is_empty());
    }

    /// The published sets of this machine: where `RELEQ_DATA` says, or beside the workspace.
    fn real(name: &str) -> Option<Source> {
        let root = std::env::var_os("RELEQ_DATA").map(std::path::PathBuf::from);
        let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"));
        let source = locate(Some(name), Some(&root)).ok();
        if source.is_none() {
            println!("skipped: no data");
        }
        source
    }

    fn counts(set: &Dataset) -> Vec<usize> {
        (0..set.classes).map(|class| set.labels.iter().filter(|&&label| usize::from(label) == class).count()).collect()
    }

    #[test]
    fn mnist_has_its_published_counts() {
        let Some(source) = real("mnist") else { return };
        let [train, test] = [Which::Train, Which::Test].map(|which| source.load(which).unwrap());
        assert_eq!((train.shape, train.images.len(), test.images.len()), ([1, 28, 28], 60_000 * 784, 10_000 * 784));
        assert_eq!(counts(&train), [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]);
        assert_eq!(counts(&test), [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]);
    }

    #[test]
    fn cifar10_has_its_published_counts() {
        let Some(source) = real("cifar10") else { return };
        let test = source.load(Which::Test).unwrap();
        assert_eq!((test.shape, test.images.len()), ([3, 32, 32], 10_000 * 3072));
        assert_eq!(counts(&test), [1000; 10]);
    }

    #[test]
    fn fsdd_has_its_published_counts() {
        let Some(source) = real("fsdd") else { return };
        let [train, test] = [Which::Train, Which::Test].map(|which| source.load(which).unwrap());
        assert_eq!((train.shape, counts(&train), counts(&test)), ([1, 49, 10], vec![270; 10], vec![30; 10]));
        // What `releq train` keeps back has every digit, too.
        assert_eq!(counts(&train.slice(2430..2700)), [27; 10]);
        let beyond = train.images.iter().filter(|&&byte| byte == 255).count();
        assert!(beyond > 0 && beyond < train.images.len() / 1000, "{beyond} bytes at their end");
    }

    #[test]
    fn the_synthetic_set_opens_whole() {
        let set = open(Some("glyphs"), None).unwrap();
        assert_eq!(
            (set.name.as_str(), set.synthetic, set.train.len(), set.test.len()),
            ("glyphs", true, 10_000, 2_000)
        );
        assert_ne!(set.train.image(0), set.test.image(0));
    }

    #[test]
    fn a_cut_xz_file_is_said_to_be_cut() {
        let Some(source) = real("cifar10") else { return };
        let file = source.directory().unwrap().join("test_batch.bin.xz");
        let Ok(packed) = std::fs::read(file) else { return };
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("test_batch.bin.xz"), &packed[..100_000]).unwrap();
        let text = cifar::load(directory.path(), Which::Test).unwrap_err().to_string();
        assert!(text.contains("test_batch.bin.xz: it ends after "), "{text}");
        assert!(text.ends_with(" of 30730000 bytes; the download was cut short; fetch it again or pass --data DIR"));
    }
}
