//! Numbers as people read them; what is no number is a dash.

/// What stands where nothing is known.
pub(crate) const NONE: &str = "–";

/// Fixed decimals.
pub(crate) fn fixed(value: Option<f64>, decimals: usize) -> String {
    match value {
        Some(value) if value.is_finite() => {
            let text = format!("{value:.decimals$}");
            // Rounded to nothing, a sign says nothing.
            let zero = text.bytes().all(|byte| matches!(byte, b'-' | b'0' | b'.'));
            if zero { text.trim_start_matches('-').to_owned() } else { text.replace('-', "−") }
        }
        _ => NONE.to_owned(),
    }
}

/// A difference with its sign, in tenths.
pub(crate) fn signed(value: Option<f64>) -> String {
    let sign = if value.is_some_and(|value| value.is_finite() && value >= 0.05) { "+" } else { "" };
    format!("{sign}{}", fixed(value, 1))
}

/// A whole number in groups of three digits.
pub(crate) fn grouped(value: Option<f64>) -> String {
    let Some(value) = value.filter(|value| value.is_finite()) else { return NONE.to_owned() };
    let digits = format!("{:.0}", value.abs());
    let sign = if value < 0.0 && digits != "0" { "−" } else { "" };
    let groups: Vec<&str> = {
        let head = digits.len() % 3;
        let rest = (head..digits.len()).step_by(3).map(|start| &digits[start..start + 3]);
        Some(&digits[..head]).filter(|head| !head.is_empty()).into_iter().chain(rest).collect()
    };
    // Narrow and without a break.
    format!("{sign}{}", groups.join("\u{202f}"))
}

/// Bytes or counts.
pub(crate) fn count(value: Option<u64>) -> String {
    grouped(value.map(|value| value as f64))
}

/// A label on an axis whose labels are `step` apart.
pub(crate) fn label(value: f64, step: f64) -> String {
    let (divisor, suffix) = match value.abs().max(step) {
        large if large >= 1e9 => (1e9, " G"),
        large if large >= 1e6 => (1e6, " M"),
        large if large >= 1e4 => (1e3, " k"),
        _ => (1.0, ""),
    };
    let decimals = (-(step / divisor).log10().floor()).clamp(0.0, 6.0) as usize;
    let text = fixed(Some(value / divisor), decimals);
    if value == 0.0 { "0".to_owned() } else { text + suffix }
}

/// Seconds as hours and minutes, where they are many.
pub(crate) fn time(seconds: Option<f64>) -> String {
    match seconds.filter(|seconds| seconds.is_finite()) {
        Some(seconds) if seconds >= 3600.0 => {
            let minutes = (seconds / 60.0).round();
            format!("{:.0} h {:02.0} min", (minutes / 60.0).floor(), minutes % 60.0)
        }
        Some(seconds) if seconds >= 120.0 => format!("{:.0} min", seconds / 60.0),
        Some(seconds) => format!("{seconds:.0} s"),
        None => NONE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well_and_no_numbers_are_dashes() {
        assert_eq!(fixed(Some(-0.001), 2), "0.00");
        assert_eq!(fixed(Some(-1.5), 1), "−1.5");
        assert_eq!([-0.26, 0.01, 0.26].map(|value| signed(Some(value))), ["−0.3", "0.0", "+0.3"]);
        let spaced = |text: String| text.replace('\u{202f}', " ");
        let numbers = [0.0, 999.0, 1000.0, 1_234_567.4, -12_345.0];
        assert_eq!(numbers.map(|value| spaced(grouped(Some(value)))), ["0", "999", "1 000", "1 234 567", "−12 345"]);
        for none in [None, Some(f64::NAN), Some(f64::INFINITY)] {
            assert_eq!([fixed(none, 2), signed(none), grouped(none), time(none)], [NONE; 4]);
        }
        assert_eq!([59.4, 401.0, 7_260.0].map(|value| time(Some(value))), ["59 s", "7 min", "2 h 01 min"]);
    }

    #[test]
    fn labels_have_the_decimals_of_their_step() {
        assert_eq!([0.0, 0.25, 0.5].map(|value| label(value, 0.05)), ["0", "0.25", "0.50"].map(str::to_owned));
        assert_eq!(label(1_600_000.0, 100_000.0), "1.6 M");
        assert_eq!(label(20_000.0, 5_000.0), "20 k");
        assert_eq!(label(-0.2, 0.1), "−0.2");
    }
}
