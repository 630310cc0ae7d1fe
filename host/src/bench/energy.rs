//! Energy of an inference from the trace of a power analyser: current over time, as text.
//!
//! A trace is CSV with a header: `time` in seconds, `current` in amperes, and optionally `trigger`, which is not 0 while
//! the board's trigger pin is raised. With it, only what the pin marks is counted. Runners raise it while a layer runs,
//! so it rises as often in a run as the image has layers.

/// Why a trace says nothing of energy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TraceError {
    /// A needed column is missing.
    #[error("the trace has no column `{0}`; its first line must name `time` (s), `current` (A) and may name `trigger`")]
    Column(&'static str),
    /// A line is no sample.
    #[error("line {0} of the trace is no sample: a field is missing, is no number, or time goes back; export it again")]
    Line(usize),
    /// Nothing was marked, or there are too few samples.
    #[error("the trace holds no whole run: {0}; record from before the first run to after the last")]
    Empty(&'static str),
}

/// What a trace says.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Energy {
    /// Runs in the trace.
    pub runs: usize,
    /// Millijoules of one run.
    pub millijoules: f64,
    /// Seconds of one run.
    pub seconds: f64,
    /// Mean current while running, in amperes.
    pub amperes: f64,
}

/// One line of a trace.
#[derive(Clone, Copy)]
struct Sample {
    time: f64,
    current: f64,
    marked: bool,
}

/// Reads a trace recorded at `volts`. Without a trigger column all of it counts, as `runs` runs; with one, each `layers`
/// rises are a run.
///
/// # Errors
/// [`TraceError`].
pub fn read(text: &str, volts: f64, runs: usize, layers: usize) -> Result<Energy, TraceError> {
    let (samples, triggered) = samples(text)?;
    let (mut charge, mut seconds, mut risen) = (0.0, 0.0, 0);
    for pair in samples.array_windows::<2>() {
        let [one, next] = pair;
        risen += usize::from(!one.marked && next.marked);
        // The trapezoid between two samples that are both marked.
        if one.marked && next.marked {
            charge += f64::midpoint(one.current, next.current) * (next.time - one.time);
            seconds += next.time - one.time;
        }
    }
    if triggered && samples.first().is_some_and(|first| first.marked) {
        return Err(TraceError::Empty("the trigger is raised from its first sample on"));
    }
    if triggered && !risen.is_multiple_of(layers.max(1)) {
        return Err(TraceError::Empty("the trigger does not rise once for each layer of every run"));
    }
    let runs = if triggered { risen / layers.max(1) } else { runs };
    if runs == 0 || seconds <= 0.0 {
        return Err(TraceError::Empty("the trigger never rises, or there are fewer than two samples"));
    }
    let share = runs as f64;
    Ok(Energy { runs, millijoules: 1e3 * volts * charge / share, seconds: seconds / share, amperes: charge / seconds })
}

fn samples(text: &str) -> Result<(Vec<Sample>, bool), TraceError> {
    let mut lines = text.lines();
    let names: Vec<String> =
        lines.next().unwrap_or_default().split(',').map(|name| name.trim().to_lowercase()).collect();
    let column = |name: &str| names.iter().position(|other| other == name);
    let time = column("time").ok_or(TraceError::Column("time"))?;
    let current = column("current").ok_or(TraceError::Column("current"))?;
    let trigger = column("trigger");
    let mut samples: Vec<Sample> = Vec::new();
    for (line, number) in lines.zip(2..) {
        if line.trim().is_empty() {
            continue;
        }
        let fields: Vec<&str> = line.split(',').map(str::trim).collect();
        let field = |at: usize| {
            let value = fields.get(at).and_then(|field| field.parse::<f64>().ok());
            value.filter(|value| value.is_finite()).ok_or(TraceError::Line(number))
        };
        let marked = trigger.map(field).transpose()?.is_none_or(|level| level != 0.0);
        let sample = Sample { time: field(time)?, current: field(current)?, marked };
        if samples.last().is_some_and(|last| last.time > sample.time) {
            return Err(TraceError::Line(number));
        }
        samples.push(sample);
    }
    Ok((samples, trigger.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constant_current_is_volts_times_amperes_times_seconds() {
        // 10 mA for 2 s at 3 V are 60 mJ, in 4 runs.
        let energy = read("time,current\n0,0.01\n0.5,0.01\n2,0.01\n", 3.0, 4, 9).unwrap();
        assert!((energy.millijoules - 15.0).abs() < 1e-9 && energy.runs == 4, "{energy:?}");
        assert!((energy.seconds - 0.5).abs() < 1e-12 && (energy.amperes - 0.01).abs() < 1e-12);
    }

    #[test]
    fn the_trigger_marks_runs_and_what_counts() {
        let text = "Time, Trigger, Current\n0,0,9\n1,1,0.02\n2,1,0.04\n3,0,9\n4,1,0.02\n5,1,0.04\n6,0,9\n";
        let energy = read(text, 2.0, 99, 1).unwrap();
        assert!((energy.millijoules - 60.0).abs() < 1e-9 && energy.runs == 2, "{energy:?}");
        // Two layers: both rises are one run.
        let energy = read(text, 2.0, 99, 2).unwrap();
        assert!((energy.millijoules - 120.0).abs() < 1e-9 && energy.runs == 1, "{energy:?}");
        assert!(matches!(read(text, 2.0, 99, 3), Err(TraceError::Empty(_))));
    }

    #[test]
    fn what_is_no_trace_is_told() {
        assert_eq!(read("t,current\n", 3.0, 1, 1), Err(TraceError::Column("time")));
        assert_eq!(read("time,current\n0,1\n1,x\n", 3.0, 1, 1), Err(TraceError::Line(3)));
        assert_eq!(read("time,current\n1,1\n0,1\n", 3.0, 1, 1), Err(TraceError::Line(3)));
        assert_eq!(read("time,current\n1\n", 3.0, 1, 1), Err(TraceError::Line(2)));
        assert!(matches!(read("time,current\n0,1\n", 3.0, 1, 1), Err(TraceError::Empty(_))));
        assert!(matches!(read("time,current,trigger\n0,1,0\n1,1,0\n", 3.0, 1, 1), Err(TraceError::Empty(_))));
        assert!(matches!(read("time,current,trigger\n0,1,1\n1,1,1\n", 3.0, 1, 1), Err(TraceError::Empty(_))));
    }
}
