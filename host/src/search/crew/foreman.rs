//! Hands jobs to workers and collects what they measured.
//!
//! A thread a connection: it waits for a job, sends it, waits for the answer. A connection that ends, falls silent or
//! sends nonsense puts its job back for the others. Nobody is sent a byte before he has shown the token.

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::frame::{self, MOST, STRANGERS};
use super::{FromForeman, FromWorker, Job, PROTOCOL, Task};
use crate::search::bench::Measurement;
use crate::terminal;

/// How long a worker may say nothing: it says every [`HEARTBEAT`] that it is at work.
const SILENCE: Duration = Duration::from_secs(60);
/// How often a worker at work says so.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// How long whoever connects may take to show the token.
const GREETING: Duration = Duration::from_secs(10);
/// How long workers have for their farewell.
const FAREWELL: Duration = Duration::from_secs(1);
/// How often somebody who waits looks whether the user has had enough.
const LOOK: Duration = Duration::from_millis(200);

/// What was asked for and has not been answered.
#[derive(Debug, Default)]
struct Board {
    waiting: VecDeque<(usize, Job)>,
    answers: Vec<Option<Result<Measurement, String>>>,
    /// Connections that wait for jobs or do them.
    workers: usize,
    over: bool,
}

#[derive(Debug, Default)]
struct Shared {
    board: Mutex<Board>,
    changed: Condvar,
}

impl Shared {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, what: impl FnOnce(&mut Board) -> T) -> T {
        let answer = what(&mut self.board());
        self.changed.notify_all();
        answer
    }
}

/// What everybody who connects is told.
#[derive(Debug)]
struct Brief {
    token: String,
    task: Task,
    network: Vec<u8>,
}

/// Whoever has connected, and the jobs between them and the search.
#[derive(Debug)]
pub struct Foreman {
    shared: Arc<Shared>,
    address: SocketAddr,
}

/// Why jobs were not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrewError {
    /// The user asked to stop.
    #[error("the search was interrupted; nothing is lost: run the same command to go on")]
    Interrupted,
    /// A worker says that the plan cannot be measured.
    #[error("a worker could not measure a plan: {0}")]
    Failed(String),
}

