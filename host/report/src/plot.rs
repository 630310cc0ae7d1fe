//! One chart: scales, axes and marks, written as SVG that takes its colours, and so light or dark, from the page.
//!
//! Nothing here knows what is drawn. Marks carry classes of `assets/report.css`; whatever is not finite is not drawn.

use std::fmt::Write;

use crate::number;

/// From values to places along one side of a chart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    values: [f64; 2],
    places: [f64; 2],
}

impl Scale {
    /// From the least to the largest of `values` that is finite; 0 to 1 where none is, and one wide where all are one.
    pub(crate) fn over(values: impl IntoIterator<Item = f64>, places: [f64; 2]) -> Self {
        let (least, most) = values
            .into_iter()
            .filter(|value| value.is_finite())
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), value| (least.min(value), most.max(value)));
        // Halves, since the difference of the largest numbers is none.
        let (span, largest) = (most / 2.0 - least / 2.0, most.abs().max(least.abs()));
        let values = if least > most {
            [0.0, 1.0]
        } else if span.is_normal() && span > 1e-12 * largest {
            [least, most]
        } else {
            // So much that ticks differ in an `f64`.
            let half = 0.5_f64.max(largest * 1e-6);
            [(least - half).max(f64::MIN), (most + half).min(f64::MAX)]
        };
        Self { values, places }
    }

    /// With `share` of its width more on either end, so that marks keep clear of the frame.
    pub(crate) fn padded(self, share: f64) -> Self {
        let [least, most] = self.values;
        let more = (most / 2.0 - least / 2.0) * 2.0 * share;
        let values = [least - more, most + more];
        if values.iter().all(|value| value.is_finite()) { Self { values, ..self } } else { self }
    }

    /// Where `value` is; values beyond the ends are at the ends.
    pub(crate) fn at(&self, value: f64) -> f64 {
        let [least, most] = self.values;
        let share = (value / 2.0 - least / 2.0) / (most / 2.0 - least / 2.0);
        self.places[0] + share.clamp(0.0, 1.0) * (self.places[1] - self.places[0])
    }

    /// The ends' places.
    pub(crate) fn places(&self) -> [f64; 2] {
        self.places
    }

    /// Round numbers within, `most` at most, and how far they are apart.
    pub(crate) fn ticks(&self, most: usize) -> (Vec<f64>, f64) {
        let [least, largest] = self.values;
        let rough = (largest / 2.0 - least / 2.0) * 2.0 / most.max(1) as f64;
        let magnitude = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * magnitude);
        let step = step.into_iter().find(|step| *step >= rough * (1.0 - 1e-9)).unwrap_or(10.0 * magnitude);
        if !step.is_normal() {
            return (Vec::new(), 1.0);
        }
        let first = (least / step).ceil();
        let ticks = (0..=most).map(|tick| (first + tick as f64) * step);
        (ticks.take_while(|tick| tick.is_finite() && *tick <= largest + 1e-9 * step).collect(), step)
    }
}

/// Which end of a text is at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

/// A chart being drawn; lengths are those of its view box, in which 12 is the size of text.
#[derive(Clone, Debug)]
pub(crate) struct Plot {
    size: [f64; 2],
    name: String,
    body: String,
}

impl Plot {
    /// An empty chart; `name` is what it shows, in a sentence, for those who do not see it.
    pub(crate) fn new(name: &str, size: [f64; 2]) -> Self {
        Self { size, name: name.to_owned(), body: String::new() }
    }

    /// A line through `points`, broken where one is not finite.
    pub(crate) fn line(&mut self, class: &str, points: impl IntoIterator<Item = (f64, f64)>) {
        let mut path = String::new();
        let mut pen = 'M';
        for (x, y) in points {
            if x.is_finite() && y.is_finite() {
                let _ = write!(path, "{pen}{} {}", short(x), short(y));
                pen = 'L';
            } else {
                pen = 'M';
            }
        }
        self.path(class, &path);
    }

