//! The one file that speaks HTTP: a request in a thread of its own, so that whoever waits for it can stop waiting.

use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use ureq::http::HeaderMap;
use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE};
use ureq::{Agent, Error};

/// Until a connection stands, names looked up and keys exchanged.
const CONNECTING: Duration = Duration::from_secs(30);
/// Bytes that are handed on at once, and how many such blocks may wait.
const BLOCK: usize = 1 << 16;
const BLOCKS: usize = 16;

/// What is heard of a request, in this order.
#[derive(Debug)]
pub(super) enum Heard {
    /// The server answers.
    Head(Head),
    /// Some of the file.
    Bytes(Vec<u8>),
    /// The last of it has come.
    End,
    /// There will be no more.
    Failed(String),
}

/// How a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// HTTP's status.
    pub(super) status: u16,
    /// From which byte on it sends the file: 0 from one that takes no ranges.
    pub(super) start: u64,
    /// Bytes of the whole file, where it says that.
    pub(super) total: Option<u64>,
}

/// Asks for `url` from byte `start` on. Dropping the receiver ends the request at its next block.
pub(super) fn get(url: &str, start: u64) -> Receiver<Heard> {
    let (sender, receiver) = sync_channel(BLOCKS);
    let url = url.to_owned();
    thread::spawn(move || {
        let last = match request(&url, start, &sender) {
            Ok(()) => Heard::End,
            Err(why) => Heard::Failed(why),
        };
        // Nobody listens any more: they were interrupted, or have had enough.
        let _ = sender.send(last);
    });
    receiver
}

/// Bytes come as they are stored: no encoding is asked for and none taken off, or a `.gz` would come unpacked.
fn request(url: &str, start: u64, sender: &SyncSender<Heard>) -> Result<(), String> {
    let config = Agent::config_builder()
        .http_status_as_error(false)
        // A secure address never leads to one that is not.
        .https_only(url.starts_with("https://"))
        .timeout_connect(Some(CONNECTING))
        .user_agent(concat!("releq/", env!("CARGO_PKG_VERSION")))
        .build();
    let mut request = Agent::new_with_config(config).get(url);
    if start > 0 {
        request = request.header(RANGE, format!("bytes={start}-"));
    }
    let (head, body) = request.call().map_err(reason)?.into_parts();
    let head = Head::of(head.status.as_u16(), &head.headers);
    if sender.send(Heard::Head(head)).is_err() {
        return Ok(());
    }
    let mut reader = body.into_reader();
    loop {
        let mut block = vec![0; BLOCK];
        let count = reader.read(&mut block).map_err(|error| error.to_string())?;
        block.truncate(count);
        if count == 0 || sender.send(Heard::Bytes(block)).is_err() {
            return Ok(());
        }
    }
}

/// What went wrong, in the system's words where it was the system.
fn reason(error: Error) -> String {
    match error {
        Error::Io(error) => error.to_string(),
        Error::HostNotFound => "the host is not known".to_owned(),
        other => other.to_string(),
    }
}

impl Head {
    fn of(status: u16, headers: &HeaderMap) -> Self {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let length = || text(CONTENT_LENGTH)?.trim().parse().ok();
        let whole = Self { status, start: 0, total: length() };
        match text(CONTENT_RANGE).and_then(range).filter(|_| status == 206) {
            Some((start, total)) => Self { start, total, ..whole },
            None => whole,
        }
    }
}

/// `bytes 100-199/200`: the first byte, and the bytes of the whole.
fn range(text: &str) -> Option<(u64, Option<u64>)> {
    let (span, total) = text.trim().strip_prefix("bytes ")?.split_once('/')?;
    Some((span.split_once('-')?.0.trim().parse().ok()?, total.trim().parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_or_passed_over() {
        assert_eq!(range("bytes 100-199/200"), Some((100, Some(200))));
        assert_eq!(range("bytes 100-199/*"), Some((100, None)));
        for none in ["", "bytes */200", "items 1-2/3", "bytes 1-2", "bytes x-2/3"] {
            assert_eq!(range(none), None, "{none}");
        }
    }
}
