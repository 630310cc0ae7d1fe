//! Where a dataset lies: names, directories and the places to look in.

use std::path::{Path, PathBuf};

use super::published::Published;
use super::{DataError, Dataset, Which, cifar, fsdd, glyphs, idx, noise, npy};

/// How far up from the working directory `shared/data` is looked for.
const ANCESTORS: usize = 6;

/// A dataset that was found and not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    name: String,
    form: Form,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Idx(PathBuf),
    Cifar(PathBuf),
    Fsdd(PathBuf),
    Npy(PathBuf),
    Glyphs,
    /// Of the shape that its network takes, once that is known.
    Noise(Option<[usize; 3]>),
}

impl Source {
    /// Its name for tables: that of the published set, or of the directory.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether releq draws the images itself; every output that quotes an accuracy says so.
    pub fn synthetic(&self) -> bool {
        matches!(self.form, Form::Glyphs | Form::Noise(_))
    }

    /// Where its files lie, if it has any.
    pub fn directory(&self) -> Option<&Path> {
        match &self.form {
            Form::Idx(directory) | Form::Cifar(directory) | Form::Fsdd(directory) | Form::Npy(directory) => {
                Some(directory)
            }
            Form::Glyphs | Form::Noise(_) => None,
        }
    }

    /// The source for a network that takes `shape`; only noise, which has none of its own, follows it.
    pub fn shaped(self, shape: [usize; 3]) -> Self {
        match self.form {
            Form::Noise(_) => Self { form: Form::Noise(Some(shape)), ..self },
            _ => self,
        }
    }

    /// Whether its labels mean something.
    pub fn labelled(&self) -> bool {
        !matches!(self.form, Form::Noise(_))
    }

    /// Loads one part.
    ///
    /// # Errors
    /// A file that cannot be read or is not what its name says.
    pub fn load(&self, which: Which) -> Result<Dataset, DataError> {
        match &self.form {
            Form::Idx(directory) => idx::load(directory, which),
            Form::Cifar(directory) => cifar::load(directory, which),
            Form::Fsdd(directory) => fsdd::load(directory, which),
            Form::Npy(directory) => npy::load(directory, which),
            Form::Glyphs => Ok(glyphs::standard(which)),
            Form::Noise(Some(shape)) => Ok(noise::standard(which, *shape)),
            Form::Noise(None) => Err(DataError::Shapeless),
        }
    }
}

/// What the machine says about where data may be; tests say it instead.
pub(super) struct Places {
    /// The user's or the environment's word, which is the only place then.
    root: Option<PathBuf>,
    working: PathBuf,
    /// The user's own, which `releq data fetch` fills.
    user: Option<PathBuf>,
}

impl Places {
    pub(super) fn here(data_root: Option<&Path>) -> Self {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let root = data_root.map(Path::to_owned).or_else(|| variable("RELEQ_DATA"));
        let home = || Some(variable("HOME")?.join(".local/share"));
        let user = variable("XDG_DATA_HOME").or_else(home).map(|data| data.join("releq"));
        Self { root, working: std::env::current_dir().unwrap_or_default(), user }
    }

    pub(super) fn find(&self, spec: Option<&str>) -> Result<Source, DataError> {
        match spec {
            Some("glyphs") => Ok(glyphs_source()),
            Some("noise") => Ok(Source { name: "noise".to_owned(), form: Form::Noise(None) }),
            Some(name @ ("mnist" | "cifar10" | "fsdd")) => self.published(name),
            Some(other) => self.directory(other),
            None => self.whatever_is_there(),
        }
    }

    /// Directories that may hold one directory a dataset, in order of precedence.
    fn roots(&self) -> Vec<PathBuf> {
        match &self.root {
            Some(root) => vec![root.clone()],
            None => {
                let parents = self.working.ancestors().skip(1).take(ANCESTORS);
                parents.map(|parent| parent.join("shared/data")).chain(self.user.clone()).collect()
            }
        }
    }

