//! Where the parts of a published set lie in a directory, and whether they are what was published.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde::Serialize;

use super::digest::Digest;
use super::published::{Form, Part, Published, Remote};
use super::{DataError, archive, file};

/// Where a part lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In a file of its own, packed or not.
    File(PathBuf),
    /// In a folder of its own.
    Folder(PathBuf),
    /// In an archive, if that is whole.
    Archive(PathBuf),
}

impl Place {
    /// Where `part` of `remote` lies in `directory`, as readers take it: unpacked before packed.
    pub(super) fn of(remote: &Remote, part: &Part, directory: &Path) -> Option<Self> {
        let folders =
            || std::iter::once(directory.to_owned()).chain(remote.unpacks_to.map(|name| directory.join(name)));
        let unpacked = match part.form {
            Form::File => folders().find_map(|folder| file::find(&folder, part.names)).map(Self::File),
            Form::Folder(..) => {
                folders().map(|folder| folder.join(part.name())).find(|folder| folder.is_dir()).map(Self::Folder)
            }
        };
        unpacked.or_else(|| packed(remote, part, directory).map(Self::Archive))
    }

    /// The file or folder.
    pub(super) fn path(&self) -> &Path {
        match self {
            Self::File(path) | Self::Folder(path) | Self::Archive(path) => path,
        }
    }
}

/// The archive as published, or a folder packed on its own.
fn packed(remote: &Remote, part: &Part, directory: &Path) -> Option<PathBuf> {
    remote.unpacks_to?;
    let published = Some(directory.join(remote.name)).filter(|path| path.is_file());
    let own = || file::find(directory, &[format!("{}.tar", part.name()).as_str()]);
    published.or_else(|| matches!(part.form, Form::Folder(..)).then(own).flatten())
}

/// Whether a part is what was published.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// It is.
    Right,
    /// It is something else.
    Differs(Digest),
    /// It cannot be read whole.
    Damaged {
        /// Why.
        why: String,
    },
    /// It is not there.
    Missing,
}

/// A part of a set, looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Which.
    pub part: &'static Part,
    /// Where it lies.
    pub path: Option<PathBuf>,
    /// Whether it is right.
    pub state: State,
}

/// Looks at every part of `set` that lies in `directory`, and computes its checksum.
pub fn check(set: &'static Published, directory: &Path) -> Vec<Checked> {
    set.files.par_iter().flat_map(|remote| checked(remote, directory)).collect()
}

