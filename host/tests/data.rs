//! `releq data`: downloads from a server that behaves badly, and what lies here compared with what was published.

#![cfg(feature = "fetch")]

mod server;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use releq::data::digest::Digest;
use releq::data::fetch::{FetchError, Fetched, Patience, Step, fetch};
use releq::data::published::{Form, Part, Published, Remote};
use server::{Manner, Server};

/// Noise that packs to no less.
fn contents() -> Vec<u8> {
    (0..150_000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8 ^ (i >> 9) as u8).collect()
}

fn packed() -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    encoder.write_all(&contents()).unwrap();
    encoder.finish().unwrap()
}

/// A set of one file with those contents, at `mirrors`.
fn set(mirrors: &[&Server], size: Option<u64>) -> &'static Published {
    let digest = Digest::of(&mut &contents()[..]).unwrap();
    let part = Part { names: &["noise"], form: Form::File, bytes: digest.bytes, sha256: digest.sha256.leak() };
    let file = Remote { name: "noise.gz", bytes: size, unpacks_to: None, parts: vec![part].leak() };
    let mirrors: Vec<&'static str> = mirrors.iter().map(|server| &*server.address.clone().leak()).collect();
    Box::leak(Box::new(Published {
        name: "noise",
        about: "",
        licence: "",
        page: "",
        mirrors: mirrors.leak(),
        files: vec![file].leak(),
    }))
}

/// A directory for a set, and what is typed.
struct Desk {
    room: tempfile::TempDir,
    size: Option<u64>,
}

impl Desk {
    fn new() -> Self {
        Self { room: tempfile::tempdir().unwrap(), size: Some(packed().len() as u64) }
    }

    fn directory(&self) -> PathBuf {
        self.room.path().join("noise")
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        fs::create_dir_all(self.directory()).unwrap();
        fs::write(self.directory().join(name), bytes).unwrap();
    }

    /// Names of what lies there, with sizes.
    fn files(&self) -> Vec<(String, usize)> {
        let Ok(entries) = fs::read_dir(self.directory()) else { return Vec::new() };
        let mut files: Vec<(String, usize)> = entries
            .map(|entry| entry.unwrap())
            .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len() as usize))
            .collect();
        files.sort();
        files
    }

    fn fetch_while(&self, mirrors: &[&Server], go_on: impl Fn(Step) -> bool) -> Result<Fetched, FetchError> {
        let patience = Patience { tries: 3, pause: Duration::from_millis(10), silence: Duration::from_millis(300) };
        let mut watch = |step| if go_on(step) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) };
        let all = fetch(set(mirrors, self.size), &self.directory(), None, patience, &mut watch)?;
        assert_eq!(all.len(), 1);
        Ok(all[0].clone())
    }

    fn fetch(&self, mirrors: &[&Server]) -> Result<Fetched, FetchError> {
        self.fetch_while(mirrors, |_| true)
    }

    fn assert_whole(&self) {
        assert_eq!(self.files(), [("noise.gz".to_owned(), packed().len())]);
        assert_eq!(fs::read(self.directory().join("noise.gz")).unwrap(), packed());
    }

    /// The refusal, with addresses and directories that are the same everywhere.
    fn refusal(&self, mirrors: &[&Server]) -> String {
        let mut text = self.fetch(mirrors).unwrap_err().to_string();
        for (index, server) in mirrors.iter().enumerate() {
            text = text.replace(&server.address, &format!("MIRROR{}", index + 1));
        }
        text.replace(&self.room.path().display().to_string(), "DIR")
    }
}

fn server(manners: &[Manner]) -> Server {
    server_of(packed(), manners)
}

fn server_of(bytes: Vec<u8>, manners: &[Manner]) -> Server {
    Server::of(BTreeMap::from([("noise.gz".to_owned(), bytes)]), manners.to_vec())
}

#[test]
fn a_cut_download_goes_on_from_its_byte() {
    let (desk, server) = (Desk::new(), server(&[Manner::Cut(70_001), Manner::Cut(9_000), Manner::Well]));
    let fetched = desk.fetch(&[&server]).unwrap();
    assert_eq!(server.ranges(), [None, Some(70_001), Some(79_001)]);
    assert_eq!(fetched.bytes, Some(packed().len() as u64));
    assert_eq!((fetched.resumed_at, fetched.from), (0, Some(format!("{}/noise.gz", server.address))));
    desk.assert_whole();
    // There and right, it is not asked for again.
    assert_eq!(desk.fetch(&[&server]).unwrap().bytes, None);
    assert_eq!(server.ranges().len(), 3);
}

