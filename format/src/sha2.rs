//! SHA-256 and SHA-512 (FIPS 180-4), one round after the other: small, without a panic path, and as fast as that allows.
//!
//! A crate that unrolls the rounds is twice as fast and takes 30 KiB more of a device's flash; docs/adr/0019 has the numbers.

/// Fractional parts of the square roots of the first 8 primes, 64 bits each: what SHA-512 starts with, and SHA-256 with
/// the upper halves.
const STARTS: [u64; 8] = [
    0x6A09_E667_F3BC_C908,
    0xBB67_AE85_84CA_A73B,
    0x3C6E_F372_FE94_F82B,
    0xA54F_F53A_5F1D_36F1,
    0x510E_527F_ADE6_82D1,
    0x9B05_688C_2B3E_6C1F,
    0x1F83_D9AB_FB41_BD6B,
    0x5BE0_CD19_137E_2179,
];

/// Fractional parts of the cube roots of the first 80 primes: SHA-512's constants, the upper halves of 64 of them
/// SHA-256's.
#[rustfmt::skip]
const CONSTANTS: [u64; 80] = [
    0x428A_2F98_D728_AE22, 0x7137_4491_23EF_65CD, 0xB5C0_FBCF_EC4D_3B2F, 0xE9B5_DBA5_8189_DBBC,
    0x3956_C25B_F348_B538, 0x59F1_11F1_B605_D019, 0x923F_82A4_AF19_4F9B, 0xAB1C_5ED5_DA6D_8118,
    0xD807_AA98_A303_0242, 0x1283_5B01_4570_6FBE, 0x2431_85BE_4EE4_B28C, 0x550C_7DC3_D5FF_B4E2,
    0x72BE_5D74_F27B_896F, 0x80DE_B1FE_3B16_96B1, 0x9BDC_06A7_25C7_1235, 0xC19B_F174_CF69_2694,
    0xE49B_69C1_9EF1_4AD2, 0xEFBE_4786_384F_25E3, 0x0FC1_9DC6_8B8C_D5B5, 0x240C_A1CC_77AC_9C65,
    0x2DE9_2C6F_592B_0275, 0x4A74_84AA_6EA6_E483, 0x5CB0_A9DC_BD41_FBD4, 0x76F9_88DA_8311_53B5,
    0x983E_5152_EE66_DFAB, 0xA831_C66D_2DB4_3210, 0xB003_27C8_98FB_213F, 0xBF59_7FC7_BEEF_0EE4,
    0xC6E0_0BF3_3DA8_8FC2, 0xD5A7_9147_930A_A725, 0x06CA_6351_E003_826F, 0x1429_2967_0A0E_6E70,
    0x27B7_0A85_46D2_2FFC, 0x2E1B_2138_5C26_C926, 0x4D2C_6DFC_5AC4_2AED, 0x5338_0D13_9D95_B3DF,
    0x650A_7354_8BAF_63DE, 0x766A_0ABB_3C77_B2A8, 0x81C2_C92E_47ED_AEE6, 0x9272_2C85_1482_353B,
    0xA2BF_E8A1_4CF1_0364, 0xA81A_664B_BC42_3001, 0xC24B_8B70_D0F8_9791, 0xC76C_51A3_0654_BE30,
    0xD192_E819_D6EF_5218, 0xD699_0624_5565_A910, 0xF40E_3585_5771_202A, 0x106A_A070_32BB_D1B8,
    0x19A4_C116_B8D2_D0C8, 0x1E37_6C08_5141_AB53, 0x2748_774C_DF8E_EB99, 0x34B0_BCB5_E19B_48A8,
    0x391C_0CB3_C5C9_5A63, 0x4ED8_AA4A_E341_8ACB, 0x5B9C_CA4F_7763_E373, 0x682E_6FF3_D6B2_B8A3,
    0x748F_82EE_5DEF_B2FC, 0x78A5_636F_4317_2F60, 0x84C8_7814_A1F0_AB72, 0x8CC7_0208_1A64_39EC,
    0x90BE_FFFA_2363_1E28, 0xA450_6CEB_DE82_BDE9, 0xBEF9_A3F7_B2C6_7915, 0xC671_78F2_E372_532B,
    0xCA27_3ECE_EA26_619C, 0xD186_B8C7_21C0_C207, 0xEADA_7DD6_CDE0_EB1E, 0xF57D_4F7F_EE6E_D178,
    0x06F0_67AA_7217_6FBA, 0x0A63_7DC5_A2C8_98A6, 0x113F_9804_BEF9_0DAE, 0x1B71_0B35_131C_471B,
    0x28DB_77F5_2304_7D84, 0x32CA_AB7B_40C7_2493, 0x3C9E_BE0A_15C9_BEBC, 0x431D_67C4_9C10_0D4C,
    0x4CC5_D4BE_CB3E_42B6, 0x597F_299C_FC65_7E2A, 0x5FCB_6FAB_3AD6_FAEC, 0x6C44_198C_4A47_5817,
];

