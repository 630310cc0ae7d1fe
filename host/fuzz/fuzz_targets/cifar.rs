//! Any file of CIFAR-10's test part, plain or packed: refused in a sentence, or images with labels.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use releq_fuzz_host::data::{Which, cifar};
use releq_fuzz_host::judge;
use releq_fuzz_host::place::Place;

static PLACE: LazyLock<Place> = LazyLock::new(|| Place::new("cifar", &[]));

fuzz_target!(|data: &[u8]| {
    let [choice, data @ ..] = data else { return };
    let name = if choice & 1 == 0 { "test_batch.bin" } else { "test_batch.bin.xz" };
    PLACE.put(name, data);
    judge::images(cifar::load(PLACE.path(), Which::Test));
    PLACE.take(name);
});