#[test]
fn an_interrupted_command_goes_on_from_its_byte() {
    let (desk, server) = (Desk::new(), server(&[Manner::Slowly]));
    let interrupted = desk.fetch_while(&[&server], |step| step.got < 50_000).unwrap_err();
    assert!(interrupted.is_interruption(), "{interrupted}");
    let [(name, kept)] = &desk.files()[..] else { panic!("one part is left") };
    assert!(name == "noise.gz.part" && (50_000..packed().len()).contains(kept));
    let fetched = desk.fetch(&[&server]).unwrap();
    assert_eq!((fetched.resumed_at, server.ranges()), (*kept as u64, vec![None, Some(*kept as u64)]));
    desk.assert_whole();
}

#[test]
fn a_server_without_ranges_sends_all_of_it_again() {
    let (desk, server) = (Desk::new(), server(&[Manner::Rangeless]));
    desk.put("noise.gz.part", &packed()[..40_000]);
    desk.fetch(&[&server]).unwrap();
    assert_eq!(server.ranges(), [Some(40_000)]);
    desk.assert_whole();
}

#[test]
fn a_part_of_something_else_is_begun_anew() {
    let (desk, server) = (Desk::new(), server(&[Manner::Well]));
    desk.put("noise.gz.part", &[7; 1000]);
    desk.fetch(&[&server]).unwrap();
    assert_eq!(server.ranges(), [Some(1000), None]);
    desk.assert_whole();
}

#[test]
fn a_part_that_is_whole_is_looked_at_before_anybody_is_asked() {
    let (desk, server) = (Desk::new(), server(&[Manner::Well]));
    desk.put("noise.gz.part", &packed());
    let fetched = desk.fetch(&[&server]).unwrap();
    assert_eq!((fetched.from, server.ranges()), (None, vec![]));
    desk.assert_whole();
    // Of a size that nobody published, the server says so.
    let desk = Desk { size: None, ..Desk::new() };
    desk.put("noise.gz.part", &packed());
    desk.fetch(&[&server]).unwrap();
    assert_eq!(server.ranges(), [Some(packed().len() as u64)]);
    desk.assert_whole();
}

#[test]
fn a_wrong_file_is_replaced_once_the_right_one_is_here() {
    let (desk, gone, good) = (Desk::new(), server(&[Manner::Status(404)]), server(&[Manner::Well]));
    desk.put("noise.gz", b"something of the user's");
    desk.fetch(&[&gone]).unwrap_err();
    assert_eq!(fs::read(desk.directory().join("noise.gz")).unwrap(), b"something of the user's");
    let fetched = desk.fetch(&[&gone, &good]).unwrap();
    assert_eq!(fetched.from, Some(format!("{}/noise.gz", good.address)));
    assert_eq!(gone.ranges().len(), 2, "whoever has no such file is asked once");
    desk.assert_whole();
}

#[test]
fn other_forms_of_the_same_contents_are_enough() {
    let (desk, server) = (Desk::new(), server(&[Manner::Well]));
    desk.put("noise", &contents());
    assert_eq!(desk.fetch(&[&server]).unwrap().bytes, None);
    assert_eq!(server.ranges(), []);
}

#[test]
fn slow_is_no_fault_and_silence_is_one() {
    let (desk, server) = (Desk::new(), server(&[Manner::Slowly]));
    desk.fetch(&[&server]).unwrap();
    desk.assert_whole();
    let (desk, server) = (Desk::new(), self::server(&[Manner::Silent(5_000), Manner::Well]));
    desk.fetch(&[&server]).unwrap();
    assert_eq!(server.ranges(), [None, Some(5_000)]);
    desk.assert_whole();
}