    /// Directories that may hold the set of that name: one called so in a root, or a root that is that one.
    fn candidates(&self, name: &str) -> Vec<PathBuf> {
        self.roots().iter().flat_map(|root| [root.join(name), root.clone()]).collect()
    }

    /// The first directory that holds any part of `set`.
    ///
    /// # Errors
    /// Where none does.
    pub(super) fn of(&self, set: &Published) -> Result<PathBuf, DataError> {
        let looked = self.candidates(set.name);
        let found = looked.iter().find(|directory| set.is_in(directory)).cloned();
        found.ok_or_else(|| DataError::NotFound { name: set.name.to_owned(), looked })
    }

    /// Where a set that is nowhere yet should be put, so that it is found.
    pub(super) fn new_home(&self, set: &Published) -> Option<PathBuf> {
        self.root.as_ref().or(self.user.as_ref()).map(|root| root.join(set.name))
    }

    /// A published set that can be trained on.
    fn published(&self, name: &str) -> Result<Source, DataError> {
        let looked = self.candidates(name);
        let form = |directory: &PathBuf| match name {
            "mnist" => idx::is_in(directory).then(|| Form::Idx(directory.clone())),
            "cifar10" => cifar::is_in(directory).then(|| Form::Cifar(directory.clone())),
            _ => fsdd::is_in(directory).then(|| Form::Fsdd(directory.clone())),
        };
        match looked.iter().find_map(form) {
            Some(form) => Ok(Source { name: name.to_owned(), form }),
            None => Err(DataError::NotFound { name: name.to_owned(), looked }),
        }
    }

    fn whatever_is_there(&self) -> Result<Source, DataError> {
        match self.published("mnist").or_else(|missing| self.published("cifar10").map_err(|_| missing)) {
            // Nobody said where data is, and there is none: a fresh machine.
            Err(DataError::NotFound { .. }) if self.root.is_none() => Ok(glyphs_source()),
            found => found,
        }
    }

    /// A directory of the user's, from the working directory or under the root they gave.
    fn directory(&self, text: &str) -> Result<Source, DataError> {
        let under_root = self.root.iter().map(|root| root.join(text));
        let found = std::iter::once(self.working.join(text)).chain(under_root).find(|path| path.is_dir());
        let directory = found.ok_or_else(|| DataError::Unknown(text.to_owned()))?;
        let name =
            directory.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        let name = name.unwrap_or_else(|| text.to_owned());
        if idx::is_in(&directory) {
            Ok(Source { name, form: Form::Idx(directory) })
        } else if cifar::is_in(&directory) {
            Ok(Source { name, form: Form::Cifar(directory) })
        } else if fsdd::is_in(&directory) {
            Ok(Source { name, form: Form::Fsdd(directory) })
        } else if npy::is_in(&directory) {
            Ok(Source { name, form: Form::Npy(directory) })
        } else {
            Err(DataError::Unrecognised(directory))
        }
    }
}

fn glyphs_source() -> Source {
    Source { name: "glyphs".to_owned(), form: Form::Glyphs }
}

#[cfg(test)]
mod tests {
    use super::super::published::{FSDD, MNIST};
    use super::*;

    /// `<tmp>/shared/data/{mnist,cifar10,fsdd}` with empty files of the right names, and `<tmp>/desk/deep` to start from.
    fn machine() -> tempfile::TempDir {
        let machine = tempfile::tempdir().unwrap();
        let files =
            [("mnist", "t10k-images-idx3-ubyte.gz"), ("cifar10", "test_batch.bin.xz"), ("fsdd", "recordings.tar.xz")];
        for (directory, file) in files {
            let directory = machine.path().join("shared/data").join(directory);
            std::fs::create_dir_all(&directory).unwrap();
            std::fs::write(directory.join(file), []).unwrap();
        }
        std::fs::create_dir_all(machine.path().join("desk/deep")).unwrap();
        machine
    }

    fn message(places: &Places, spec: Option<&str>, machine: &Path) -> String {
        places.find(spec).unwrap_err().to_string().replace(&machine.display().to_string(), "TMP")
    }

