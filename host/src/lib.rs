//! releq's workbench: a trained network and a dataset enter, one checked image and its measurements leave.
//!
//! In the order data flows:
//! * [`data`]: images and labels; [`import`] and [`checkpoint`]: trained networks from files; [`zoo`]: untrained ones;
//! * [`network`]: the float network that all of them speak; [`codes`]: whose activation widths its values have;
//! * [`train`]: training, calibration and quantization-aware fine-tuning, to a [`quantized`] network;
//! * [`lower`]: from there to one checked image;
//! * [`search`]: which bits each layer gets, with training in the loop;
//! * [`signing`]: keys, and images signed with them;
//! * [`encode`]: pixels to input codes; [`target`]: where images run; [`summary`]: what an image holds;
//! * [`cost`]: what networks cost on boards, predicted from the boards' own counts; [`hardware`]: flash, RAM and time of
//!   any plan, and the budgets that plans keep;
//! * [`mod@bench`]: kernels on a board, one layer at a time;
//! * [`whole`]: files that appear whole or not at all; [`cli`]: the `releq` command over all of these.

#![forbid(unsafe_code)]

pub mod bench;
pub mod checkpoint;
pub mod cli;
pub mod codes;
pub mod cost;
pub mod data;
pub mod doctor;
pub mod encode;
pub mod hardware;
pub mod import;
pub mod lower;
pub mod network;
pub mod quantized;
pub mod reproduce;
pub mod search;
pub mod signing;
pub mod summary;
pub mod target;
mod terminal;
pub mod train;
pub mod whole;
pub mod zoo;
