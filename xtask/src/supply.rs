//! What the project is built of: every lockfile is up to date, takes packages from crates.io alone, and each package
//! has a licence that lets the whole be given on under MIT or Apache-2.0.

use crate::process::{Failed, cargo, output, read, root};
use crate::setup::Found;

/// Folders of every lockfile.
const WORKSPACES: [&str; 6] = [".", "device/firmware", "device/capi", "device/fuzz", "host/fuzz", "examples/firmware"];

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Licences that ask for no more than to be named.
const PERMISSIVE: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
    // LLVM's, of libFuzzer.
    "NCSA",
];

/// Packages that may have another licence, and why that is in order.
const EXCEPTIONS: [(&str, &str); 2] = [
    // Copyleft of its own files, which are used as they are; only the host links it, itself and through probe-rs.
    ("serialport", "MPL-2.0"),
    // Mozilla's list of certificates as data, to be passed on with its licence; `releq data fetch` alone needs it.
    ("webpki-roots", "CDLA-Permissive-2.0"),
];

/// Checks every workspace.
pub(crate) fn check(_: &Found) -> Result<(), Failed> {
    let mut wrong = Vec::new();
    for workspace in WORKSPACES {
        let lockfile = read(&format!("{workspace}/Cargo.lock"))?;
        let packages = packages(workspace)?;
        let found = wrong_sources(&lockfile).into_iter().chain(wrong_licences(&packages));
        wrong.extend(found.map(|fault| format!("{workspace}/Cargo.lock: {fault}")));
        eprintln!("{workspace}: {} packages", packages.lines().filter(|line| !line.is_empty()).count());
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failed::check(wrong.join("\n"))) }
}

/// `name version (path)|licence` of every package that some target or feature is built with, once each.
fn packages(workspace: &str) -> Result<String, Failed> {
    let mut tree = cargo();
    tree.current_dir(root().join(workspace));
    tree.args(["tree", "--locked", "--workspace", "--all-features", "--target", "all"]);
    tree.args(["--edges", "normal,build,dev", "--prefix", "none", "--format", "{p}|{l}"]);
    let all = output(&mut tree).ok_or_else(|| Failed::check(format!("`cargo tree --locked` fails in {workspace}")))?;
    // A package that was listed before has a star.
    let mut lines: Vec<&str> = all.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    lines.sort_unstable();
    lines.dedup();
    Ok(lines.join("\n"))
}

/// Packages from elsewhere than crates.io, or without a checksum. Those of the repository itself have no source.
fn wrong_sources(lockfile: &str) -> Vec<String> {
    let packages = lockfile.split("[[package]]").skip(1);
    let wrong = packages.filter_map(|package| {
        let field = |name: &str| package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        let [name, source] = [field("name")?, field("source")?].map(|text| text.trim_matches('"'));
        let sound = source == REGISTRY && field("checksum").is_some();
        (!sound).then(|| format!("{name} comes from {source}"))
    });
    wrong.collect()
}

/// Packages whose licence asks for too much, is missing, or that lie outside the repository.
fn wrong_licences(packages: &str) -> Vec<String> {
    let here = root().display().to_string();
    let wrong = packages.lines().filter_map(|line| {
        let (package, licence) = line.split_once('|')?;
        let name = package.split(' ').next()?;
        let outside = package.split_once("(/").is_some_and(|(_, path)| !format!("/{path}").starts_with(&here));
        let excepted = |licence: &str| EXCEPTIONS.contains(&(name, licence));
        let allowed = |licence: &str| PERMISSIVE.contains(&licence) || excepted(licence);
        match permits(licence, &allowed) {
            _ if outside => Some(format!("{package} lies outside the repository")),
            false => Some(format!("{name} has the licence `{licence}`")),
            true => None,
        }
    });
    wrong.collect()
}

/// Whether an SPDX expression can be met with licences that are `allowed`; an old `/` is an `OR`.
fn permits(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    either(&words, allowed) == Some((true, &[]))
}

/// Words left, and whether what was before them is permitted.
type Rest<'w> = Option<(bool, &'w [&'w str])>;

fn either<'w>(words: &'w [&'w str], allowed: &dyn Fn(&str) -> bool) -> Rest<'w> {
    let (mut permitted, mut words) = both(words, allowed)?;
    while let ["OR", rest @ ..] = words {
        let (other, rest) = both(rest, allowed)?;
        (permitted, words) = (permitted || other, rest);
    }
    Some((permitted, words))
}

fn both<'w>(words: &'w [&'w str], allowed: &dyn Fn(&str) -> bool) -> Rest<'w> {
    let (mut permitted, mut words) = one(words, allowed)?;
    while let ["AND", rest @ ..] = words {
        let (other, rest) = one(rest, allowed)?;
        (permitted, words) = (permitted && other, rest);
    }
    Some((permitted, words))
}

fn one<'w>(words: &'w [&'w str], allowed: &dyn Fn(&str) -> bool) -> Rest<'w> {
    match words {
        ["(", rest @ ..] => match either(rest, allowed)? {
            (permitted, [")", rest @ ..]) => Some((permitted, rest)),
            _ => None,
        },
        [licence, "WITH", exception, rest @ ..] => Some((allowed(&format!("{licence} WITH {exception}")), rest)),
        ["AND" | "OR" | "WITH" | ")", ..] | [] => None,
        [licence, rest @ ..] => Some((allowed(licence), rest)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_met_or_not() {
        let permissive = |licence: &str| PERMISSIVE.contains(&licence);
        for met in [
            "MIT",
            "MIT/Apache-2.0",
            "MIT OR GPL-3.0-only",
            "(MIT OR GPL-2.0) AND Unicode-3.0",
            "Apache-2.0 WITH LLVM-exception",
        ] {
            assert!(permits(met, &permissive), "{met}");
        }
        for not in ["", "GPL-3.0-only", "MIT AND GPL-2.0", "(MIT", "MIT OR", "GPL-2.0 WITH LLVM-exception", "MIT MIT"] {
            assert!(!permits(not, &permissive), "{not}");
        }
    }

    #[test]
    fn packages_from_elsewhere_are_named() {
        let package = |source: &str| format!("[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n{source}");
        let sound = format!("source = \"{REGISTRY}\"\nchecksum = \"00\"\n");
        let git = "source = \"git+https://example.org/a#0\"\n";
        let bare = format!("source = \"{REGISTRY}\"\n");
        assert_eq!(wrong_sources(&(package(&sound) + &package(""))), [""; 0]);
        assert_eq!(wrong_sources(&package(git)), ["a comes from git+https://example.org/a#0"]);
        assert_eq!(wrong_sources(&package(&bare)).len(), 1);
    }

    #[test]
    fn licences_that_ask_for_too_much_are_named() {
        assert_eq!(wrong_licences("a v1.0.0|MIT\nserialport v4.0.0|MPL-2.0"), [""; 0]);
        assert_eq!(wrong_licences("a v1.0.0|MPL-2.0"), ["a has the licence `MPL-2.0`"]);
        assert_eq!(
            wrong_licences("a v1.0.0 (/elsewhere/a)|MIT"),
            ["a v1.0.0 (/elsewhere/a) lies outside the repository"]
        );
    }
}