/// A word turned by three amounts, summed without carries. Spelt out, for loops over amounts stay loops where size counts.
macro_rules! turned {
    ($word:expr, [$a:literal, $b:literal, $c:literal]) => {
        $word.rotate_right($a) ^ $word.rotate_right($b) ^ $word.rotate_right($c)
    };
}

/// A word turned by two amounts and shifted by a third.
macro_rules! mixed {
    ($word:expr, [$a:literal, $b:literal, $shift:literal]) => {
        $word.rotate_right($a) ^ $word.rotate_right($b) ^ ($word >> $shift)
    };
}

/// One hash of the family: its word, number of rounds, and amounts of rotations and (last of `expand`'s) shifts.
macro_rules! sha {
    ($(#[$about:meta])* $name:ident, $word:ty, $rounds:literal, majority $majority:tt, choice $choice:tt,
     expand $near:tt, $far:tt) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug)]
        pub struct $name {
            state: [$word; 8],
            block: [u8; Self::BLOCK],
            /// Bytes so far, those in `block` among them.
            length: u64,
        }

        impl $name {
            const BLOCK: usize = 16 * size_of::<$word>();

            /// Nothing hashed yet.
            pub fn new() -> Self {
                Self { state: STARTS.map(Self::upper), block: [0; Self::BLOCK], length: 0 }
            }

            /// The hash continued over `bytes`.
            #[must_use]
            pub fn update(mut self, mut bytes: &[u8]) -> Self {
                while !bytes.is_empty() {
                    let used = self.length as usize & (Self::BLOCK - 1);
                    let room = self.block.get_mut(used..).unwrap_or_default();
                    let (now, later) = bytes.split_at_checked(room.len()).unwrap_or((bytes, &[]));
                    room.iter_mut().zip(now).for_each(|(place, byte)| *place = *byte);
                    self.length = self.length.wrapping_add(now.len() as u64);
                    if used + now.len() == Self::BLOCK {
                        self.compress();
                    }
                    bytes = later;
                }
                self
            }

            /// The hash of everything.
            pub fn finish(self) -> [u8; 8 * size_of::<$word>()] {
                let bits = self.length.wrapping_mul(8).to_be_bytes();
                let mut padded = self.update(&[0x80]);
                // The length takes two words, which end a block.
                while padded.length as usize & (Self::BLOCK - 1) != Self::BLOCK - 2 * size_of::<$word>() {
                    padded = padded.update(&[0]);
                }
                let ended = padded.update(&[0; 2 * size_of::<$word>() - 8]).update(&bits);
                let mut digest = [0; 8 * size_of::<$word>()];
                for (place, word) in digest.as_chunks_mut().0.iter_mut().zip(ended.state) {
                    *place = word.to_be_bytes();
                }
                digest
            }

            fn compress(&mut self) {
                let mut schedule = [0; 16];
                for (word, bytes) in schedule.iter_mut().zip(self.block.as_chunks().0) {
                    *word = <$word>::from_be_bytes(*bytes);
                }
                let mut state = self.state;
                for (round, constant) in CONSTANTS.iter().take($rounds).enumerate() {
                    if round >= schedule.len() {
                        let of = |ahead: usize| schedule[(round + ahead) & 15];
                        let sum = of(0).wrapping_add(mixed!(of(1), $near)).wrapping_add(of(9));
                        schedule[round & 15] = sum.wrapping_add(mixed!(of(14), $far));
                    }
                    state = Self::round(state, schedule[round & 15].wrapping_add(Self::upper(*constant)));
                }
                for (sum, word) in self.state.iter_mut().zip(state) {
                    *sum = sum.wrapping_add(word);
                }
            }

            fn round([a, b, c, d, e, f, g, h]: [$word; 8], word: $word) -> [$word; 8] {
                let choice = turned!(e, $choice).wrapping_add((e & f) ^ (!e & g));
                let majority = turned!(a, $majority).wrapping_add((a & b) ^ (a & c) ^ (b & c));
                let first = h.wrapping_add(choice).wrapping_add(word);
                [first.wrapping_add(majority), a, b, c, d.wrapping_add(first), e, f, g]
            }

            const fn upper(constant: u64) -> $word {
                (constant >> (u64::BITS - <$word>::BITS)) as $word
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::new()
            }
        }
    };
}

