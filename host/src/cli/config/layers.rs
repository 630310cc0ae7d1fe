//! Where settings come from: the user's file, the project's, and the one beside it that is not shared.

use std::collections::BTreeSet;
use std::env;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

/// The project's file, found in the working directory or above it.
pub(super) const PROJECT: &str = "releq.toml";
/// Beside it, for what is this machine's alone, as probes and paths: to be kept out of version control.
const LOCAL: &str = "releq.local.toml";

/// One option's value, and the file that gives it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Setting {
    /// The verb; `None` for every verb that has the option.
    pub(super) verb: Option<String>,
    /// The option's long name.
    pub(super) option: String,
    /// The profile it is part of; `None` where it holds always.
    pub(super) profile: Option<String>,
    /// One value, or several for options that take several.
    pub(super) values: Vec<String>,
    /// The file.
    pub(super) source: PathBuf,
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigError {
    #[error("cannot read {path}: {error}; make it readable, or move it away")]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{path} is no TOML: {error}; `releq config --default` prints a file to start from")]
    NoToml { path: PathBuf, error: String },
    #[error("{path} gives `{option}` a table or a date; options take text, numbers, true or false, or a list of these")]
    NoValue { path: PathBuf, option: String },
    #[error("{path} has an option in [profile] itself, `{option}`; profiles have names; put it into [profile.NAME]")]
    Nameless { path: PathBuf, option: String },
    #[error("no profile `{name}`; {known}; write [profile.{name}] in releq.toml, or leave --profile out")]
    NoProfile { name: String, known: String },
    #[error("{path} sets `{option}`, {lacking}{near}; `releq config --default` prints every verb's options")]
    Unknown { path: PathBuf, option: String, lacking: String, near: String },
}

/// The files there are, each one after those it prevails over.
pub(super) fn files() -> Vec<PathBuf> {
    let home = || Some(PathBuf::from(env::var_os("HOME")?).join(".config"));
    let user = env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).or_else(home);
    let working = env::current_dir().unwrap_or_default();
    let project =
        working.ancestors().find(|directory| directory.join(PROJECT).is_file() || directory.join(LOCAL).is_file());
    let user = user.map(|user| user.join("releq/config.toml"));
    let project = project.map(|project| [project.join(PROJECT), project.join(LOCAL)]);
    user.into_iter().chain(project.into_iter().flatten()).filter(|path| path.is_file()).collect()
}

/// Every setting of `files`, in their order.
pub(super) fn read(files: &[PathBuf]) -> Result<Vec<Setting>, ConfigError> {
    let mut settings = Vec::new();
    for path in files {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| ConfigError::Unreadable { path: path.clone(), error })?;
        let no_toml = |error: toml::de::Error| ConfigError::NoToml {
            path: path.clone(),
            error: error.to_string().lines().collect::<Vec<_>>().join(" "),
        };
        settings.extend(of_file(path, &text.parse::<Table>().map_err(no_toml)?)?);
    }
    Ok(settings)
}

/// The table of profiles, each a table like a whole file.
const PROFILES: &str = "profile";

/// Options of tables are a verb's, those outside every verb's.
fn of_file(path: &Path, table: &Table) -> Result<Vec<Setting>, ConfigError> {
    let mut settings = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(profiles) if key == PROFILES => {
                for (name, value) in profiles {
                    let Value::Table(own) = value else {
                        return Err(ConfigError::Nameless { path: path.to_owned(), option: name.clone() });
                    };
                    let own = of_table(path, own)?.into_iter();
                    settings.extend(own.map(|setting| Setting { profile: Some(name.clone()), ..setting }));
                }
            }
            value => settings.extend(of_entry(path, key, value)?),
        }
    }
    Ok(settings)
}

fn of_table(path: &Path, table: &Table) -> Result<Vec<Setting>, ConfigError> {
    let settings: Result<Vec<_>, _> = table.iter().map(|(key, value)| of_entry(path, key, value)).collect();
    Ok(settings?.concat())
}

