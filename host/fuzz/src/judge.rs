//! What must hold of whatever a reader says: a network can be kept, images are as many as their labels, and a refusal is
//! a sentence.

use std::fmt::Display;

use crate::checkpoint;
use crate::data::{DataError, Dataset};
use crate::import::layer_table;
use crate::network::Network;
use crate::place::Place;

/// Most letters of a refusal: a hundred sentences.
const LONGEST: usize = 100_000;

/// Of a network that was read: its layers can be listed; if its parameters are numbers it can be saved, and comes back
/// the same.
///
/// # Panics
/// If something of that does not hold.
pub fn network(network: &Network, place: &Place) {
    assert!(layer_table(network).is_ok(), "what was read has shapes");
    let path = place.path().join("kept.safetensors");
    match checkpoint::save(network, &path) {
        Ok(()) => assert!(checkpoint::load(&path).is_ok_and(|kept| kept == *network), "what was kept is another"),
        // Products of large weights may be no numbers; nothing else is in the way.
        Err(error) => {
            refusal(&error);
            let finite = |data: &Vec<f32>| data.iter().all(|value| value.is_finite());
            let numbers = network.parameters.values().all(|tensor| finite(&tensor.data));
            assert!(!numbers, "what was read cannot be kept: {error}");
        }
    }
}

/// Of images that were read.
///
/// # Panics
/// If they are not as many as their labels, or a label is no class.
pub fn images(read: Result<Dataset, DataError>) {
    match read {
        Ok(set) => {
            assert_eq!(set.images.len(), set.len() * set.image_len(), "as many images as labels");
            assert!(!set.is_empty() && set.labels.iter().all(|label| usize::from(*label) < set.classes));
        }
        Err(error) => refusal(&error),
    }
}

/// Of a refusal: it says something, and not without end.
///
/// # Panics
/// If it does not.
pub fn refusal(error: &dyn Display) {
    let text = error.to_string();
    assert!(text.contains("; ") && text.len() < LONGEST, "no sentence with a remedy: {text}");
}
