//! What networks cost on boards, layer by layer, before they run there: counted work at calibrated prices.
//!
//! * [`layer`]: a layer as an image records it, and the work that its kernel does;
//! * [`nominal`]: an image of a network that nobody has quantized yet, which costs what the real one will;
//! * [`widths`]: every weighted layer at every weight width; [`plans`]: a whole network under any plan;
//! * [`sample`]: random networks to calibrate on; [`measure`]: the counts of an image's layers on a board;
//! * [`table`]: such counts as CSV; [`errors`]: how far predictions are from them.
//!
//! The prices themselves are `releq_search::cost`'s, which knows neither boards nor kernels.

pub mod errors;
pub mod layer;
pub mod measure;
pub mod nominal;
pub mod plans;
pub mod sample;
pub mod table;
pub mod widths;

use releq_search::cost::{BitSerialCpu, PackedSimd};

/// Prices that come with releq, as `releq calibrate` wrote them.
const VIRT_M4: &str = include_str!("../../calibration/virt-m4.json");

/// Boards and their prices: those of the cores with DSP instructions run the same loops, and count alike.
const CALIBRATIONS: [(&str, &str); 3] = [("virt-m4", VIRT_M4), ("virt-m7", VIRT_M4), ("virt-m33", VIRT_M4)];

/// Why there are no prices for a board.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there are no prices for {board}; releq comes with those of {known}; \
     make them with `releq calibrate --board {board} -o DIR` and name the file with --prices"
)]
pub struct NoPrices {
    board: String,
    known: String,
}

/// The boards whose prices come with releq.
pub fn priced() -> String {
    CALIBRATIONS.map(|(name, _)| name).join(", ")
}

/// The prices that come with releq for a board.
///
/// # Errors
/// [`NoPrices`], with the boards that have some.
pub fn prices(board: &str) -> Result<PackedSimd, NoPrices> {
    let found = CALIBRATIONS.iter().find(|(name, _)| *name == board);
    let model = found.and_then(|(_, text)| serde_json::from_str(text).ok());
    model.ok_or_else(|| NoPrices { board: board.to_owned(), known: priced() })
}

/// Bit-plane kernels of a workstation beside its 8-bit ones, as `cargo bench --bench kernels` timed them.
const WORKSTATION: &str = include_str!("../../calibration/workstation.jsonl");

/// One of those lines.
#[derive(serde::Deserialize)]
struct Timed {
    kernel: String,
    w: u8,
    a: u8,
    time_ratio_to_int8: f64,
}

/// The prices of bit-plane kernels on the workstation that releq was timed on (x86-64 with AVX2).
pub fn workstation() -> BitSerialCpu {
    let timed = WORKSTATION.lines().filter_map(|line| serde_json::from_str::<Timed>(line).ok());
    let serial = timed.filter(|timed| timed.kernel == "bitserial::CONV2D");
    BitSerialCpu::fitted(&serial.map(|timed| (timed.w, timed.a, timed.time_ratio_to_int8)).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_of_the_workstation_are_near_what_was_timed() {
        let model = workstation();
        for timed in WORKSTATION.lines().map(|line| serde_json::from_str::<Timed>(line).unwrap()) {
            if timed.kernel == "bitserial::CONV2D" {
                let error = model.per_mac(timed.w, timed.a) / timed.time_ratio_to_int8 - 1.0;
                assert!(error.abs() < 0.2, "w{} a{}: {error:+.3}", timed.w, timed.a);
            }
        }
    }
}
