//! The charts: each takes what a run holds and draws it, for a page as wide as a desk's and for one as wide as a hand.

pub(crate) mod cloud;
pub(crate) mod learning;
pub(crate) mod policy;
pub(crate) mod race;
pub(crate) mod rivals;
pub(crate) mod strip;
pub(crate) mod tried;

use serde::Serialize;

use crate::plot::Plot;

/// A chart with its heading.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// Empty where the section's title says it.
    pub(crate) title: String,
    /// What to read from it, and how.
    pub(crate) note: String,
    /// SVG.
    pub(crate) wide: String,
    /// SVG for a narrow page, where it is another.
    pub(crate) narrow: Option<String>,
}

/// Widths of a page's column.
const DESK: f64 = 720.0;
const HAND: f64 = 350.0;

impl Figure {
    /// A chart that is small enough for any page.
    pub(crate) fn small(title: &str, note: &str, plot: &Plot) -> Self {
        Self { title: title.to_owned(), note: note.to_owned(), wide: plot.svg(), narrow: None }
    }

    /// A chart that is drawn anew for a narrow page, so that its text stays legible there.
    pub(crate) fn drawn(title: &str, note: &str, draw: impl Fn(f64) -> Plot) -> Self {
        Self { narrow: Some(draw(HAND).svg()), ..Self::small(title, note, &draw(DESK)) }
    }
}

/// As much of `text` as fits in `width`, with an ellipsis for the rest; 6.5 is the mean width of a letter.
fn fitted(text: &str, width: f64) -> String {
    let most = (width / 6.5).max(1.0) as usize;
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// Every how many layers one gets a label, where each has `slot` and a label takes `room`.
fn every(slot: f64, room: f64) -> usize {
    [1, 2, 5, 10, 20, 50, 100].into_iter().find(|&every| slot * every as f64 >= room).unwrap_or(200)
}
