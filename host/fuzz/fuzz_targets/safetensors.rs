//! Any safetensors file, as a checkpoint and as the weights of some network: refused in a sentence, or one that can be
//! kept.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use releq_fuzz_host::place::Place;
use releq_fuzz_host::{checkpoint, import, judge, zoo};

static PLACE: LazyLock<Place> = LazyLock::new(|| Place::new("safetensors", &[]));

fuzz_target!(|data: &[u8]| {
    let [choice, data @ ..] = data else { return };
    let path = PLACE.put("tiny.safetensors", &assembled(*choice, data));
    match checkpoint::load(&path) {
        Ok(network) => judge::network(&network, &PLACE),
        Err(error) => judge::refusal(&error),
    }
    match import::weights(&path, zoo::NAMES[usize::from(*choice) % zoo::NAMES.len()]) {
        Ok(imported) => judge::network(&imported.network, &PLACE),
        Err(error) => judge::refusal(&error),
    }
});

/// Header and tensors stand apart in an input, by a zero, so that the header's length is right; for half of the choices.
fn assembled(choice: u8, data: &[u8]) -> Vec<u8> {
    let (true, Some(end)) = (choice < 128, data.iter().position(|byte| *byte == 0)) else { return data.to_vec() };
    let (header, tensors) = (&data[..end], &data[end + 1..]);
    [&(header.len() as u64).to_le_bytes()[..], header, tensors].concat()
}
