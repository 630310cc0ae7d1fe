//! Reports: what a run directory holds, as one page that opens offline in light and dark, and as text for the terminal.
//!
//! Reading order is the order in which data flows: [`run`] is what a run holds, [`read`] takes it from a directory,
//! `layers`, `facts`, `settings` and `repeat` join its parts, `figures` draw them with `plot`, `sections` put figures and
//! tables in order, [`html`] and [`text`] hand them out, and [`live`] what is going on. Nothing here computes a result: a
//! report shows what was found, and says what is not there.

mod facts;
mod figures;
mod layers;
mod number;
mod plan;
mod plot;
mod repeat;
mod sections;
mod settings;
mod table;

pub mod html;
pub mod live;
pub mod read;
pub mod run;
pub mod text;

use serde::Serialize;

pub use plan::{Bits, Plan};

/// The version of [`Document`].
pub const SCHEMA: u32 = 1;

/// What a report shows, as one JSON document.
#[derive(Clone, Debug, Serialize)]
pub struct Document<'r> {
    /// Version of this document.
    pub schema: u32,
    /// How far the run came.
    pub state: run::State,
    /// The command that does it again, where the run says what it was asked.
    pub repeat: Option<String>,
    /// All that was read.
    #[serde(flatten)]
    pub run: &'r run::Run,
}

impl<'r> Document<'r> {
    /// The document of `run`.
    pub fn of(run: &'r run::Run) -> Self {
        Self { schema: SCHEMA, state: run.state(), repeat: repeat::command(run).map(|(command, _)| command), run }
    }
}
