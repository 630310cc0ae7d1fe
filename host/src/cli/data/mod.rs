//! `releq data`: the published sets, where they are, and whether they are right.

#[cfg(feature = "fetch")]
mod download;
mod fetch;
mod list;
mod verify;

use super::{Failure, Outcome};
use crate::data::published::{self, Published};

/// Example: releq data fetch mnist
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  releq data list\n  releq data fetch mnist\n  releq data fetch cifar10 --to datasets \
    --from http://192.168.1.7:8000\n  releq data verify"
)]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Say which sets there are, under which licence, and where they lie here
    List(list::Arguments),
    /// Download a set, or what is missing or wrong of it
    Fetch(fetch::Arguments),
    /// Compare what lies here with the checksums of what was published
    Verify(verify::Arguments),
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    match &arguments.what {
        What::List(arguments) => list::run(arguments),
        What::Fetch(arguments) => fetch::run(arguments),
        What::Verify(arguments) => verify::run(arguments),
    }
}

/// The set of that name.
fn named(name: &str) -> Result<&'static Published, Failure> {
    published::named(name).ok_or_else(|| Failure::with_code(2, anyhow::anyhow!("{}", unknown(name))))
}

fn unknown(name: &str) -> String {
    format!("no published set `{name}`; releq knows {}; name one of them", names())
}

fn names() -> String {
    published::ALL.map(|set| set.name).join(", ")
}