    #[test]
    fn names_are_found_beside_an_ancestor() {
        let machine = machine();
        let places = Places { root: None, working: machine.path().join("desk/deep"), user: None };
        for name in ["mnist", "cifar10", "fsdd"] {
            let source = places.find(Some(name)).unwrap();
            assert_eq!((source.name(), source.synthetic()), (name, false));
            assert_eq!(source.directory(), Some(machine.path().join("shared/data").join(name).as_path()));
        }
        assert_eq!(places.find(None).unwrap().name(), "mnist");
    }

    #[test]
    fn a_root_given_is_the_only_place_and_may_be_the_set_itself() {
        let machine = machine();
        let working = machine.path().join("desk");
        let places =
            Places { root: Some(machine.path().join("shared/data/cifar10")), working: working.clone(), user: None };
        assert_eq!(places.find(Some("cifar10")).unwrap().name(), "cifar10");
        assert_eq!(places.find(None).unwrap().name(), "cifar10");
        let empty = Places { root: Some(working.clone()), working, user: None };
        let lost = "no mnist files found; looked in TMP/desk/mnist, TMP/desk; bring them with `releq data fetch mnist`, pass \
                    --data DIR with the files, set RELEQ_DATA to the directory that has mnist/, or take the synthetic \
                    stand-in with --data glyphs";
        assert_eq!(message(&empty, Some("mnist"), machine.path()), lost);
        assert_eq!(message(&empty, None, machine.path()), lost);
    }

    #[test]
    fn a_fresh_machine_gets_the_synthetic_set() {
        let fresh = tempfile::tempdir().unwrap();
        let places = Places { root: None, working: fresh.path().to_owned(), user: None };
        let source = places.find(None).unwrap();
        assert_eq!((source.name(), source.synthetic(), source.directory()), ("glyphs", true, None));
        assert!(places.find(Some("glyphs")).unwrap().synthetic());
    }

    #[test]
    fn what_was_fetched_is_found_unless_another_place_is_named() {
        let machine = machine();
        let [desk, user] = ["desk", "shared/data"].map(|name| machine.path().join(name));
        let elsewhere = tempfile::tempdir().unwrap();
        let places = Places { root: None, working: elsewhere.path().to_owned(), user: Some(user.clone()) };
        assert_eq!(places.find(Some("cifar10")).unwrap().directory(), Some(user.join("cifar10").as_path()));
        assert_eq!(places.of(&MNIST).unwrap(), user.join("mnist"));
        let empty = Places { root: None, working: elsewhere.path().to_owned(), user: None };
        assert!(matches!(empty.of(&FSDD), Err(DataError::NotFound { .. })));
        assert_eq!(places.new_home(&FSDD), Some(user.join("fsdd")));
        let named = Places { root: Some(desk.clone()), ..places };
        assert!(named.find(Some("cifar10")).is_err());
        assert_eq!(named.new_home(&FSDD), Some(desk.join("fsdd")));
    }

    #[test]
    fn directories_are_recognised_by_their_files() {
        let machine = machine();
        let places = Places { root: None, working: machine.path().join("shared"), user: None };
        assert_eq!(places.find(Some("data/mnist")).unwrap().name(), "mnist");
        let absolute = machine.path().join("shared/data/cifar10");
        assert_eq!(places.find(absolute.to_str()).unwrap().directory(), Some(absolute.as_path()));
        assert_eq!(
            message(&places, Some("data"), machine.path()),
            "no dataset in TMP/shared/data; it has neither train-images-idx3-ubyte[.gz] and its kin, nor \
             data_batch_1.bin[.xz] and its kin, nor recordings.tar[.xz], nor x_train.npy and its kin; pass the directory \
             that holds the files themselves"
        );
        assert_eq!(
            message(&places, Some("imagenet"), machine.path()),
            "no dataset `imagenet`; it is neither a known name nor a directory here; \
             pass mnist, cifar10, fsdd, glyphs, noise or a directory"
        );
    }
}
