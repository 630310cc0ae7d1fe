//! Any ONNX file: refused in a sentence, or a network that can be kept.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use releq_fuzz_host::dice::Dice;
use releq_fuzz_host::place::Place;
use releq_fuzz_host::{import, judge, wire};

// Some models have weights in a file beside them.
static PLACE: LazyLock<Place> = LazyLock::new(|| Place::new("onnx", &[("w.data", &[0; 144])]));

fuzz_target!(|data: &[u8]| {
    match import::onnx(&PLACE.put("tiny.onnx", data)) {
        Ok(imported) => judge::network(&imported.network, &PLACE),
        Err(error) => judge::refusal(&error),
    }
});

// Most changes are of fields; some are of bytes, for files that do not decode.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut dice = Dice::new(seed);
    let fields = if dice.once_in(8) { None } else { wire::fields(&data[..size]) };
    let changed = fields.map(|mut fields| {
        (0..=dice.below(4)).for_each(|_| wire::change(&mut fields, &mut dice));
        wire::message(&fields)
    });
    match changed.filter(|bytes| bytes.len() <= max_size) {
        Some(bytes) => {
            data[..bytes.len()].copy_from_slice(&bytes);
            bytes.len()
        }
        None => fuzzer_mutate(data, size, max_size),
    }
});