sha! {
    /// SHA-256 being taken over several pieces.
    Sha256, u32, 64, majority [2, 13, 22], choice [6, 11, 25], expand [7, 18, 3], [17, 19, 10]
}

sha! {
    /// SHA-512 being taken over several pieces.
    Sha512, u64, 80, majority [28, 34, 39], choice [14, 18, 41], expand [1, 8, 7], [19, 61, 6]
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;
    use std::string::String;
    use std::vec;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// FIPS 180-4's examples (NIST, "Examples with Intermediate Values").
    #[test]
    fn examples_of_the_standard() {
        let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
        for (bytes, digest) in [
            (&b"abc"[..], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
            (two_blocks, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"),
            (b"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ] {
            assert_eq!(hex(&Sha256::new().update(bytes).finish()), digest);
        }
        let long = b"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu";
        for (bytes, digest) in [
            (
                &b"abc"[..],
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
            (
                long,
                "8e959b75dae313da8cf4f72814fc143f8f7779c6eb9f7fa17299aeadb6889018501d289e4900f7e4331b99dec4b5433ac7d329eeb6dd26545e96e55b874be909",
            ),
            (
                b"",
                "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e",
            ),
        ] {
            assert_eq!(hex(&Sha512::new().update(bytes).finish()), digest);
        }
    }

    /// The standard's last example.
    #[test]
    #[cfg_attr(miri, ignore = "23,000 blocks, too slow here")]
    fn a_million_of_as() {
        let million = vec![b'a'; 1_000_000];
        assert_eq!(
            hex(&Sha256::new().update(&million).finish()),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
        );
        assert_eq!(
            hex(&Sha512::new().update(&million).finish()),
            "e718483d0ce769644e2e42c7bc15b4638e1f98b13b2044285632a803afa973ebde0ff244877ea60a4cb0432ce577c31beb009c5c2c49aa2e4eadb217ad8cc09b"
        );
    }

    /// Lengths around the ends of blocks, in pieces of every size.
    #[test]
    fn pieces_make_no_difference() {
        let bytes: vec::Vec<u8> = (0..300u32).map(|index| (index * 7) as u8).collect();
        for length in (0..=300).step_by(if cfg!(miri) { 61 } else { 1 }) {
            let bytes = &bytes[..length];
            let whole = (Sha256::new().update(bytes).finish(), Sha512::new().update(bytes).finish());
            for piece in [1, 3, 64, 65, 127] {
                let pieces = || bytes.chunks(piece);
                let short = pieces().fold(Sha256::new(), Sha256::update).finish();
                let long = pieces().fold(Sha512::new(), Sha512::update).finish();
                assert_eq!((short, long), whole, "{length} bytes in pieces of {piece}");
            }
        }
    }
}