    /// A path as SVG writes it.
    pub(crate) fn path(&mut self, class: &str, path: &str) {
        if !path.is_empty() {
            let _ = write!(self.body, r#"<path class="{class}" d="{path}"/>"#);
        }
    }

    /// A dot; `title` is what it is, shown when pointed at.
    pub(crate) fn dot(&mut self, class: &str, [x, y]: [f64; 2], radius: f64, title: &str) {
        if x.is_finite() && y.is_finite() {
            let (x, y, title) = (short(x), short(y), titled(title));
            let _ = write!(self.body, r#"<circle class="{class}" cx="{x}" cy="{y}" r="{radius}">{title}</circle>"#);
        }
    }

    /// Many dots without names, as one path: what is drawn at each is the round end of a line without length.
    pub(crate) fn dots(&mut self, class: &str, places: impl IntoIterator<Item = [f64; 2]>) {
        let mut path = String::new();
        for [x, y] in places {
            if x.is_finite() && y.is_finite() {
                let _ = write!(path, "M{} {}h0", short(x), short(y));
            }
        }
        self.path(class, &path);
    }

    /// A rectangle from its upper left corner.
    pub(crate) fn bar(&mut self, class: &str, [x, y]: [f64; 2], [width, height]: [f64; 2], title: &str) {
        if [x, y, width, height].iter().all(|length| length.is_finite()) {
            let ([x, y], [width, height]) = ([x, y].map(short), [width, height].map(|length| short(length.max(0.0))));
            let title = titled(title);
            let _ = write!(
                self.body,
                r#"<rect class="{class}" x="{x}" y="{y}" width="{width}" height="{height}">{title}</rect>"#
            );
        }
    }

    /// Words.
    pub(crate) fn text(&mut self, class: &str, [x, y]: [f64; 2], anchor: Anchor, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => r#" text-anchor="middle""#,
            Anchor::End => r#" text-anchor="end""#,
        };
        let (x, y, text) = (short(x), short(y), escaped(text));
        let _ = write!(self.body, r#"<text class="{class}" x="{x}" y="{y}"{anchor}>{text}</text>"#);
    }

    /// The axis below: a line, round numbers, and what they count.
    pub(crate) fn below(&mut self, scale: &Scale, y: f64, ticks: usize, what: &str) {
        let [left, right] = scale.places();
        self.line("axis", [(left, y), (right, y)]);
        let (ticks, step) = scale.ticks(ticks);
        for tick in ticks {
            let x = scale.at(tick);
            self.line("axis", [(x, y), (x, y + 4.0)]);
            self.text("tick", [x, y + 16.0], Anchor::Middle, &number::label(tick, step));
        }
        self.text("what", [(left + right) / 2.0, y + 32.0], Anchor::Middle, what);
    }

    /// The axis on the left: round numbers and faint lines across from them to `right`.
    pub(crate) fn beside(&mut self, scale: &Scale, [left, right]: [f64; 2], ticks: usize) {
        let (ticks, step) = scale.ticks(ticks);
        for tick in ticks {
            let y = scale.at(tick);
            self.line("grid", [(left, y), (right, y)]);
            self.text("tick", [left - 6.0, y + 4.0], Anchor::End, &number::label(tick, step));
        }
    }

    /// The chart.
    pub(crate) fn svg(&self) -> String {
        let ([width, height], name) = (self.size.map(short), escaped(&self.name));
        format!(
            r#"<svg viewBox="0 0 {width} {height}" role="img" aria-label="{name}"><title>{name}</title>{}</svg>"#,
            self.body
        )
    }
}

/// Means, least and largest of runs of values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bin {
    /// Where its middle is, in values from the first.
    pub(crate) at: f64,
    pub(crate) mean: f64,
    pub(crate) least: f64,
    pub(crate) largest: f64,
}

/// `values` in at most `most` bins of equal length; a bin without a finite value is not finite.
pub(crate) fn binned(values: &[f64], most: usize) -> Vec<Bin> {
    let length = values.len().div_ceil(most.max(1)).max(1);
    let bin = |(index, values): (usize, &[f64])| {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let at = (index * length) as f64 + (values.len() - 1) as f64 / 2.0;
        match finite().count() {
            0 => Bin { at, mean: f64::NAN, least: f64::NAN, largest: f64::NAN },
            count => Bin {
                at,
                mean: finite().map(|value| value / count as f64).sum(),
                least: finite().fold(f64::INFINITY, f64::min),
                largest: finite().fold(f64::NEG_INFINITY, f64::max),
            },
        }
    };
    values.chunks(length).enumerate().map(bin).collect()
}

/// A length with one decimal at most, as short as it goes.
pub(crate) fn short(length: f64) -> String {
    let text = format!("{length:.1}");
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Text that is text in SVG and HTML, whatever it holds. XML has no other control characters than these three.
pub(crate) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars().filter(|letter| !letter.is_control() || matches!(letter, '\n' | '\t' | '\r')) {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            other => safe.push(other),
        }
    }
    safe
}

