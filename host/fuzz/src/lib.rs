//! What the fuzz targets share: the workbench's readers, compiled from its own sources, and how what they read is judged.
//!
//! * [`import`], [`checkpoint`], [`data`], [`config`]: the readers; [`network`], [`zoo`], [`whole`]: what they stand on;
//! * [`place`]: a directory for the files that one input becomes;
//! * [`judge`]: what must hold of whatever was read;
//! * [`wire`]: protobuf messages changed field by field;
//! * [`dice`]: where chance comes from.

#[path = "../../src/checkpoint.rs"]
pub mod checkpoint;
pub mod config;
#[path = "../../src/data/mod.rs"]
pub mod data;
#[path = "../../../device/fuzz/src/dice.rs"]
pub mod dice;
#[path = "../../src/import/mod.rs"]
pub mod import;
pub mod judge;
#[path = "../../src/network.rs"]
pub mod network;
pub mod place;
#[path = "../../src/whole.rs"]
pub mod whole;
pub mod wire;
#[path = "../../src/zoo/mod.rs"]
pub mod zoo;
