//! `releq worker`: measures plans for a search in another process.

use super::{DeviceOption, Failure, Outcome};
use crate::search::crew::worker::{WorkerError, work};
use crate::terminal;

/// Example: RELEQ_TOKEN=… releq worker --connect 192.168.1.7:4000
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It finds the search's images by the name of their set, as `--data` does, and ends with the search.\n\n\
    Examples:\n  RELEQ_TOKEN=… releq worker --connect 192.168.1.7:4000\n  \
    mpirun -n 8 releq worker --connect 192.168.1.7:4000\n  srun -n 64 releq worker --connect login1:4000"
)]
pub(super) struct Arguments {
    /// Where the search listens
    #[arg(long, value_name = "ADDR:PORT")]
    connect: String,
    /// What the search's user gave, or the search printed
    #[arg(long, value_name = "TOKEN", env = "RELEQ_TOKEN", hide_env_values = true)]
    token: String,
    #[command(flatten)]
    device: DeviceOption,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    arguments.device.choose()?;
    let scratch = tempfile::tempdir()?;
    let mut done = 0;
    let mut watch = |one: &crate::search::bench::Measurement| {
        done += 1;
        terminal::say(&format!("plan {} in {:.1} s, {done} so far", one.plan, one.seconds));
    };
    work(&arguments.connect, &arguments.token, scratch.path(), &mut watch).map_err(failure)?;
    Ok(true)
}

/// A search that is not there or went away is a target that is not there.
fn failure(error: WorkerError) -> Failure {
    let code = match &error {
        WorkerError::Unreachable { .. } | WorkerError::Refused { .. } | WorkerError::Gone { .. } => 3,
        WorkerError::Unable { .. } => 2,
    };
    Failure::with_code(code, error)
}
