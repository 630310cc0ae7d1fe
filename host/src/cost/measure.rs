//! What each layer of an image counts on a board.

use releq_device::OpenError;
use releq_device::board::Board;
use releq_format::image::{Image, SelfTest};

use super::layer::layers;
use super::table::Row;
use crate::lower::LowerError;
use crate::target::TargetError;
use crate::target::fit::{FitError, check_fit};
use crate::target::lab::{Lab, Opened};
use crate::target::marks::{Marks, Model};
use crate::target::native;
use crate::target::qemu::NoPlugin;

/// Why an image's counts are not to be had.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// A sample cannot be lowered.
    #[error(transparent)]
    Lower(#[from] LowerError),
    /// It does not fit the board.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// It does not run here.
    #[error("the image does not run here: {0}; split the network")]
    Unrunnable(#[from] OpenError),
    /// The board is missing or misbehaved.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// The emulator says nothing of cycles.
    #[error("no cycles are estimated: {0}")]
    NoCycles(NoPlugin),
    /// It answered otherwise than this machine.
    #[error(
        "{board} computes {network} otherwise than this machine, so its counts mean nothing; \
         build the runner of this version with `cargo xtask firmware`"
    )]
    Inexact {
        /// The board.
        board: &'static str,
        /// The network.
        network: String,
    },
}

/// Runs `image` once on the inputs of its self-test, whose values make no difference, and returns a row a layer.
///
/// # Errors
/// [`MeasureError`]; among them outputs that are not this machine's.
pub fn measure(board: &'static Board, lab: &Lab, image: &Image<'_>) -> Result<Vec<Row>, MeasureError> {
    Ok(counted(board, lab, image)?.0)
}

/// As [`measure`], with the cycles that the emulator estimates in the place of instructions, and the model it takes.
///
/// # Errors
/// [`MeasureError`]; among them an emulator without a model of the board's core.
pub fn estimate(board: &'static Board, lab: &Lab, image: &Image<'_>) -> Result<(Model, Vec<Row>), MeasureError> {
    let (mut rows, marks) = counted(board, lab, image)?;
    let counts: Vec<u32> = rows.iter().map(|row| row.instructions).collect();
    let (model, cycles) = marks.map_err(MeasureError::NoCycles)?.cycles(&counts)?;
    for (row, cycles) in rows.iter_mut().zip(cycles) {
        row.instructions = u32::try_from(cycles).unwrap_or(u32::MAX);
    }
    Ok((model, rows))
}

/// The rows, and what the emulator's plugin wrote down or why it wrote nothing.
fn counted(
    board: &'static Board,
    lab: &Lab,
    image: &Image<'_>,
) -> Result<(Vec<Row>, Result<Marks, NoPlugin>), MeasureError> {
    check_fit(board, image)?;
    let Opened { mut session, marks } = lab.open(board, image)?;
    let header = image.header();
    let mut input = vec![0; image.input_bytes()];
    SelfTest::fill(header.self_test.seed, &header.input, &mut input);
    let measured = session.infer(&input)?;
    if measured.inference != native::infer(image, &input)? {
        return Err(MeasureError::Inexact { board: board.name, network: header.name.to_owned() });
    }
    let mut rows = Vec::new();
    for (index, (layer, instructions)) in layers(image).into_iter().zip(measured.counts).enumerate() {
        let kernel = session.kernel(index)?;
        rows.push(Row { network: header.name.to_owned(), layer, kernel, instructions });
    }
    Ok((rows, marks))
}
