//! `releq search --listen`: what workers are told, and how the user tells them where to go.

use super::super::Failure;
use super::Search;
use crate::checkpoint;
use crate::search::crew::Task;
use crate::search::crew::foreman::Foreman;
use crate::terminal;

/// Listens at `address`, and says how workers join.
pub(super) fn listen(search: &Search<'_>, address: &str, key: &str) -> Result<Foreman, Failure> {
    let arguments = search.arguments;
    let task = Task {
        key: key.to_owned(),
        preset: arguments.preset,
        quantizer: arguments.quantizer,
        seed: arguments.seed,
        data: arguments.data.data.clone().unwrap_or_else(|| search.source.name().to_owned()),
        val: arguments.val.clone(),
    };
    let scratch = tempfile::tempdir()?;
    let path = scratch.path().join("network.safetensors");
    checkpoint::save(&search.network, &path)?;
    let network = std::fs::read(&path)?;
    let drawn = arguments.token.is_none();
    if drawn && terminal::is_quiet() {
        return Err(Failure::with_code(
            2,
            anyhow::anyhow!(
                "nobody could join: --quiet hides the token that is drawn; give one with --token or in RELEQ_TOKEN"
            ),
        ));
    }
    let token = arguments.token.clone().map_or_else(draw, Ok)?;
    let refused = |error: std::io::Error| {
        let why = format!("cannot listen at {address}: {error}; name an address of this machine and a free port");
        Failure::with_code(2, anyhow::anyhow!(why))
    };
    let foreman = Foreman::listen(address, token.clone(), task, network).map_err(refused)?;
    let shown = if drawn { format!("RELEQ_TOKEN={token} ") } else { String::new() };
    terminal::note(&format!("workers join by `{shown}releq worker --connect {}`", foreman.address()));
    Ok(foreman)
}

/// A token that nobody guesses.
fn draw() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow::anyhow!("cannot draw a token: {error}; give one with --token"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
