//! Chance from a seed, so that a mutation repeats.

/// A small generator (xorshift64*).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// Equal seeds throw equally.
    pub const fn new(seed: u32) -> Self {
        Self((seed as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// Any word.
    pub const fn word(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 32) as u32
    }

    /// Less than `sides`, of which there must be some.
    pub const fn below(&mut self, sides: usize) -> usize {
        self.word() as usize % sides
    }

    /// Once in `sides` throws.
    pub const fn once_in(&mut self, sides: usize) -> bool {
        self.below(sides) == 0
    }

    /// One of `choices`.
    pub const fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A number instead of `old`: near it, small, at an edge, or any.
    pub fn number(&mut self, old: u32) -> u32 {
        let small = self.below(64) as u32;
        let any = self.word();
        let edge =
            self.pick(&[0, 1, 255, 256, 0x7FFF, 0xFFFF, 0x1_0000, i32::MAX as u32, 1 << 31, u32::MAX - 3, u32::MAX]);
        self.pick(&[old.wrapping_add(1), old.wrapping_sub(1), old.wrapping_mul(2), old / 2, small, small, edge, any])
    }
}
