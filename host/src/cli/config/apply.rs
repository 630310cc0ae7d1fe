//! Settings become defaults: what a file says holds where neither a flag nor the environment says otherwise.

use clap::{Arg, ArgAction};

use super::layers::{ConfigError, Setting};

/// Options whose variable means something else: `RELEQ_DATA` is the directory of all sets, and not one of them.
const OWN_VARIABLE: [&str; 1] = ["data"];

/// The variable of an option: `RELEQ_MAX_LOSS` of `--max-loss`, if it has one.
pub(super) fn variable(option: &str) -> Option<String> {
    let name = || format!("RELEQ_{}", option.replace('-', "_").to_uppercase());
    (!OWN_VARIABLE.contains(&option)).then(name)
}

/// The setting that holds for an option of a verb: a profile's before others, of these the last one, a verb's own before
/// everybody's.
pub(super) fn prevailing<'a>(settings: &'a [Setting], verb: &str, option: &str) -> Option<&'a Setting> {
    let of = |profile: bool, whose: Option<&str>| {
        let fits = |setting: &&Setting| setting.verb.as_deref() == whose && setting.option == option;
        settings.iter().rev().filter(|setting| setting.profile.is_some() == profile).find(fits)
    };
    [true, false].into_iter().find_map(|profile| of(profile, Some(verb)).or_else(|| of(profile, None)))
}

/// Whether an option can be set by a file or the environment.
pub(super) fn is_settable(arg: &Arg) -> bool {
    arg.get_long().is_some()
        && !matches!(arg.get_action(), ArgAction::Help | ArgAction::Version)
        && !arg.is_global_set()
}

/// `command`, with settings and variables behind the options of its verbs.
pub(super) fn armed(command: clap::Command, settings: &[Setting]) -> clap::Command {
    command.mut_subcommands(|verb| {
        let name = verb.get_name().to_owned();
        verb.mut_args(|arg| if is_settable(&arg) { behind(arg, &name, settings) } else { arg })
    })
}

/// An option with its variable, and its setting as its default.
fn behind(arg: Arg, verb: &str, settings: &[Setting]) -> Arg {
    let option = arg.get_long().unwrap_or_default().to_owned();
    let arg = match variable(&option) {
        Some(variable) if arg.get_env().is_none() => arg.env(variable).hide_env(true),
        _ => arg,
    };
    match prevailing(settings, verb, &option) {
        Some(setting) => arg.required(false).default_values(setting.values.clone()),
        None => arg,
    }
}

/// Whether whom a setting is for has such an option.
///
/// # Errors
/// A setting that no verb has, or not the verb that it is for.
pub(super) fn check(command: &clap::Command, setting: &Setting) -> Result<(), ConfigError> {
    let verbs: Vec<&clap::Command> = command.get_subcommands().collect();
    let asked = |verb: &&&clap::Command| setting.verb.as_ref().is_none_or(|name| verb.get_name() == name);
    let options = |verb: &&clap::Command| -> Vec<String> {
        verb.get_arguments()
            .filter(|arg| is_settable(arg))
            .filter_map(|arg| arg.get_long().map(str::to_owned))
            .collect()
    };
    let known: Vec<String> = verbs.iter().filter(asked).flat_map(options).collect();
    if known.contains(&setting.option) {
        return Ok(());
    }
    let near = known.iter().find(|known| is_near(known, &setting.option));
    let unknown_verb = setting.verb.as_ref().filter(|name| verbs.iter().all(|verb| verb.get_name() != *name));
    Err(ConfigError::Unknown {
        path: setting.source.clone(),
        option: setting.option.clone(),
        lacking: match (&setting.verb, unknown_verb) {
            (_, Some(name)) => format!("but there is no verb `{name}`"),
            (Some(name), None) => format!("which `releq {name}` does not have"),
            (None, None) => "which no verb has".to_owned(),
        },
        near: near.map_or_else(String::new, |near| format!(" (is `{near}` meant?)")),
    })
}

/// Whether one differs from the other by a dash for an underscore, or begins like it.
fn is_near(known: &str, written: &str) -> bool {
    let written = written.replace('_', "-");
    known == written || (written.len() >= 3 && (known.starts_with(&written) || written.starts_with(known)))
}

#[cfg(test)]
mod tests {
    use clap::parser::ValueSource;

    use super::*;

    fn setting(verb: Option<&str>, option: &str, value: &str) -> Setting {
        let values = vec![value.to_owned()];
        let verb = verb.map(str::to_owned);
        Setting { verb, option: option.to_owned(), profile: None, values, source: "releq.toml".into() }
    }

    fn command() -> clap::Command {
        let board = || Arg::new("board").long("board").required(true);
        let run = clap::Command::new("run").arg(board()).arg(Arg::new("json").long("json").action(ArgAction::SetTrue));
        let bench = clap::Command::new("bench").arg(board());
        clap::Command::new("releq").subcommand(run).subcommand(bench)
    }

    #[test]
    fn a_flag_prevails_over_a_verbs_setting_and_that_over_everybodys() {
        let settings = [setting(Some("run"), "board", "b"), setting(None, "board", "a"), setting(None, "json", "true")];
        let board = |typed: &[&str]| {
            let matches = armed(command(), &settings).get_matches_from(typed);
            let (_, verb) = matches.subcommand().unwrap();
            (verb.get_one::<String>("board").unwrap().clone(), verb.value_source("board").unwrap())
        };
        assert_eq!(board(&["releq", "run"]), ("b".to_owned(), ValueSource::DefaultValue));
        assert_eq!(board(&["releq", "bench"]), ("a".to_owned(), ValueSource::DefaultValue));
        assert_eq!(board(&["releq", "run", "--board", "c"]), ("c".to_owned(), ValueSource::CommandLine));
        let matches = armed(command(), &settings).get_matches_from(["releq", "run"]);
        assert!(matches.subcommand().unwrap().1.get_flag("json"), "flags are set by `true`");
    }

    #[test]
    fn a_profile_prevails_over_files() {
        let lab = Setting { profile: Some("lab".to_owned()), ..setting(None, "board", "b") };
        let settings = [setting(Some("run"), "board", "a"), lab];
        assert_eq!(prevailing(&settings, "run", "board").unwrap().values, ["b"]);
    }

    #[test]
    fn what_nobody_has_is_refused() {
        let refused = |setting| check(&command(), &setting).unwrap_err().to_string();
        insta::assert_snapshot!(
            [
                refused(setting(Some("run"), "boards", "a")),
                refused(setting(Some("fly"), "board", "a")),
                refused(setting(None, "speed", "a")),
            ]
            .join("\n")
        );
    }

    #[test]
    fn variables_are_named_like_options() {
        assert_eq!(variable("max-loss").as_deref(), Some("RELEQ_MAX_LOSS"));
        assert_eq!(variable("data"), None);
    }
}
