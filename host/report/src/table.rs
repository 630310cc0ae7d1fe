//! A table of a report: rows of words and numbers, some with bars or shades behind them.

use serde::Serialize;

/// Rows of numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Table {
    caption: String,
    columns: Vec<Column>,
    rows: Vec<Line>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Column {
    name: String,
    /// Whether it holds numbers, which stand on the right.
    numbers: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Line {
    cells: Vec<Cell>,
    /// Whether it is the one that was chosen, or the sum.
    strong: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Cell {
    text: String,
    /// A bar behind it, percent of the column.
    bar: Option<f64>,
    /// A shade behind it, percent.
    shade: Option<f64>,
    code: bool,
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self { text, ..Self::default() }
    }
}

impl Cell {
    /// A text in the letters of programs.
    pub(crate) fn code(text: &str) -> Self {
        Self { text: text.to_owned(), code: true, ..Self::default() }
    }

    /// A number with a shade behind it, percent.
    pub(crate) fn shaded(text: String, shade: Option<f64>) -> Self {
        Self { text, shade: shade.map(f64::round), ..Self::default() }
    }

    /// A number with a bar as long as it is of the `most`.
    pub(crate) fn bar(text: String, value: Option<f64>, most: f64) -> Self {
        let share = value.filter(|value| value.is_finite() && most > 0.0).map(|value| 100.0 * value / most);
        Self { text, bar: share.map(|share| (10.0 * share.clamp(0.0, 100.0)).round() / 10.0), ..Self::default() }
    }
}

impl Table {
    pub(crate) fn new(caption: &str, words: &[&str], numbers: &[&str]) -> Self {
        let column = |numbers| move |name: &&str| Column { name: (*name).to_owned(), numbers };
        let columns = words.iter().map(column(false)).chain(numbers.iter().map(column(true)));
        Self { caption: caption.to_owned(), columns: columns.collect(), rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, strong: bool, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(Line { cells: cells.into_iter().collect(), strong });
    }
}
