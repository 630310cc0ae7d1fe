//! The datasets that releq knows by name: what each is, where its authors and their mirrors have it, and the checksums
//! of what is inside, whatever it is packed in.
//!
//! Every checksum below was computed from files whose own checksums are the published ones. They are those of contents,
//! so that a set counts as right in any form: as published, unpacked, or packed again.

use std::path::Path;

use super::held::Place;

/// A dataset as it is published.
#[derive(Debug, PartialEq, Eq)]
pub struct Published {
    /// What `--data` calls it, and the directory it lies in.
    pub name: &'static str,
    /// What it is.
    pub about: &'static str,
    /// Under which terms.
    pub licence: &'static str,
    /// Where its authors tell of it.
    pub page: &'static str,
    /// Addresses below which the files are, the first choice first.
    pub mirrors: &'static [&'static str],
    /// Files to download.
    pub files: &'static [Remote],
}

/// A file to download.
#[derive(Debug, PartialEq, Eq)]
pub struct Remote {
    /// What it is called, there and here.
    pub name: &'static str,
    /// Bytes of it as published; none where the server packs it anew for everybody.
    pub bytes: Option<u64>,
    /// The directory that it unpacks to, where it is an archive.
    pub unpacks_to: Option<&'static str>,
    /// What is inside.
    pub parts: &'static [Part],
}

/// Something with a checksum of its own.
#[derive(Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name as published, then other spellings of it that are found.
    pub names: &'static [&'static str],
    /// What it is.
    pub form: Form,
    /// Bytes, unpacked.
    pub bytes: u64,
    /// SHA-256, unpacked, in hexadecimal.
    pub sha256: &'static str,
}

/// What a part is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One file.
    File,
    /// A folder of so many files with an ending. Its checksum is that of the lines that `sha256sum *.wav` prints in it,
    /// in the order of their names.
    Folder(usize, &'static str),
}

impl Part {
    /// Its name as published.
    pub fn name(&self) -> &'static str {
        self.names[0]
    }
}

impl Published {
    /// Bytes to download, those of files whose size is known.
    pub fn bytes(&self) -> u64 {
        self.files.iter().filter_map(|file| file.bytes).sum()
    }

    /// Whether any part of it lies in `directory`.
    pub fn is_in(&self, directory: &Path) -> bool {
        self.files.iter().any(|file| file.parts.iter().any(|part| Place::of(file, part, directory).is_some()))
    }
}

/// All of them.
pub const ALL: [&Published; 3] = [&MNIST, &CIFAR10, &FSDD];

/// The set of that name.
pub fn named(name: &str) -> Option<&'static Published> {
    ALL.into_iter().find(|set| set.name == name)
}

const fn file(names: &'static [&'static str], bytes: u64, sha256: &'static str) -> Part {
    Part { names, form: Form::File, bytes, sha256 }
}

/// The four original files. Mirrors alone, since the authors' own server has refused downloads for years.
pub const MNIST: Published = Published {
    name: "mnist",
    about: "70 000 handwritten digits, grey, 28×28, 10 classes; 60 000 to train and 10 000 to test",
    licence: "none stated by its authors (LeCun, Cortes, Burges); commonly passed on as CC BY-SA 3.0",
    page: "http://yann.lecun.com/exdb/mnist/",
    mirrors: &["https://ossci-datasets.s3.amazonaws.com/mnist", "https://storage.googleapis.com/cvdf-datasets/mnist"],
    files: &[
        Remote {
            name: "train-images-idx3-ubyte.gz",
            bytes: Some(9_912_422),
            unpacks_to: None,
            parts: &[file(
                &["train-images-idx3-ubyte", "train-images.idx3-ubyte"],
                47_040_016,
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            )],
        },
        Remote {
            name: "train-labels-idx1-ubyte.gz",
            bytes: Some(28_881),
            unpacks_to: None,
            parts: &[file(
                &["train-labels-idx1-ubyte", "train-labels.idx1-ubyte"],
                60_008,
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            )],
        },
        Remote {
            name: "t10k-images-idx3-ubyte.gz",
            bytes: Some(1_648_877),
            unpacks_to: None,
            parts: &[file(
                &["t10k-images-idx3-ubyte", "t10k-images.idx3-ubyte"],
                7_840_016,
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            )],
        },
        Remote {
            name: "t10k-labels-idx1-ubyte.gz",
            bytes: Some(4_542),
            unpacks_to: None,
            parts: &[file(
                &["t10k-labels-idx1-ubyte", "t10k-labels.idx1-ubyte"],
                10_008,
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            )],
        },
    ],
};

const BATCH: u64 = 30_730_000;

/// The binary version. The archive's own checksum is left out, since what counts is inside.
pub const CIFAR10: Published = Published {
    name: "cifar10",
    about: "60 000 photographs, colour, 32×32, 10 classes; 50 000 to train and 10 000 to test",
    licence: "none stated by its author; cite Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
    page: "https://www.cs.toronto.edu/~kriz/cifar.html",
    mirrors: &[
        "https://www.cs.toronto.edu/~kriz",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10",
    ],
    files: &[Remote {
        name: "cifar-10-binary.tar.gz",
        bytes: Some(170_052_171),
        unpacks_to: Some("cifar-10-batches-bin"),
        parts: &[
            file(&["data_batch_1.bin"], BATCH, "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
            file(&["data_batch_2.bin"], BATCH, "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
            file(&["data_batch_3.bin"], BATCH, "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
            file(&["data_batch_4.bin"], BATCH, "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
            file(&["data_batch_5.bin"], BATCH, "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
            file(&["test_batch.bin"], BATCH, "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
        ],
    }],
};

/// The recordings at one commit, since others have more of them. GitHub packs the archive whenever it is asked for, so
/// it has no size or checksum that lasts.
pub const FSDD: Published = Published {
    name: "fsdd",
    about: "Free Spoken Digit Dataset: 3 000 recordings of 10 digits by 6 speakers, 8 kHz, mono, 16 bits; read as \
            spectrograms of 49×10, 2 700 to train and 300 to test",
    licence: "CC BY-SA 4.0 (Jakobovski and contributors)",
    page: "https://github.com/Jakobovski/free-spoken-digit-dataset",
    mirrors: &["https://github.com/Jakobovski/free-spoken-digit-dataset/archive"],
    files: &[Remote {
        name: "26eb9aaf76e81b692f806f9140c2d2777410d7a1.tar.gz",
        bytes: None,
        unpacks_to: Some("free-spoken-digit-dataset-26eb9aaf76e81b692f806f9140c2d2777410d7a1"),
        parts: &[Part {
            names: &["recordings"],
            form: Form::Folder(3_000, ".wav"),
            bytes: 21_128_848,
            sha256: "1801eae019c063377d98f831d3f93574f259475df7332bb0e3d1b080fb5e6959",
        }],
    }],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_sets_is_whole() {
        for set in ALL {
            assert_eq!(named(set.name), Some(set));
            assert!(set.page.starts_with("http"));
            assert!(set.mirrors.iter().all(|url| url.starts_with("https://") && !url.ends_with('/')));
            for file in set.files {
                assert!(!file.parts.is_empty() && file.unpacks_to.is_some() == file.name.contains(".tar"));
                for part in file.parts {
                    let digit = |letter: char| letter.is_ascii_digit() || ('a'..='f').contains(&letter);
                    assert!(part.sha256.len() == 64 && part.sha256.chars().all(digit), "{}", part.name());
                }
            }
        }
        assert_eq!([MNIST.bytes(), CIFAR10.bytes(), FSDD.bytes()], [11_594_722, 170_052_171, 0]);
    }
}
