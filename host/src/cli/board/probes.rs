//! `releq board probes`: the debug probes that are plugged in.

use serde::Serialize;

use super::super::{Failure, Outcome, print_json};
use crate::terminal::{self, table};

#[derive(Serialize)]
struct Listing {
    schema: u32,
    probes: Vec<Probe>,
}

#[derive(Serialize)]
struct Probe {
    name: String,
    /// What `--probe` takes.
    identifier: String,
    /// Whether this user may open it.
    accessible: bool,
}

pub(super) fn list(json: bool) -> Outcome {
    let found = releq_probe::list();
    if found.is_empty() && !json {
        return Err(Failure::with_code(3, releq_probe::ProbeError::NoProbe));
    }
    let probes: Vec<Probe> = found
        .into_iter()
        .map(|releq_probe::Found { name, identifier, accessible }| Probe { name, identifier, accessible })
        .collect();
    if json {
        print_json(&Listing { schema: 1, probes })?;
    } else {
        let row = |probe: &Probe| {
            let access = if probe.accessible { "yes" } else { "no permission" };
            vec![probe.identifier.clone(), probe.name.clone(), access.to_owned()]
        };
        let rows: Vec<Vec<String>> = probes.iter().map(row).collect();
        terminal::answer(&table(&["--probe", "probe", "usable"], &rows))?;
    }
    Ok(true)
}
