//! Connects to a search, and measures the plans it is given.

use std::io;
use std::net::TcpStream;
use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Mutex, PoisonError};
use std::thread;

use super::foreman::HEARTBEAT;
use super::frame::{self, MOST};
use super::{FromForeman, FromWorker, Job, PROTOCOL, Task};
use crate::checkpoint;
use crate::data::{self, DataError, Which};
use crate::search::bench::{Bench, BenchError, Measurement};
use crate::search::split::Split;

/// Why a worker ends before the search does.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Nobody listens there.
    #[error(
        "cannot reach a search at {address}: {error}; start one with `releq search … --listen {address}`, \
         and check the address"
    )]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        error: io::Error,
    },
    /// The search hung up on the first word.
    #[error(
        "the search at {address} hangs up at the first word; it has another token or another version; \
             give the token it printed, with --token or in RELEQ_TOKEN"
    )]
    Refused {
        /// Where.
        address: String,
    },
    /// The connection ended.
    #[error("the search at {address} is gone: {error}; nothing is lost there, start this worker again when it is back")]
    Gone {
        /// Where.
        address: String,
        /// How.
        error: io::Error,
    },
    /// The search's network or images are of no use here.
    #[error("cannot take part in the search: {why}")]
    Unable {
        /// Why, and what to do.
        why: String,
    },
}

/// Takes jobs from the search at `address` until there are no more; `watch` learns of each that is done.
///
/// # Errors
/// [`WorkerError`].
pub fn work(
    address: &str,
    token: &str,
    scratch: &Path,
    watch: &mut dyn FnMut(&Measurement),
) -> Result<(), WorkerError> {
    let unreachable = |error| WorkerError::Unreachable { address: address.to_owned(), error };
    let mut stream = TcpStream::connect(address).map_err(unreachable)?;
    let gone = |error| WorkerError::Gone { address: address.to_owned(), error };
    stream.set_nodelay(true).map_err(gone)?;
    let hello = FromWorker::Hello { protocol: PROTOCOL, token: token.to_owned() };
    frame::send(&mut stream, &hello).map_err(gone)?;
    let Ok(FromForeman::Task(task)) = frame::receive(&mut stream, MOST) else {
        return Err(WorkerError::Refused { address: address.to_owned() });
    };
    let network = frame::receive_bytes(&mut stream, MOST).map_err(gone)?;
    let line = Line { stream: Mutex::new(stream.try_clone().map_err(gone)?) };
    let unable = |why: String| {
        // Whether it is heard or not, this worker ends.
        let _ = line.send(&FromWorker::Unable { why: why.clone() });
        WorkerError::Unable { why }
    };
    let setting = line.at_work(|| Setting::new(&task, &network, scratch)).map_err(unable)?;
    let bench = line.at_work(|| setting.bench(&task, scratch)).map_err(unable)?;
    line.send(&FromWorker::Ready).map_err(gone)?;
    loop {
        let job = match frame::receive(&mut stream, MOST).map_err(gone)? {
            FromForeman::Job(job) => job,
            FromForeman::Over => return Ok(()),
            FromForeman::Task(_) => return Err(gone(io::ErrorKind::InvalidData.into())),
        };
        let answer = match line.at_work(|| measured(&bench, &job)) {
            Ok(measurement) => {
                watch(&measurement);
                FromWorker::Done(measurement)
            }
            Err(error) => FromWorker::Failed { why: error.to_string() },
        };
        line.send(&answer).map_err(gone)?;
    }
}

fn measured(bench: &Bench<'_>, job: &Job) -> Result<Measurement, BenchError> {
    bench.measured_now(job.stage, &job.plan, job.images)
}

/// The way back, which the pulse shares.
struct Line {
    stream: Mutex<TcpStream>,
}

impl Line {
    fn send(&self, message: &FromWorker) -> io::Result<()> {
        frame::send(&mut *self.stream.lock().unwrap_or_else(PoisonError::into_inner), message)
    }

    /// Does `work`, and says every now and then that it is being done.
    fn at_work<T>(&self, work: impl FnOnce() -> T) -> T {
        let (done, pulse) = mpsc::channel::<()>();
        thread::scope(|scope| {
            scope.spawn(move || {
                // A search that is gone is noticed when there is something to say to it.
                while pulse.recv_timeout(HEARTBEAT) == Err(RecvTimeoutError::Timeout) {
                    let _ = self.send(&FromWorker::Working);
                }
            });
            let answer = work();
            drop(done);
            answer
        })
    }
}

/// The network and its images, found here.
struct Setting {
    network: crate::network::Network,
    split: Split,
}

impl Setting {
    fn new(task: &Task, network: &[u8], scratch: &Path) -> Result<Self, String> {
        let path = scratch.join("network.safetensors");
        std::fs::write(&path, network)
            .map_err(|error| format!("cannot write {}: {error}; free some space", path.display()))?;
        let network = checkpoint::load(&path).map_err(|error| error.to_string())?;
        let load = |spec: &str, which| -> Result<_, DataError> { data::locate(Some(spec), None)?.load(which) };
        let told = |error: DataError| error.to_string();
        let train = load(&task.data, Which::Train).map_err(told)?;
        let test = load(&task.data, Which::Test).map_err(told)?;
        let own = task.val.as_deref().map(|spec| load(spec, Which::Test)).transpose().map_err(told)?;
        let split = Split::new(train, test, network.graph.held_out, own);
        Ok(Self { network, split })
    }

    /// A bench that measures what the search's own would.
    fn bench(&self, task: &Task, scratch: &Path) -> Result<Bench<'_>, String> {
        let recipe = task.preset.recipe(task.quantizer, task.seed);
        let log = scratch.join("measurements.jsonl");
        let bench = Bench::open(&self.network, &self.split, recipe, &log, 1, &|| false);
        let bench = bench.map_err(|error| error.to_string())?;
        match bench.key() == task.key {
            true => Ok(bench),
            false => Err(format!(
                "its images of {} or its version of releq are not the search's; give both the same files and version",
                task.data
            )),
        }
    }
}
