//! Keys in files, and images signed with them: Ed25519 over the digest of an image (SPEC.md, §2).
//!
//! A private key is the user's: its file is made once, readable by nobody else, and never written again. Checking is left to
//! `releq_device::signed`, so that a workstation says of an image what a device does.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ed25519_dalek::{Signer, SigningKey};
use releq_device::signed::PublicKey;
use releq_format::image::{Image, ImageBuffer, signed_digest, with_signature};

/// What a file begins with that holds a private key, of 64 hexadecimal digits.
const PRIVATE: &str = "releq-private-key-1 ";
/// What a file begins with that holds a public key.
const PUBLIC: &str = "releq-public-key-1 ";

/// Why a key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// No such file, or none that may be read.
    #[error("cannot read {path}: {error}; check the path")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The file holds something else.
    #[error(
        "{path} holds no key: one is a line of a word and 64 digits; name a file that `releq keygen` made with --key"
    )]
    NoKey {
        /// The file.
        path: PathBuf,
    },
    /// A private key where a public one is wanted.
    #[error("{path} is a private key, which only `releq sign` needs; name its public half with --key, {path}.pub")]
    Private {
        /// The file.
        path: PathBuf,
    },
    /// A public key where a private one is wanted.
    #[error("{path} is a public key, which signs nothing; name the private one that was made with it with --key")]
    Public {
        /// The file.
        path: PathBuf,
    },
    /// A key is there already.
    #[error("{path} exists, and no key is ever overwritten; nothing was written; choose another name")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be made.
    #[error("cannot write {path}: {error}; no pair was made; choose another place")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// The system has no random numbers.
    #[error("this system gives no random numbers: {0}; make the key on another machine")]
    Random(getrandom::Error),
}

/// A key that signs.
#[derive(Debug)]
pub struct PrivateKey(SigningKey);

impl PrivateKey {
    /// A new one, of the system's random numbers.
    ///
    /// # Errors
    /// Where the system has none.
    pub fn generate() -> Result<Self, KeyError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(KeyError::Random)?;
        Ok(Self(SigningKey::from_bytes(&secret)))
    }

    /// The key in the file at `path`.
    ///
    /// # Errors
    /// Where there is none.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        match parse(path)? {
            (Half::Private, secret) => Ok(Self(SigningKey::from_bytes(&secret))),
            (Half::Public, _) => Err(KeyError::Public { path: path.to_owned() }),
        }
    }

    /// Writes the pair: the private key to `path`, for its owner alone to read, and the public one to `path` and `.pub`, whose
    /// name it returns.
    ///
    /// # Errors
    /// Where either is there already or cannot be written; then neither has been made.
    pub fn write(&self, path: &Path) -> Result<PathBuf, KeyError> {
        let mut public = path.as_os_str().to_owned();
        public.push(".pub");
        let public = PathBuf::from(public);
        create(&public, &line(PUBLIC, &self.public().0), false)?;
        if let Err(error) = create(path, &line(PRIVATE, &self.0.to_bytes()), true) {
            // It was made a moment ago; who could take it away again meanwhile has done so.
            let _ = fs::remove_file(&public);
            return Err(error);
        }
        Ok(public)
    }

    /// Its public half.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// The image with this key's signature in its slot: the same one each time.
    ///
    /// # Panics
    /// Never: an image that was opened has a slot.
    pub fn sign(&self, image: &Image<'_>) -> ImageBuffer {
        let digest = signed_digest(image.bytes()).expect("an image that was opened has a slot");
        with_signature(image, &self.0.sign(&digest).to_bytes())
    }
}

/// The public key in the file at `path`.
///
/// # Errors
/// Where there is none.
pub fn read_public(path: &Path) -> Result<PublicKey, KeyError> {
    match parse(path)? {
        (Half::Public, key) => Ok(PublicKey(key)),
        (Half::Private, _) => Err(KeyError::Private { path: path.to_owned() }),
    }
}

/// A key as 64 hexadecimal digits.
pub fn digits(key: &PublicKey) -> String {
    hex(&key.0)
}

/// Which of a pair a file holds.
enum Half {
    Private,
    Public,
}

