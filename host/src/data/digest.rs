//! SHA-256 of contents: of a stream, and of a folder's files together.

use std::io::{self, Read};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

/// Length and SHA-256 of something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Digest {
    /// Bytes.
    pub bytes: u64,
    /// In hexadecimal.
    pub sha256: String,
}

impl Digest {
    /// That of all that `reader` gives.
    ///
    /// # Errors
    /// The reader's own.
    pub fn of(reader: &mut dyn Read) -> io::Result<Self> {
        let (mut sum, mut bytes, mut buffer) = (Sha256::new(), 0, vec![0; 1 << 16]);
        loop {
            match reader.read(&mut buffer) {
                Ok(0) => return Ok(Self { bytes, sha256: hexadecimal(sum) }),
                Ok(count) => {
                    sum.update(&buffer[..count]);
                    bytes += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// That of a folder with `files` in it: of the lines that `sha256sum` prints of them, in the order of their names.
    pub(super) fn of_folder(mut files: Vec<(String, Self)>) -> Self {
        files.sort_by(|(one, _), (other, _)| one.cmp(other));
        let mut sum = Sha256::new();
        for (name, digest) in &files {
            sum.update(format!("{}  {name}\n", digest.sha256));
        }
        Self { bytes: files.iter().map(|(_, digest)| digest.bytes).sum(), sha256: hexadecimal(sum) }
    }
}

fn hexadecimal(sum: Sha256) -> String {
    sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_standard() {
        let digest = Digest::of(&mut &b"abc"[..]).unwrap();
        assert_eq!(digest.bytes, 3);
        assert_eq!(digest.sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    /// `printf abc > b; printf '' > a; sha256sum a b | sha256sum`
    #[test]
    fn a_folder_is_the_sum_of_what_sha256sum_prints() {
        let [full, empty] = [&b"abc"[..], b""].map(|mut bytes| Digest::of(&mut bytes).unwrap());
        let folder = Digest::of_folder(vec![("b".to_owned(), full), ("a".to_owned(), empty)]);
        assert_eq!(folder.bytes, 3);
        assert_eq!(folder.sha256, "bf6e2103d6cbead28abb7d3fec372bc25d03a35b1647e83e090248eb08d0adae");
    }
}