/// The parts that `remote` holds as they lie in `directory`; an archive is read once for all of them.
pub(super) fn checked(remote: &'static Remote, directory: &Path) -> Vec<Checked> {
    let places: Vec<Option<Place>> = remote.parts.iter().map(|part| Place::of(remote, part, directory)).collect();
    let archive = places.iter().find_map(|place| match place {
        Some(Place::Archive(path)) => Some((path, inside(path, &path.to_string_lossy(), remote.parts))),
        _ => None,
    });
    let look = |(index, (part, place)): (usize, (&'static Part, &Option<Place>))| {
        let state = match place {
            None => State::Missing,
            Some(Place::File(path)) => judged(part, file_digest(path, &path.to_string_lossy())),
            Some(Place::Folder(path)) => judged(part, folder_digest(part, path)),
            Some(Place::Archive(_)) => archive.as_ref().map_or(State::Missing, |(_, states)| states[index].clone()),
        };
        Checked { part, path: place.as_ref().map(|place| place.path().to_owned()), state }
    };
    let parts: Vec<_> = remote.parts.iter().zip(&places).enumerate().collect();
    parts.into_par_iter().map(look).collect()
}

/// The parts that a downloaded `remote` holds, while it lies at `path`.
#[cfg(feature = "fetch")]
pub(super) fn downloaded(remote: &Remote, path: &Path) -> Vec<State> {
    match remote.parts {
        [part] if remote.unpacks_to.is_none() => vec![judged(part, file_digest(path, remote.name))],
        parts => inside(path, remote.name, parts),
    }
}

fn judged(part: &Part, found: Result<Digest, String>) -> State {
    match found {
        Ok(digest) if (digest.bytes, digest.sha256.as_str()) == (part.bytes, part.sha256) => State::Right,
        Ok(digest) => State::Differs(digest),
        Err(why) => State::Damaged { why },
    }
}

fn file_digest(path: &Path, name: &str) -> Result<Digest, String> {
    let mut reader = file::open(path, name).map_err(|error| error.to_string())?;
    Digest::of(&mut reader).map_err(|error| error.to_string())
}

fn folder_digest(part: &Part, folder: &Path) -> Result<Digest, String> {
    let read = |entry: io::Result<fs::DirEntry>| {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        Ok(if is_of(part, &name) { Some((name, Digest::of(&mut fs::File::open(entry.path())?)?)) } else { None })
    };
    let files = fs::read_dir(folder).and_then(|entries| entries.filter_map(|entry| read(entry).transpose()).collect());
    files.map(Digest::of_folder).map_err(|error| error.to_string())
}

/// Whether a folder's file of that name counts.
fn is_of(part: &Part, name: &str) -> bool {
    matches!(part.form, Form::Folder(_, ending) if name.ends_with(ending))
}

/// How each of `parts` fares in the archive at `path`.
fn inside(path: &Path, name: &str, parts: &[Part]) -> Vec<State> {
    let mut found: BTreeMap<usize, Vec<(String, Digest)>> = BTreeMap::new();
    let read = archive::each(path, name, &mut |inside, reader| {
        let file = inside.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = inside.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        let holds = |part: &Part| match part.form {
            Form::File => part.name() == file,
            Form::Folder(..) => part.name() == folder && is_of(part, &file),
        };
        if let Some(index) = parts.iter().position(holds) {
            found.entry(index).or_default().push((file, Digest::of(reader)?));
        }
        Ok(ControlFlow::Continue(()))
    });
    let state = |(index, part): (usize, &Part)| match (&read, found.remove(&index)) {
        (Err(error), _) => State::Damaged { why: reason(error) },
        (Ok(()), None) => State::Missing,
        (Ok(()), Some(files)) => {
            let digest = match part.form {
                Form::File => files.into_iter().next_back().map(|(_, digest)| digest),
                Form::Folder(..) => Some(Digest::of_folder(files)),
            };
            digest.map_or(State::Missing, |digest| judged(part, Ok(digest)))
        }
    };
    parts.iter().enumerate().map(state).collect()
}

/// What is wrong, without the advice of whoever reads a set.
fn reason(error: &DataError) -> String {
    match error {
        DataError::Corrupt { decoded, reason, .. } => {
            format!("its archive is damaged after {decoded} bytes of content ({reason})")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A set that is packed as `both.tar.gz`: a file with `abc` in it, and a folder `sounds` with an empty file `a.wav`
    /// and `b.wav`, which is `abc`, too.
    fn set() -> &'static Published {
        const PARTS: &[Part] = &[
            Part {
                names: &["letters"],
                form: Form::File,
                bytes: 3,
                sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            },
            Part {
                names: &["sounds"],
                form: Form::Folder(2, ".wav"),
                bytes: 3,
                sha256: "540003cf71ec606c844c68268d12aec003a2edd3ad7b13a9f2befb8e59f99421",
            },
        ];
        const FILES: &[Remote] =
            &[Remote { name: "both.tar.gz", bytes: None, unpacks_to: Some("both-1"), parts: PARTS }];
        &Published { name: "both", about: "", licence: "", page: "", mirrors: &[], files: FILES }
    }

    const FILES: [(&str, &[u8]); 4] =
        [("letters", b"abc"), ("sounds/a.wav", b""), ("sounds/b.wav", b"abc"), ("sounds/about.txt", b"nothing")];

    fn packed(files: &[(&str, &[u8])]) -> Vec<u8> {
        let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
        for (name, bytes) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            archive.append_data(&mut header, format!("both-1/{name}"), *bytes).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap()
    }

    fn states(directory: &Path) -> Vec<State> {
        check(set(), directory).into_iter().map(|checked| checked.state).collect()
    }

    #[test]
    fn packed_and_unpacked_count_alike() {
        let [packed_here, loose, below] = [0; 3].map(|_| tempfile::tempdir().unwrap());
        assert!(!set().is_in(loose.path()));
        fs::write(packed_here.path().join("both.tar.gz"), packed(&FILES)).unwrap();
        for directory in [loose.path().to_owned(), below.path().join("both-1")] {
            fs::create_dir_all(directory.join("sounds")).unwrap();
            FILES.iter().for_each(|(name, bytes)| fs::write(directory.join(name), bytes).unwrap());
        }
        for directory in [packed_here, loose, below] {
            assert!(set().is_in(directory.path()));
            assert_eq!(states(directory.path()), [State::Right, State::Right]);
        }
    }

    #[test]
    fn what_is_unpacked_is_what_counts() {
        let room = tempfile::tempdir().unwrap();
        fs::write(room.path().join("both.tar.gz"), packed(&FILES)).unwrap();
        fs::write(room.path().join("letters"), "abd").unwrap();
        let [State::Differs(found), State::Right] = &states(room.path())[..] else {
            panic!("{:?}", states(room.path()))
        };
        assert_eq!(found.bytes, 3);
    }

    #[test]
    fn what_lacks_and_what_is_cut_is_told_apart() {
        let room = tempfile::tempdir().unwrap();
        assert_eq!(states(room.path()), [State::Missing, State::Missing]);
        let archive = room.path().join("both.tar.gz");
        fs::write(&archive, packed(&FILES[1..])).unwrap();
        assert_eq!(states(room.path()), [State::Missing, State::Right]);
        // A folder that lacks a file is another folder.
        fs::write(&archive, packed(&FILES[..2])).unwrap();
        assert!(matches!(&states(room.path())[..], [State::Right, State::Differs(_)]));
        let whole = packed(&FILES);
        fs::write(&archive, &whole[..whole.len() / 2]).unwrap();
        let cut = states(room.path());
        assert!(cut.iter().all(|state| matches!(state, State::Damaged { why } if why.contains("archive"))), "{cut:?}");
    }
}
