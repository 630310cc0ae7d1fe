//! Prints how well few images foretell the loss of plans: by their labels, and as the judge grades answers.
//!
//! `cargo run --example judged -- simplenet.safetensors cifar10 runs/simplenet-1 runs/simplenet-2` takes every long
//! fine-tune on the shelves of these searches, and sets what the validation images (2,000 there) say of its loss against
//! the fine-tuned float network beside the loss on the test images that chose nothing (8,000).

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};

use releq::data;
use releq::search::judge::Judge;
use releq::search::split::Split;
use releq::search::verdict::Answers;

/// What is said of one plan, points.
struct Foretold {
    counted: f64,
    graded: f64,
    lost: f64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, data, runs @ ..] = &arguments[..] else { return Err("usage: judged MODEL DATA RUN...".into()) };
    let splits = data::open(Some(data), None)?;
    let split = Split::new(splits.train, splits.test, 0, None);
    let judge = Judge::of(&releq::checkpoint::load(Path::new(model))?, &split.validation)?;
    let [few, rest] = [split.validation.len(), split.test.len()];
    println!("| plan | counted, {few} | graded, {few} | loss, {rest} |\n|---|---|---|---|");
    let mut all = Vec::new();
    for run in runs {
        let shelf = shelf(&Path::new(run).join("tuned"))?;
        let (float, images) = shelf.split_first().ok_or("no float network on the shelf")?;
        let float = releq::checkpoint::load(float)?;
        let floats = [&split.validation, &split.test].map(|data| Answers::of_floats(&float, data));
        let [few, rest] = floats.map(Result::unwrap);
        for path in images {
            let image = releq_format::image::ImageBuffer::from(&fs::read(path)?[..]);
            let answers = Answers::of_image(&image, &split.validation)?;
            let foretold = Foretold {
                counted: 100.0 * answers.loss_against(&few).0,
                graded: 100.0 * judge.graded(&few, &answers).0,
                lost: 100.0 * Answers::of_image(&image, &split.test)?.loss_against(&rest).0,
            };
            let Foretold { counted, graded, lost } = foretold;
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            println!("| {name} | {counted:.2} | {graded:.2} | {lost:.2} |");
            all.push(foretold);
        }
    }
    println!("\ncounted: {}\n\ngraded: {}", summary(&all, |one| one.counted), summary(&all, |one| one.graded));
    Ok(())
}

/// The longest float fine-tune, then every image of as many images.
fn shelf(directory: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let paths = fs::read_dir(directory)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    let length = |path: &Path| {
        let stem = path.file_stem()?.to_str()?;
        stem.rsplit('-').next()?.parse::<usize>().ok()
    };
    let is = |path: &Path, kind: &str| path.extension().is_some_and(|extension| extension == kind);
    let floats = paths.iter().filter(|path| is(path, "safetensors"));
    let float = floats.max_by_key(|path| length(path)).ok_or("no float network on the shelf")?.clone();
    let mut images: Vec<PathBuf> =
        paths.into_iter().filter(|path| is(path, "rlq") && length(path) == length(&float)).collect();
    images.sort();
    Ok([vec![float], images].concat())
}

/// Loss per foretold loss, and how far foretold ones are off once multiplied by that.
fn summary(all: &[Foretold], foretold: fn(&Foretold) -> f64) -> String {
    let sum = |term: &dyn Fn(&Foretold) -> f64| all.iter().map(term).sum::<f64>();
    let factor = sum(&|one| one.lost * foretold(one)) / sum(&|one| foretold(one).powi(2));
    let off = (sum(&|one| (one.lost - factor * foretold(one)).powi(2)) / all.len() as f64).sqrt();
    format!("loss is {factor:.2} of what is foretold, off by {off:.2} points (root mean square, {} plans)", all.len())
}
