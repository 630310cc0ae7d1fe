//! Settings files, read and applied to a command that has an option of every kind.

#[path = "../../src/cli/config/apply.rs"]
mod apply;
#[path = "../../src/cli/config/layers.rs"]
mod layers;

use std::path::Path;

use clap::{Arg, ArgAction, Command, value_parser};

use crate::judge::refusal;

/// Reads `path`, applies what it sets, its last profile with it, and asks each verb for all of its options.
///
/// # Panics
/// If a refusal is no sentence.
pub fn take(path: &Path) {
    let command = command();
    let settings = match settings(path, &command) {
        Ok(settings) => settings,
        Err(error) => return refusal(&error),
    };
    let command = apply::armed(command, &settings);
    for verb in ["run", "search"] {
        // What a value means is clap's to say; it says so of each, whatever it is.
        let _ = command.clone().try_get_matches_from(["releq", verb]);
        for option in ["board", "limit", "json", "max-loss"] {
            let _ = (apply::prevailing(&settings, verb, option), apply::variable(option));
        }
    }
    assert!(layers::files().iter().all(|file| file.is_file()));
}

/// What holds of the file at `path`, where every option is known to a verb.
fn settings(path: &Path, command: &Command) -> Result<Vec<layers::Setting>, layers::ConfigError> {
    let settings = layers::read(&[path.to_owned()])?;
    settings.iter().try_for_each(|setting| apply::check(command, setting))?;
    let profile = settings.iter().rev().find_map(|setting| setting.profile.clone());
    assert!(layers::holding(settings.clone(), Some("no such")).is_err());
    layers::holding(settings, profile.as_deref())
}

/// Verbs with options that are required, counted, listed, and flags.
fn command() -> Command {
    let board = || Arg::new("board").long("board").required(true).action(ArgAction::Append);
    let json = || Arg::new("json").long("json").action(ArgAction::SetTrue);
    let limit = Arg::new("limit").long("limit").value_parser(value_parser!(u64).range(1..));
    let loss = Arg::new("max-loss").long("max-loss").value_parser(value_parser!(f64));
    let mean = Arg::new("mean").long("mean").value_delimiter(',').value_parser(value_parser!(f32));
    let run = Command::new("run").arg(board()).arg(limit).arg(json());
    let search = Command::new("search").arg(board()).arg(loss).arg(mean).arg(json());
    Command::new("releq").subcommand(run).subcommand(search)
}
