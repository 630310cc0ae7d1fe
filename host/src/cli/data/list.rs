//! `releq data list`: which sets there are, and where they lie.

use std::path::PathBuf;

use serde::Serialize;

use super::super::{Outcome, print_json};
use crate::data::{self, published};
use crate::terminal::{self, grouped};

/// Example: releq data list --json
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq data list")]
pub(super) struct Arguments {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    datasets: Vec<About>,
}

/// What is known of a set.
#[derive(Serialize)]
struct About {
    name: &'static str,
    about: &'static str,
    licence: &'static str,
    page: &'static str,
    files: Vec<File>,
    /// Bytes to download; none where no server says it ahead.
    bytes: Option<u64>,
    /// The directory that holds it, or some of it.
    found: Option<PathBuf>,
}

/// A file to download.
#[derive(Serialize)]
struct File {
    name: &'static str,
    bytes: Option<u64>,
    urls: Vec<String>,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let datasets: Vec<About> = published::ALL.map(About::of).into();
    if arguments.json {
        print_json(&Report { schema: 1, datasets })?;
    } else {
        terminal::answer(&datasets.iter().map(About::text).collect::<Vec<_>>().join("\n"))?;
    }
    Ok(true)
}

impl About {
    fn of(set: &'static published::Published) -> Self {
        let file = |file: &published::Remote| File {
            name: file.name,
            bytes: file.bytes,
            urls: set.mirrors.iter().map(|mirror| format!("{mirror}/{}", file.name)).collect(),
        };
        Self {
            name: set.name,
            about: set.about,
            licence: set.licence,
            page: set.page,
            files: set.files.iter().map(file).collect(),
            bytes: set.files.iter().map(|file| file.bytes).sum(),
            found: data::directory_of(set).ok(),
        }
    }

    fn text(&self) -> String {
        let files = if self.files.len() == 1 { "1 file".to_owned() } else { format!("{} files", self.files.len()) };
        let size =
            self.bytes.map_or("of a size the server tells".to_owned(), |bytes| format!("{} bytes", grouped(bytes)));
        let here = match &self.found {
            Some(directory) => format!("here      {}", directory.display()),
            None => format!("missing   `releq data fetch {}` brings it", self.name),
        };
        format!(
            "{}\n  about     {}\n  licence   {}\n  page      {}\n  download  {files}, {size}\n  {here}\n",
            self.name, self.about, self.licence, self.page
        )
    }
}
