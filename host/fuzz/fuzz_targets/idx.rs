//! Any file of an IDX set, plain or packed: refused in a sentence, or images with labels.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use releq_fuzz_host::data::{Which, idx};
use releq_fuzz_host::judge;
use releq_fuzz_host::place::Place;

/// Two images of 2×2, and their labels.
const IMAGES: &[u8] = &[0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 2, 1, 2, 3, 4, 5, 6, 7, 8];
const LABELS: &[u8] = &[0, 0, 8, 1, 0, 0, 0, 2, 0, 1];
const SOUND: [(&str, &[u8]); 3] =
    [("train-images-idx3-ubyte", IMAGES), ("train-labels-idx1-ubyte", LABELS), ("t10k-labels-idx1-ubyte", LABELS)];

static PLACE: LazyLock<Place> = LazyLock::new(|| Place::new("idx", &SOUND));

fuzz_target!(|data: &[u8]| {
    let [choice, data @ ..] = data else { return };
    let (name, sound) = SOUND[usize::from(*choice) % SOUND.len()];
    let packed = format!("{name}.gz");
    if choice & 0x80 == 0 {
        PLACE.put(name, data);
    } else {
        PLACE.take(name);
        PLACE.put(&packed, data);
    }
    judge::images(idx::load(PLACE.path(), Which::Train));
    PLACE.take(&packed);
    PLACE.put(name, sound);
});
