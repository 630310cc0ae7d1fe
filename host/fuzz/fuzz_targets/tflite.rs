//! Any TFLite file: refused in a sentence, or a network that can be kept.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use releq_fuzz_host::place::Place;
use releq_fuzz_host::{import, judge};

static PLACE: LazyLock<Place> = LazyLock::new(|| Place::new("tflite", &[]));

fuzz_target!(|data: &[u8]| {
    match import::tflite(&PLACE.put("tiny.tflite", data)) {
        Ok(imported) => judge::network(&imported.network, &PLACE),
        Err(error) => judge::refusal(&error),
    }
});
