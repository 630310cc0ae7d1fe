//! `releq board`: the boards there are, and what is known of each.

#[cfg(feature = "probe")]
mod probes;

use releq_device::board::{self, Board, Boot, Counter, Reach, Writing};
use serde::Serialize;

use super::{Outcome, print_json, run};
use crate::cost;
use crate::terminal::{self, grouped, table};

/// Example: releq board info virt-m4
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  releq board list\n  releq board info virt-m4 --json")]
pub(super) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// A line a board
    List {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// The debug probes that are plugged in
    #[cfg(feature = "probe")]
    Probes {
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
    /// All that is known of one
    Info {
        /// Its name
        #[arg(value_name = "BOARD")]
        name: String,
        /// Print one JSON document
        #[arg(long)]
        json: bool,
    },
}

#[derive(Serialize)]
struct Listing {
    schema: u32,
    boards: Vec<About>,
}

#[derive(Serialize)]
struct Sheet {
    schema: u32,
    #[serde(flatten)]
    about: About,
}

/// What is known of a board.
#[derive(Serialize)]
struct About {
    name: &'static str,
    core: &'static str,
    about: &'static str,
    /// `emulated`, or probe-rs's name of the chip.
    reach: String,
    /// Which UART it listens at, with its pins.
    uart: Option<&'static str>,
    /// What the runner counts.
    unit: &'static str,
    counter: &'static str,
    hertz: u32,
    wait_states: Option<u8>,
    caches: &'static str,
    model_address: String,
    model_bytes: u32,
    model_written: String,
    arena_bytes: usize,
    max_layers: usize,
    target: &'static str,
    boot: &'static str,
    /// Whether releq comes with prices of instructions for it.
    priced: bool,
    /// Whether its runner has ever run.
    ran: bool,
}

impl About {
    fn of(board: &'static Board) -> Self {
        Self {
            name: board.name,
            core: board.core,
            about: board.about,
            reach: match board.reach {
                Reach::Qemu { machine } => format!("emulated by QEMU's {machine}"),
                Reach::Probe { chip } => format!("debug probe, {chip}"),
            },
            uart: board.uart,
            unit: board.counter.unit().name(),
            counter: counter(board),
            hertz: board.clock.hertz,
            wait_states: board.clock.wait_states,
            caches: board.clock.caches,
            model_address: format!("{:#010x}", board.model.origin),
            model_bytes: board.model.length,
            model_written: match board.model_writing {
                Writing::Ram => "RAM, over the protocol or by the emulator".to_owned(),
                Writing::Loader => "flash, by the emulator".to_owned(),
                Writing::Flash { sector } => format!("flash, in sectors of {} bytes", grouped(sector.into())),
            },
            arena_bytes: board.arena_bytes,
            max_layers: board.max_layers,
            target: board.target,
            boot: match board.boot {
                Boot::Vectors => "vectors",
                Boot::SecondStage => "second stage, vectors",
                Boot::ImageDefinition => "vectors, image definition",
            },
            priced: cost::prices(board.name).is_ok(),
            ran: board.ran,
        }
    }
}

const fn counter(board: &Board) -> &'static str {
    match board.counter {
        Counter::Timer(_) => "timer under -icount",
        Counter::Dwt => "DWT CYCCNT",
        Counter::SysTick => "SysTick",
    }
}

/// The board over a table of its counts, and what they are worth.
pub(super) fn heading(board: &Board) -> String {
    let Board { name, core, clock, ran, .. } = board;
    match board.reach {
        Reach::Qemu { .. } => {
            format!("{name} ({core}, emulated: instructions are exact, cycles are not measured)")
        }
        Reach::Probe { .. } => {
            let tried = if *ran { "" } else { "; nobody has reported a run on this board yet" };
            format!("{name} ({core} at {} MHz, cycles by {}{tried})", clock.hertz / 1_000_000, counter(board))
        }
    }
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    match &arguments.what {
        What::List { json } => {
            let boards: Vec<About> = board::ALL.iter().map(About::of).collect();
            if *json {
                print_json(&Listing { schema: 1, boards })?;
            } else {
                terminal::answer(&list(&boards))?;
            }
        }
        #[cfg(feature = "probe")]
        What::Probes { json } => return probes::list(*json),
        What::Info { name, json } => {
            let about = About::of(run::board(name)?);
            if *json {
                print_json(&Sheet { schema: 1, about })?;
            } else {
                terminal::answer(&sheet(&about))?;
            }
        }
    }
    Ok(true)
}

fn list(boards: &[About]) -> String {
    let row = |about: &About| {
        vec![
            about.name.to_owned(),
            about.core.to_owned(),
            about.reach.clone(),
            about.unit.to_owned(),
            grouped(about.model_bytes.into()),
            grouped(about.arena_bytes as u64),
            if about.priced { "yes" } else { "-" }.to_owned(),
            if about.ran { "yes" } else { "never" }.to_owned(),
        ]
    };
    let rows: Vec<Vec<String>> = boards.iter().map(row).collect();
    let header = ["board", "core", "reached", "counts", "model B", "arena B", "prices", "has run"];
    format!("{}\n", table(&header, &rows))
}

fn sheet(about: &About) -> String {
    let waits = about.wait_states.map_or("unknown wait states".to_owned(), |states| format!("{states} wait states"));
    let lines = [
        ("core", about.core.to_owned()),
        ("", about.about.to_owned()),
        ("reached", about.reach.clone()),
        ("UART", about.uart.map_or("none".to_owned(), |uart| format!("{uart}, {} baud 8N1", board::BAUD))),
        ("counts", format!("{} by {}", about.unit, about.counter)),
        ("clock", format!("{} Hz, {waits}, caches: {}", grouped(about.hertz.into()), about.caches)),
        (
            "model",
            format!("{} bytes at {}: {}", grouped(about.model_bytes.into()), about.model_address, about.model_written),
        ),
        ("arena", format!("{} bytes, at most {} layers", grouped(about.arena_bytes as u64), about.max_layers)),
        ("runner", format!("for {}, starts with {}", about.target, about.boot)),
        ("prices", if about.priced { "come with releq" } else { "none; `releq calibrate` makes some" }.to_owned()),
        (
            "has run",
            if about.ran { "yes, in the tests" } else { "never: it builds, and nobody has tried it yet" }.to_owned(),
        ),
    ];
    let line = |(what, text): &(&str, String)| format!("{what:<8} {text}\n");
    format!("{}\n{}", about.name, lines.iter().map(line).collect::<String>())
}
