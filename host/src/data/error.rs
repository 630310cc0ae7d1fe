//! What can be wrong with a dataset: each message is a fact, its likely cause, and what to do.

use std::io;
use std::path::PathBuf;

/// Why a dataset could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file system refused.
    #[error("cannot read {}: {source}; check that it is there and readable, or pass --data DIR", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is shorter than it should be, in bytes after decompression.
    #[error(
        "cannot read {}: it ends after {found} of {expected} bytes; the download was cut short; fetch it again or pass --data DIR",
        file.display()
    )]
    Truncated {
        /// Which file.
        file: PathBuf,
        /// How many bytes there are.
        found: u64,
        /// How many there should be.
        expected: u64,
    },
    /// The file is longer than its header says.
    #[error(
        "cannot read {}: it goes on after the {expected} bytes its header announces; two files were joined or the header is damaged; fetch it again or pass --data DIR",
        file.display()
    )]
    TooLong {
        /// Which file.
        file: PathBuf,
        /// How many bytes there should be.
        expected: u64,
    },
    /// The compressed stream does not decode.
    #[error(
        "cannot read {}: its compressed stream is damaged after {decoded} bytes of content ({reason}); the download was corrupted; fetch it again or pass --data DIR",
        file.display()
    )]
    Corrupt {
        /// Which file.
        file: PathBuf,
        /// How many bytes decoded before the damage.
        decoded: u64,
        /// What the decoder said.
        reason: String,
    },
    /// An IDX file of another kind.
    #[error(
        "cannot read {}: it starts with {found:#010x} where IDX {kind} start with {expected:#010x}; it is another kind of file under this name; fetch it again or pass --data DIR",
        file.display()
    )]
    Magic {
        /// Which file.
        file: PathBuf,
        /// `images` or `labels`.
        kind: &'static str,
        /// The magic number there.
        found: u32,
        /// The magic number that belongs there.
        expected: u32,
    },
    /// An IDX header with impossible sizes.
    #[error(
        "cannot read {}: its header announces sizes {sizes:?}; no dataset has those, so the header is damaged; fetch it again or pass --data DIR",
        file.display()
    )]
    Sizes {
        /// Which file.
        file: PathBuf,
        /// The sizes, outermost first.
        sizes: Vec<u32>,
    },
    /// A `.npy` file whose array releq cannot take.
    #[error("cannot read {}: {reason}; the array is of another kind or the file is damaged; {remedy}", file.display())]
    Array {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
        /// What makes it work.
        remedy: &'static str,
    },
    /// Noise for no network.
    #[error(
        "cannot draw noise: it has the shape of the network it is for, and there is none; pass another set with --data"
    )]
    Shapeless,
    /// Images and labels that do not belong together.
    #[error(
        "cannot pair {} with {}: the first has {images} images and the second {labels} labels; they come from different sets; fetch both again or pass --data DIR",
        image_file.display(),
        label_file.display()
    )]
    Unpaired {
        /// The file with the images.
        image_file: PathBuf,
        /// The file with the labels.
        label_file: PathBuf,
        /// How many images.
        images: usize,
        /// How many labels.
        labels: usize,
    },
    /// A label outside the classes.
    #[error(
        "cannot read {}: record {record} has label {label} where labels are below {classes}; the file is damaged or holds another dataset; fetch it again or pass --data DIR",
        file.display()
    )]
    Label {
        /// Which file.
        file: PathBuf,
        /// Which record, from 0.
        record: usize,
        /// The label there.
        label: u8,
        /// How many classes there are.
        classes: u8,
    },
    /// A recording among others that is not what its set holds.
    #[error(
        "cannot read {name} in {}: {reason}; the file is damaged or holds another set; fetch it again or pass --data DIR",
        file.display()
    )]
    Recording {
        /// Its file name.
        name: String,
        /// The directory or archive it is in.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An archive whose entries do not follow one another.
    #[error(
        "cannot read {}: it breaks off after {files} files; it was cut short, is damaged or is no tar archive; fetch it again or pass --data DIR",
        file.display()
    )]
    Archive {
        /// Which file.
        file: PathBuf,
        /// Files before the damage.
        files: usize,
    },
    /// A directory that lacks a file of its dataset.
    #[error("no {file} in {}; the dataset is incomplete; fetch that file too or pass --data DIR", directory.display())]
    Missing {
        /// Which file, as its authors call it; compressed forms count.
        file: String,
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// A published set that is not on this machine.
    #[error(
        "no {name} files found; looked in {}; pass --data DIR with the files, set RELEQ_DATA to the directory that has {name}/, or take the synthetic stand-in with --data glyphs",
        list(looked)
    )]
    NotFound {
        /// The name of the set.
        name: String,
        /// Directories that were looked into, in order.
        looked: Vec<PathBuf>,
    },
    /// A word that is neither a name nor a directory.
    #[error(
        "no dataset `{0}`; it is neither a known name nor a directory here; pass mnist, cifar10, fsdd, glyphs, noise or a directory"
    )]
    Unknown(String),
    /// A directory without dataset files.
    #[error(
        "no dataset in {}; it has neither train-images-idx3-ubyte[.gz] and its kin, nor data_batch_1.bin[.xz] and its kin, nor recordings.tar[.xz], nor x_train.npy and its kin; pass the directory that holds the files themselves",
        .0.display()
    )]
    Unrecognised(PathBuf),
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    if shown.is_empty() { "no directory, for there is none to look in".to_owned() } else { shown.join(", ") }
}