/// An option, or the options of one verb.
fn of_entry(path: &Path, key: &str, value: &Value) -> Result<Vec<Setting>, ConfigError> {
    match value {
        Value::Table(options) => {
            options.iter().map(|(option, value)| setting(path, Some(key), option, value)).collect()
        }
        value => Ok(vec![setting(path, None, key, value)?]),
    }
}

fn setting(path: &Path, verb: Option<&str>, option: &str, value: &Value) -> Result<Setting, ConfigError> {
    let list = match value {
        Value::Array(list) => list.iter().collect(),
        one => vec![one],
    };
    let values: Option<Vec<String>> = list.into_iter().map(plain).collect();
    let values = values.ok_or_else(|| ConfigError::NoValue { path: path.to_owned(), option: option.to_owned() })?;
    let (verb, source) = (verb.map(str::to_owned), path.to_owned());
    Ok(Setting { verb, option: option.to_owned(), profile: None, values, source })
}

/// The settings that hold where `profile` is asked for: those of no profile, then its own, which prevail.
pub(super) fn holding(settings: Vec<Setting>, profile: Option<&str>) -> Result<Vec<Setting>, ConfigError> {
    let (own, mut held): (Vec<_>, Vec<_>) = settings.into_iter().partition(|setting| setting.profile.is_some());
    let Some(name) = profile else { return Ok(held) };
    let known: BTreeSet<&str> = own.iter().filter_map(|setting| setting.profile.as_deref()).collect();
    if !known.contains(name) {
        let known = match known.is_empty() {
            true => "no file of settings has any".to_owned(),
            false => format!("there are {}", known.into_iter().collect::<Vec<_>>().join(", ")),
        };
        return Err(ConfigError::NoProfile { name: name.to_owned(), known });
    }
    held.extend(own.into_iter().filter(|setting| setting.profile.as_deref() == Some(name)));
    Ok(held)
}

/// A value as it would be typed.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Float(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Datetime(_) | Value::Array(_) | Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<Setting>, ConfigError> {
        of_file(Path::new("releq.toml"), &text.parse().unwrap())
    }

    #[test]
    fn tables_are_verbs_and_lists_are_several_values() {
        let settings = parsed("board = 'virt-m4'\n[search]\nmax-loss = 0.5\nboard = ['virt-m7', 'virt-m3']\n").unwrap();
        let find = |verb: Option<&str>, option: &str| {
            let found = settings.iter().find(|one| one.verb.as_deref() == verb && one.option == option);
            found.map(|one| one.values.join(" "))
        };
        assert_eq!(find(None, "board").as_deref(), Some("virt-m4"));
        assert_eq!(find(Some("search"), "max-loss").as_deref(), Some("0.5"));
        assert_eq!(find(Some("search"), "board").as_deref(), Some("virt-m7 virt-m3"));
        assert!(matches!(parsed("[search]\nmax-loss = 2026-01-01\n"), Err(ConfigError::NoValue { .. })));
    }

    #[test]
    fn a_profile_is_a_file_within_a_file() {
        let text = "board = 'virt-m4'\n[profile.lab]\nboard = 'virt-m7'\n[profile.lab.search]\nmax-loss = 1\n[profile.far]\nquiet = true\n";
        let held = |profile| {
            let held = holding(parsed(text).unwrap(), profile)?;
            Ok::<_, ConfigError>(
                held.iter().map(|one| one.option.clone() + "=" + &one.values.join(" ")).collect::<Vec<_>>(),
            )
        };
        assert_eq!(held(None).unwrap(), ["board=virt-m4"]);
        assert_eq!(held(Some("lab")).unwrap(), ["board=virt-m4", "board=virt-m7", "max-loss=1"]);
        assert_eq!(
            held(Some("home")).unwrap_err().to_string(),
            "no profile `home`; there are far, lab; write [profile.home] in releq.toml, or leave --profile out"
        );
        assert!(matches!(parsed("[profile]\nboard = 'virt-m4'\n"), Err(ConfigError::Nameless { .. })));
    }
}
