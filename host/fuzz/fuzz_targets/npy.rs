//! Any NumPy file of a set, plain or packed: refused in a sentence, or images with labels.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use releq_fuzz_host::data::{Which, npy};
use releq_fuzz_host::judge;
use releq_fuzz_host::place::Place;

/// Two inputs of two features, and their labels.
const INPUTS: &[u8] =
    b"\x93NUMPY\x01\0\x3A\0{'descr': '|u1', 'fortran_order': False, 'shape': (2, 2)}\n\x01\x02\x03\x04";
const LABELS: &[u8] = b"\x93NUMPY\x01\0\x3A\0{'descr': '|u1', 'fortran_order': False, 'shape': (2,)}  \n\0\x01";
const SOUND: [(&str, &[u8]); 3] = [("x_test.npy", INPUTS), ("y_test.npy", LABELS), ("y_train.npy", LABELS)];

static PLACE: LazyLock<Place> = LazyLock::new(|| Place::new("npy", &SOUND));

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
    judge::images(npy::load(PLACE.path(), Which::Test));
    PLACE.take(&packed);
    PLACE.put(name, sound);
});