fn titled(title: &str) -> String {
    if title.is_empty() { String::new() } else { format!("<title>{}</title>", escaped(title)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];

    #[test]
    fn a_scale_spans_what_is_finite() {
        let scale = Scale::over([f64::NAN, 2.0, 4.0, f64::INFINITY], [0.0, 100.0]);
        assert_eq!([1.0, 2.0, 3.0, 4.0, 9.0].map(|value| scale.at(value)), [0.0, 0.0, 50.0, 100.0, 100.0]);
        assert_eq!(scale.ticks(4), (vec![2.0, 2.5, 3.0, 3.5, 4.0], 0.5));
        let down = Scale::over([0.0, 1.0], [100.0, 0.0]);
        assert_eq!(down.at(0.25), 75.0);
    }

    #[test]
    fn any_scale_has_places_and_few_ticks() {
        let cases: [&[f64]; 9] = [
            &[],
            &NOTHING,
            &[3.0],
            &[1e300],
            &[f64::MAX],
            &[f64::MIN, f64::MAX],
            &[0.0, 5e-324],
            &[-1e-9, 1e-9],
            &[1e15, 1e15 + 1.0],
        ];
        for values in cases {
            let scale = Scale::over(values.iter().copied(), [0.0, 100.0]).padded(0.05);
            for value in values.iter().filter(|value| value.is_finite()) {
                assert!((0.0..=100.0).contains(&scale.at(*value)), "{values:?}");
            }
            let (ticks, step) = scale.ticks(5);
            assert!(
                ticks.len() <= 6 && ticks.iter().all(|tick| tick.is_finite()) && step > 0.0,
                "{values:?} {ticks:?}"
            );
        }
    }

    #[test]
    fn ticks_are_round() {
        let ticks = |low, high, most| Scale::over([low, high], [0.0, 1.0]).ticks(most).0;
        assert_eq!(ticks(0.0, 23.0, 5), [0.0, 5.0, 10.0, 15.0, 20.0]);
        assert_eq!(ticks(-1.0, 0.27, 4), [-1.0, -0.5, 0.0]);
        assert_eq!(ticks(1_568_937.0, 1_900_843.0, 4), [1.6e6, 1.7e6, 1.8e6, 1.9e6]);
    }

    #[test]
    fn bins_keep_extremes_and_pass_over_what_is_no_number() {
        let values = [1.0, 3.0, f64::NAN, 5.0, f64::NAN, f64::NAN, 7.0];
        let bins = binned(&values, 4);
        let of = |bin: &Bin| (bin.at, bin.mean, bin.least, bin.largest);
        assert_eq!(of(&bins[0]), (0.5, 2.0, 1.0, 3.0));
        assert_eq!(of(&bins[1]), (2.5, 5.0, 5.0, 5.0));
        assert!(bins[2].mean.is_nan());
        assert_eq!(of(&bins[3]), (6.0, 7.0, 7.0, 7.0));
        assert!(binned(&[], 4).is_empty() && binned(&values, 0).len() == 1);
    }

    #[test]
    fn what_is_not_finite_is_not_drawn_and_nothing_leaves_its_quotes() {
        let mut plot = Plot::new("a \"<b>\"", [10.0, 10.0]);
        plot.line("l", [(0.0, 1.0), (1.0, f64::NAN), (2.0, 1.25), (3.0, 1.0)]);
        NOTHING.iter().for_each(|&place| plot.dot("d", [place, 1.0], 2.0, "lost"));
        plot.bar("b", [1.0, 1.0], [-1.0, 2.0], "</title><script>");
        let svg = plot.svg();
        assert_eq!(
            svg,
            "<svg viewBox=\"0 0 10 10\" role=\"img\" aria-label=\"a &quot;&lt;b&gt;&quot;\">\
             <title>a &quot;&lt;b&gt;&quot;</title><path class=\"l\" d=\"M0 1M2 1.2L3 1\"/>\
             <rect class=\"b\" x=\"1\" y=\"1\" width=\"0\" height=\"2\">\
             <title>&lt;/title&gt;&lt;script&gt;</title></rect></svg>"
        );
        assert_eq!(escaped("a\u{0}\u{1b}b"), "ab");
    }
}
