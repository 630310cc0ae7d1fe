//! Sizes, durations and frequencies as people write them: `64KiB`, `15ms`, `168MHz`.

use std::time::Duration;

/// Bytes of `64KiB` (1024 bytes a KiB), `64kB` (1000 a kB), `1MiB`, `1MB`, or a plain number.
///
/// # Errors
/// A text that is none, with what to write.
pub fn bytes(text: &str) -> Result<u64, String> {
    let units =
        [("KiB", 1024.0), ("MiB", 1024.0 * 1024.0), ("kB", 1e3), ("KB", 1e3), ("MB", 1e6), ("B", 1.0), ("", 1.0)];
    measured(text, &units)
        .map(|bytes| bytes as u64)
        .ok_or_else(|| format!("`{text}` is no size; write bytes, or a number of KiB, kB, MiB or MB, such as 64KiB"))
}

/// A duration of `15ms`, `900us` or `1.5s`.
///
/// # Errors
/// A text that is none, with what to write.
pub fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 1e-3), ("us", 1e-6), ("µs", 1e-6), ("s", 1.0)];
    let seconds = measured(text, &units).filter(|seconds| *seconds < 1e9);
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("`{text}` is no duration; write a number of s, ms or us, such as 15ms"))
}

/// Hertz of `168MHz`, `32kHz` or a plain number.
///
/// # Errors
/// A text that is none, with what to write.
pub fn hertz(text: &str) -> Result<f64, String> {
    let units = [("MHz", 1e6), ("GHz", 1e9), ("kHz", 1e3), ("Hz", 1.0), ("", 1.0)];
    let found = measured(text, &units);
    found.ok_or_else(|| format!("`{text}` is no frequency; write a number of MHz, kHz or Hz, such as 168MHz"))
}

/// A count of `2M`, `900k` or a plain number.
///
/// # Errors
/// A text that is none, with what to write.
pub fn count(text: &str) -> Result<f64, String> {
    let found = measured(text, &[("k", 1e3), ("M", 1e6), ("", 1.0)]);
    found.ok_or_else(|| {
        format!("`{text}` is no count; write a number, in thousands or millions with k or M, such as 2M")
    })
}

/// The number before the first unit that fits, in what that unit is worth; positive and finite.
fn measured(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim().replace('_', "");
    let number = |&(unit, worth): &(&str, f64)| {
        let number: f64 = text.strip_suffix(unit)?.trim_end().parse().ok()?;
        Some(number * worth)
    };
    units.iter().find_map(number).filter(|number| number.is_finite() && *number > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_read() {
        assert_eq!(
            ["64KiB", "64kB", "65536", "1 MiB", "0.5KiB", "7B"].map(bytes),
            [65_536, 64_000, 65_536, 1_048_576, 512, 7].map(Ok)
        );
        assert_eq!(
            ["15ms", "900us", "1.5s"].map(duration),
            [15_000, 900, 1_500_000].map(|us| Ok(Duration::from_micros(us)))
        );
        assert_eq!(["168MHz", "32.768kHz", "25_000_000"].map(hertz), [168e6, 32_768.0, 25e6].map(Ok));
        assert_eq!(["2M", "900k", "1234"].map(count), [2e6, 9e5, 1234.0].map(Ok));
    }

    #[test]
    fn nonsense_is_named() {
        for text in ["", "KiB", "-1KiB", "0", "64GiB", "1e400", "NaN", "64 parsecs"] {
            assert!(bytes(text).unwrap_err().contains("such as 64KiB"), "{text}");
        }
        for text in ["15", "15min", "-1ms"] {
            assert!(duration(text).is_err(), "{text}");
        }
        assert!(hertz("fast").is_err() && count("many").is_err());
    }
}
