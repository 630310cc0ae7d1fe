//! Reads WAV files of speech: RIFF with one channel of uncompressed 16-bit samples.

/// The samples of a file that has `rate` of them a second, or what is wrong with it.
pub(super) fn samples(bytes: &[u8], rate: u32) -> Result<Vec<i16>, String> {
    let (b"RIFF", Some(b"WAVE")) = (bytes.get(..4).unwrap_or_default(), bytes.get(8..12)) else {
        return Err("it does not start as a WAV file does".to_owned());
    };
    let format = chunk(bytes, b"fmt ")?;
    let half = |at: usize| format.get(at..at + 2).map_or(0, |two| u16::from_le_bytes([two[0], two[1]]));
    let found = u32::from(half(4)) | u32::from(half(6)) << 16;
    let (coding, channels, bits) = (half(0), half(2), half(14));
    if (coding, channels, bits, found) != (1, 1, 16, rate) {
        return Err(format!(
            "it has coding {coding}, {channels} channels, {bits} bits and {found} samples a second where coding 1 \
             (PCM), 1 channel, 16 bits and {rate} are read"
        ));
    }
    let data = chunk(bytes, b"data")?;
    Ok(data.chunks_exact(2).map(|two| i16::from_le_bytes([two[0], two[1]])).collect())
}

/// The content of the first chunk called `name`.
fn chunk<'b>(bytes: &'b [u8], name: &[u8; 4]) -> Result<&'b [u8], String> {
    let mut rest = bytes.get(12..).unwrap_or_default();
    let shown = String::from_utf8_lossy(name);
    while let Some((head, body)) = rest.split_at_checked(8) {
        let size = u32::from_le_bytes([head[4], head[5], head[6], head[7]]) as usize;
        if &head[..4] == name {
            let there = body.len();
            return body.get(..size).ok_or_else(|| format!("its chunk `{shown}` has {there} of {size} bytes"));
        }
        // Chunks of odd size are followed by a byte of padding.
        rest = body.get(size.saturating_add(size % 2)..).unwrap_or_default();
    }
    Err(format!("it has no chunk `{shown}`"))
}

/// A file of `samples` at `rate` a second, for tests.
#[cfg(test)]
pub(super) fn file(samples: &[i16], rate: u32) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let words = |numbers: &[u32]| numbers.iter().flat_map(|number| number.to_le_bytes()).collect::<Vec<u8>>();
    let size = data.len() as u32;
    // One channel of PCM, then two bytes a sample of 16 bits.
    let format = words(&[16, 1 << 16 | 1, rate, 2 * rate, 16 << 16 | 2]);
    [b"RIFF", &words(&[36 + size])[..], b"WAVEfmt ", &format, b"data", &words(&[size]), &data].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_back_whatever_lies_between() {
        let plain = file(&[0, -1, 32767, -32768], 8000);
        assert_eq!(samples(&plain, 8000), Ok(vec![0, -1, 32767, -32768]));
        // A list of odd size, as editors write it, before the samples.
        let listed = [&plain[..36], b"LIST\x03\0\0\0abc\0", &plain[36..]].concat();
        assert_eq!(samples(&listed, 8000), samples(&plain, 8000));
        assert_eq!(samples(&file(&[], 8000), 8000), Ok(vec![]));
    }

    #[test]
    fn what_is_no_such_file_is_named() {
        let plain = file(&[1, 2, 3], 8000);
        let mut stereo = plain.clone();
        stereo[22] = 2;
        let reason = |bytes: &[u8]| samples(bytes, 8000).unwrap_err();
        assert_eq!(
            reason(&stereo),
            "it has coding 1, 2 channels, 16 bits and 8000 samples a second where coding 1 (PCM), 1 channel, 16 bits and \
             8000 are read"
        );
        assert!(reason(&file(&[1], 44_100)).contains("44100 samples a second"));
        assert_eq!(reason(&plain[..plain.len() - 1]), "its chunk `data` has 5 of 6 bytes");
        assert_eq!(reason(&plain[..36]), "it has no chunk `data`");
        for cut in 0..36 {
            assert!(samples(&plain[..cut], 8000).is_err(), "{cut}");
        }
        assert_eq!(reason(b"OggS"), "it does not start as a WAV file does");
    }
}
