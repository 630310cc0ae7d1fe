//! Networks fine-tuned at length, kept in the run's directory so that a search that was killed repeats none, and goes on
//! within the one that it was at.
//!
//! A file bears the key of all that it depends on, so that another recipe never finds it; images check themselves, and
//! a damaged file is made again.

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
use crate::{checkpoint, lower, whole};

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
        let directory = run.join("tuned");
        fs::create_dir_all(&directory).map_err(|cause| SearchError::Shelf { path: directory.clone(), cause })?;
        Ok(Self { directory, key: key.to_owned() })
    }

    fn path(&self, name: &str, images: usize, extension: &str) -> PathBuf {
        self.directory.join(format!("{}-{name}-{images}.{extension}", self.key))
    }

    /// The image of `plan` fine-tuned on `images` images, if it is here and whole.
    pub fn kept(&self, plan: &BitPlan, images: usize) -> Option<ImageBuffer> {
        let image = ImageBuffer::from(&fs::read(self.path_of(plan, images)).ok()?[..]);
        Image::open(&image).is_ok().then_some(image)
    }

    fn path_of(&self, plan: &BitPlan, images: usize) -> PathBuf {
        self.path(&plan.to_string().replace(':', "a").replace(',', "-"), images, "rlq")
    }

    /// The image of `plan` fine-tuned on `images` images: from the shelf, or made and put there.
    ///
    /// # Errors
    /// [`SearchError`].
    pub fn image(&self, bench: &Bench<'_>, plan: &BitPlan, images: usize) -> Result<ImageBuffer, SearchError> {
        let path = self.path_of(plan, images);
        if let Some(image) = self.kept(plan, images) {
            return Ok(image);
        }
        let resume = unfinished(&path);
        let image = lower::lower(&bench.tuned(plan, images, Some(&resume))?)?.image;
        whole::write(&path, &image).map_err(|cause| SearchError::Shelf { path, cause })?;
        resume.done();
        Ok(image)
    }

    /// The float network given the same fine-tune unquantized: from the shelf, or made and put there.
    ///
    /// # Errors
    /// [`SearchError`].
    pub fn control(&self, bench: &Bench<'_>, images: usize) -> Result<Network, SearchError> {
        let path = self.path("float", images, "safetensors");
        if let Ok(network) = checkpoint::load(&path) {
            return Ok(network);
        }
        let model = Model::new(bench.network)?;
        let epochs = images as f64 / bench.split.tune.len().max(1) as f64;
        let schedule = Schedule { epochs, ..bench.recipe.schedule.clone() };
        let teacher = bench.recipe.distill.then(|| bench.teacher());
        let resume = unfinished(&path);
        fit::fit_kept(&model, teacher, &bench.split.tune, &schedule, Some(&resume), &mut |_| bench.go_on())
            .map_err(|error: FitError| SearchError::Fit(error))?;
        let network = model.network()?;
        checkpoint::save(&network, &path)?;
        resume.done();
        Ok(network)
    }
}

/// The state of the fine-tune that makes `path`, whose name says all that it depends on.
fn unfinished(path: &Path) -> Resume {
    Resume::new(&beside(path), &path.file_name().unwrap_or_default().to_string_lossy())
}
