//! One seed, many streams: every random draw of releq comes from a named ChaCha stream of one `u64`.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;

/// The stream `name` of `seed`: equal names give equal draws, different names independent ones, on every machine.
pub fn stream(seed: u64, name: &str) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(fnv1a(name));
    rng
}

/// FNV-1a, 64 bits: turns a stream's name into its number.
fn fnv1a(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_chacha::rand_core::Rng;

    #[test]
    fn streams_are_fixed_and_apart() {
        assert_eq!(stream(7, "shuffle").next_u64(), stream(7, "shuffle").next_u64());
        assert_ne!(stream(7, "shuffle").next_u64(), stream(7, "glyphs").next_u64());
        assert_ne!(stream(7, "shuffle").next_u64(), stream(8, "shuffle").next_u64());
    }
}
