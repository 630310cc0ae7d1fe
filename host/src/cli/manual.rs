//! `releq completions` and `releq man`: what clap knows of the command line, for shells and for `man`.

use std::path::PathBuf;

use clap::CommandFactory;

use super::{Command, FileError, Outcome};
use crate::terminal;

/// Example: releq completions bash > ~/.local/share/bash-completion/completions/releq
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  releq completions bash > ~/.local/share/bash-completion/completions/releq")]
pub(super) struct Completions {
    /// Whose
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Example: releq man -o ~/.local/share/man/man1
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  releq man | man -l -\n  releq man -o ~/.local/share/man/man1")]
pub(super) struct Pages {
    /// Write a page a verb into this directory, instead of printing the first
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(super) fn complete(arguments: &Completions) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Command::command(), "releq", &mut script);
    terminal::answer(&String::from_utf8_lossy(&script))?;
    Ok(true)
}

pub(super) fn pages(arguments: &Pages) -> Outcome {
    let command = Command::command().disable_help_subcommand(true);
    match &arguments.output {
        Some(directory) => clap_mangen::generate_to(command, directory)
            .map_err(|error| FileError::Unwritable { path: directory.clone(), error })?,
        None => {
            let mut page = Vec::new();
            clap_mangen::Man::new(command).render(&mut page)?;
            terminal::answer(&String::from_utf8_lossy(&page))?;
        }
    }
    Ok(true)
}