fn parse(path: &Path) -> Result<(Half, [u8; 32]), KeyError> {
    let bytes = fs::read(path).map_err(|error| KeyError::Unreadable { path: path.to_owned(), error })?;
    let text = std::str::from_utf8(&bytes).ok().map(str::trim);
    let halves = [(PRIVATE, Half::Private), (PUBLIC, Half::Public)];
    let found = halves.into_iter().find_map(|(word, half)| Some((half, unhex(text?.strip_prefix(word)?)?)));
    found.ok_or_else(|| KeyError::NoKey { path: path.to_owned() })
}

fn create(path: &Path, line: &str, secret: bool) -> Result<(), KeyError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    if secret {
        only_for_its_owner(&mut options);
    }
    let written = options.open(path).and_then(|mut file: File| {
        file.write_all(line.as_bytes())?;
        file.sync_all()
    });
    written.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => KeyError::Exists { path: path.to_owned() },
        _ => KeyError::Unwritable { path: path.to_owned(), error },
    })
}

#[cfg(unix)]
fn only_for_its_owner(options: &mut OpenOptions) {
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
}

#[cfg(not(unix))]
fn only_for_its_owner(_: &mut OpenOptions) {}

fn line(word: &str, key: &[u8; 32]) -> String {
    format!("{word}{}\n", hex(key))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(digits: &str) -> Option<[u8; 32]> {
    let digits: Vec<u32> = digits.chars().map(|digit| digit.to_digit(16)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks(2).filter_map(|pair| Some((pair[0] << 4 | pair.get(1)?) as u8)).collect();
    (digits.len() == 64).then_some(bytes)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use releq_device::signed::Signed;

    use super::*;

    const TINY: &[u8] = include_bytes!("../../format/golden/v1/tiny.rlq");

    #[test]
    fn a_pair_is_written_once_and_read_back() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let key = PrivateKey::generate().unwrap();
        let public = key.write(&path).unwrap();
        assert_eq!(PrivateKey::read(&path).unwrap().public(), key.public());
        assert_eq!(read_public(&public).unwrap(), key.public());
        assert!(matches!(read_public(&path), Err(KeyError::Private { .. })));
        assert!(matches!(PrivateKey::read(&public), Err(KeyError::Public { .. })));
        let before = fs::read(&path).unwrap();
        assert!(matches!(PrivateKey::generate().unwrap().write(&path), Err(KeyError::Exists { .. })));
        fs::remove_file(&public).unwrap();
        // The private half is there: the public one of another pair does not stay beside it.
        assert!(matches!(PrivateKey::generate().unwrap().write(&path), Err(KeyError::Exists { .. })));
        assert!(!public.exists() && fs::read(&path).unwrap() == before);
        assert_ne!(PrivateKey::generate().unwrap().public(), key.public());
    }

    #[cfg(unix)]
    #[test]
    fn a_private_key_is_its_owners() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        PrivateKey::generate().unwrap().write(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn signing_is_the_same_each_time() {
        let key = PrivateKey(SigningKey::from_bytes(&[7; 32]));
        let buffer = ImageBuffer::from(TINY);
        let once = key.sign(&Image::open(&buffer).unwrap());
        let opened = Image::open(&once).unwrap();
        assert_eq!(key.sign(&opened), once);
        assert_eq!(Signed::open(&once, &[key.public()]).unwrap().signer(), 0);
        assert!(Signed::open(&once, &[PrivateKey::generate().unwrap().public()]).is_err());
    }

    #[test]
    fn other_files_hold_no_key() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        let digits = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";
        for text in
            ["", "releq-public-key-1 ", digits, &format!("releq-public-key-2 {digits}"), "releq-public-key-1 zz"]
        {
            fs::write(&path, text).unwrap();
            assert!(matches!(read_public(&path), Err(KeyError::NoKey { .. })), "{text}");
        }
        fs::write(&path, format!("{PUBLIC}{}", &digits[1..])).unwrap();
        assert!(read_public(&path).is_err());
        fs::write(&path, [0xFF; 90]).unwrap();
        assert!(read_public(&path).is_err());
        assert!(matches!(read_public(&directory.path().join("none")), Err(KeyError::Unreadable { .. })));
    }
}
