//! What the fuzz targets share: images that are changed piece by piece, and hosts that say anything.
//!
//! * [`trial`]: how an image is judged, as in `device/tests`;
//! * [`parts`]: an image taken apart, and put together without the builder's checks;
//! * [`change`]: one change of one piece;
//! * [`settle`]: pieces brought back to what the rules ask, so that most of them run;
//! * [`script`]: a host that talks sense and nonsense to a server;
//! * [`dice`]: where chance comes from.

pub mod change;
pub mod dice;
pub mod parts;
pub mod script;
pub mod settle;
#[path = "../../tests/trial/mod.rs"]
pub mod trial;

/// The frozen images.
pub const GOLDEN: [&[u8]; 4] = [
    releq_device::include_image!("../../../format/golden/v1/tiny.rlq"),
    releq_device::include_image!("../../../format/golden/v1/every-op.rlq"),
    releq_device::include_image!("../../../format/golden/v1/ends.rlq"),
    releq_device::include_image!("../../../format/golden/v1/concat.rlq"),
];
