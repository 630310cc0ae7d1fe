//! An estimate of Cortex-M4 cycles: what each instruction is, and what that takes. Nobody has compared it with a board.
//!
//! * [`decode`]: Thumb-2 instructions in classes, with the registers that timing depends on;
//! * [`model`]: cycles of an instruction behind another one, every constant with its source.
//!
//! Zero wait states are assumed. Caches, flash accelerators and other masters on the bus are unknown here.

#![forbid(unsafe_code)]

pub mod decode;
pub mod model;
