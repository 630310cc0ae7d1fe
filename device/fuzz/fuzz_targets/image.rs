//! Any image with a right checksum: refused, or run inside its arena with one answer from every family.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use releq_fuzz::change::change;
use releq_fuzz::dice::Dice;
use releq_fuzz::parts::Parts;
use releq_fuzz::settle::settle;
use releq_fuzz::trial::{judge, repair};

fuzz_target!(|data: &[u8]| {
    let mut bytes = data.to_vec();
    repair(&mut bytes);
    judge(&bytes);
});

// Most changes are of fields; some are of bytes, for records that do not decode.
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut dice = Dice::new(seed);
    let changed = (!dice.once_in(6)).then(|| changed(&data[..size], &mut dice)).flatten();
    match changed.filter(|bytes| bytes.len() <= max_size) {
        Some(bytes) => {
            data[..bytes.len()].copy_from_slice(&bytes);
            bytes.len()
        }
        None => fuzzer_mutate(data, size, max_size),
    }
});

/// The image with a few fields changed, and sometimes all that depends on them.
fn changed(image: &[u8], dice: &mut Dice) -> Option<Vec<u8>> {
    let mut parts = Parts::of(image)?;
    for _ in 0..=dice.below(4) {
        change(&mut parts, dice);
    }
    if dice.once_in(2) {
        settle(&mut parts, dice);
        // One step beyond what is sound, where rules have their edges.
        if dice.once_in(4) {
            change(&mut parts, dice);
        }
    }
    Some(parts.assemble())
}
