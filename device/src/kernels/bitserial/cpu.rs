//! Which vector instructions this processor has, found once.

use core::sync::atomic::{AtomicU8, Ordering};

/// An instruction set that the kernels of this room know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Isa {
    /// 64-bit words and whatever the compiler makes of them.
    Portable = 1,
    /// x86-64 with AVX2.
    Avx2 = 2,
    /// x86-64 with AVX-512F, VPOPCNTDQ and AVX2.
    Avx512 = 3,
    /// AArch64, which always has it.
    Neon = 4,
}

impl Isa {
    /// The best that this processor and its operating system have.
    pub fn found() -> Self {
        static FOUND: AtomicU8 = AtomicU8::new(0);
        // Two threads may both look; they see the same.
        match FOUND.load(Ordering::Relaxed) {
            1 => Self::Portable,
            2 => Self::Avx2,
            3 => Self::Avx512,
            4 => Self::Neon,
            _ => {
                let isa = look();
                FOUND.store(isa as u8, Ordering::Relaxed);
                isa
            }
        }
    }

    /// All that this processor has, the best last.
    pub fn all() -> impl Iterator<Item = Self> {
        let best = Self::found();
        let has_avx2 = best == Self::Avx512;
        [Some(Self::Portable), has_avx2.then_some(Self::Avx2), (best != Self::Portable).then_some(best)]
            .into_iter()
            .flatten()
    }
}

#[cfg(target_arch = "x86_64")]
fn look() -> Isa {
    super::x86::look()
}

#[cfg(target_arch = "aarch64")]
fn look() -> Isa {
    Isa::Neon
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn look() -> Isa {
    Isa::Portable
}