#[test]
fn refusals_say_what_why_and_what_to_do() {
    let mut text = String::new();
    let mut tell = |what: &str, desk: &Desk, mirrors: &[&Server], left: &[(&str, usize)]| {
        text += &format!("{what}\n{}\n\n", desk.refusal(mirrors));
        let left: Vec<(String, usize)> = left.iter().map(|(name, size)| ((*name).to_owned(), *size)).collect();
        assert_eq!(desk.files(), left, "{what}");
    };
    tell("no network", &Desk::new(), &[&Server::nobody(), &Server::nobody()], &[]);
    let plain = server(&[Manner::Well]);
    let secure = Server::at(plain.address.replace("http:", "https:"));
    tell("no secure server", &Desk::new(), &[&secure], &[]);
    tell("no such file", &Desk::new(), &[&server(&[Manner::Status(404)])], &[]);
    let busy = server(&[Manner::Status(503)]);
    tell("out of order", &Desk::new(), &[&busy], &[]);
    assert_eq!(busy.ranges().len(), 3, "it may come back");
    tell("a page instead", &Desk::new(), &[&server(&[Manner::Page])], &[]);
    let mut other = packed();
    other[100_000] ^= 1;
    let size = other.len();
    tell("other bytes", &Desk::new(), &[&server_of(other, &[Manner::Well])], &[]);
    let mut foreign = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    foreign.write_all(&[1; 150_000]).unwrap();
    let foreign = foreign.finish().unwrap();
    tell("other contents", &Desk::new(), &[&server_of(foreign, &[Manner::Well])], &[]);
    let cut = server(&[Manner::Cut(10_000)]);
    tell("cut again and again", &Desk::new(), &[&cut], &[("noise.gz.part", 30_000)]);
    assert_eq!(cut.ranges(), [None, Some(10_000), Some(20_000)]);
    let held = Desk::new();
    held.put("noise.gz.part", b"");
    let part = fs::File::open(held.directory().join("noise.gz.part")).unwrap();
    part.lock().unwrap();
    tell("somebody else", &held, &[&server(&[Manner::Well])], &[("noise.gz.part", 0)]);
    let no_directory = Desk::new();
    fs::write(no_directory.directory(), "a file").unwrap();
    tell("no directory", &no_directory, &[&server(&[Manner::Well])], &[]);
    assert_eq!(size, packed().len());
    insta::assert_snapshot!(text);
}

/// The system's own full disk.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_said_to_be_full() {
    let (desk, server) = (Desk::new(), server(&[Manner::Well]));
    fs::create_dir_all(desk.directory()).unwrap();
    std::os::unix::fs::symlink("/dev/full", desk.directory().join("noise.gz.part")).unwrap();
    assert_eq!(
        desk.refusal(&[&server]),
        "cannot write DIR/noise/noise.gz.part: No space left on device (os error 28); the first 0 bytes are kept; free \
         some space and run the same command to go on, or name another place with --to"
    );
}

/// The published sets of this machine: where `RELEQ_DATA` says, or beside the workspace.
fn real(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("RELEQ_DATA").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"));
    let directory = Some(root.join(name)).filter(|directory| directory.is_dir());
    if directory.is_none() {
        println!("skipped: no data");
    }
    directory
}

