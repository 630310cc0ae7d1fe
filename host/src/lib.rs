//! releq's workbench: a trained network and a dataset enter, one checked image and its measurements leave.
//!
//! Modules in the order data flows through them.

#![forbid(unsafe_code)]

pub mod checkpoint;
pub mod data;
pub mod import;
pub mod network;
