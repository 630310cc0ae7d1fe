//! releq's workbench: a trained network and a dataset enter, one checked image and its measurements leave.
//!
//! Modules in the order data flows through them.

#![forbid(unsafe_code)]

pub mod encode;
pub mod lower;
pub mod network;
pub mod quantized;
pub mod target;
