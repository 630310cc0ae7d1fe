//! A server in the test's own process, of files that it sends as badly as servers do.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Manner {
    /// From the byte that was asked for.
    Well,
    /// So, and cut after as many bytes.
    Cut(usize),
    /// With everything, whatever range was asked for.
    Rangeless,
    /// With a page that says to log in.
    Page,
    /// With a status.
    Status(u16),
    /// Eight kilobytes at a time.
    Slowly,
    /// As many bytes, and then nothing, with the line open.
    Silent(usize),
}

/// A server; the last manner is that of all further requests.
pub(crate) struct Server {
    pub(crate) address: String,
    asked: Log,
}

/// Files by their names.
type Files = BTreeMap<String, Vec<u8>>;
/// The name of each file that was asked for, and the first byte of the range.
type Log = Arc<Mutex<Vec<(String, Option<u64>)>>>;

impl Server {
    /// Nobody: a port at which nobody listens any more.
    pub(crate) fn nobody() -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        Self::at(format!("http://{address}"))
    }

    /// Whoever is there.
    pub(crate) fn at(address: String) -> Self {
        Self { address, asked: Log::default() }
    }

    pub(crate) fn of(files: Files, manners: Vec<Manner>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (asked, files) = (Log::default(), Arc::new(files));
        let log = asked.clone();
        thread::spawn(move || {
            for (index, stream) in listener.incoming().enumerate() {
                let manner = manners[index.min(manners.len() - 1)];
                let (files, log) = (files.clone(), log.clone());
                thread::spawn(move || answer(stream.unwrap(), &files, manner, &log));
            }
        });
        Self { address, asked }
    }

    /// What it was asked for.
    pub(crate) fn asked(&self) -> Vec<(String, Option<u64>)> {
        self.asked.lock().unwrap().clone()
    }

    /// From which bytes on.
    pub(crate) fn ranges(&self) -> Vec<Option<u64>> {
        self.asked().into_iter().map(|(_, range)| range).collect()
    }
}

fn answer(mut stream: TcpStream, files: &Files, manner: Manner, log: &Log) {
    let (mut name, mut range) = (None, None);
    for line in BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok) {
        let path = line.strip_prefix("GET /").and_then(|rest| rest.split(' ').next());
        name = name.or(path.map(str::to_owned));
        match line.to_lowercase().strip_prefix("range: bytes=") {
            Some(span) => range = span.trim_end_matches('-').parse().ok(),
            None if line.is_empty() => break,
            None => {}
        }
    }
    let Some(name) = name else {
        // No HTTP, as from somebody who begins with TLS.
        return drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n"));
    };
    log.lock().unwrap().push((name.clone(), range));
    let (bytes, manner) = match files.get(&name) {
        Some(bytes) => (&bytes[..], manner),
        None => (&[][..], Manner::Status(404)),
    };
    let start = range.unwrap_or(0) as usize;
    let (status, body) = match manner {
        Manner::Status(status) => (format!("{status} No"), b"no".to_vec()),
        Manner::Page => ("200 OK".to_owned(), b"<!DOCTYPE html><title>Please log in".to_vec()),
        Manner::Rangeless => ("200 OK".to_owned(), bytes.to_vec()),
        _ if start >= bytes.len() => ("416 Range Not Satisfiable".to_owned(), Vec::new()),
        _ if range.is_some() => ("206 Partial Content".to_owned(), bytes[start..].to_vec()),
        _ => ("200 OK".to_owned(), bytes.to_vec()),
    };
    let range = match status.starts_with("206") {
        true => format!("Content-Range: bytes {start}-{}/{}\r\n", bytes.len() - 1, bytes.len()),
        false => String::new(),
    };
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n{range}\r\n", body.len());
    stream.write_all(head.as_bytes()).unwrap();
    match manner {
        Manner::Cut(count) => stream.write_all(&body[..count.min(body.len())]).unwrap(),
        Manner::Silent(count) => {
            stream.write_all(&body[..count]).unwrap();
            thread::sleep(Duration::from_secs(2));
        }
        Manner::Slowly => {
            for piece in body.chunks(1 << 13) {
                thread::sleep(Duration::from_millis(20));
                if stream.write_all(piece).is_err() {
                    return;
                }
            }
        }
        // Who has heard enough hangs up.
        _ => drop(stream.write_all(&body)),
    }
    let _ = stream.shutdown(Shutdown::Both);
}
