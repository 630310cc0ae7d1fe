//! Synthetic inputs of any shape, for networks whose data nobody has at hand: good for ranges and for comparing
//! machines, never for accuracy.
//!
//! Every channel of every input is a level, four plane waves of random direction and strength, and a little noise on
//! each element: like photographs, mostly smooth, and over the whole range of bytes. Labels are all 0.

use std::f32::consts::TAU;

use rand::RngExt;
use releq_search::seed;

use super::{Dataset, Which};

/// Inputs to calibrate on, and to compare machines on.
const TRAIN: usize = 512;
const TEST: usize = 64;

/// One part of the standard noise, for a network that takes `shape`: channels, height, width.
pub fn standard(which: Which, shape: [usize; 3]) -> Dataset {
    match which {
        Which::Train => generate(1, TRAIN, shape),
        Which::Test => generate(2, TEST, shape),
    }
}

/// `count` inputs from one seed.
pub fn generate(seed: u64, count: usize, shape: [usize; 3]) -> Dataset {
    let [channels, height, width] = shape;
    let mut random = seed::stream(seed, "noise");
    let mut images = Vec::with_capacity(count * channels * height * width);
    for _ in 0..count * channels {
        let level: f32 = random.random_range(32.0..224.0);
        let waves: [[f32; 4]; 4] = std::array::from_fn(|_| {
            [
                random.random_range(-4.0..4.0),
                random.random_range(-4.0..4.0),
                random.random(),
                random.random_range(0.0..48.0),
            ]
        });
        for y in 0..height {
            for x in 0..width {
                let [down, right] = [y as f32 / height as f32, x as f32 / width as f32];
                let wave = |[vertical, horizontal, phase, strength]: [f32; 4]| {
                    strength * (TAU * (vertical * down + horizontal * right + phase)).sin()
                };
                let value = level + waves.map(wave).iter().sum::<f32>() + random.random_range(-16.0..16.0);
                images.push(value.clamp(0.0, 255.0) as u8);
            }
        }
    }
    Dataset { shape, images, labels: vec![0; count], classes: 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_its_seed_and_uses_most_bytes() {
        let [one, again, other] = [1, 1, 2].map(|seed| generate(seed, 8, [3, 16, 16]));
        assert_eq!(one, again);
        assert_ne!(one, other);
        assert_eq!((one.len(), one.images.len()), (8, 8 * 768));
        let used: std::collections::BTreeSet<u8> = one.images.iter().copied().collect();
        assert!(used.len() > 200, "{}", used.len());
    }
}
