//! `releq config`: settings from files and the environment, what holds, and where it is from.
//!
//! Flags prevail over the environment, that over the profile that is asked for, that over `releq.local.toml`, that over
//! `releq.toml`, that over the user's own file.

mod apply;
mod layers;

use std::fmt::Write;

use clap::Arg;
use serde::Serialize;

use self::layers::Setting;
use super::{Outcome, print_json};
use crate::terminal;

/// Example: releq config --explain
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Every option of every verb can be set in releq.toml, in the working directory or above it, in \
    releq.local.toml beside it, in ~/.config/releq/config.toml, or in the environment (RELEQ_MAX_LOSS for --max-loss). \
    Flags prevail, then the environment, then the files in the order local, project, user. [profile.lab] is a set of \
    options that holds where --profile lab is given, and prevails over the files.\n\n\
    Examples:\n  releq config --default > releq.toml\n  releq config --explain"
)]
pub(super) struct Arguments {
    /// Print what is set and by whom; what `releq config` alone does, too
    #[arg(long)]
    explain: bool,
    /// Print a file that has every option of every verb, commented out, with what holds without it
    #[arg(long, conflicts_with_all = ["explain", "json"])]
    default: bool,
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// The command line with every setting behind it.
///
/// # Errors
/// A file that cannot be used.
pub(super) fn armed(command: clap::Command) -> Result<clap::Command, super::Failure> {
    let settings = layers::read(&layers::files())?;
    settings.iter().try_for_each(|setting| apply::check(&command, setting))?;
    Ok(apply::armed(command, &layers::holding(settings, profile().as_deref())?))
}

/// Settings are defaults of what is then parsed, so the profile's name is looked for before.
fn profile() -> Option<String> {
    let typed = std::env::args().take_while(|word| word != "--");
    named(typed).or_else(|| std::env::var("RELEQ_PROFILE").ok())
}

/// What follows the last `--profile`.
fn named(words: impl Iterator<Item = String>) -> Option<String> {
    let words: Vec<String> = words.collect();
    let at = words.iter().rposition(|word| word == "--profile" || word.starts_with("--profile="))?;
    words[at].strip_prefix("--profile=").map(str::to_owned).or_else(|| words.get(at + 1).cloned())
}

/// The files that settings are read from, for whoever has to tell why one is refused.
pub(super) fn sources() -> Vec<String> {
    layers::files().iter().map(|path| path.display().to_string()).collect()
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    /// Each one after those it prevails over.
    files: Vec<String>,
    settings: Vec<Held>,
}

/// What holds for one option.
#[derive(Serialize)]
struct Held {
    verb: String,
    option: String,
    value: String,
    /// A file, or `the environment`.
    source: String,
}

pub(super) fn run(arguments: &Arguments, command: &clap::Command) -> Outcome {
    if arguments.default {
        terminal::answer(&default_file(command))?;
        return Ok(true);
    }
    let files = layers::files();
    let settings = layers::holding(layers::read(&files)?, profile().as_deref())?;
    let held = held(command, &settings);
    if arguments.json {
        let files = files.iter().map(|path| path.display().to_string()).collect();
        print_json(&Report { schema: 1, files, settings: held })?;
    } else {
        terminal::answer(&text(&held))?;
    }
    Ok(true)
}

/// Verbs with their settable options.
fn options(command: &clap::Command) -> impl Iterator<Item = (&str, &Arg)> {
    command.get_subcommands().filter(|verb| !verb.is_hide_set()).flat_map(move |verb| {
        let name = verb.get_name();
        verb.get_arguments().filter(|arg| apply::is_settable(arg)).map(move |arg| (name, arg))
    })
}

/// What files and the environment set.
fn held(command: &clap::Command, settings: &[Setting]) -> Vec<Held> {
    let held = |(verb, arg): (&str, &Arg)| {
        let option = arg.get_long()?;
        let own = arg.get_env().map(|name| name.to_string_lossy().into_owned());
        let variable = own.or_else(|| apply::variable(option));
        let named = |value, source| Held { verb: verb.to_owned(), option: option.to_owned(), value, source };
        if let Some(value) = variable.as_ref().and_then(std::env::var_os) {
            let value = value.to_string_lossy().into_owned();
            return Some(named(value, format!("{} in the environment", variable.unwrap_or_default())));
        }
        let setting = apply::prevailing(settings, verb, option)?;
        let file = setting.source.display();
        let source =
            setting.profile.as_ref().map_or_else(|| file.to_string(), |name| format!("profile {name} in {file}"));
        Some(named(setting.values.join(", "), source))
    };
    options(command).filter_map(held).collect()
}

fn text(held: &[Held]) -> String {
    if held.is_empty() {
        return format!(
            "nothing is set: there is no {}, and no variable of releq's; `releq config --default` prints a file to start from\n",
            layers::PROJECT
        );
    }
    let row = |held: &Held| {
        let Held { verb, option, value, source } = held;
        format!("{verb} --{option} {value}  ← {source}\n")
    };
    held.iter().map(row).collect()
}

/// Every option, commented out, with its help.
fn default_file(command: &clap::Command) -> String {
    let mut text = "# Settings of releq. Options above the first table hold for every verb that has them.\n\
                    # What is this machine's alone belongs into releq.local.toml, which should not be shared.\n"
        .to_owned();
    let mut last = "";
    for (verb, arg) in options(command) {
        if verb != last {
            let _ = writeln!(text, "\n[{verb}]");
            last = verb;
        }
        let option = arg.get_long().unwrap_or_default();
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let _ = writeln!(text, "# {}\n# {option} = {}", help.lines().next().unwrap_or_default(), example(arg));
    }
    text
}

/// The default as TOML writes it, or what kind of value it would be.
fn example(arg: &Arg) -> String {
    let values: Vec<_> = arg.get_default_values().iter().map(|value| value.to_string_lossy().into_owned()).collect();
    let written = |value: &String| match value.parse::<f64>() {
        Ok(_) => value.clone(),
        Err(_) if value == "true" || value == "false" => value.clone(),
        Err(_) => format!("\"{value}\""),
    };
    match values.as_slice() {
        [one] => written(one),
        [] if arg.get_action().takes_values() => {
            let name = arg.get_value_names().and_then(|names| names.first()).map_or("VALUE", |name| name.as_str());
            format!("\"{name}\"")
        }
        [] => "false".to_owned(),
        several => format!("[{}]", several.iter().map(written).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_is_named_either_way() {
        let named = |line: &str| named(line.split(' ').map(str::to_owned));
        assert_eq!(named("releq --profile lab run"), Some("lab".to_owned()));
        assert_eq!(named("releq run --profile=far"), Some("far".to_owned()));
        assert_eq!(named("releq run"), None);
    }
}
