//! Networks fine-tuned at length, kept in the run's directory so that a search that was killed repeats none, and goes on
//! within the one that it was at.
//!
//! A file bears the key of all that it depends on, so that another recipe never finds it; images check themselves, and
//! a damaged file is made again. Where a fine-tune diverged, a file says why, so that it is not tried again.

use std::fs;
use std::path::{Path, PathBuf};

use releq_format::image::{Image, ImageBuffer};
use releq_search::plan::BitPlan;

use super::SearchError;
use super::bench::Bench;
use crate::network::Network;
use crate::train::fit::{self, FitError, Schedule};
use crate::train::model::Model;
use crate::train::resume::{Resume, beside};
use crate::{checkpoint, lower, terminal, whole};

/// Where they lie in a run's directory.
pub(crate) const SHELF: &str = "tuned";

/// What a long fine-tune of a plan left.
#[derive(Clone, Debug, PartialEq)]
pub enum Tuned {
    /// Its image.
    Image(ImageBuffer),
    /// No numbers, and why.
    Diverged(String),
}

impl Tuned {
    /// The image, if there is one.
    pub fn image(&self) -> Option<&ImageBuffer> {
        match self {
            Self::Image(image) => Some(image),
            Self::Diverged(_) => None,
        }
    }
}

/// The directory and the key.
#[derive(Clone, Debug)]
pub struct Shelf {
    directory: PathBuf,
    key: String,
}

impl Shelf {
    /// The shelf of a run, below `run`.
    ///
    /// # Errors
    /// A directory that cannot be made.
    pub fn open(run: &Path, key: &str) -> Result<Self, SearchError> {
        let directory = run.join(SHELF);
        fs::create_dir_all(&directory).map_err(|cause| SearchError::Shelf { path: directory.clone(), cause })?;
        Ok(Self { directory, key: key.to_owned() })
    }

    fn path(&self, name: &str, images: usize, extension: &str) -> PathBuf {
        self.directory.join(format!("{}-{name}-{images}.{extension}", self.key))
    }

    /// What `plan` fine-tuned on `images` images left, if it is here and whole.
    pub fn kept(&self, plan: &BitPlan, images: usize) -> Option<Tuned> {
        let path = self.path_of(plan, images);
        let image = fs::read(&path).ok().map(|bytes| ImageBuffer::from(&bytes[..]));
        match image.filter(|image| Image::open(image).is_ok()) {
            Some(image) => Some(Tuned::Image(image)),
            None => diverged(&path).map(Tuned::Diverged),
        }
    }

    fn path_of(&self, plan: &BitPlan, images: usize) -> PathBuf {
        self.path(&plan.to_string().replace(':', "a").replace(',', "-"), images, "rlq")
    }

    /// What `plan` fine-tuned on `images` images is: from the shelf, or made and put there.
    ///
    /// # Errors
    /// [`SearchError`].
    pub fn tuned(&self, bench: &Bench<'_>, plan: &BitPlan, images: usize) -> Result<Tuned, SearchError> {
        if let Some(kept) = self.kept(plan, images) {
            return Ok(kept);
        }
        let path = self.path_of(plan, images);
        let resume = unfinished(&path);
        let tuned = bench.tuned(plan, images, Some(&resume)).map_err(SearchError::from);
        let tuned = match tuned.and_then(|quantized| Ok(lower::lower(&quantized)?.image)) {
            Ok(image) => {
                write(&path, &image)?;
                Tuned::Image(image)
            }
            Err(error) => match error.divergence() {
                Some(why) => {
                    write(&verdict(&path), why.as_bytes())?;
                    Tuned::Diverged(why)
                }
                None => return Err(error),
            },
        };
        resume.done();
        Ok(tuned)
    }

    /// The float network given the same fine-tune unquantized: from the shelf, or made and put there. Where that diverged
    /// it is the network as it came, which is then the better of both.
    ///
    /// # Errors
    /// [`SearchError`].
    pub fn control(&self, bench: &Bench<'_>, images: usize) -> Result<Network, SearchError> {
        let path = self.path("float", images, "safetensors");
        if let Ok(network) = checkpoint::load(&path) {
            return Ok(network);
        }
        if diverged(&path).is_some() {
            return Ok(bench.network.clone());
        }
        let model = Model::new(bench.network)?;
        let epochs = images as f64 / bench.split.tune.len().max(1) as f64;
        let schedule = Schedule { epochs, ..bench.recipe.schedule.clone() };
        let resume = unfinished(&path);
        let fitted =
            fit::fit_kept(&model, bench.teacher(), &bench.split.tune, &schedule, Some(&resume), &mut |_| bench.go_on());
        if let Err(error) = fitted {
            return self.control_failed(bench, &path, &resume, error);
        }
        let network = model.network()?;
        checkpoint::save(&network, &path)?;
        resume.done();
        Ok(network)
    }

    /// A control that diverged is noted and done without.
    fn control_failed(
        &self,
        bench: &Bench<'_>,
        path: &Path,
        resume: &Resume,
        error: FitError,
    ) -> Result<Network, SearchError> {
        if !error.is_divergence() {
            return Err(error.into());
        }
        terminal::note(&format!(
            "unquantized, the same fine-tune ends, too: {error}; losses count from the network as it came"
        ));
        write(&verdict(path), error.to_string().as_bytes())?;
        resume.done();
        Ok(bench.network.clone())
    }
}

/// Where it says that the fine-tune which would have made `path` diverged.
fn verdict(path: &Path) -> PathBuf {
    path.with_extension("diverged")
}

/// Why the fine-tune that would have made `path` diverged, if it did.
fn diverged(path: &Path) -> Option<String> {
    fs::read_to_string(verdict(path)).ok()
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), SearchError> {
    whole::write(path, bytes).map_err(|cause| SearchError::Shelf { path: path.to_owned(), cause })
}

/// The state of the fine-tune that makes `path`, whose name says all that it depends on.
fn unfinished(path: &Path) -> Resume {
    Resume::new(&beside(path), &path.file_name().unwrap_or_default().to_string_lossy())
}
