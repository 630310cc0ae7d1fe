//! The commands that make one row, in order, each with the file that it leaves when it is done.

use std::path::{Path, PathBuf};

use super::entry::{Entry, Source};

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it does, for people.
    pub what: &'static str,
    /// The arguments of `releq`.
    pub arguments: Vec<String>,
    /// The file that is there once it is done.
    pub done: PathBuf,
}

impl Step {
    /// The command as one would type it.
    pub fn typed(&self) -> String {
        format!("releq {}", self.arguments.join(" "))
    }

    /// Whether it needs no doing.
    pub fn is_done(&self) -> bool {
        self.done.is_file()
    }
}

/// The float checkpoint of an entry below `directory`.
pub fn float(directory: &Path, entry: &Entry) -> PathBuf {
    directory.join(entry.network).join("float.safetensors")
}

/// The run of its search.
pub fn run(directory: &Path, entry: &Entry) -> PathBuf {
    directory.join(entry.network).join("search")
}

/// The commands for `entry`, which write below `directory`. `data` is the set to use in place of its own, `models` the
/// directory that imported weights lie in.
pub fn steps(entry: &Entry, directory: &Path, data: &str, models: &Path) -> [Step; 2] {
    let (float, run) = (float(directory, entry), run(directory, entry));
    let path = |path: &Path| path.display().to_string();
    let owned = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<String>>();
    let source = match entry.source {
        Source::Imported { file, normalised } => {
            let mut arguments = owned(&["import", &path(&models.join(file))]);
            if file.ends_with(".safetensors") {
                arguments.extend(owned(&["--network", entry.network]));
            }
            if let Some([mean, std]) = normalised {
                arguments.extend(owned(&["--mean", mean, "--std", std]));
            }
            arguments.extend(owned(&["-o", &path(&float)]));
            Step { what: "import", arguments, done: float.clone() }
        }
        Source::Trained { epochs } => {
            let mut arguments = owned(&["train", "--model", entry.network, "--data", data, "--epochs", epochs]);
            if data == "cifar10" {
                arguments.push("--augment".to_owned());
            }
            arguments.extend(owned(&["-o", &path(&float)]));
            Step { what: "train", arguments, done: float.clone() }
        }
    };
    let search = &entry.search;
    let arguments = owned(&[
        "search",
        &path(&float),
        "--data",
        data,
        "--weights",
        search.weights,
        "--max-loss",
        search.max_loss,
        "--episodes",
        search.episodes,
        "--short",
        search.short,
        "--long",
        search.long,
        "--epochs",
        search.epochs,
        "-o",
        &path(&run),
    ]);
    [source, Step { what: "search", arguments, done: run.join("result.json") }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reproduce::entry::ENTRIES;
    use crate::zoo;

    #[test]
    fn steps_can_be_typed() {
        let [import, search] = steps(&ENTRIES[2], Path::new("out"), "cifar10", Path::new("models"));
        assert_eq!(
            import.typed(),
            "releq import models/resnet20-cifar10.safetensors --network resnet20 --mean .485,.456,.406 \
             --std .229,.224,.225 -o out/resnet20/float.safetensors"
        );
        assert_eq!(
            search.typed(),
            "releq search out/resnet20/float.safetensors --data cifar10 --weights 2..8 --max-loss 0.3 --episodes 100 \
             --short 3000 --long 16000 --epochs 2 -o out/resnet20/search"
        );
        let [train, _] = steps(&ENTRIES[4], Path::new("out"), "cifar10", Path::new("models"));
        assert_eq!(
            train.typed(),
            "releq train --model svhn10 --data cifar10 --epochs 20 --augment -o out/svhn10/float.safetensors"
        );
        assert!(ENTRIES.iter().all(|entry| zoo::is_known(entry.network)));
    }
}
