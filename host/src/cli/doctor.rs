//! `releq doctor`: what each verb needs, whether it is here, and the command that brings it.

use serde::Serialize;

use super::{Outcome, print_json};
use crate::doctor::{Finding, State, examine};
use crate::target::qemu::Launch;
use crate::terminal;

/// Example: releq doctor --json
#[derive(Debug, clap::Args)]
#[command(after_help = "Exits with 1 if something is missing that verbs fail for.\n\nExample:\n  releq doctor")]
pub(super) struct Arguments {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    schema: u32,
    version: &'static str,
    healthy: bool,
    findings: Vec<Finding>,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let findings = examine(&Launch::from_env());
    let healthy = findings.iter().all(|finding| finding.state != State::Missing);
    if arguments.json {
        print_json(&Report { schema: 1, version: env!("CARGO_PKG_VERSION"), healthy, findings })?;
    } else {
        terminal::answer(&text(&findings))?;
    }
    Ok(healthy)
}

fn text(findings: &[Finding]) -> String {
    let width = findings.iter().map(|finding| finding.what.chars().count()).max().unwrap_or(0);
    let line = |finding: &Finding| {
        let state = match finding.state {
            State::Ok => "ok",
            State::Without => "without",
            State::Missing => "MISSING",
        };
        let fix = finding
            .fix
            .as_ref()
            .map_or_else(String::new, |fix| format!("\n{:9}{:width$}  for {}: {fix}", "", "", finding.needed_by));
        format!("{state:<7}  {:<width$}  {}{fix}\n", finding.what, finding.found)
    };
    findings.iter().map(line).collect()
}