fn releq(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_releq"));
    command.current_dir(directory).env_clear().args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn json(output: &Output) -> serde_json::Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

/// MNIST as its authors published it, from a server here: interrupted, taken up, checked, spoilt and mended.
#[cfg(unix)]
#[test]
fn mnist_comes_whole_from_a_server_here() {
    let Some(mnist) = real("mnist") else { return };
    let file = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
    };
    let files: BTreeMap<String, Vec<u8>> = fs::read_dir(mnist).unwrap().map(file).collect();
    let slow = Server::of(files.clone(), vec![Manner::Slowly]);
    let room = tempfile::tempdir().unwrap();
    let here = room.path();
    let typed = |server: &Server| releq(here, &["data", "fetch", "mnist", "--from", &server.address, "--json"]);

    let first = typed(&slow).env("RELEQ_DATA", here).spawn().unwrap();
    let part = here.join("mnist/train-images-idx3-ubyte.gz.part");
    let kept = interrupted_after(first, &part, 100_000);
    let fast = Server::of(files.clone(), vec![Manner::Well]);
    let report = json(&typed(&fast).env("RELEQ_DATA", here).output().unwrap());
    assert_eq!((&report["schema"], report["files"].as_array().unwrap().len()), (&1.into(), 4));
    assert_eq!(report["files"][0]["resumed_at"], kept);
    let images = |range| ("train-images-idx3-ubyte.gz".to_owned(), range);
    assert_eq!((fast.asked().len(), &fast.asked()[0]), (4, &images(Some(kept))));
    for (name, bytes) in &files {
        assert!(fs::read(here.join("mnist").join(name)).unwrap() == *bytes, "{name}");
    }

    let verify = || releq(here, &["data", "verify", "--json"]).env("RELEQ_DATA", here).output().unwrap();
    assert_eq!((verify().status.code(), &json(&verify())["right"]), (Some(0), &true.into()));
    let list = json(&releq(here, &["data", "list", "--json"]).env("RELEQ_DATA", here).output().unwrap());
    assert_eq!(list["datasets"][0]["found"], here.join("mnist").display().to_string());
    assert_eq!(list["datasets"][1]["found"], serde_json::Value::Null);

    // A byte that is off in what is unpacked.
    let labels = here.join("mnist/t10k-labels-idx1-ubyte.gz");
    let mut spoilt = fs::read(&labels).unwrap();
    let middle = spoilt.len() / 2;
    spoilt[middle] ^= 8;
    fs::write(&labels, spoilt).unwrap();
    let verdict = verify();
    assert_eq!(verdict.status.code(), Some(1));
    let parts = json(&verdict)["datasets"][0]["parts"].clone();
    let states: Vec<&str> = parts.as_array().unwrap().iter().map(|part| part["state"].as_str().unwrap()).collect();
    assert!(states[..3] == ["right"; 3] && ["differs", "damaged"].contains(&states[3]), "{states:?}");
    let mended = Server::of(files, vec![Manner::Well]);
    assert_eq!(typed(&mended).env("RELEQ_DATA", here).status().unwrap().code(), Some(0));
    assert_eq!(mended.asked(), [("t10k-labels-idx1-ubyte.gz".to_owned(), None)], "what is right is left alone");
    assert_eq!(verify().status.code(), Some(0));
}

/// Presses Ctrl-C once `part` has as many bytes, and says how many are kept.
#[cfg(unix)]
fn interrupted_after(mut child: Child, part: &Path, bytes: u64) -> u64 {
    let size = || fs::metadata(part).map_or(0, |file| file.len());
    while size() < bytes {
        assert_eq!(child.try_wait().unwrap(), None, "it ended before it could be interrupted");
        std::thread::sleep(Duration::from_millis(2));
    }
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.starts_with("error: interrupted after ") && said.ends_with("run the same command to go on\n"),
        "{said}"
    );
    size()
}

/// What lies here is what was published, whatever it is packed in.
#[test]
#[ignore = "slow: unpacks all of CIFAR-10; `cargo xtask test slow`"]
fn checksums_are_those_of_the_files_here() {
    for name in ["mnist", "cifar10", "fsdd"] {
        let Some(directory) = real(name) else { continue };
        let output = releq(&directory, &["data", "verify", ".", "--json"]).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(json(&output)["datasets"][0]["name"], name);
    }
}

/// Somebody who may not write there, whom root is turned into.
#[cfg(unix)]
#[test]
fn a_directory_that_is_not_ours_is_said_so() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};
    use std::os::unix::process::CommandExt;

    let room = tempfile::tempdir().unwrap();
    let theirs = room.path().join("theirs");
    fs::create_dir(&theirs).unwrap();
    for directory in [room.path(), &theirs] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o555)).unwrap();
    }
    let mut command = releq(room.path(), &["data", "fetch", "mnist", "--to", "theirs", "--from", "http://127.0.0.1:1"]);
    if fs::metadata(&theirs).unwrap().uid() == 0 {
        command.uid(65_534).gid(65_534);
    }
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return println!("skipped: nobody may start {}: {error}", env!("CARGO_BIN_EXE_releq")),
    };
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: cannot write theirs/mnist: Permission denied (os error 13); make it writable, or name another place with \
         --to\n"
    );
    fs::set_permissions(room.path(), fs::Permissions::from_mode(0o755)).unwrap();
}