impl Foreman {
    /// Listens at `address`; whoever shows `token` gets `task`, `network` and jobs.
    ///
    /// # Errors
    /// What the system says of the address.
    pub fn listen(address: &str, token: String, task: Task, network: Vec<u8>) -> io::Result<Self> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared::default());
        let brief = Arc::new(Brief { token, task, network });
        let inside = shared.clone();
        // Ends with the process: a listener cannot be woken, and holds nothing but its port.
        thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                let (shared, brief) = (inside.clone(), brief.clone());
                thread::spawn(move || employ(stream, &shared, &brief));
            }
        });
        Ok(Self { shared, address })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Workers that wait or work.
    pub fn workers(&self) -> usize {
        self.shared.board().workers
    }

    /// Has all of `jobs` done, in whatever order and by whomever; the answers come in the jobs' order.
    ///
    /// Once `stop` says so, those that have no answer yet are [`CrewError::Interrupted`].
    pub fn all(&self, jobs: Vec<Job>, stop: &(dyn Fn() -> bool + Sync)) -> Vec<Result<Measurement, CrewError>> {
        self.shared.change(|board| {
            board.answers = vec![None; jobs.len()];
            board.waiting = jobs.into_iter().enumerate().collect();
        });
        loop {
            let mut board = self.shared.board();
            if stop() || board.answers.iter().all(Option::is_some) {
                board.waiting.clear();
                let answer = |answer: Option<Result<_, String>>| match answer {
                    Some(answer) => answer.map_err(CrewError::Failed),
                    None => Err(CrewError::Interrupted),
                };
                return std::mem::take(&mut board.answers).into_iter().map(answer).collect();
            }
            drop(self.shared.changed.wait_timeout(board, LOOK).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

impl Drop for Foreman {
    fn drop(&mut self) {
        self.shared.change(|board| board.over = true);
        // Those who wait for jobs are told before the process, and their connections with it, end.
        let waits = |board: &mut Board| board.workers > 0;
        drop(self.shared.changed.wait_timeout_while(self.shared.board(), FAREWELL, waits));
    }
}

/// One connection, from its first word to its last.
fn employ(mut stream: TcpStream, shared: &Shared, brief: &Brief) {
    let peer = stream.peer_addr().map_or_else(|_| "nowhere".to_owned(), |peer| peer.to_string());
    if greet(&mut stream, brief).is_err() {
        terminal::detail(&format!("{peer} did not show the token"));
        return;
    }
    match introduce(&mut stream, brief) {
        Ok(None) => {
            terminal::note(&format!("worker {peer} takes part"));
            shared.change(|board| board.workers += 1);
            let left = work(&mut stream, shared);
            shared.change(|board| board.workers -= 1);
            if let Err(error) = left {
                terminal::note(&format!("worker {peer} is gone ({error}); another one does its plan"));
            }
        }
        Ok(Some(why)) => terminal::note(&format!("worker {peer} cannot take part: {why}")),
        Err(error) => terminal::detail(&format!("worker {peer} left before it was ready ({error})")),
    }
}

/// Hears the first word; nothing is said to strangers, nor how near they were.
fn greet(stream: &mut TcpStream, brief: &Brief) -> io::Result<()> {
    stream.set_read_timeout(Some(GREETING))?;
    stream.set_nodelay(true)?;
    match frame::receive(stream, STRANGERS)? {
        FromWorker::Hello { protocol, token } if protocol == PROTOCOL && is_same(&token, &brief.token) => Ok(()),
        _ => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

/// Whether two tokens are the same, in a time that does not tell where they differ.
fn is_same(shown: &str, token: &str) -> bool {
    let differences = shown.bytes().zip(token.bytes()).fold(0, |all, (one, other)| all | (one ^ other));
    shown.len() == token.len() && differences == 0
}

/// Tells a worker what it is about; why it cannot take part, if it cannot. It may take minutes to get ready.
fn introduce(stream: &mut TcpStream, brief: &Brief) -> io::Result<Option<String>> {
    frame::send(stream, &FromForeman::Task(brief.task.clone()))?;
    frame::send_bytes(stream, &brief.network)?;
    stream.set_read_timeout(Some(SILENCE))?;
    loop {
        match frame::receive(stream, MOST)? {
            FromWorker::Working => {}
            FromWorker::Ready => return Ok(None),
            FromWorker::Unable { why } => return Ok(Some(why)),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

/// One job after another, until there are no more or the connection ends.
fn work(stream: &mut TcpStream, shared: &Shared) -> io::Result<()> {
    while let Some((number, job)) = next(shared) {
        match done(stream, &job) {
            Ok(answer) => shared.change(|board| {
                if let Some(place) = board.answers.get_mut(number) {
                    *place = Some(answer);
                }
            }),
            Err(error) => {
                shared.change(|board| board.waiting.push_front((number, job)));
                return Err(error);
            }
        }
    }
    frame::send(stream, &FromForeman::Over)
}

/// Waits for a job; none once the search is over.
fn next(shared: &Shared) -> Option<(usize, Job)> {
    let mut board = shared.board();
    loop {
        if board.over {
            return None;
        }
        if let Some(job) = board.waiting.pop_front() {
            return Some(job);
        }
        board = shared.changed.wait(board).unwrap_or_else(PoisonError::into_inner);
    }
}

/// What a worker makes of a job; anything that is no answer to it ends the connection.
fn done(stream: &mut TcpStream, job: &Job) -> io::Result<Result<Measurement, String>> {
    frame::send(stream, &FromForeman::Job(job.clone()))?;
    loop {
        match frame::receive(stream, MOST)? {
            FromWorker::Working => {}
            FromWorker::Done(one) if one.plan == job.plan && one.images == job.images => return Ok(Ok(one)),
            FromWorker::Failed { why } => return Ok(Err(why)),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use releq_search::plan::BitPlan;

    use super::*;
    use crate::search::bench::{Finding, Stage};
    use crate::search::preset::{Preset, Published};

    fn foreman() -> Foreman {
        let task = Task {
            key: "k".into(),
            preset: Preset::Default,
            quantizer: Published::Dorefa,
            seed: 1,
            data: "glyphs".into(),
            val: None,
        };
        Foreman::listen("127.0.0.1:0", "secret".into(), task, vec![1, 2, 3]).unwrap()
    }

    fn jobs() -> Vec<Job> {
        let plan = |bits| BitPlan::uniform(bits, 2).unwrap();
        (2..=8).map(|bits| Job { stage: Stage::Search, plan: plan(bits), images: 10 }).collect()
    }

    fn hello(foreman: &Foreman, token: &str) -> TcpStream {
        let mut stream = TcpStream::connect(foreman.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        frame::send(&mut stream, &FromWorker::Hello { protocol: PROTOCOL, token: token.into() }).unwrap();
        stream
    }

    /// Does at most `most` jobs, then hangs up without a word.
    fn hand(foreman: &Foreman, most: usize) -> usize {
        let mut stream = hello(foreman, "secret");
        let task: FromForeman = frame::receive(&mut stream, MOST).unwrap();
        assert!(matches!(task, FromForeman::Task(_)));
        assert_eq!(frame::receive_bytes(&mut stream, MOST).unwrap(), [1, 2, 3]);
        frame::send(&mut stream, &FromWorker::Ready).unwrap();
        let mut done = 0;
        while let Ok(FromForeman::Job(job)) = frame::receive(&mut stream, MOST) {
            if done == most {
                return done;
            }
            frame::send(&mut stream, &FromWorker::Working).unwrap();
            let Job { stage, plan, images } = job;
            let accuracy = f64::from(plan.total_weight_bits());
            let key = "k".to_owned();
            let finding = Finding::Answers { divergence: 0.0, accuracy };
            let one = Measurement { key, stage, plan, images, finding, seconds: 0.0, cost: None };
            frame::send(&mut stream, &FromWorker::Done(one)).unwrap();
            done += 1;
        }
        done
    }

    /// Workers come and go; every job is answered once, in order, and one that a worker took with it is done by another.
    #[test]
    fn a_worker_that_leaves_costs_its_job_and_nothing_else() {
        let foreman = foreman();
        thread::scope(|scope| {
            scope.spawn(|| hand(&foreman, 0));
            scope.spawn(|| hand(&foreman, 2));
            scope.spawn(|| {
                thread::sleep(Duration::from_millis(50));
                hand(&foreman, usize::MAX)
            });
            for _ in 0..2 {
                let found = foreman.all(jobs(), &|| false);
                let bits: Vec<f64> = found.into_iter().map(|one| one.unwrap().accuracy()).collect();
                assert_eq!(bits, [4.0, 6.0, 8.0, 10.0, 12.0, 14.0, 16.0]);
            }
            foreman.shared.change(|board| board.over = true);
        });
    }

    #[test]
    fn strangers_get_nothing() {
        let foreman = foreman();
        for token in ["", "secreu", "secret ", "secre"] {
            let mut stream = hello(&foreman, token);
            assert!(frame::receive_bytes(&mut stream, MOST).is_err(), "`{token}`");
        }
        // Nor who speaks another language, nor who begins with a gigabyte.
        let mut stream = TcpStream::connect(foreman.address()).unwrap();
        io::Write::write_all(&mut stream, &[0xFF; 64]).unwrap();
        let mut answer = [0; 1];
        assert!(!matches!(io::Read::read(&mut stream, &mut answer), Ok(1..)));
        assert_eq!(foreman.workers(), 0);
    }

    #[test]
    fn a_user_who_has_had_enough_is_heard_while_nobody_works() {
        let answers = foreman().all(jobs(), &|| true);
        assert_eq!(answers, vec![Err(CrewError::Interrupted); jobs().len()]);
    }
}
