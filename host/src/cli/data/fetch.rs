//! `releq data fetch`: downloads what a set lacks.

use std::path::PathBuf;

use super::super::Outcome;
#[cfg(feature = "fetch")]
use super::download;

/// Example: releq data fetch mnist
#[derive(Debug, clap::Args)]
#[command(
    after_help = "What is here and right is not fetched again, and what broke off goes on where it was. Without --to, a \
    set that is nowhere yet comes into a directory of its name below $RELEQ_DATA or, without that, \
    ~/.local/share/releq, where every verb finds it. Nothing but this verb asks the web for anything.\n\n\
    Examples:\n  releq data fetch mnist\n  releq data fetch cifar10 --to datasets --from http://192.168.1.7:8000"
)]
pub(super) struct Arguments {
    /// mnist, cifar10 or fsdd
    #[arg(value_name = "NAME")]
    pub(super) name: String,
    /// Put it into a directory of its name below this one
    #[arg(long, value_name = "DIR")]
    pub(super) to: Option<PathBuf>,
    /// Fetch its files from below this address instead
    #[arg(long, value_name = "URL", value_parser = address)]
    pub(super) from: Option<String>,
    /// Print one JSON document
    #[arg(long)]
    pub(super) json: bool,
}

/// An address of the web.
fn address(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or_default();
    if host.is_empty() || host.starts_with('/') || text.contains(char::is_whitespace) {
        return Err("it is no address to fetch from; write one that begins with https:// or http://".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(feature = "fetch")]
pub(super) fn run(arguments: &Arguments) -> Outcome {
    download::run(arguments)
}

#[cfg(not(feature = "fetch"))]
pub(super) fn run(arguments: &Arguments) -> Outcome {
    let set = super::named(&arguments.name)?;
    Err(super::super::Failure::with_code(
        2,
        anyhow::anyhow!(
            "cannot fetch {}: this releq is built without `fetch`, the feature that speaks HTTP; build it with, or \
             put the files from {} into a directory `{}`",
            set.name,
            set.page,
            set.name
        ),
    ))
}
